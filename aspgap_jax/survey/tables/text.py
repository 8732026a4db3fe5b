"""Tables as text: CSV, ECSV, and what else stands between tabs, semicolons and bars."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv as pacsv

from aspgap_jax.errors import InputError
from aspgap_jax.survey.tables.opened import Opened
from aspgap_jax.survey.tables.source import Raw, SourceTable

__all__ = ["TextHeader", "open_text", "read_header"]

# The bulk files of gaia_source have a header of 60 kB.
LONGEST_HEADER = 1 << 24
# A row must fit into a block; rows with spectra have 40 kB.
BLOCK = 1 << 23
DELIMITERS = ",\t;|"
ECSV = "# %ECSV"
LINE_END = re.compile(r"\r\n|\n|\r")
ROW = re.compile(r"(?:.*Row #(?P<row>\d+): )(?P<what>.*)", re.DOTALL)


class TextHeader(NamedTuple):
    """Names of the columns, what stands between them, and how many lines to skip."""

    columns: tuple[str, ...]
    delimiter: str
    lines: int


def open_text(opened: Opened, path: Path) -> list[SourceTable]:
    """The table of a text file.

    Args:
        opened: the file.
        path: its name in messages.

    Returns:
        One table.

    Raises:
        InputError: it has no header line.
    """
    encoding, head = "utf-8", b""
    with opened.stream() as stream:
        header = None
        while header is None:
            part = stream.read(1 << 16)
            head += part
            if head.startswith((b"\xff\xfe", b"\xfe\xff")):
                encoding = "utf-16"
            whole = not part
            header = read_header(head.decode(encoding, "replace"), whole=whole)
            if header is None and (whole or len(head) > LONGEST_HEADER):
                raise InputError(f"{path}: no header line with the names of the columns")
    return [
        SourceTable(
            "", header.columns, lambda places: _blocks(opened, path, header, places, encoding)
        )
    ]


def read_header(text: str, *, whole: bool) -> TextHeader | None:
    """The header of a table, or ``None`` if ``text`` ends before it does.

    Comment lines begin with ``#``. The names may stand in the last of them, as NumPy and
    TOPCAT write it, where the line after it holds numbers.

    Args:
        text: the beginning of the file.
        whole: whether that is all of it.

    Returns:
        Names, delimiter, and where the rows begin.
    """
    text = text.removeprefix("\ufeff")
    lines = LINE_END.split(text)
    if not whole:
        # The last one may go on.
        lines.pop()
    comment, said = "", ""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if line.startswith("#"):
            comment = line[1:]
            if (found := comment.split()) and found[0] == "delimiter:":
                said = comment.split(":", 1)[1].strip().strip("'\"").replace("\\t", "\t") or " "
            continue
        delimiter = (said or " ") if text.startswith(ECSV) else _between(line)
        names = _names(line, delimiter)
        commented = _names(comment.strip(), delimiter)
        if any(_is_number(name) for name in names) and len(commented) == len(names):
            return TextHeader(commented, delimiter, number - 1)
        return TextHeader(names, delimiter, number)
    return None


def _between(line: str) -> str:
    """What stands between the names, outside of quotes."""
    bare = re.sub(r'"[^"]*"', "", line)
    counts = {delimiter: bare.count(delimiter) for delimiter in DELIMITERS}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    return best if counts[best] else (" " if " " in bare.strip() else ",")


def _names(line: str, delimiter: str) -> tuple[str, ...]:
    found = next(csv.reader([line], delimiter=delimiter), [])
    return tuple(name.strip() for name in found)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _blocks(
    opened: Opened, path: Path, header: TextHeader, places: Sequence[int], encoding: str
) -> Iterator[list[Raw]]:
    # Numbers for names: these may be empty, or occur twice.
    keys = [str(place) for place in range(len(header.columns))]
    wanted = [keys[place] for place in places]
    options: dict[str, Any] = {
        "read_options": pacsv.ReadOptions(
            skip_rows=header.lines,
            column_names=keys,
            block_size=BLOCK,
            use_threads=False,
            encoding=encoding,
        ),
        "parse_options": pacsv.ParseOptions(delimiter=header.delimiter, newlines_in_values=True),
        # Text stays text here: types are told by what is asked for, not by the first rows.
        "convert_options": pacsv.ConvertOptions(
            include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
        ),
    }
    # Arrow reads ahead in a thread of its own, which must not meet a file of Python's that
    # was closed meanwhile.
    stream = pa.input_stream(str(opened.path), compression="gzip" if opened.packed else None)
    try:
        for batch in pacsv.open_csv(stream, **options):
            yield [batch.column(index) for index in range(len(wanted))]
    except pa.ArrowInvalid as error:
        # A table without rows is no error here.
        if "Empty CSV file" in str(error):
            return
        found = ROW.fullmatch(str(error))
        if found is None:
            raise
        what = " ".join(found["what"].split())[:160]
        raise InputError(
            f"{path}, row {int(found['row']) - header.lines}: no readable table ({what}); "
            f"correct the row, or download the file again"
        ) from error
