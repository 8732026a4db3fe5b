"""Numbers and lists of numbers that a table holds as text.

The archive writes lists as ``[a, b]`` (ECSV) or ``"(a, b)"`` (DataLink's CSV); pandas
writes what NumPy prints, ``[a b\\n c]``; TOPCAT and VOTables write ``a b c``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

__all__ = [
    "NULLS",
    "Fault",
    "as_list",
    "as_scalar",
    "id_of",
    "is_text",
    "list_cells",
    "scalar_cells",
]

DESIGNATION = re.compile(r"gaia e?dr[3-9] (\d{1,19})", re.IGNORECASE)

NULLS = frozenset({"", "null", "nan", "none", "--", "masked", "<na>"})
BRACKETS = {"[": "]", "(": ")", "{": "}"}
# What Python shows around the numbers of an array or of a list of NumPy's scalars.
WRAPPED = re.compile(r"^(?:np\.)?array\((.*?)(?:,\s*dtype=[^)]*)?\)$", re.DOTALL)
SCALAR = re.compile(r"np\.\w+\(([^()]*)\)")
SHOWN = 40


class Fault(str):
    """What is wrong with a cell, in its place."""


def as_scalar(name: str, cell: str) -> float | None:
    """A number, ``None`` where it is missing.

    Args:
        name: of the column, for the message.
        cell: its text.

    Returns:
        The number.

    Raises:
        ValueError: it is none; the message says so.
    """
    text = cell.strip()
    if text.lower() in NULLS:
        return None
    try:
        return _number(text)
    except ValueError:
        raise ValueError(f"{name} is {text[:SHOWN]!r}, not a number") from None


def as_list(name: str, cell: str) -> np.ndarray | None:
    """A list of numbers, NaN where one is missing; ``None`` where the list is missing.

    Args:
        name: of the column, for the message.
        cell: its text.

    Returns:
        float64, or ``None``.

    Raises:
        ValueError: it is none; the message says so.
    """
    text = cell.strip()
    if text.lower() in NULLS:
        return None
    if (wrapped := WRAPPED.match(text)) is not None:
        text = wrapped[1].strip()
    bracketed = text[:1] in BRACKETS
    if bracketed:
        if BRACKETS[text[0]] != text[-1] or len(text) < 2:
            raise ValueError(f"{name} is {text[:SHOWN]!r}, not a list of numbers")
        text = text[1:-1].strip()
        if not text:
            return None
    if "np." in text:
        text = SCALAR.sub(r"\1", text)
    separator = next((mark for mark in (",", ";") if mark in text), None)
    items = text.split(separator)
    if not bracketed and len(items) == 1:
        raise ValueError(f"{name} is {text[:SHOWN]!r}, not a list of numbers")
    if "_" not in text:
        try:
            return np.array(items, np.float64)
        except ValueError:
            pass
    if any(item.strip() == "..." for item in items):
        raise ValueError(
            f"{name} is shortened ('...'): write it with all its numbers "
            f"(numpy.set_printoptions(threshold=sys.maxsize))"
        )
    try:
        return np.array([_item(item) for item in items])
    except ValueError as error:
        raise ValueError(f"{name} holds {error}") from None


def id_of(value: Any) -> int | str | None:
    """A source id as an integer, where the cell is unambiguously one; else what it is.

    A floating-point number counts if it is a whole one below 2**53, where each has its own; a
    designation (``Gaia DR3 5853498713190525696``) if it is of DR3 or later.

    Args:
        value: a cell of any reader.

    Returns:
        The id; a text for the message where it is none; ``None`` where it is missing.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        text = value.strip()
        if named := DESIGNATION.fullmatch(text):
            return int(named[1])
        return int(text) if text.isascii() and text.isdigit() else text or None
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating) and not np.isnan(value):
        if value == np.round(value) and -(2**53) < value < 2**53:
            return int(value)
        return f"{float(value)!r} (a floating-point number, which has lost digits of the id)"
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else str(value)
    return None


def is_text(values: Sequence[Any] | np.ndarray) -> bool:
    """Whether the cells of a column are text, judged by the first that is not missing.

    Args:
        values: the cells of a column.

    Returns:
        True for ``str`` and ``bytes``.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "SU":
        return True
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return False
    first = next((value for value in values if value is not None), None)
    return isinstance(first, str | bytes)


def scalar_cells(name: str, values: Sequence[Any] | np.ndarray) -> Sequence[Any] | np.ndarray:
    """A column of numbers; cells of text are parsed, faults stay in their places.

    Args:
        name: of the column.
        values: as the file has them.

    Returns:
        Numbers, ``None``, or the fault, cell by cell; what is an array already stays one.
    """
    return [_cell(as_scalar, name, value) for value in values] if is_text(values) else values


def list_cells(name: str, values: Sequence[Any] | np.ndarray) -> Sequence[Any] | np.ndarray:
    """A column of lists; cells of text are parsed, faults stay in their places.

    Args:
        name: of the column.
        values: as the file has them.

    Returns:
        Lists, ``None``, or the fault, cell by cell; what is an array already stays one.
    """
    return [_cell(as_list, name, value) for value in values] if is_text(values) else values


def _cell(parse: Any, name: str, value: Any) -> Any:
    if isinstance(value, Fault):
        return value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return value
    try:
        return parse(name, value)
    except ValueError as error:
        return Fault(error)


def _item(item: str) -> float:
    text = item.strip().strip("\"'")
    if text and text.lower() in NULLS:
        return float("nan")
    try:
        return _number(text)
    except ValueError:
        raise ValueError(f"{text[:SHOWN]!r} where a number belongs") from None


def _number(text: str) -> float:
    # Python reads 1_000 as a number; no table means that.
    if "_" in text:
        raise ValueError(text)
    return float(text)
