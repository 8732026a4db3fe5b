"""XP spectra, Gaia's columns and APOGEE's labels, joined into a training store."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.errors import InputError
from aspgap_jax.files.locks import locked
from aspgap_jax.labels import LABELS, LabelSet
from aspgap_jax.preprocessing.cuts import apply_cuts
from aspgap_jax.preprocessing.selection import (
    SELECTIONS,
    UNFLAGGED,
    snr_conditions,
    training_selection,
)
from aspgap_jax.preprocessing.snr import LeastSNR, band_snrs
from aspgap_jax.preprocessing.stars import Cut, TrainingSet
from aspgap_jax.survey import gaia
from aspgap_jax.survey.apogee import AllStar, read_allstar
from aspgap_jax.survey.apogee_spectra import StarSpectra
from aspgap_jax.survey.folders import Found, find_files, without_spectra
from aspgap_jax.survey.ids import BY_NAME, IdChoice
from aspgap_jax.survey.store import write_training_store
from aspgap_jax.survey.tables import Remarks
from aspgap_jax.survey.xp import BadRow, XPChunk, read_xp
from aspgap_jax.survey.xp.plan import is_foreign

__all__ = ["Prepared", "prepare"]

PACKAGES = ("aspgap-jax", "numpy", "h5py", "astropy")
FIGURE_1 = LeastSNR()


@dataclass(frozen=True)
class Prepared:
    """What :func:`prepare` did.

    Attributes:
        path: the training store.
        stars: how many stars it has.
        cuts: every selection with the stars left after it; the text is
            :func:`aspgap_jax.preprocessing.cuts.format_cuts` of it.
        bad_rows: XP rows that were left out, each as text with file and row.
        repeated: XP rows that were left out because their star was there already.
        spectra: record of the APOGEE spectra, ``None`` if there are none.
        remarks: what was left out, replaced or mapped in the tables, one line each.
    """

    path: Path
    stars: int
    cuts: tuple[Cut, ...]
    bad_rows: tuple[str, ...]
    repeated: int
    spectra: Mapping[str, Any] | None
    remarks: tuple[str, ...] = ()


@dataclass
class _XP:
    """XP spectra of the wanted stars, filled while files are read."""

    wanted: np.ndarray
    bad_rows: list[str] = field(default_factory=list)
    repeated: int = 0
    read: int = 0

    def __post_init__(self) -> None:
        self.found = np.zeros(len(self.wanted), bool)
        self.shape: tuple[str, int, int, str] | None = None
        self.wavelength: np.ndarray | None = None
        self.snr: dict[str, np.ndarray] = {}
        self.values = self.errors = np.empty((0, 0), np.float32)

    def add(self, chunk: XPChunk, path: Path) -> None:
        """Take the wanted stars of a chunk; of repeated ones, the first."""
        self.read += len(chunk)
        # The smallest row number of each id that occurs: the first one.
        ids, first = np.unique(chunk.source_id, return_index=True)
        place = np.minimum(np.searchsorted(self.wanted, ids), len(self.wanted) - 1)
        matched = self.wanted[place] == ids
        fresh = matched & ~self.found[place]
        self.repeated += int(np.isin(chunk.source_id, ids[matched]).sum() - fresh.sum())
        if not fresh.any():
            return
        taken, place = chunk[first[fresh]], place[fresh]
        self._check(taken, path)
        self.found[place] = True
        self.values[place] = taken.coefficients
        self.errors[place] = taken.errors
        if taken.representation == "continuous":
            for name, snr in band_snrs(taken.coefficients, taken.errors, taken.n_bp).items():
                column = self.snr.setdefault(name, np.full(len(self.wanted), np.nan, np.float32))
                column[place] = snr

    def _check(self, chunk: XPChunk, path: Path) -> None:
        shape = (chunk.representation, chunk.coefficients.shape[1], chunk.n_bp, chunk.release)
        if self.shape is None:
            self.shape, self.wavelength = shape, chunk.wavelength
            self.values = np.full((len(self.wanted), shape[1]), np.nan, np.float32)
            self.errors = self.values.copy()
        elif shape != self.shape:
            raise InputError(
                f"{path}: has {_words(shape)}, the files before it {_words(self.shape)}; "
                f"prepare them apart"
            )


def _words(shape: tuple[str, int, int, str]) -> str:
    representation, width, n_bp, release = shape
    if representation == "sampled":
        return f"sampled spectra of {width} fluxes"
    named = f" of Gaia {release.upper()}" if release else ""
    return f"{n_bp} + {width - n_bp} coefficients{named}"


def prepare(
    xp_files: Sequence[Path],
    gaia_tables: Sequence[Path],
    allstar: Path,
    out: Path,
    *,
    spectra_dir: Path | None = None,
    select: str = "table_1",
    least: LeastSNR = FIGURE_1,
    ids: IdChoice = BY_NAME,
    gaia_release: str = "",
    missing_labels: Literal["drop", "keep"] = "drop",
    table: LabelSet = LABELS,
) -> Prepared:
    """Join XP spectra, Gaia's columns and APOGEE by Gaia source id (section 2.2).

    The cuts are, in this order: the star is in all tables; no ASPCAP flag of
    section 2.2; the selection; the S/N of the XP coefficients (not for sampled
    spectra, where the paper's S/N is not defined). Spectra stay in physical
    units: training normalises them by G.

    Args:
        xp_files: XP spectra in any format of :func:`aspgap_jax.survey.xp.read.read_xp`,
            XP stores among them, and folders of such (:mod:`aspgap_jax.survey.folders`).
        gaia_tables: tables with ``source_id`` and ``phot_g_mean_mag``, and further
            columns of :data:`aspgap_jax.survey.gaia.COLUMN_NAMES`, or folders of such.
            Empty: the Gaia columns that allStar repeats.
        allstar: APOGEE's allStar.
        out: the training store to write.
        spectra_dir: folder with aspcapStar or apStar files, in any depth. Stars
            without one stay, with NaN for a spectrum.
        select: a key of :data:`aspgap_jax.preprocessing.selection.SELECTIONS`.
        gaia_release: of the XP spectra; empty: as the files say.
        missing_labels: see :func:`aspgap_jax.preprocessing.selection.training_selection`.
        table: the labels of the store. Those of the paper that are not among them become
            columns, on which cuts go on, as far as allStar has them.
        least: what the S/N of coefficients must exceed.
        ids: what the user says of the Gaia ids of allStar.

    Returns:
        The counts, and what was left out.

    Raises:
        InputError: a file cannot be used, the tables have no star in common, or no
            star is left after a cut.
    """
    if select not in SELECTIONS:
        raise InputError(f"no selection {select!r}; known: {', '.join(SELECTIONS)}")
    if not xp_files:
        raise InputError("no XP file given; pass at least one")
    allstar, out = Path(allstar), Path(out)
    with locked(out, beside=True):
        return _prepare(
            find_files(xp_files),
            gaia_tables,
            allstar,
            out,
            spectra_dir,
            select,
            least,
            ids,
            gaia_release,
            missing_labels,
            table,
        )


def _prepare(
    found: Found,
    gaia_tables: Sequence[Path],
    allstar: Path,
    out: Path,
    spectra_dir: Path | None,
    select: str,
    least: LeastSNR,
    ids: IdChoice,
    gaia_release: str,
    missing_labels: Literal["drop", "keep"],
    table: LabelSet,
) -> Prepared:
    xp_files = found.files
    apogee = read_allstar(allstar, ids, table)
    remarks = Remarks()
    for remark in found.remarks:
        remarks.say(remark)
    xp = _read_all(found, apogee, gaia_release, remarks)
    known, columns = _gaia_columns(gaia_tables, apogee, allstar, remarks)
    both = xp.found & known
    cuts = (
        *apogee.cuts,
        Cut("with an XP spectrum", int(xp.found.sum())),
        Cut("and with Gaia's columns", int(both.sum())),
    )
    if not both.any():
        raise InputError(
            f"no star of allStar has both an XP spectrum ({int(xp.found.sum()):,} have one) and a "
            f"row in {_names(gaia_tables)} ({int(known.sum()):,} have one); "
            f"pass tables of the same stars"
        )
    provenance: dict[str, Any] = {
        "xp": [_record(path) for path in xp_files],
        "gaia": [_record(path) for path in gaia_tables],
        "allstar": _record(allstar),
        "select": select,
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }
    wanted = [*UNFLAGGED, *training_selection(select, missing_labels, table)]
    if xp.snr:
        wanted += snr_conditions(least.min_snr_low, least.min_snr_high)
        provenance |= asdict(least)
    stars = replace(_joined(apogee, xp, columns, both), label_table=table)
    stars = apply_cuts(replace(stars, cuts=cuts, provenance=provenance), wanted)
    spectra = None
    if spectra_dir is not None:
        rows = apogee.where(np.searchsorted(apogee.source_id, stars.source_id))
        spectra = StarSpectra(Path(spectra_dir), rows.apogee_id, rows.telescope, rows.field)
        for remark in spectra.remarks:
            remarks.say(remark)
    _check_space(out, stars, with_spectra=spectra is not None)
    write_training_store(out, stars, units=gaia.UNITS, spectra=spectra)
    return Prepared(
        path=out,
        stars=len(stars),
        cuts=stars.cuts,
        bad_rows=tuple(xp.bad_rows),
        repeated=xp.repeated,
        spectra=None if spectra is None else spectra.record(),
        remarks=(*apogee.remarks, *remarks.lines),
    )


def _read_all(found: Found, apogee: AllStar, gaia_release: str, remarks: Remarks) -> _XP:
    xp = _XP(apogee.source_id)
    foreign: list[Path] = []
    for path in tqdm(found.files, desc="XP files", unit="file", disable=None):
        bad: list[BadRow] = []
        notes: list[str] = []
        try:
            for chunk in read_xp(
                path, release=gaia_release, on_bad_row=bad.append, on_note=notes.append
            ):
                xp.add(chunk, Path(path))
        except InputError as error:
            if path not in found.inside or not is_foreign(error):
                raise
            foreign.append(path)
        for note in notes:
            remarks.say(f"{path}: {note}")
        xp.bad_rows += [f"{path}, {row}" for row in bad]
    for remark in without_spectra(foreign):
        remarks.say(remark)
    if not xp.found.any():
        raise InputError(
            f"none of the {xp.read:,} XP spectra in {_names(found.files)} is of one of the "
            f"{len(apogee):,} stars of allStar; pass XP spectra of APOGEE's stars "
            f"(`aspgap fetch` gets them)"
        )
    return xp


def _gaia_columns(
    gaia_tables: Sequence[Path], apogee: AllStar, allstar: Path, remarks: Remarks
) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    if gaia_tables:
        return gaia.read_gaia_tables(gaia_tables, apogee.source_id, remarks)
    if gaia.G_MAG not in apogee.gaia:
        raise InputError(
            f"{allstar}: has no column {(gaia.PREFIX + gaia.G_MAG).upper()}; "
            f"pass a table of Gaia sources with source_id and {gaia.G_MAG}"
        )
    return np.isfinite(apogee.gaia[gaia.G_MAG]), apogee.gaia


def _joined(
    apogee: AllStar, xp: _XP, columns: Mapping[str, np.ndarray], both: np.ndarray
) -> TrainingSet:
    """The stars that are in all tables."""
    stars = apogee.where(both)
    assert xp.shape is not None  # spectra were found
    representation, _, n_bp, release = xp.shape
    further = {name: v for name, v in columns.items() if name != gaia.G_MAG}
    return TrainingSet(
        source_id=stars.source_id,
        xp=xp.values[both],
        xp_error=xp.errors[both],
        g_mag=columns[gaia.G_MAG][both],
        labels=stars.labels,
        label_error=stars.label_error,
        representation=representation,
        wavelength=xp.wavelength,
        release=release,
        n_bp=n_bp,
        columns={
            "apogee_id": stars.apogee_id,
            "snr": stars.snr,
            "aspcapflag": stars.aspcapflag,
            **stars.others,
            **{name: values[both] for name, values in (further | xp.snr).items()},
        },
    )


def _check_space(out: Path, stars: TrainingSet, *, with_spectra: bool) -> None:
    """HDF5 does not survive a full disk, so that it is better not to begin."""
    pixels = N_PIXELS if with_spectra else 0
    needed = 2 * len(stars) * (stars.xp.shape[1] + pixels) * np.float32().itemsize
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise InputError(
            f"{out}: needs {needed / 1e9:.3g} GB, the disk has {free / 1e9:.3g} GB left; "
            f"write to another disk"
        )


def _names(paths: Sequence[Path]) -> str:
    shown = ", ".join(str(path) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    return shown or "allStar"


def _record(path: Path) -> dict[str, Any]:
    """Name, size and checksum of a file, or of all files in a folder."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for each in files:
        with each.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    size = sum(file.stat().st_size for file in files)
    return {"file": path.name, "bytes": size, "sha256": digest.hexdigest()}
