"""XP spectra in the archive's text: bulk files and DataLink's CSV, at the decompressor's speed.

Text of other hands goes through :mod:`aspgap_jax.survey.xp.loose`.

A bulk row holds about 37 kB of text, of which 34 kB are correlations that are
seldom wanted. Nearly all of the time therefore goes into decompression, and the
reader looks at the rest as little as it can:

- quotes are found by ``find`` (memchr): a row has two a list, so the lists that
  are not wanted are passed over without being copied;
- the lists of many rows are joined and parsed by one call of orjson; a number
  that no row holds stands between them, so that a list of the wrong length shows
  as this number in the wrong column;
- whatever does not fit (a missing band has no quotes, a row may be corrupt) goes
  through the csv module row by row, where each fault has its own message.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import orjson

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.assemble import Assembler, are_integers
from aspgap_jax.survey.xp.cells import NULLS, as_list, as_scalar
from aspgap_jax.survey.xp.chunk import (
    BANDS,
    CORRELATIONS,
    MISSING,
    SOURCE_ID,
    XPChunk,
    XPLayout,
)
from aspgap_jax.survey.xp.detect import BROKEN_STREAM, Rewound
from aspgap_jax.survey.xp.header import Header

__all__ = ["is_archive_row", "read_text"]

# Small enough for the second-level cache, where a block is searched just after it
# was decompressed; rows are parsed together across blocks.
BLOCK = 1 << 18
TOGETHER = 64
# A row of DR3 has 40 kB; a longer line than this is no row.
LONGEST_LINE = 1 << 26
MARK = 9e99
MARK_TEXT = b"9e99"
BRACKETS = {ord("["): ord("]"), ord("("): ord(")")}


class _Shape(NamedTuple):
    """How the quoted lists and the bare scalars of a complete row alternate.

    Attributes:
        wanted: for each array column of the file, in its order, whether it is read.
        lists: the names of those that are.
        scalars: column name to its place among all columns.
        marks: the places of the array columns.
        width: number of columns.
    """

    wanted: tuple[bool, ...]
    lists: tuple[str, ...]
    scalars: dict[str, int]
    marks: tuple[int, ...]
    width: int


def _shape(columns: tuple[str, ...], layout: XPLayout) -> _Shape:
    arrays = {f"{band}_{CORRELATIONS}" for band in BANDS} | set(layout.spectra)
    quoted = [name for name in columns if name in arrays]
    return _Shape(
        wanted=tuple(name in layout.arrays for name in quoted),
        lists=tuple(name for name in quoted if name in layout.arrays),
        scalars={name: columns.index(name) for name in layout.scalars},
        marks=tuple(columns.index(name) for name in quoted),
        width=len(columns),
    )


def is_archive_row(line: str, header: Header, layout: XPLayout) -> bool:
    """Whether a line is a row as the archive writes it: lists in brackets, with commas.

    Args:
        line: of the file.
        header: of the file.
        layout: of the archive's columns.

    Returns:
        Whether it is one.
    """
    try:
        cells = next(csv.reader([line], strict=True), [])
    except csv.Error:
        return False
    if header.delimiter != "," or len(cells) != len(header.columns):
        return False
    lists = [cells[header.columns.index(name)].strip() for name in layout.spectra]
    return all(cell.lower() in NULLS or _is_list(cell) for cell in lists) and any(
        _is_list(cell) for cell in lists
    )


def _is_list(cell: str) -> bool:
    if not cell or "..." in cell or "np." in cell:
        return False
    return BRACKETS.get(ord(cell[0])) == ord(cell[-1]) and "," in cell


def read_text(stream: Rewound, header: Header, assembler: Assembler) -> Iterator[XPChunk]:
    """Chunks of a text table.

    Args:
        stream: the decompressed file, from its beginning.
        header: of :func:`aspgap_jax.survey.xp.header.read_header`, with the names of the
            archive.
        assembler: collects the rows; it must be new.

    Returns:
        An iterator of chunks.

    Raises:
        InputError: a line too long for a table, or a bad row.
    """
    rows = _Rows(header, assembler)
    _skip(stream, header.length)
    rest = b""
    while True:
        try:
            part = stream.read(BLOCK)
        except BROKEN_STREAM:
            rows.finish()
            yield from assembler.rest()
            raise
        if not part:
            break
        # Only the row across two blocks is copied, not the block.
        stop = part.find(b"\n") + 1
        if not stop:
            rest += part
            if len(rest) > LONGEST_LINE:
                raise InputError(
                    f"{assembler.path}: a line of more than {LONGEST_LINE} bytes after row "
                    f"{assembler.row}: not an XP table; download the file again"
                )
            continue
        rows.take(rest + part[:stop])
        rest = part[rows.take(part, stop) :]
        yield from assembler.full()
    # The last line need not end in a newline.
    rows.take(rest + b"\n")
    rows.finish()
    yield from assembler.rest()


def _skip(stream: Rewound, size: int) -> None:
    while size > 0 and (part := stream.read(size)):
        size -= len(part)


# A line of text: the block it lies in, its start and its end there.
Line = tuple[bytes, int, int]


class _Rows:
    """Splits text into rows and parses them, in bulk where they are complete."""

    def __init__(self, header: Header, assembler: Assembler) -> None:
        self._columns = header.columns
        self._to = assembler
        self._layout = assembler.layout
        self._shape = _shape(header.columns, assembler.layout)
        # Complete rows that wait to be parsed together: where each stands, its lists
        # one after the other, and its text without them.
        self._lines: list[Line] = []
        self._lists: list[bytes] = []
        self._bare: list[bytes] = []
        self._places = {name: place for place, name in enumerate(header.columns)}

    def take(self, data: bytes, start: int = 0) -> int:
        """Parse the complete lines of ``data`` from ``start``; return where they end."""
        while start < len(data):
            stop = self._split(data, start) if self._to.widths_known else -1
            if stop < 0:
                stop = data.find(b"\n", start)
                if stop < 0:
                    break
                self.finish()
                self._one_by_one([(data, start, stop)])
            elif len(self._lines) >= TOGETHER:
                self.finish()
            start = stop + 1
        return start

    def _split(self, data: bytes, start: int) -> int:
        """Keep the parts of the row at ``start``; return its end, or -1 if it is special."""
        find = data.find
        parts = []
        lists = []
        before = start
        closing = start - 1
        for wanted in self._shape.wanted:
            opening = find(b'"', closing + 1)
            closing = find(b'"', opening + 1)
            # A row that is cut takes the quotes of the next one: brackets are missed.
            if not before <= opening < closing:
                return -1
            if BRACKETS.get(data[opening + 1]) != data[closing - 1]:
                return -1
            parts.append(data[before:opening])
            before = closing + 1
            if wanted:
                lists.append(data[opening + 2 : closing - 1])
        stop = find(b"\n", before)
        if stop < 0:
            return -1
        parts.append(data[before:stop])
        # Each list leaves its mark among the scalars: one in the wrong place shows.
        self._bare.append(MARK_TEXT.join(parts))
        self._lists += lists
        self._lines.append((data, start, stop))
        return stop

    def finish(self) -> None:
        """Parse the rows that are kept by two calls; on any doubt, each by itself."""
        if not self._lines:
            return
        columns = self._parse(len(self._lines), self._lists, self._bare)
        if columns is None:
            self._one_by_one(self._lines)
        else:
            self._to.row += len(self._lines)
            self._to.add_checked(columns)
        self._lines, self._lists, self._bare = [], [], []

    def _parse(self, n: int, lists: list[bytes], bare: list[bytes]) -> dict[str, np.ndarray] | None:
        separator = b"," + MARK_TEXT + b","
        scalars = b",".join(bare)
        # A line end here belongs to a row that was cut: its quotes are the next row's.
        flat = None if b"\n" in scalars else _json(b"[" + scalars + b"]")
        spectra = _json(b"[" + separator.join(lists) + b"," + MARK_TEXT + b"]")
        shape = self._shape
        widths = [self._to.widths[name] for name in shape.lists]
        if flat is None or len(flat) != n * shape.width:
            return None
        if spectra is None or len(spectra) != n * (sum(widths) + len(widths)):
            return None
        try:
            table = _float_array(flat).reshape(n, -1)
            values = _float_array(spectra).reshape(n, -1)
            # A source id needs all 64 bits.
            ids = np.array(flat[shape.scalars[SOURCE_ID] :: shape.width])
        except (TypeError, ValueError, OverflowError):
            return None
        if ids.dtype != np.int64 or (ids < 0).any() or (table[:, shape.marks] != MARK).any():
            return None
        columns: dict[str, np.ndarray] = {SOURCE_ID: ids}
        place = 0
        for name, width in zip(shape.lists, widths, strict=True):
            columns[name] = values[:, place : place + width]
            place += width + 1
            if (values[:, place - 1] != MARK).any():
                return None
        for name in (*self._layout.integers, *self._layout.floats):
            columns[name] = table[:, shape.scalars[name]]
        counts = [shape.scalars[name] for name in self._layout.integers]
        return columns if are_integers(table[:, counts]).all() else None

    def _one_by_one(self, lines: list[Line]) -> None:
        # A row that was cut may have taken the next line for its own.
        texts = [line for data, start, stop in lines for line in data[start:stop].split(b"\n")]
        names = (*self._layout.arrays, *self._layout.scalars)
        good: list[dict[str, Any]] = []
        numbers: list[int] = []
        for text in texts:
            line = text.decode("utf-8", "replace").strip("\r")
            if not line.strip():
                continue
            self._to.row += 1
            try:
                good.append(self._values(line))
                numbers.append(self._to.row)
            except ValueError as error:
                # Faults are told in the order of the file.
                self._to.add({name: [row[name] for row in good] for name in names}, numbers)
                good, numbers = [], []
                self._to.report(self._to.row, self._source_id(line), str(error))
        self._to.add({name: [row[name] for row in good] for name in names}, numbers)

    def _values(self, line: str) -> dict[str, Any]:
        """The wanted values of one line; ``ValueError`` says what is wrong with it."""
        try:
            cells = next(csv.reader([line], strict=True))
        except csv.Error as error:
            raise ValueError(f"is cut or wrongly quoted ({error})") from None
        if len(cells) != len(self._columns):
            raise ValueError(f"has {len(cells)} columns, the header has {len(self._columns)}")
        values: dict[str, Any] = {}
        for name in self._layout.arrays:
            values[name] = as_list(name, cells[self._places[name]])
        for name in (*self._layout.integers, *self._layout.floats):
            values[name] = as_scalar(name, cells[self._places[name]])
        cell = cells[self._places[SOURCE_ID]].strip()
        values[SOURCE_ID] = int(cell) if cell.isascii() and cell.isdigit() else cell or None
        return values

    def _source_id(self, line: str) -> int:
        """The source id of a line that is wrong elsewhere, as far as it is readable."""
        cells = line.split(",", self._places[SOURCE_ID] + 1)
        cell = cells[self._places[SOURCE_ID]] if len(cells) > self._places[SOURCE_ID] else ""
        readable = cell.isascii() and cell.isdigit() and int(cell) < 2**63
        return int(cell) if readable else MISSING


def _json(text: bytes) -> list[Any] | None:
    """A JSON list of numbers and nulls, or ``None`` if ``text`` is none."""
    # true and false are JSON too, and would turn into numbers.
    if b"t" in text or b"f" in text:
        return None
    found: list[Any] | None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            found = orjson.loads(text.replace(b"NaN", b"null").replace(b"nan", b"null"))
        except orjson.JSONDecodeError:
            found = None
    return found


def _float_array(values: list[Any] | tuple[Any, ...]) -> np.ndarray:
    """float64, null as NaN; raises what NumPy raises on anything but numbers."""
    try:
        return np.fromiter(values, np.float64, len(values))
    except TypeError:
        return np.array(values, np.float64)
