"""XP spectra in VOTables, read as a stream: tables of text, BINARY and BINARY2.

Format: IVOA VOTable 1.4, sections 5 and 6. Astropy's reader holds the whole table
in memory several times over; this one holds a block.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat

import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.assemble import Assembler, OnBadRow
from aspgap_jax.survey.xp.chunk import Layout, XPChunk, layout_of
from aspgap_jax.survey.xp.detect import Rewound

__all__ = ["read_votable"]

BLOCK = 1 << 20
DTYPES: dict[str, np.dtype] = {
    "boolean": np.dtype("u1"),
    "unsignedByte": np.dtype("u1"),
    "char": np.dtype("u1"),
    "unicodeChar": np.dtype(">u2"),
    "short": np.dtype(">i2"),
    "int": np.dtype(">i4"),
    "long": np.dtype(">i8"),
    "float": np.dtype(">f4"),
    "double": np.dtype(">f8"),
}


class Field(NamedTuple):
    """One column: its type, its length (``None``: varies from row to row), its null."""

    name: str
    dtype: np.dtype
    length: int | None
    scalar: bool
    null: str | None


def read_votable(
    stream: Rewound,
    path: Path,
    *,
    chunk_size: int,
    correlations: bool,
    on_bad_row: OnBadRow | None,
) -> Iterator[XPChunk]:
    """Chunks of the first table of a VOTable."""
    document = _Document(path)
    assembler: Assembler | None = None
    while True:
        block = stream.read(BLOCK)
        rows = document.feed(block)
        if document.started and assembler is None:
            layout = layout_of([f.name for f in document.fields], path, correlations=correlations)
            assembler = Assembler(path, layout, chunk_size, on_bad_row)
        if assembler is not None:
            _add(assembler, rows)
            yield from assembler.full()
        if not block:
            break
    if assembler is None:
        raise InputError(f"{path}: the VOTable has no data; pass a table of XP spectra")
    yield from assembler.rest()


def _add(assembler: Assembler, rows: list[dict[str, Any]]) -> None:
    """Hand rows over; array cells that do not parse make a row bad."""
    layout: Layout = assembler.layout
    names = (*layout.arrays, *layout.scalars)
    numbers, good = [], []
    for row in rows:
        assembler.row += 1
        fault = next((row[name] for name in names if isinstance(row[name], _Fault)), None)
        if fault is None:
            numbers.append(assembler.row)
            good.append(row)
        else:
            source_id = row["source_id"] if isinstance(row["source_id"], int) else -1
            assembler.report(assembler.row, source_id, str(fault))
    if good:
        assembler.add({name: [row[name] for row in good] for name in names}, numbers)


class _Fault(str):
    """What is wrong with a cell, in its place."""


class _Document:
    """Feeds an XML parser and collects the rows of the first table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fields: list[Field] = []
        self.started = False
        self._rows: list[dict[str, Any]] = []
        self._cells: list[str] | None = None
        self._text: list[str] | None = None
        self._kind = ""
        self._done = False
        self._binary = b""
        self._attributes: dict[str, str] = {}
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, block: bytes) -> list[dict[str, Any]]:
        """The rows that ``block`` completes; an empty block is the end of the file."""
        try:
            self._parser.Parse(block, not block)
            if self._kind.startswith("BINARY") and self._text is not None:
                self._decode(final=False)
        except (expat.ExpatError, binascii.Error, struct.error) as error:
            raise InputError(
                f"{self.path}: damaged or truncated VOTable ({error}); download it again"
            ) from error
        rows, self._rows = self._rows, []
        return rows

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        if self._done:
            return
        if name == "FIELD":
            self._attributes = attributes
            self.fields.append(self._field(attributes))
        elif name == "VALUES" and self.fields and "null" in attributes:
            self.fields[-1] = self.fields[-1]._replace(null=attributes["null"])
        elif name in ("TABLEDATA", "BINARY", "BINARY2", "FITS"):
            self._kind = name
            self.started = True
            if name == "FITS":
                raise InputError(f"{self.path}: a FITS file inside a VOTable; pass the FITS file")
        elif name == "STREAM":
            if "href" in attributes or attributes.get("encoding") != "base64":
                raise InputError(f"{self.path}: its data are not in the file; download them too")
            self._text = []
        elif name == "TR":
            self._cells = []
        elif name == "TD":
            self._text = []

    def _end(self, tag: str) -> None:
        name = tag.rpartition(" ")[2]
        if self._done:
            return
        if name == "TD" and self._cells is not None and self._text is not None:
            self._cells.append("".join(self._text))
            self._text = None
        elif name == "TR" and self._cells is not None:
            cells = self._cells + [""] * (len(self.fields) - len(self._cells))
            self._rows.append(
                {f.name: _parsed(f, cell) for f, cell in zip(self.fields, cells, strict=False)}
            )
            self._cells = None
        elif name == "STREAM":
            self._decode(final=True)
            self._text = None
        elif name == "TABLE":
            self._done = self.started

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _field(self, attributes: dict[str, str]) -> Field:
        size = attributes.get("arraysize")
        kind = attributes.get("datatype", "")
        plain = size is None or size == "*" or size.rstrip("*").isdigit()
        if kind not in DTYPES or not plain:
            # Complex numbers, bits and matrices: no XP table has them.
            raise InputError(
                f"{self.path}: column {attributes.get('name')} is of type {kind} {size or ''}, "
                f"which no XP table has; pass XP spectra as the Gaia archive delivers them"
            )
        varies = size is not None and size.endswith("*")
        length = None if varies else int(size or 1)
        return Field(attributes.get("name", ""), DTYPES[kind], length, size is None, None)

    def _decode(self, *, final: bool) -> None:
        """Turn the base64 text so far into rows; keep what is incomplete."""
        assert self._text is not None
        text = "".join("".join(self._text).split())
        whole = len(text) if final else len(text) // 4 * 4
        self._text = [text[whole:]]
        data = self._binary + base64.b64decode(text[:whole], validate=True)
        place = 0
        while place < len(data):
            try:
                row, place = self._binary_row(data, place)
            except _Incomplete:
                break
            self._rows.append(row)
        self._binary = data[place:]
        if final and self._binary:
            raise struct.error(f"{len(self._binary)} bytes after the last row")

    def _binary_row(self, data: bytes, place: int) -> tuple[dict[str, Any], int]:
        row: dict[str, Any] = {}
        flags = (len(self.fields) + 7) // 8 if self._kind == "BINARY2" else 0
        nulls = np.unpackbits(np.frombuffer(_piece(data, place, flags), np.uint8))
        place += flags
        for index, field in enumerate(self.fields):
            length = field.length
            if length is None:
                (length,) = struct.unpack(">i", _piece(data, place, 4))
                place += 4
                if not 0 <= length < 1 << 24:
                    raise struct.error(f"column {field.name} claims {length} values")
            size = length * field.dtype.itemsize
            piece = _piece(data, place, size)
            place += size
            if (flags and nulls[index]) or not length:
                row[field.name] = None
            else:
                values = np.frombuffer(piece, field.dtype)
                row[field.name] = _scalar(field, values[0]) if field.scalar else values
        return row, place


class _Incomplete(Exception):
    """The row continues in the next block."""


def _piece(data: bytes, place: int, size: int) -> bytes:
    if place + size > len(data):
        raise _Incomplete
    return data[place : place + size]


def _scalar(field: Field, value: np.generic) -> int | float | None:
    number: int | float = value.item()
    return None if field.null is not None and str(number) == field.null else number


def _parsed(field: Field, cell: str) -> Any:
    """A cell of text: a number, an array, ``None``, or the fault in it."""
    text = cell.strip()
    if not text or text == field.null:
        return None
    try:
        if not field.scalar:
            return np.array([float(item) for item in text.split()])
        return int(text) if field.dtype.kind == "i" else field.dtype.type(text).item()
    except ValueError:
        if field.dtype.kind == "u":
            return None
        return _Fault(f"{field.name} holds text where a number belongs")
