"""Text tables of other hands: any separator, lists as NumPy prints them, with line ends.

Slower than :mod:`aspgap_jax.survey.xp.text`, which reads what the archive writes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from aspgap_jax.survey.xp.cells import Fault
from aspgap_jax.survey.xp.detect import Rewound
from aspgap_jax.survey.xp.header import Header, cells_of
from aspgap_jax.survey.xp.table import RawBatch, Table

__all__ = ["loose_table"]

BLOCK = 1 << 18
# A list of NumPy has a line end every 75 characters. What goes on for longer is no row,
# but one whose last quote is lost.
LONGEST_ROW = 1 << 20
CLOSING = "])}"


def loose_table(stream: Rewound, header: Header) -> Table:
    """A text table; every cell is text.

    Args:
        stream: the decompressed file, from its beginning.
        header: of :func:`aspgap_jax.survey.xp.header.read_header`.

    Returns:
        Its rows are read when they are asked for.
    """

    def rows(names: Sequence[str], size: int) -> Iterator[RawBatch]:
        places = {name: header.columns.index(name) for name in names}
        batch: dict[str, list[str | Fault]] = {name: [] for name in names}
        count = 0
        for cells in _rows(stream, header):
            for name, place in places.items():
                batch[name].append(cells if isinstance(cells, Fault) else cells[place])
            count += 1
            if count == size:
                yield batch
                batch, count = {name: [] for name in names}, 0
        if count:
            yield batch

    return Table("", header.described(), rows, dict(header.stated))


def _rows(stream: Rewound, header: Header) -> Iterator[list[str] | Fault]:
    """The cells of each row, or what is wrong with it."""
    held: list[str] = []
    size = quotes = 0
    for line in _lines(stream, header.length):
        # The lines of a list go on with a blank; a row begins without. A quote that is
        # lost must not take the rows after it.
        goes_on = held and size < LONGEST_ROW and (not line[:1].strip() or line[0] in CLOSING)
        if held and not goes_on:
            yield Fault("is cut or wrongly quoted (a quote does not close)")
            held, size, quotes = [], 0, 0
        held.append(line)
        size += len(line)
        quotes += line.count('"')
        if quotes % 2 == 0:
            if "".join(held).strip():
                yield _cells(held, header)
            held, size, quotes = [], 0, 0
    if held:
        yield Fault("is cut or wrongly quoted (a quote does not close)")


def _cells(lines: list[str], header: Header) -> list[str] | Fault:
    try:
        cells = cells_of("\n".join(lines), header.delimiter)
    except csv.Error as error:
        return Fault(f"is cut or wrongly quoted ({error})")
    if len(cells) != len(header.columns):
        return Fault(f"has {len(cells)} columns, the header has {len(header.columns)}")
    return cells


def _lines(stream: Rewound, skip: int) -> Iterator[str]:
    rest = b""
    while True:
        part = stream.read(BLOCK)
        data = rest + part
        if skip:
            taken = min(skip, len(data))
            data, skip = data[taken:], skip - taken
        *lines, rest = data.split(b"\n") if part else [*data.split(b"\n"), b""]
        if len(rest) > LONGEST_ROW:
            lines, rest = [*lines, rest], b""
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip("\r")
        if not part:
            return
