"""The one reader: any XP file in, chunks of stars out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.assemble import Assembler, OnBadRow
from aspgap_jax.survey.xp.chunk import XPChunk, layout_of
from aspgap_jax.survey.xp.detect import BROKEN_STREAM, Opened, open_xp
from aspgap_jax.survey.xp.store import is_store, read_parts, read_store
from aspgap_jax.survey.xp.text import read_header, read_text
from aspgap_jax.survey.xp.votable import read_votable

__all__ = ["CHUNK_SIZE", "read_xp"]

CHUNK_SIZE = 4096


def read_xp(
    path: str | Path,
    *,
    chunk_size: int = CHUNK_SIZE,
    correlations: bool = False,
    on_bad_row: OnBadRow | None = None,
) -> Iterator[XPChunk]:
    """Read Gaia XP spectra, continuous or sampled, in chunks of stars.

    The format is told by the content: csv of the bulk files (ECSV, gzip), ECSV
    and DataLink's csv, FITS, VOTable (text, BINARY, BINARY2), HDF5 with one
    dataset a column, and the XP store, as a file or as the folder that
    ``aspgap ingest`` writes. Memory does not grow with the length of the file
    (a gzipped FITS or HDF5 file is unpacked to a temporary file first).

    Args:
        path: the file, or a folder of store parts.
        chunk_size: stars a chunk; the last one may have fewer.
        correlations: whether to read the correlation matrices too, which are
            14 times as many numbers as the spectra.
        on_bad_row: called with each row that is left out because it is
            damaged (``list.append`` collects them). ``None``: raise instead.

    Yields:
        Chunks in the order of the file. Rows may repeat a source id: they are
        given as they are.

    Raises:
        InputError: the file cannot be read, is damaged, or is no XP table; or a
            row is bad and ``on_bad_row`` is ``None``.

    Examples:
        A table of one sampled spectrum, its arrays written as the bulk files have them.

        >>> flux = f"[{','.join(['1e-17'] * 343)}]"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "xp.csv")
        ...     _ = path.write_text(f'source_id,flux,flux_error\\n42,"{flux}","{flux}"\\n')
        ...     (chunk,) = read_xp(path)
        >>> chunk.representation, chunk.source_id.tolist(), chunk.coefficients.shape
        ('sampled', [42], (1, 343))
    """
    path = Path(path)
    if chunk_size < 1:
        raise InputError(f"chunk_size must be at least 1, got {chunk_size}")
    if path.is_dir() and any(path.glob("*.h5")):
        _no_correlations(path, correlations)
        yield from read_parts(path, chunk_size=chunk_size)
        return
    with open_xp(path) as opened:
        if opened.kind == "text":
            chunks = _text(opened, path, chunk_size, correlations, on_bad_row)
        else:
            chunks = _table(opened, path, chunk_size, correlations, on_bad_row)
        try:
            yield from chunks
        except BROKEN_STREAM as error:
            raise InputError(
                f"{path}: cannot be read to its end ({error}); download it again"
            ) from error


def _text(
    opened: Opened, path: Path, chunk_size: int, correlations: bool, on_bad_row: OnBadRow | None
) -> Iterator[XPChunk]:
    header = read_header(opened.head)
    if header is None:
        # A header without a line end, or one longer than any table's.
        header = read_header(opened.head + b"\n")
    if header is None:
        raise InputError(f"{path}: has no header line; pass XP spectra with their header")
    layout = layout_of(header.columns, path, correlations=correlations)
    assembler = Assembler(path, layout, chunk_size, on_bad_row)
    try:
        yield from read_text(opened.stream, header, assembler)
    except BROKEN_STREAM as error:
        raise InputError(
            f"{path}: damaged or truncated gzip data after row {assembler.row} ({error}); "
            f"download it again"
        ) from error


def _table(
    opened: Opened, path: Path, chunk_size: int, correlations: bool, on_bad_row: OnBadRow | None
) -> Iterator[XPChunk]:
    options: dict[str, Any] = {
        "chunk_size": chunk_size,
        "correlations": correlations,
        "on_bad_row": on_bad_row,
    }
    if opened.kind == "votable":
        yield from read_votable(opened.stream, path, **options)
        return
    # Astropy takes long to import, and each process of `ingest` would.
    from aspgap_jax.survey.xp.tables import read_fits, read_hdf5

    with _on_disk(opened, path) as file:
        if opened.kind == "fits":
            yield from read_fits(file, path, **options)
            return
        try:
            hdf5 = h5py.File(file, "r")
        except OSError as error:
            raise InputError(f"{path}: damaged HDF5 file ({error}); get it again") from error
        with hdf5:
            if is_store(hdf5):
                _no_correlations(path, correlations)
                yield from read_store(hdf5, path, chunk_size=chunk_size)
            else:
                yield from read_hdf5(hdf5, path, **options)


def _no_correlations(path: Path, correlations: bool) -> None:
    if correlations:
        raise InputError(f"{path}: an XP store has no correlations; read the original files")


@contextmanager
def _on_disk(opened: Opened, path: Path) -> Iterator[Path]:
    """The file as one that can be mapped into memory."""
    if not opened.packed:
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=f".{opened.kind}") as unpacked:
        while part := opened.stream.read(1 << 20):
            unpacked.write(part)
        unpacked.flush()
        yield Path(unpacked.name)
