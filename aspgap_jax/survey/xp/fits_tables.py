"""The tables of a FITS file: one row a star, or one row that holds the columns whole.

STILTS writes "colfits": a table of one row, each cell of which is a whole column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from aspgap_jax.survey.fits_files import strict_about_length
from aspgap_jax.survey.xp.damage import reading
from aspgap_jax.survey.xp.plan import NoSpectra
from aspgap_jax.survey.xp.table import Column, RawBatch, Stated, Table

__all__ = ["fits_tables"]

# Keywords that describe the file, not the stars.
STRUCTURE = ("TTYPE", "TFORM", "TUNIT", "TDIM", "TNULL", "TDISP", "TCOMM", "TUCD", "TUTYP", "NAXIS")


def fits_tables(file: Path, path: Path) -> Iterator[Table]:
    """The tables of a FITS file.

    Args:
        file: the uncompressed file.
        path: the name to show in messages.

    Returns:
        An iterator of tables.

    Raises:
        InputError: it is damaged, or has no table.
    """
    with file.open("rb") as raw, _opened(raw, path) as hdus:
        tables = [
            (number, hdu)
            for number, hdu in enumerate(hdus)
            if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)
        ]
        if not tables:
            raise NoSpectra(f"{path}: has no table; pass a FITS table of XP spectra", foreign=True)
        shared: dict[str, Stated] = {}
        for hdu in hdus[:1]:
            shared = _stated(hdu, path)
        for number, hdu in tables:
            place = f"extension {number}" if len(tables) > 1 else ""
            yield _table(hdu, path, place, shared)


def _opened(raw: Any, path: Path) -> fits.HDUList:
    with reading(path, "FITS file"), strict_about_length():
        hdus = fits.open(raw, memmap=True)
        len(hdus)
    return hdus


def _table(hdu: Any, path: Path, place: str, shared: dict[str, Stated]) -> Table:
    where = f"{path}, {place}" if place else str(path)
    with reading(where, "FITS table"), strict_about_length():
        rows = int(hdu.header["NAXIS2"])
        columns = tuple(Column(c.name, (c.unit or "").strip()) for c in hdu.columns)
        nulls = {c.name: c.null for c in hdu.columns if c.null not in (None, "")}
        whole = (rows == 1 and _length_of_columns(hdu)) or 0
        name = str(hdu.name).strip()
    stated = shared | _stated(hdu, path)

    def batches(names: Sequence[str], size: int) -> Iterator[RawBatch]:
        total = whole or rows
        for start in range(0, total, size):
            part = slice(start, min(start + size, total))
            with reading(f"{where} after row {start}", "FITS table"), strict_about_length():
                picked = hdu.data[0:1] if whole else hdu.data[part]
                batch: dict[str, Any] = {}
                for column in names:
                    values = picked[column][0][part] if whole else picked[column]
                    batch[column] = _native(values, nulls.get(column))
            yield batch

    return Table(f"{place} ({name})" if place and name else place, columns, batches, stated)


def _length_of_columns(hdu: Any) -> int:
    """How many rows the cells of a table of one row hold, if it is a colfits."""
    shapes = [hdu.columns.dtype[name].shape for name in hdu.columns.names]
    lengths = {shape[0] for shape in shapes if shape}
    return lengths.pop() if len(lengths) == 1 and all(shapes) else 0


def _stated(hdu: Any, path: Path) -> dict[str, Stated]:
    """Keywords that are no part of the structure."""
    with reading(path, "FITS header"), strict_about_length():
        return {
            str(card.keyword).lower(): Stated(card.value)
            for card in hdu.header.cards
            if card.keyword and not str(card.keyword).startswith(STRUCTURE)
        }


def _native(values: Any, null: Any) -> Any:
    """A FITS column in the machine's byte order; variable-length cells as they are."""
    array = np.asarray(values)
    if array.dtype.kind == "O":
        return list(values)
    array = array.astype(array.dtype.newbyteorder("="))
    if null is not None and array.dtype.kind in "iu":
        return np.where(array == int(null), np.nan, array) if (array == int(null)).any() else array
    return array
