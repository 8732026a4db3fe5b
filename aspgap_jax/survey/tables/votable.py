"""Tables in VOTables: every TABLE of every RESOURCE; of an only one the wanted columns alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
from astropy.io.votable import parse

from aspgap_jax.survey.tables.opened import Opened
from aspgap_jax.survey.tables.source import BLOCK_ROWS, NoTable, Raw, SourceTable

__all__ = ["open_votable"]


def open_votable(opened: Opened, path: Path) -> list[SourceTable]:
    """The tables of a VOTable file, named by their number, from 1.

    Args:
        opened: the file.
        path: its name in messages.

    Returns:
        The tables.

    Raises:
        InputError: it has none.
    """
    fields = _fields(opened)
    if not fields:
        raise NoTable(f"{path}: a VOTable without a TABLE; pass a table of stars")
    if len(fields) == 1:
        return [SourceTable("", tuple(fields[0]), lambda places: _only(opened, places))]
    # astropy takes the same columns of all tables, or all columns.
    parsed: list[Any] = []

    def blocks(number: int, places: Sequence[int]) -> Iterator[list[Raw]]:
        if not parsed:
            parsed.extend(_parsed(opened).iter_tables())
        yield from _blocks(parsed[number].array, places)

    return [
        SourceTable(f"TABLE {number + 1}", tuple(names), partial(blocks, number))
        for number, names in enumerate(fields)
    ]


def _only(opened: Opened, places: Sequence[int]) -> Iterator[list[Raw]]:
    wanted = sorted(set(places))
    table = _parsed(opened, columns=wanted).get_first_table()
    yield from _blocks(table.array, [wanted.index(place) for place in places])


def _fields(opened: Opened) -> list[list[str]]:
    """Names of the FIELDs of each TABLE, read without the data."""
    tables: list[list[str]] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        bare = tag.rpartition(":")[2]
        if bare == "TABLE":
            tables.append([])
        elif bare == "FIELD" and tables:
            tables[-1].append(attributes.get("name") or attributes.get("ID") or "")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    with opened.stream() as stream:
        while part := stream.read(1 << 20):
            parser.Parse(part, False)
        parser.Parse(b"", True)
    return tables


def _parsed(opened: Opened, **options: Any) -> Any:
    with opened.stream() as stream:
        return parse(stream, verify="ignore", **options)


def _blocks(array: Any, places: Sequence[int]) -> Iterator[list[Raw]]:
    names = array.dtype.names or ()
    for start in range(0, len(array), BLOCK_ROWS):
        part = array[start : start + BLOCK_ROWS]
        yield [_column(part[names[place]]) for place in places]


def _column(values: Any) -> Raw:
    # Text carries no mask of its own that says more than an empty cell.
    return values if np.ma.getdata(values).dtype.kind != "O" else np.ma.getdata(values)
