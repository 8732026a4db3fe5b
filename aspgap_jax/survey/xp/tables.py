"""XP spectra in FITS tables and in HDF5 with one dataset a column."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from astropy.io import fits

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.assemble import Assembler, OnBadRow
from aspgap_jax.survey.xp.chunk import SOURCE_ID, XPChunk, layout_of

__all__ = ["read_fits", "read_hdf5"]


def read_fits(
    file: Path,
    path: Path,
    *,
    chunk_size: int,
    correlations: bool,
    on_bad_row: OnBadRow | None,
) -> Iterator[XPChunk]:
    """Chunks of the first XP table of a FITS file.

    Args:
        file: the uncompressed file.
        path: the name to show in messages.
    """
    with file.open("rb") as raw, _fits(raw, path) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
        if not tables:
            raise InputError(f"{path}: has no table; pass a FITS table of XP spectra")
        # Of several tables, the first that holds XP spectra; else the first says why not.
        table = next((hdu for hdu in tables if SOURCE_ID in hdu.columns.names), tables[0])
        layout = layout_of(table.columns.names, path, correlations=correlations)
        nulls = {
            name: table.columns[name].null
            for name in (*layout.integers, *layout.floats)
            if table.columns[name].null is not None
        }
        assembler = Assembler(path, layout, chunk_size, on_bad_row)
        for start in range(0, int(table.header["NAXIS2"]), chunk_size):
            try:
                rows = table.data[start : start + chunk_size]
                batch: dict[str, Any] = {
                    name: _native(rows[name]) for name in (*layout.arrays, *layout.scalars)
                }
            except (OSError, ValueError, TypeError, IndexError) as error:
                raise InputError(
                    f"{path}: damaged FITS table after row {start} ({error}); download it again"
                ) from error
            for name, null in nulls.items():
                batch[name] = np.where(batch[name] == null, np.nan, batch[name])
            yield from _add(assembler, batch)
        yield from assembler.rest()


@contextmanager
def _fits(raw: IO[bytes], path: Path) -> Iterator[fits.HDUList]:
    try:
        with warnings.catch_warnings():
            # Astropy only warns of a truncated file.
            warnings.simplefilter("error")
            hdus = fits.open(raw, memmap=True)
            len(hdus)
    except (OSError, ValueError, Warning) as error:
        raise InputError(f"{path}: damaged FITS file ({error}); download it again") from error
    with hdus:
        yield hdus


def read_hdf5(
    file: h5py.File,
    path: Path,
    *,
    chunk_size: int,
    correlations: bool,
    on_bad_row: OnBadRow | None,
) -> Iterator[XPChunk]:
    """Chunks of an HDF5 file with one dataset a column, the array columns flat or 2-D."""
    groups = [file, *(item for item in file.values() if isinstance(item, h5py.Group))]
    group = next((item for item in groups if SOURCE_ID in item), file)
    layout = layout_of(group, path, correlations=correlations)
    assembler = Assembler(path, layout, chunk_size, on_bad_row)
    stars = len(group[SOURCE_ID])
    widths = {}
    for name in (*layout.arrays, *layout.scalars):
        per_star = 1 if stars == 0 else group[name].size / stars
        if per_star != int(per_star) or (name in layout.scalars and per_star != 1):
            raise InputError(
                f"{path}: dataset {name} has {group[name].size} values for {stars} stars; "
                f"download the file again"
            )
        widths[name] = int(per_star)
    for start in range(0, stars, chunk_size):
        stop = min(start + chunk_size, stars)
        try:
            batch = {name: _rows(group[name], start, stop, widths[name]) for name in widths}
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{path}: damaged HDF5 data after row {start} ({error}); download it again"
            ) from error
        for name in layout.arrays:
            if batch[name].ndim == 1 and batch[name].dtype.kind != "O":
                batch[name] = batch[name].reshape(stop - start, -1)
        yield from _add(assembler, batch)
    yield from assembler.rest()


def _rows(dataset: h5py.Dataset, start: int, stop: int, width: int) -> np.ndarray:
    flat = dataset.ndim == 1 and dataset.dtype.kind != "O"
    return np.asarray(dataset[start * width : stop * width] if flat else dataset[start:stop])


def _add(assembler: Assembler, batch: Mapping[str, Any]) -> Iterator[XPChunk]:
    rows = range(assembler.row + 1, assembler.row + 1 + len(batch[SOURCE_ID]))
    assembler.row += len(rows)
    assembler.add(batch, rows)
    yield from assembler.full()


def _native(values: Any) -> Any:
    """A FITS column in the machine's byte order; variable-length cells as they are."""
    array = np.asarray(values)
    if array.dtype.kind == "O":
        return list(values)
    return array.astype(array.dtype.newbyteorder("="))
