"""What a run's APOGEE decoders are pre-trained on: real spectra, or emulated ones.

Emulated ones come from the synthesis of the H band, or from a Cannon of real spectra
(:mod:`aspgap_jax.survey.cannon`), whose scatter is their noise. All lie
in an HDF5 file and are read from it in pieces, as a
:class:`aspgap_jax.training.spectra_batches.SpectraReader`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from aspgap_jax import synthesis
from aspgap_jax.apstar import N_PIXELS, in_chips
from aspgap_jax.config import Config, Pretrain
from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import replace_file
from aspgap_jax.labels import LABELS, LabelSet, index, lacking, names
from aspgap_jax.preprocessing.folds import FoldRows
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.cannon import Cannon, cannon_spectra, clip_labels
from aspgap_jax.training.spectra_batches import training_count

__all__ = [
    "CANNON",
    "EMULATED",
    "NONE",
    "REAL",
    "DecoderSpectra",
    "cannon_emulated",
    "draw_labels",
    "emulated_spectra",
    "emulation_labels",
    "real_spectra",
    "teachable",
]

REAL = "real APOGEE spectra of training stars"
EMULATED = "emulated spectra (LTE synthesis of the H band at labels of training stars)"
CANNON = "spectra emulated by a Cannon of real spectra (at labels of training stars)"
NONE = "nothing: emulated spectra need teff, logg, m_h and alpha_m"

MIN_SPECTRA = 20
"""Fewer real spectra than this train no decoder."""
SYNTHESIS_ROWS = 1024
"""Spectra synthesised before they are written: 35 MB."""
SCAN_ROWS = 512
"""Spectra read at a time when a store is searched: 18 MB."""
MIN_INSIDE = 0.1
"""A Cannon whose box holds fewer of the labels than this share teaches its edges only."""
MAX_SPAN = 4
"""Rows read for one that is wanted; where they lie further apart they are picked."""


@dataclass(frozen=True)
class DecoderSpectra:
    """Spectra of every split in a file, with their labels.

    Attributes:
        path: the HDF5 file.
        dataset: its normalised fluxes ``[row, pixel]``.
        rows: of that, ascending among those that are trained on, and among those
            that are held out, so that neighbours are read together
            ``[split, spectrum]``.
        labels: in the units of the label table ``[split, spectrum, label]``.
        what: they are, for reports.
        noise: of a pixel, 1-sigma, that they do not hold yet ``[pixel]``; ``None``: none.
    """

    path: Path
    dataset: str
    rows: np.ndarray
    labels: np.ndarray
    what: str
    noise: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(split, spectrum, pixel)``."""
        return (*self.rows.shape, N_PIXELS)

    @property
    def scatter(self) -> np.ndarray:
        """Noise of a pixel, to be added ``[pixel]``."""
        return np.zeros(N_PIXELS, np.float32) if self.noise is None else self.noise

    def read(self, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        """Spectra ``[start, stop)`` of every range, float32 ``[split, spectrum, pixel]``.

        No range holds spectra of both kinds, trained on and held out.
        Bad pixels are set to the continuum: there the decoder is to read nothing.
        """
        n_splits, _, n_pixels = self.shape
        flux = np.empty((n_splits, sum(stop - start for start, stop in ranges), n_pixels), "f4")
        at = 0
        with h5py.File(self.path, "r") as file:
            stored = file[self.dataset]
            for start, stop in ranges:
                for split in range(n_splits):
                    wanted = self.rows[split, start:stop]
                    flux[split, at : at + len(wanted)] = _read_ascending(stored, wanted)
                at += stop - start
        flux[~np.isfinite(flux)] = 1.0
        return flux


def _read_ascending(stored: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    first, last = int(rows[0]), int(rows[-1])
    if last - first < MAX_SPAN * len(rows):
        return np.asarray(stored[first : last + 1][rows - first])
    return np.asarray(stored[rows])


def teachable(table: LabelSet, what: str) -> tuple[str, ...] | None:
    """The labels that an APOGEE decoder can be taught.

    Real spectra know of all labels of their stars. Emulated ones, of the synthesis or of a
    Cannon, are functions of the paper's four: with them they teach them, and nothing of
    further ones; without one of them there is nothing to emulate, and a run trains the XP
    branch alone.

    Args:
        table: the labels of a run.
        what: :data:`REAL`, :data:`EMULATED` or :data:`CANNON`.

    Returns:
        As the ``taught`` of :class:`aspgap_jax.config.Config` has it: ``None`` for all.
    """
    if what == REAL or names(table) == names():
        return None
    return () if lacking(table) else tuple(n for n in names(table) if n in names())


def emulation_labels(stars: TrainingSet, rows: tuple[FoldRows, ...], cfg: Config) -> np.ndarray:
    """Labels at which each split's decoder sees spectra ``[split, spectrum, label]``.

    Args:
        stars: the training set; of its labels the paper's four count.
        rows: of every split.
        cfg: its ``pretrain`` says how many and how far from the stars; its seed of the draws.

    Returns:
        The paper's four, in the units of the label table.
    """
    four = [index(name, stars.label_table) for name in names()]
    return np.stack(
        [
            draw_labels(
                stars.labels[r.fit][:, four],
                cfg.pretrain,
                np.random.default_rng([cfg.train.seed, i]),
            )
            for i, r in enumerate(rows)
        ]
    )


def draw_labels(truth: np.ndarray, cfg: Pretrain, rng: np.random.Generator) -> np.ndarray:
    """Labels at which to emulate spectra: training stars, shaken.

    Args:
        truth: labels of a fold's training stars ``[star, label]``; those that lack one are
            passed over.
        cfg: how many, and how far to shake them, as a share of the distance
            between the 2.5 and 97.5 percentiles.
        rng: source of the draws.

    Returns:
        float32 ``[n_spectra, label]``, inside the range of ``truth``.

    Raises:
        InputError: no star has all labels.
    """
    whole = np.isfinite(truth).all(axis=1)
    if not whole.any():
        raise InputError(
            "no training star of a fold has all labels, at which to emulate APOGEE spectra: "
            "pass stars that have, or real spectra (`aspgap prepare --spectra`)"
        )
    truth = truth[whole]
    drawn = truth[rng.integers(len(truth), size=cfg.n_spectra)].astype(np.float64)
    low, high = np.percentile(truth, [2.5, 97.5], axis=0)
    drawn += cfg.label_jitter * (high - low) * rng.standard_normal(drawn.shape)
    return np.clip(drawn, truth.min(axis=0), truth.max(axis=0)).astype(np.float32)


def emulated_spectra(path: Path, at: np.ndarray, table: LabelSet = LABELS) -> DecoderSpectra:
    """Spectra at the labels ``at``, in ``path``: written there if they are not yet.

    Args:
        path: HDF5 file of an earlier call, or to be written.
        at: the paper's four labels ``[split, spectrum, label]``.
        table: the labels of the run, four among them.

    Returns:
        The spectra in the file, by split; further labels of them are NaN.
    """

    def synthesise() -> Emulator:
        lines = synthesis.load_lines()
        return lambda part: synthesis.synthesize_in_batches(part, lines, progress=False)

    rows = _write_emulated(path, at, EMULATED, "synthesis", synthesise)
    return DecoderSpectra(path, "flux", rows, _among(at, table), EMULATED)


def cannon_emulated(
    path: Path, at: np.ndarray, cannon: Cannon, table: LabelSet = LABELS
) -> tuple[DecoderSpectra, int]:
    """Spectra of a Cannon at the labels ``at``, in ``path``: written there if they are not yet.

    Between the chips there is no flux: NaN, which is read as continuum.

    Args:
        path: HDF5 file of an earlier call, or to be written.
        at: the paper's four labels ``[split, spectrum, label]``; those outside of the box that
            the Cannon holds for are moved to its edge.
        cannon: of :func:`aspgap_jax.survey.cannon.load_cannon`.
        table: the labels of the run, four among them.

    Returns:
        The spectra, with the labels that they were made at and the Cannon's scatter as noise
        to be added; and how many labels were moved.

    Raises:
        InputError: the box holds fewer than a tenth of the labels.
    """
    flat = at.reshape(-1, at.shape[-1]).astype(np.float64)
    inside, moved = clip_labels(cannon, flat)
    if len(flat) - moved < MIN_INSIDE * len(flat):
        raise InputError(
            f"{moved:,} of the {len(flat):,} labels at which to emulate spectra are outside of "
            f"the Cannon's box, {cannon.low.round(2).tolist()} to "
            f"{cannon.high.round(2).tolist()}: take one of such stars, or leave it out"
        )
    # Towards the inside: rounding to float32 must not leave the box.
    rounded, most = inside.astype(np.float32), np.float32(np.inf)
    rounded = np.where(rounded < cannon.low, np.nextafter(rounded, most), rounded)
    rounded = np.where(rounded > cannon.high, np.nextafter(rounded, -most), rounded)
    at = rounded.reshape(at.shape)
    digest = hashlib.sha256(cannon.theta.tobytes()).hexdigest()
    rows = _write_emulated(
        path,
        at,
        CANNON,
        digest,
        lambda: lambda part: cannon_spectra(cannon, part.astype(np.float64)),
    )
    noise = np.zeros(N_PIXELS, np.float32)
    noise[in_chips] = cannon.scatter
    return DecoderSpectra(path, "flux", rows, _among(at, table), CANNON, noise), moved


def _among(at: np.ndarray, table: LabelSet) -> np.ndarray:
    """The paper's four labels among those of a run; of the others the spectra know nothing."""
    known = np.full((*at.shape[:-1], len(table)), np.nan, np.float32)
    known[..., [index(name, table) for name in names()]] = at
    return known


Emulator = Callable[[np.ndarray], np.ndarray]
"""Labels ``[spectrum, label]`` to flux ``[spectrum, pixel]``."""


def _write_emulated(
    path: Path, at: np.ndarray, what: str, source: str, emulator: Callable[[], Emulator]
) -> np.ndarray:
    """Emulated spectra in a file, unless it holds them; their rows ``[split, spectrum]``."""
    rows = np.arange(at.shape[0] * at.shape[1]).reshape(at.shape[:2])
    flat = at.reshape(-1, at.shape[-1])
    if path.is_file():
        with h5py.File(path, "r") as file:
            if file.attrs.get("source") == source and np.array_equal(file["labels"][()], flat):
                return rows
    emulate = emulator()
    with (
        replace_file(path) as temporary,
        h5py.File(temporary, "w") as file,
        tqdm(total=len(flat), desc="emulate", unit="spectrum", disable=None) as bar,
    ):
        file.attrs["description"] = what
        file.attrs["source"] = source
        file.attrs["label_names"] = list(names())
        file["labels"] = flat
        flux = file.create_dataset("flux", (len(flat), N_PIXELS), np.float32)
        for start in range(0, len(flat), SYNTHESIS_ROWS):
            part = flat[start : start + SYNTHESIS_ROWS]
            flux[start : start + len(part)] = emulate(part)
            bar.update(len(part))
    return rows


def real_spectra(
    store: Path,
    row_of: np.ndarray,
    truth: np.ndarray,
    candidates: Sequence[np.ndarray],
    count: int,
    seed: int,
) -> DecoderSpectra:
    """APOGEE spectra of training stars, drawn at random from a training store.

    Args:
        store: the training store.
        row_of: the store's row of every star of the run ``[star]``.
        truth: labels of every star of the run ``[star, label]``.
        candidates: training stars of every split, as star numbers.
        count: spectra wanted a split; fewer where fewer stars have one.
        seed: of the draws.

    Returns:
        The spectra in the store, by split, with the stars' labels.

    Raises:
        InputError: a split has fewer than 20 stars with a spectrum.
    """
    has_one = _with_spectrum(store, row_of)
    drawn = []
    for i, stars in enumerate(candidates):
        able = np.random.default_rng([seed, i]).permutation(stars[has_one[stars]])
        if len(able) < MIN_SPECTRA:
            raise InputError(
                f"{store}: {len(able)} training stars of a fold have an APOGEE spectrum, at least "
                f"{MIN_SPECTRA} are needed: prepare the store with more spectra, or without any"
            )
        drawn.append(able[:count])
    common = min(len(stars) for stars in drawn)
    n_train = training_count(common)
    chosen = np.stack(
        [
            np.concatenate(
                [part[np.argsort(row_of[part])] for part in (d[:n_train], d[n_train:common])]
            )
            for d in drawn
        ]
    )
    return DecoderSpectra(store, "spectra", row_of[chosen], truth[chosen], REAL)


def _with_spectrum(store: Path, row_of: np.ndarray) -> np.ndarray:
    """Whether the stars of a run have a spectrum ``[star]``: the store is read once."""
    has_one = np.zeros(int(row_of.max()) + 1, bool)
    starts = range(0, len(has_one), SCAN_ROWS)
    with h5py.File(store, "r") as file:
        for start in tqdm(starts, desc="spectra", unit="block", disable=None, leave=False):
            rows = slice(start, min(start + SCAN_ROWS, len(has_one)))
            has_one[rows] = np.isfinite(file["spectra"][rows]).any(axis=1)
    return np.asarray(has_one[row_of])
