"""Cells as numbers, whole numbers, source ids and text, whatever type a file gave them.

Nothing is rounded and nothing is guessed: what is not the type asked for is an error
that names its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64, Int64

from aspgap_jax.errors import InputError
from aspgap_jax.survey.tables.source import Raw

__all__ = ["MISSING_ID", "Place", "integers", "numbers", "source_ids", "texts"]

MISSING_ID = -1
NULLS = ("", "null", "nan", "none", "--", "na", "n/a", "<na>", "\\n", "masked")
TRUTH = {"true": 1.0, "false": 0.0}
# The largest number below which float64 holds every whole number.
EXACT = 2**53
# As Gaia's column ``designation`` and VizieR's ``DR3Name`` have it. EDR3 and DR3 share ids.
DESIGNATION = r"^Gaia\s+E?DR3\s+"
ROUNDED = "which rounds 19-digit ids; write the table again with 64-bit integers"


class Place(NamedTuple):
    """Where a column stands, for messages.

    Attributes:
        path: the file.
        table: the table in it, may be empty.
        column: its name.
        row: number of the first row of the block, from 1, the header not counted.
    """

    path: Path
    table: str
    column: str
    row: int = 1

    @property
    def file(self) -> str:
        """File and table."""
        return f"{self.path}, {self.table}" if self.table else f"{self.path}"

    def at(self, index: int) -> str:
        """File, table and row."""
        return f"{self.file}, row {self.row + index}"


def numbers(values: Raw, place: Place) -> Float64[np.ndarray, " row"]:
    """A column of numbers as float64, missing values as NaN.

    Args:
        values: as the file has them.
        place: of the column, for messages.

    Returns:
        float64 ``[row]``.

    Raises:
        InputError: it holds text that is no number, or arrays.
    """
    array, missing = _native(values, place)
    if isinstance(array, pa.Array):
        return _parsed(array, place)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{place.file}: column {place.column} holds no numbers")
    return np.where(missing, np.nan, array.astype(np.float64))


def integers(values: Raw, place: Place) -> Int64[np.ndarray, " row"]:
    """A column of whole numbers as int64, missing values as -1.

    Args:
        values: as the file has them.
        place: of the column, for messages.

    Returns:
        int64 ``[row]``.

    Raises:
        InputError: a value is none, or was stored as a float that does not hold it.
    """
    array, missing = _native(values, place)
    if isinstance(array, pa.Array):
        return _parsed_integers(array, place)
    kind = array.dtype.kind
    if kind == "f":
        return _exact(array, missing | np.isnan(array), place)
    if kind not in "iub":
        raise InputError(f"{place.file}: column {place.column} holds no integers")
    if kind == "u" and array.dtype.itemsize == 8:
        _refuse_first(
            ~missing & (array > np.iinfo(np.int64).max), array, place, "not a 64-bit integer"
        )
    return np.where(missing, MISSING_ID, array.astype(np.int64))


def source_ids(values: Raw, place: Place) -> Int64[np.ndarray, " row"]:
    """A column of Gaia source ids: :func:`integers`, or designations ("Gaia DR3 123").

    Whatever is not above zero is -1.

    Args:
        values: as the file has them.
        place: of the column, for messages.

    Returns:
        int64 ``[row]``.
    """
    ids = integers(values, place)
    return np.where(ids > 0, ids, MISSING_ID)


def texts(values: Raw, place: Place) -> np.ndarray:
    """A column of text, stripped, dtype ``U``; empty where missing.

    Args:
        values: as the file has them.
        place: of the column, for messages.

    Returns:
        Text ``[row]``.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iufb" and values.ndim == 1:
        return np.ma.filled(np.ma.asarray(values).astype(str), "")
    array, _ = _native(values, place)
    if not isinstance(array, pa.Array):
        array = pa.array([str(value) for value in array.tolist()])
    found = pc.fill_null(pc.utf8_trim_whitespace(array), "")
    return np.array(found.to_pylist(), dtype=str)


