"""The tables of a VOTable, read as a stream: TABLEDATA, BINARY and BINARY2.

Format: IVOA VOTable 1.4, sections 5 and 6. Astropy's reader holds the whole table
in memory several times over; this one holds a block. A file may hold any number of
tables; DataLink's structure COMBINED has one a star, its id in a PARAM.
"""

from __future__ import annotations

import base64
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.damage import reading
from aspgap_jax.survey.xp.detect import Rewound
from aspgap_jax.survey.xp.table import Column, RawBatch, Stated, Table
from aspgap_jax.survey.xp.votable_cells import Field, field_of, parsed, row_type, split_row

__all__ = ["votable_tables"]

BLOCK = 1 << 20
DAMAGED = "or truncated VOTable"


def votable_tables(stream: Rewound, path: Path) -> Iterator[Table]:
    """The tables of a VOTable.

    Args:
        stream: the decompressed file, from its beginning.
        path: the name to show in messages.

    Returns:
        An iterator of tables.

    Raises:
        InputError: it is damaged, or has no table with data.
    """
    document = _Document(stream, path)
    number = 0
    while (data := document.next_table()) is not None:
        number += 1
        place = f"table {number}" + (f" ({data.name})" if data.name else "")
        # Of a long first table it is not known yet whether it is the only one.
        alone = number == 1 and document.ended and not document.waiting
        columns = tuple(Column(field.name, field.unit) for field in data.fields)
        yield Table("" if alone else place, columns, partial(_rows, document, data), data.stated)
        document.skip(data)
    if not number:
        raise InputError(f"{path}: the VOTable has no data; pass a table of XP spectra")


def _rows(document: _Document, data: _Data, names: Sequence[str], size: int) -> Iterator[RawBatch]:
    places = {field.name: place for place, field in enumerate(data.fields)}
    wanted = {name: places[name] for name in names}
    row = 0
    while True:
        with reading(f"{document.path} after row {row}", DAMAGED):
            batch, count = data.take(wanted, size)
        if count:
            row += count
            yield batch
        elif data.ended:
            return
        else:
            document.pump()


