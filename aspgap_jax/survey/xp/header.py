"""Headers of text tables: CSV with any separator, ECSV with units, TOPCAT's ASCII."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import NamedTuple

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.ecsv import Described, described
from aspgap_jax.survey.xp.table import Column, Stated

__all__ = ["BOM", "Header", "cells_of", "read_header"]

BOM = b"\xef\xbb\xbf"
ECSV = "# %ECSV"
SEPARATORS = (",", "\t", ";", "|")
SPACE = " "
NUMBER = re.compile(r'^"?[-+.\d]')


class Header(NamedTuple):
    """The header of a text table.

    Attributes:
        columns: their names, in order.
        delimiter: what stands between them; a space: any number of blanks.
        length: bytes before the first row.
        units: of columns, where stated.
        stated: what the header states for the whole table.
        comments: its comment lines.
    """

    columns: tuple[str, ...]
    delimiter: str
    length: int
    units: Mapping[str, str] = {}
    stated: Mapping[str, Stated] = {}
    comments: str = ""

    def described(self) -> tuple[Column, ...]:
        """The columns with their units."""
        return tuple(Column(name, self.units.get(name, "")) for name in self.columns)


def read_header(head: bytes, where: str = "") -> Header | None:
    """The header of a text table, or ``None`` if ``head`` ends before it does.

    Args:
        head: the first bytes of the file.
        where: the file, for messages.

    Returns:
        Names of the columns, and what stands between them.

    Raises:
        InputError: an ECSV header that cannot be read.
    """
    start = len(BOM) if head.startswith(BOM) else 0
    comments: list[str] = []
    while True:
        end = head.find(b"\n", start)
        if end < 0:
            return None
        line = head[start:end].decode("utf-8", "replace").rstrip("\r")
        if line.lstrip().startswith("#"):
            comments.append(line.strip())
        elif line.strip():
            break
        start = end + 1
    length = end + 1
    is_ecsv = bool(comments) and comments[0].startswith(ECSV)
    says = Described("", {}, {})
    if is_ecsv:
        says = described("\n".join(line[2:] for line in comments[1:]), where)
    if not is_ecsv and comments and NUMBER.match(line.strip()):
        # TOPCAT and numpy.savetxt write the names into a comment above the first row.
        line, length = comments.pop().lstrip("# "), start
    # Blanks are the default of ECSV; Gaia writes its choice into the header.
    delimiter = (says.delimiter or SPACE) if is_ecsv else _separator(line)
    if delimiter not in (*SEPARATORS, SPACE):
        raise InputError(
            f"{where}: its ECSV header names the delimiter {delimiter!r}, which is none"
        )
    try:
        names = cells_of(line, delimiter)
    except csv.Error:
        names = line.split(delimiter)
    columns = tuple(name.strip().strip('"') for name in names)
    return Header(columns, delimiter, length, says.units, says.stated, "\n".join(comments))


def cells_of(text: str, delimiter: str) -> list[str]:
    """The cells of one row, which may have line ends inside quotes.

    Args:
        text: the row.
        delimiter: between the cells.

    Returns:
        Their text, without quotes.

    Raises:
        csv.Error: quotes that do not close.
    """
    # Blanks at the ends, and between the columns where these are what separates them.
    spaced = delimiter == SPACE
    rows = csv.reader(
        io.StringIO(text.strip(" ") if spaced else text, newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
        strict=True,
    )
    return next(rows, [])


def _separator(line: str) -> str:
    """What stands between the names of a header: the sign that occurs most, else blanks."""
    bare = re.sub(r'"[^"]*"', "", line)
    counts = {mark: bare.count(mark) for mark in SEPARATORS}
    most = max(counts, key=lambda mark: counts[mark])
    return most if counts[most] else SPACE
