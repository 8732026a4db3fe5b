"""Columns of a VOTable: their types, and their values from text and from bytes.

Format: IVOA VOTable 1.4, sections 2.1, 2.2 and 6.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from aspgap_jax.survey.xp.cells import Fault

__all__ = ["Field", "field_of", "parsed", "row_type", "split_row"]

DTYPES: dict[str, np.dtype] = {
    "boolean": np.dtype("u1"),
    "unsignedByte": np.dtype("u1"),
    "char": np.dtype("S1"),
    "unicodeChar": np.dtype("S2"),
    "short": np.dtype(">i2"),
    "int": np.dtype(">i4"),
    "long": np.dtype(">i8"),
    "float": np.dtype(">f4"),
    "double": np.dtype(">f8"),
    "floatComplex": np.dtype(">c8"),
    "doubleComplex": np.dtype(">c16"),
}
ENCODINGS = {"char": "utf-8", "unicodeChar": "utf-16-be"}
MOST = 1 << 24


class Field(NamedTuple):
    """A column.

    Attributes:
        name: its name.
        kind: its ``datatype``.
        length: how many values a cell has; ``None``: it varies.
        scalar: whether a cell is one value.
        null: the number that stands for a missing one.
        unit: its unit.
    """

    name: str
    kind: str
    length: int | None
    scalar: bool
    null: str | None
    unit: str

    @property
    def is_text(self) -> bool:
        """Whether cells are text."""
        return self.kind in ENCODINGS

    def dtype(self) -> np.dtype:
        """Of one value.

        Raises:
            struct.error: no such type.
        """
        if self.kind == "bit":
            return np.dtype("u1")
        if self.kind not in DTYPES:
            raise struct.error(f"column {self.name} is of type {self.kind!r}")
        return DTYPES[self.kind]

    def size(self, values: int) -> int:
        """Bytes of so many values."""
        return (values + 7) // 8 if self.kind == "bit" else values * self.dtype().itemsize

    def column(self, block: np.ndarray, at: int, flags: int) -> Any:
        """This column, the ``at``-th, of rows of :func:`row_type`.

        Args:
            block: rows of :func:`row_type`.
            at: number of the column, from 0.
            flags: bytes of the mask of missing cells.

        Returns:
            One cell a row.
        """
        values = block[f"f{at}"]
        missing = np.zeros(len(block), bool)
        if flags:
            missing = (block["flags"][:, at // 8] >> (7 - at % 8) & 1).astype(bool)
        if self.is_text:
            return [
                None if gone else self._text(cell.tobytes())
                for cell, gone in zip(values, missing, strict=True)
            ]
        values = values.astype(values.dtype.newbyteorder("="))
        if self.scalar and self.null is not None:
            missing |= np.array([str(value) == self.null for value in values.tolist()], bool)
        if not missing.any():
            return values
        if self.scalar and values.dtype.kind == "f":
            return np.where(missing, np.nan, values)
        cells = values.tolist() if self.scalar else list(values)
        return [None if gone else cell for cell, gone in zip(cells, missing, strict=True)]

    def value(self, piece: bytes, missing: bool) -> Any:
        """One cell of bytes.

        Args:
            piece: its bytes.
            missing: whether the mask says that it is missing.

        Returns:
            A number, an array, text, or ``None``.
        """
        if missing or not piece:
            return None
        if self.is_text:
            return self._text(piece)
        values = np.frombuffer(piece, self.dtype())
        if not self.scalar:
            return values
        number = values[0].item()
        return None if self.null is not None and str(number) == self.null else number

    def _text(self, piece: bytes) -> str:
        return piece.decode(ENCODINGS[self.kind], "replace").partition("\x00")[0]


def field_of(attributes: dict[str, str]) -> Field:
    """A column, by the attributes of its FIELD.

    Args:
        attributes: by name, as in the file.

    Returns:
        Name, type, width and unit.
    """
    size = attributes.get("arraysize", "").strip()
    dimensions = size.rstrip("*").rstrip("x").split("x") if size else []
    varies = size.endswith("*")
    fixed = [int(n) for n in dimensions if n.isascii() and n.isdigit()]
    kind = attributes.get("datatype", "")
    return Field(
        name=attributes.get("name", attributes.get("ID", "")),
        kind=kind,
        length=None if varies else prod(fixed) if size else 1,
        scalar=not size or size == "1",
        null=None,
        unit=attributes.get("unit", "").strip(),
    )


def row_type(fields: Sequence[Field], flags: int) -> np.dtype | None:
    """The type of a binary row, where all rows have one length.

    Args:
        fields: of the table.
        flags: bytes of the mask of missing cells.

    Returns:
        ``None`` where rows differ in length.
    """
    if any(field.length is None for field in fields):
        return None
    parts: list[tuple[Any, ...]] = [("flags", "u1", (flags,))] if flags else []
    for at, field in enumerate(fields):
        length = field.length or 0
        if field.is_text or field.kind == "bit":
            parts.append((f"f{at}", f"V{field.size(length)}"))
        else:
            shape = () if field.scalar else (length,)
            parts.append((f"f{at}", field.dtype(), shape))
    return np.dtype(parts)


def split_row(
    fields: Sequence[Field], flags: int, data: bytes, place: int
) -> tuple[list[Any], int] | None:
    """One binary row that begins at ``place``, and where it ends.

    Args:
        fields: of the table.
        flags: bytes of the mask of missing cells.
        data: of the stream.
        place: of the row in them.

    Returns:
        ``None`` if the row goes on beyond ``data``.

    Raises:
        struct.error: a length or a type that cannot be.
    """
    if place + flags > len(data):
        return None
    nulls = np.unpackbits(np.frombuffer(data[place : place + flags], np.uint8))
    place += flags
    row: list[Any] = []
    for at, field in enumerate(fields):
        length = field.length
        if length is None:
            if place + 4 > len(data):
                return None
            (length,) = struct.unpack_from(">i", data, place)
            place += 4
            if not 0 <= length < MOST:
                raise struct.error(f"column {field.name} claims {length} values")
        size = field.size(length)
        if place + size > len(data):
            return None
        row.append(field.value(data[place : place + size], bool(flags and nulls[at])))
        place += size
    return row, place


def parsed(field: Field, cell: str) -> Any:
    """A cell of text: a number, an array, text, ``None``, or the fault in it.

    Args:
        field: of the cell.
        cell: its text.

    Returns:
        The value.
    """
    text = cell.strip()
    if not text or text == field.null:
        return None
    if field.is_text:
        return text
    try:
        if not field.scalar:
            return np.array(text.split(), np.float64)
        if field.kind in ("short", "int", "long"):
            return int(text, 16) if text.lower().startswith("0x") else int(text)
        # A float of VOTable has 32 bits.
        return np.float32(text).item() if field.kind == "float" else float(text)
    except ValueError:
        if field.kind in ("boolean", "bit", "unsignedByte", "floatComplex", "doubleComplex"):
            return None
        return Fault(f"{field.name} holds text where a number belongs")