class _Data:
    """One table: its head, and the part of its rows that has been read and not yet taken."""

    def __init__(self, name: str, fields: list[Field], stated: dict[str, Stated]) -> None:
        self.name = name
        self.fields = fields
        self.stated = stated
        self.kind = ""
        self.ended = False
        self.wanted = True
        self.cells: deque[list[str]] = deque()
        self.text: list[str] = []
        self._binary = b""

    def take(self, wanted: dict[str, int], size: int) -> tuple[RawBatch, int]:
        """At most ``size`` rows of the wanted columns, and how many there are."""
        if self.kind == "TABLEDATA":
            rows = [self.cells.popleft() for _ in range(min(size, len(self.cells)))]
            picked = {
                name: [parsed(self.fields[at], row[at] if at < len(row) else "") for row in rows]
                for name, at in wanted.items()
            }
            return picked, len(rows)
        self._decode()
        flags = (len(self.fields) + 7) // 8 if self.kind == "BINARY2" else 0
        dtype = row_type(self.fields, flags)
        if dtype is not None and dtype.itemsize:
            count = min(size, len(self._binary) // dtype.itemsize)
            block = np.frombuffer(self._binary, dtype, count)
            self._binary = self._binary[count * dtype.itemsize :]
            batch: RawBatch = {
                name: self.fields[at].column(block, at, flags) for name, at in wanted.items()
            }
        else:
            rows_found: list[list[Any]] = []
            place = 0
            while len(rows_found) < size and place < len(self._binary):
                found = split_row(self.fields, flags, self._binary, place)
                if found is None:
                    break
                values, stop = found
                if stop == place:
                    raise struct.error("rows of no length")
                rows_found.append(values)
                place = stop
            self._binary = self._binary[place:]
            count = len(rows_found)
            batch = {name: [values[at] for values in rows_found] for name, at in wanted.items()}
        if not count and self.ended and self._binary:
            raise struct.error(f"{len(self._binary)} bytes after the last row")
        return batch, count

    def _decode(self) -> None:
        """Base64 so far into bytes; keep what is incomplete."""
        text = "".join("".join(self.text).split())
        whole = len(text) if self.ended else len(text) // 4 * 4
        self.text = [text[whole:]]
        self._binary += base64.b64decode(text[:whole], validate=True)


class _Document:
    """Feeds an XML parser block by block and sorts what comes into tables.

    Attributes:
        path: the file, for messages.
        ended: whether all of it has been read.
        waiting: tables whose data have begun, or more, and which were not given yet.
    """

    def __init__(self, stream: Rewound, path: Path) -> None:
        self.path = path
        self.ended = False
        self.waiting: deque[_Data] = deque()
        self._stream = stream
        self._open: _Data | None = None
        # What PARAMs state, for the file and for each resource and table that is open.
        self._stated: list[dict[str, Stated]] = [{}]
        self._fields: list[Field] = []
        self._name = ""
        self._cells: list[str] | None = None
        self._text: list[str] | None = None
        self._described: list[str] | None = None
        self._tags: list[str] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def next_table(self) -> _Data | None:
        """The next table with data; ``None`` at the end of the file."""
        while not self.waiting and not self.ended:
            self.pump()
        # One block more shows whether a short file has a second table.
        if self.waiting and self.waiting[0].ended and not self.ended:
            self.pump()
        return self.waiting.popleft() if self.waiting else None

    def skip(self, data: _Data) -> None:
        """Read to the end of a table, keeping nothing of it."""
        data.wanted = False
        data.cells.clear()
        data.text = []
        while not data.ended:
            self.pump()

    def pump(self) -> None:
        """Read a block."""
        block = self._stream.read(BLOCK)
        with reading(self.path, DAMAGED):
            self._parser.Parse(block, not block)
        if not block:
            self.ended = True
            if self._open is not None:
                self._open.ended = True

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        self._tags.append(name)
        if name in ("RESOURCE", "TABLE"):
            self._stated.append({})
        if name == "TABLE":
            self._fields = []
            self._name = attributes.get("name", attributes.get("ID", ""))
        elif name == "FIELD":
            self._fields.append(field_of(attributes))
        elif name in ("PARAM", "INFO"):
            key = attributes.get("name", attributes.get("ID", "")).lower()
            unit = attributes.get("unit", "")
            self._stated[-1][key] = Stated(attributes.get("value", ""), unit)
        elif name == "VALUES" and "null" in attributes and self._tags[-2:-1] == ["FIELD"]:
            self._fields[-1] = self._fields[-1]._replace(null=attributes["null"])
        elif name == "DESCRIPTION" and self._tags[-2:-1] != ["FIELD"]:
            self._described = []
        elif name in ("TABLEDATA", "BINARY", "BINARY2", "FITS"):
            if name == "FITS":
                raise InputError(f"{self.path}: a FITS file inside a VOTable; pass the FITS file")
            stated = {key: value for level in self._stated for key, value in level.items()}
            self._open = _Data(self._name, self._fields, stated)
            self._open.kind = name
            self.waiting.append(self._open)
        elif name == "STREAM":
            if "href" in attributes or attributes.get("encoding") != "base64":
                raise InputError(f"{self.path}: its data are not in the file; download them too")
            self._text = self._open.text if self._open is not None else None
        elif name == "TR":
            self._cells = []
        elif name == "TD":
            self._text = []

    def _end(self, tag: str) -> None:
        name = self._tags.pop()
        if name == "TD" and self._cells is not None and self._text is not None:
            self._cells.append("".join(self._text))
            self._text = None
        elif name == "TR" and self._cells is not None:
            if self._open is not None and self._open.wanted:
                self._open.cells.append(self._cells)
            self._cells = None
        elif name == "STREAM":
            self._text = None
        elif name in ("TABLEDATA", "BINARY", "BINARY2") and self._open is not None:
            self._open.ended = True
            self._open = None
        elif name == "DESCRIPTION" and self._described is not None:
            self._stated[-1]["description"] = Stated("".join(self._described))
            self._described = None
        elif name in ("RESOURCE", "TABLE"):
            self._stated.pop()

    def _characters(self, text: str) -> None:
        if self._described is not None:
            self._described.append(text)
        elif self._text is not None and self._open is not None and self._open.wanted:
            # The list of the stream is replaced each time its rows are taken.
            (self._text if self._cells is not None else self._open.text).append(text)
