"""What a prediction can start from: XP files of any format, stores, and the real sample."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.files.hdf5 import open_store
from aspgap_jax.files.identity import Input
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey import store
from aspgap_jax.survey.folders import find_files
from aspgap_jax.survey.sample import load_sample, sample_path
from aspgap_jax.survey.xp import BANDS, OnBadRow, OnNote, XPChunk, read_xp
from aspgap_jax.survey.xp.instrument import Instrument, as_sampled
from aspgap_jax.survey.xp.read import OnStars, read_table
from aspgap_jax.survey.xp.releases import of_coefficients
from aspgap_jax.survey.xp.table import Table

__all__ = [
    "AS_IT_SAYS",
    "Delivery",
    "Expanded",
    "Source",
    "as_chunk",
    "delivered",
    "expand",
    "read_given",
    "read_source",
    "release_of",
]

SAMPLE = "sample"


@dataclass(frozen=True)
class Source:
    """One input.

    Attributes:
        name: what messages and its output part are called after.
        path: its file.
        inside: whether a folder or a pattern stood for it, and nobody named it.
        library: whether it is the real sample.
    """

    name: str
    path: Path
    inside: bool = False
    library: bool = False

    @property
    def key(self) -> Input:
        """What tells it from all others."""
        return Input(self.name, SAMPLE if self.library else str(self.path.resolve()))


class Expanded(NamedTuple):
    """What a command line stands for.

    Attributes:
        sources: in order, none twice.
        remarks: what was left out of folders, one line each.
    """

    sources: tuple[Source, ...]
    remarks: tuple[str, ...]


def expand(inputs: Sequence[str]) -> Expanded:
    """The sources that files, patterns, folders, XP stores and the word ``sample`` stand for.

    Folders and patterns: see :mod:`aspgap_jax.survey.folders`.

    Args:
        inputs: as on the command line.

    Returns:
        The sources in the order given, and what was passed over in folders.

    Raises:
        InputError: nothing was given, a file is absent, or a pattern or a folder has no
            files.
    """
    words = [given for given in inputs if given == SAMPLE and not Path(given).exists()]
    found = find_files([given for given in inputs if given not in words])
    for path in found.files:
        if path.is_dir():
            raise InputError(f"{path}: no files of spectra in this folder; pass XP spectra")
        if not path.exists():
            if glob.has_magic(str(path)):
                raise InputError(f"{path}: no file matches; pass XP spectra")
            raise InputError(f"{path}: no such file; pass XP spectra, or `{SAMPLE}`")
    sources = [Source(SAMPLE, sample_path(), library=True) for _ in words[:1]]
    sources += [Source(path.name, path, path in found.inside) for path in found.files]
    if not sources:
        raise InputError("nothing to predict; pass files, folders or patterns of XP spectra")
    return Expanded(tuple(sources), found.remarks)


@dataclass(frozen=True, eq=False)
class Delivery:
    """What the user says of the spectra.

    Attributes:
        release: the Gaia release they are of; empty: as the files say.
        instrument: the matrix that samples that release's coefficients, or ``None``.
    """

    release: str = ""
    instrument: Instrument | None = None

    @property
    def settings(self) -> dict[str, str]:
        """What labels depend on, as text."""
        matrix = None if self.instrument is None else self.instrument.matrix.tobytes()
        digest = "" if matrix is None else hashlib.sha256(matrix).hexdigest()
        return {"release": self.release, "instrument": digest}


AS_IT_SAYS = Delivery()


def read_source(
    source: Source,
    *,
    chunk_size: int,
    correlations: bool,
    on_bad_row: OnBadRow,
    on_note: OnNote | None = None,
    delivery: Delivery = AS_IT_SAYS,
) -> Iterator[XPChunk]:
    """Chunks of stars of a source, in its order; see :func:`aspgap_jax.survey.xp.read.read_xp`.

    Args:
        source: of the input.
        chunk_size: stars a chunk.
        correlations: whether to read them.
        on_bad_row: called with each row that is left out.
        on_note: called with what was converted, replaced, guessed or left out.
        delivery: release and instrument matrix. Coefficients of the release of the matrix,
            or of none that is known, come as sampled spectra.

    Returns:
        An iterator of chunks.
    """
    if source.library:
        stars = load_sample()
        for start in range(0, len(stars), chunk_size):
            yield as_chunk(stars.where(np.arange(start, min(start + chunk_size, len(stars)))))
    elif _is_training_store(source.path):
        yield from _read_training_store(source.path, chunk_size)
    else:
        chunks = read_xp(
            source.path,
            chunk_size=chunk_size,
            correlations=correlations,
            release=delivery.release,
            on_bad_row=on_bad_row,
            on_note=on_note,
        )
        yield from delivered(chunks, delivery)


def read_given(
    table: Table,
    where: Path,
    *,
    chunk_size: int,
    correlations: bool,
    on_bad_row: OnBadRow,
    on_note: OnNote,
    on_stars: OnStars,
    delivery: Delivery = AS_IT_SAYS,
) -> Iterator[XPChunk]:
    """Chunks of stars of a table that is in no file, read as :func:`read_source` reads files.

    Args:
        table: of :func:`aspgap_jax.survey.xp.memory.in_memory`.
        where: what messages call it.
        chunk_size: stars a chunk.
        correlations: whether to read them.
        on_bad_row: called with each row that is left out.
        on_note: called with what was converted, replaced or guessed.
        on_stars: called with the rows in which the next stars begin, the bad ones among them.
        delivery: release and instrument matrix.

    Returns:
        An iterator of chunks.
    """
    chunks = read_table(
        table,
        where,
        chunk_size=chunk_size,
        correlations=correlations,
        release=delivery.release,
        on_bad_row=on_bad_row,
        on_note=on_note,
        on_stars=on_stars,
    )
    yield from delivered(chunks, delivery)


def delivered(chunks: Iterator[XPChunk], delivery: Delivery) -> Iterator[XPChunk]:
    """Coefficients as samples, where they are of the release of the matrix, or of none known.

    Args:
        chunks: as read.
        delivery: release and instrument matrix.

    Yields:
        The same stars.
    """
    matrix = delivery.instrument
    for chunk in chunks:
        if matrix is not None and chunk.representation == "continuous":
            own = not chunk.release or chunk.release == matrix.release
            yield as_sampled(chunk, matrix) if own else chunk
        else:
            yield chunk


def _is_training_store(path: Path) -> bool:
    if not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == store.FORMAT)
    except OSError:
        # Damaged: the reader of files says so.
        return False


def _read_training_store(path: Path, chunk_size: int) -> Iterator[XPChunk]:
    with open_store(path, store.FORMAT, store.FORMAT_VERSION, cure="`aspgap prepare`") as file:
        for start in range(0, len(file["source_id"]), chunk_size):
            rows = slice(start, start + chunk_size)
            yield as_chunk(
                TrainingSet(
                    **{
                        name: file[name][rows]
                        for name in (
                            *("source_id", "xp", "xp_error"),
                            *("g_mag", "labels", "label_error"),
                        )
                    },
                    representation=str(file.attrs["representation"]),
                    wavelength=file.attrs.get("wavelength"),
                    release=str(file.attrs["release"]),
                    n_bp=int(file.attrs["n_bp"]),
                )
            )


def release_of(stars: TrainingSet) -> str:
    """The Gaia release of stars' coefficients: as stated, or the one that has so many.

    Args:
        stars: of any representation.

    Returns:
        Empty where it is not known, and for sampled spectra.
    """
    if stars.representation != "continuous" or stars.release:
        return stars.release
    return of_coefficients((stars.n_bp, stars.xp.shape[1] - stars.n_bp), None)


def as_chunk(stars: TrainingSet) -> XPChunk:
    """Stars in memory as a chunk of a file; their labels stay behind.

    Args:
        stars: coefficients or samples.

    Returns:
        The same rows; what only a file can tell is NaN, or -1.
    """
    continuous = stars.representation == "continuous"
    n_bp = stars.n_bp if continuous else 0
    bands = len(BANDS) if continuous else 0
    finite = np.isfinite(stars.xp) & np.isfinite(stars.xp_error)
    present = np.zeros((len(stars), bands), bool)
    for band in range(bands):
        present[:, band] = finite[:, :n_bp].any(1) if band == 0 else finite[:, n_bp:].any(1)
    unknown = np.full((len(stars), bands), np.nan)
    return XPChunk(
        source_id=stars.source_id,
        representation=stars.representation,
        coefficients=stars.xp,
        errors=stars.xp_error,
        finite=finite,
        n_bp=n_bp,
        wavelength=stars.wavelength,
        g_mag=stars.g_mag,
        ruwe=np.asarray(stars.columns.get("ruwe", np.full(len(stars), np.nan)), np.float64),
        present=present,
        n_relevant_bases=np.full(present.shape, -1, np.int32),
        n_measurements=np.full(present.shape, -1, np.int32),
        chi_squared=unknown,
        standard_deviation=unknown,
        release=release_of(stars),
    )