def _native(values: Raw, place: Place) -> tuple[np.ndarray | pa.Array, np.ndarray]:
    """Numbers as a NumPy array with its mask, or text as an Arrow array."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return _from_arrow(values, place)
    if np.ndim(values) != 1:
        raise _arrays(place)
    mask = np.ma.getmaskarray(values)
    data = np.ma.getdata(values)
    if data.dtype.kind in "OSU":
        return _as_text(data, mask, place), mask
    return data, mask


def _from_arrow(values: pa.Array, place: Place) -> tuple[np.ndarray | pa.Array, np.ndarray]:
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _from_arrow(values.dictionary_decode(), place)
    if pa.types.is_null(kind):
        return np.full(len(values), np.nan), np.ones(len(values), bool)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_large_string(kind):
        values = values.cast(pa.string())
        kind = values.type
    missing = values.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_string(kind):
        return values, missing
    if pa.types.is_boolean(kind):
        values, kind = values.cast(pa.int8()), pa.int8()
    if pa.types.is_decimal(kind):
        whole = kind.scale == 0
        values = values.cast(pa.int64() if whole else pa.float64())
        kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        filled = values.fill_null(pa.scalar(0, kind)) if values.null_count else values
        return filled.to_numpy(zero_copy_only=False), missing
    raise _arrays(place)


def _arrays(place: Place) -> InputError:
    return InputError(f"{place.file}: column {place.column} holds arrays where numbers belong")


def _as_text(data: np.ndarray, mask: np.ndarray, place: Place) -> pa.Array:
    cells: list[str | None] = []
    for cell, masked in zip(data.tolist(), mask, strict=True):
        if masked or cell is None or cell is np.ma.masked:
            cells.append(None)
        elif isinstance(cell, bytes):
            cells.append(cell.decode("utf-8", "replace"))
        elif isinstance(cell, str):
            # Surrogates of a damaged file are no text for Arrow.
            cells.append(cell.encode("utf-8", "replace").decode())
        elif isinstance(cell, np.ndarray | list | tuple):
            raise _arrays(place)
        else:
            cells.append(str(cell))
    return pa.array(cells, pa.string())


def _with_nulls(text: pa.Array) -> pa.Array:
    """Stripped text, with nulls for the usual words for them."""
    stripped = pc.utf8_trim(pc.utf8_trim_whitespace(text), characters="\x00")
    null = pc.is_in(pc.utf8_lower(stripped), value_set=pa.array(NULLS))
    return pc.if_else(null, pa.scalar(None, pa.string()), stripped)


def _parsed(text: pa.Array, place: Place) -> np.ndarray:
    cells = _with_nulls(text)
    try:
        return np.asarray(pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        return np.array([_number(cell, index, place) for index, cell in _cells(cells)])


def _cells(cells: pa.Array) -> Sequence[tuple[int, str | None]]:
    return list(enumerate(cells.to_pylist()))


def _number(cell: str | None, index: int, place: Place) -> float:
    if cell is None:
        return np.nan
    if cell.lower() in TRUTH:
        return TRUTH[cell.lower()]
    try:
        # Python takes 1_000, which no table means.
        return float(cell.replace("_", "?"))
    except ValueError:
        raise InputError(
            f"{place.at(index)}: column {place.column} is {cell[:40]!r}, not a number; "
            f"correct the row or remove it"
        ) from None


def _parsed_integers(text: pa.Array, place: Place) -> np.ndarray:
    cells = pc.replace_substring_regex(_with_nulls(text), pattern=DESIGNATION, replacement="")
    try:
        found = pc.cast(cells, pa.int64())
        return np.asarray(found.fill_null(MISSING_ID).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        return np.array([_integer(cell, index, place) for index, cell in _cells(cells)], np.int64)


def _integer(cell: str | None, index: int, place: Place) -> int:
    if cell is None:
        return MISSING_ID
    try:
        if (value := int(cell.replace("_", "?"))) <= np.iinfo(np.int64).max:
            return value
    except ValueError:
        try:
            rounded = float(cell.replace("_", "?"))
        except ValueError:
            rounded = np.nan
        if rounded.is_integer():
            if abs(rounded) <= EXACT:
                return int(rounded)
            raise InputError(
                f"{place.at(index)}: column {place.column} is {cell[:40]!r}, a float, {ROUNDED}"
            ) from None
    raise InputError(
        f"{place.at(index)}: column {place.column} is {cell[:40]!r}, not an integer; "
        f"correct the row or remove it"
    )


def _exact(array: np.ndarray, missing: np.ndarray, place: Place) -> np.ndarray:
    """Floats as integers where they hold them exactly."""
    exact = EXACT if array.dtype.itemsize == 8 else 2**24
    values = np.where(missing, 0.0, array).astype(np.float64)
    rounds = np.flatnonzero(np.abs(values) > exact)
    if len(rounds):
        raise InputError(
            f"{place.at(int(rounds[0]))}: column {place.column} is {values[rounds[0]]:.0f}, of "
            f"type {array.dtype.name}, {ROUNDED}"
        )
    _refuse_first(values != np.rint(values), values, place, "not an integer")
    return np.where(missing, MISSING_ID, values.astype(np.int64))


def _refuse_first(wrong: np.ndarray, values: np.ndarray, place: Place, why: str) -> None:
    if wrong.any():
        index = int(np.argmax(wrong))
        raise InputError(
            f"{place.at(index)}: column {place.column} is {values[index]}, {why}; "
            f"correct the row or remove it"
        )
