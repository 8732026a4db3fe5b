"""Tables in FITS files: every table extension, row by row or column by column (ColFITS)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from aspgap_jax.errors import InputError
from aspgap_jax.survey.tables.opened import Opened
from aspgap_jax.survey.tables.source import BLOCK_ROWS, NoTable, Raw, SourceTable

__all__ = ["open_fits_tables"]


@contextmanager
def open_fits_tables(opened: Opened, path: Path) -> Iterator[list[SourceTable]]:
    """The tables of a FITS file, named by their number.

    Args:
        opened: the file.
        path: its name in messages.

    Returns:
        The tables, for a ``with`` statement.

    Raises:
        InputError: it has none, or one that is compressed as a table.
    """
    with fits.open(opened.path, memmap=True) as hdus:
        tables: list[SourceTable] = []
        used: list[Any] = []
        for number, hdu in enumerate(hdus):
            if not isinstance(hdu, fits.BinTableHDU | fits.TableHDU) or not len(hdu.columns):
                continue
            if hdu.header.get("ZTABLE") is True:
                raise InputError(f"{path}, HDU {number}: a compressed table: `funpack` it first")
            tables.append(_table(hdu, f"HDU {number}"))
            used.append(hdu)
        if not tables:
            raise NoTable(f"{path}: a FITS file without a table; pass a table of stars")
        yield tables
        # Else astropy copies the whole table into memory when the file is closed.
        for hdu in used:
            for column in hdu.columns:
                del column.array


def _table(hdu: Any, name: str) -> SourceTable:
    names = tuple(str(column) for column in hdu.columns.names)
    rows = int(hdu.header["NAXIS2"])
    length = _column_length(hdu) if rows == 1 else 0

    def blocks(places: Sequence[int]) -> Iterator[list[Raw]]:
        for start in range(0, length or rows, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, length or rows)
            if length:
                cells = [hdu.data.field(place)[0][start:stop] for place in places]
            else:
                part = hdu.data[start:stop]
                cells = [part.field(place) for place in places]
            yield [
                _with_mask(cell, hdu.columns[place])
                for cell, place in zip(cells, places, strict=True)
            ]

    return SourceTable(name, names, blocks)


def _column_length(hdu: Any) -> int:
    """Rows of a ColFITS table, which keeps each column whole in the one row; else 0."""
    lengths = {_cells(column) for column in hdu.columns}
    length = lengths.pop()
    return length if not lengths and length > 1 else 0


def _cells(column: Any) -> int:
    """The last axis of a cell of a column, 1 for a single value."""
    if column.dim:
        return int(str(column.dim).strip("() ").split(",")[-1])
    repeat, kind = re.fullmatch(r"(\d*)(\w).*", str(column.format)).groups()  # type: ignore[union-attr]
    return 1 if kind in "APQ" else int(repeat or 1)


def _with_mask(cells: Any, column: Any) -> Raw:
    array = np.asarray(cells)
    if array.dtype.kind not in "OSU":
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if column.null is not None and array.dtype.kind in "iu":
            return np.ma.masked_equal(array, column.null)
    return array
