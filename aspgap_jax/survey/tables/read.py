"""Columns that are asked for, from whatever tables a path stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.survey.sentinels import without_sentinels
from aspgap_jax.survey.tables.folders import table_files
from aspgap_jax.survey.tables.names import find_columns, listed
from aspgap_jax.survey.tables.opened import Opened, open_file
from aspgap_jax.survey.tables.remarks import Remarks
from aspgap_jax.survey.tables.source import NoTable, Raw, SourceTable, reading
from aspgap_jax.survey.tables.values import Place, integers, numbers, source_ids, texts

__all__ = ["Block", "Unfit", "Wanted", "Whole", "read_blocks", "read_whole"]

Content = Literal["number", "integer", "id", "text"]
CONVERT: dict[str, Callable[[Raw, Place], np.ndarray]] = {
    "number": numbers,
    "integer": integers,
    "id": source_ids,
    "text": texts,
}
# Of tables that do not fit, so many are named.
SHOWN = 5
# Columns that a file without a table counts as missing.
NOTHING_FITS = 99
Counted = Callable[[str, dict[float, int]], None]
FILL: dict[str, float | int | str] = {"number": np.nan, "integer": -1, "id": -1, "text": ""}


class Wanted(NamedTuple):
    """A column that is asked for.

    Attributes:
        name: what the caller calls it.
        accepted: names, the best first; see
            :func:`aspgap_jax.survey.tables.names.find_columns`.
        content: what it holds.
        required: whether a table without it does not fit; an optional one is filled with
            missing values where others of the file have it.
        kind: of its sentinels, see :mod:`aspgap_jax.survey.sentinels`.
    """

    name: str
    accepted: tuple[str, ...]
    content: Content = "number"
    required: bool = True
    kind: str = "any"


class Unfit(Exception):
    """A table has not the columns that are asked for.

    Args:
        message: says which, and what it has.
        missing: how many; of tables that do not fit, the one with the fewest was meant.
    """

    def __init__(self, message: str, missing: int = 1) -> None:
        super().__init__(message)
        self.missing = missing


class Block(NamedTuple):
    """Consecutive rows of one table.

    Attributes:
        path: the file.
        table: the table in it, may be empty.
        row: number of the first row, from 1, the header not counted.
        columns: ``[row]`` by the name of what was wanted; optional ones that the table lacks
            are absent.
    """

    path: Path
    table: str
    row: int
    columns: dict[str, np.ndarray]

    def place(self, index: int) -> str:
        """File, table and row of a row of the block, for messages."""
        return Place(self.path, self.table, "", self.row).at(index)

    @property
    def rows(self) -> int:
        """How many."""
        return len(next(iter(self.columns.values())))


Choose = Callable[[tuple[str, ...]], Sequence[Wanted]]


def read_blocks(
    path: Path, choose: Choose | Sequence[Wanted], remarks: Remarks, *, what: str = "table"
) -> Iterator[Block]:
    """The wanted columns of all tables that have them, block by block.

    Memory holds one block, except for VOTables, of which it holds the wanted columns, and of
    several TABLEs in one file all columns.

    Args:
        path: a file or a folder, see :func:`aspgap_jax.survey.tables.folders.table_files`.
        choose: the wanted columns, or what gives them for the column names of a table and
            raises :class:`Unfit` where it has not what is needed.
        remarks: told of tables that do not fit, and of sentinels.
        what: how errors call such a file.

    Returns:
        An iterator of blocks.

    Raises:
        InputError: a file cannot be read, no table fits, or a cell is not what it should be.
    """
    path = Path(path)
    choice: Choose = choose if callable(choose) else lambda columns: choose
    files = table_files(path, remarks)
    # Sentinels are counted for all files of a folder together.
    counted = partial(remarks.replaced, path)
    unfit: list[tuple[str, Unfit]] = []
    fits = 0
    for file in files:
        with _open(file, what) as opened:
            if isinstance(opened, NoTable):
                if file == path:
                    raise opened
                none = str(opened).removeprefix(f"{file}: ")
                unfit.append((str(file), Unfit(none, NOTHING_FITS)))
                continue
            tables, read = opened, []
            for table in tables:
                place = f"{file}, {table.name}" if table.name else f"{file}"
                try:
                    columns = _find(table.columns, choice(table.columns))
                except Unfit as error:
                    unfit.append((place, error))
                    continue
                fits += 1
                read.append(table.name)
                yield from _blocks(file, table, columns, what, counted)
            if len(read) > 1:
                remarks.say(f"{file}: rows of {len(read)} tables: {listed(read)}")
    if not fits:
        place, closest = min(unfit, key=lambda pair: pair[1].missing)
        others = f" (the closest of {len(unfit)} tables)" if len(unfit) > 1 else ""
        raise InputError(f"{path}: {closest}{others}" if len(files) == 1 else f"{place}: {closest}")
    for place, reason in unfit[:SHOWN]:
        remarks.say(f"{place}: left out: {reason}")
    if len(unfit) > SHOWN:
        remarks.say(f"{path}: left out likewise: {len(unfit) - SHOWN:,} more tables")


@contextmanager
def _open(path: Path, what: str) -> Iterator[list[SourceTable] | NoTable]:
    with ExitStack() as stack:
        try:
            with reading(path, what):
                opened = stack.enter_context(open_file(path))
                tables = _tables(opened, path, stack)
        except NoTable as none:
            yield none
            return
        # The name of an only table says nothing.
        yield tables if len(tables) > 1 else [table._replace(name="") for table in tables]


def _tables(opened: Opened, path: Path, stack: ExitStack) -> list[SourceTable]:
    # Each format's library is imported where a file of it is met.
    if opened.kind == "text":
        from aspgap_jax.survey.tables.text import open_text

        return open_text(opened, path)
    if opened.kind == "votable":
        from aspgap_jax.survey.tables.votable import open_votable

        return open_votable(opened, path)
    if opened.kind == "fits":
        from aspgap_jax.survey.tables.fits import open_fits_tables

        return stack.enter_context(open_fits_tables(opened, path))
    if opened.kind == "hdf5":
        from aspgap_jax.survey.tables.hdf5 import open_hdf5

        return stack.enter_context(open_hdf5(opened, path))
    from aspgap_jax.survey.tables import arrow

    opener = arrow.open_parquet if opened.kind == "parquet" else arrow.open_feather
    return stack.enter_context(opener(opened))


def _find(
    columns: tuple[str, ...], wanted: Sequence[Wanted]
) -> list[tuple[Wanted, tuple[int, ...]]]:
    found = [(each, find_columns(columns, each.accepted)) for each in wanted]
    missing = [each for each, places in found if each.required and not places]
    if missing:
        first = missing[0]
        more = [each.name for each in missing[1:]]
        raise Unfit(
            f"no column of {first.name}; accepted is {' or '.join(first.accepted)} in any "
            f"case, the table has {listed(columns)}" + (f", nor {listed(more)}" if more else ""),
            len(missing),
        )
    return [(each, places) for each, places in found if places]


def _blocks(
    path: Path,
    table: SourceTable,
    found: Sequence[tuple[Wanted, tuple[int, ...]]],
    what: str,
    counted: Counted,
) -> Iterator[Block]:
    places = [place for _, several in found for place in several]
    row, given = 1, False
    blocks = table.blocks(places)
    while True:
        where = f"{table.name} after row {row - 1}".strip() if row > 1 else table.name
        with reading(path, what, where):
            cells = next(blocks, None)
            if cells is None:
                if given:
                    return
                # A table without rows has its columns all the same.
                cells = [np.empty(0, object) for _ in places]
            columns = {}
            for wanted, several in found:
                at = [Place(path, table.name, table.columns[place], row) for place in several]
                copies = [_converted(cells.pop(0), wanted, place, counted) for place in at]
                columns[wanted.name] = _agreed(copies, at)
        block = Block(path, table.name, row, columns)
        row, given = row + block.rows, True
        yield block


def _converted(cells: Raw, wanted: Wanted, place: Place, counted: Counted) -> np.ndarray:
    values = CONVERT[wanted.content](cells, place)
    if wanted.content != "number":
        return values
    cleaned = without_sentinels(values, wanted.kind)
    counted(place.column, cleaned.replaced)
    return cleaned.values


def _agreed(copies: list[np.ndarray], places: list[Place]) -> np.ndarray:
    """The first of the columns that go by one name, if all say the same."""
    first = copies[0]
    for place, other in zip(places[1:], copies[1:], strict=True):
        differ = first != other
        if first.dtype.kind == "f":
            differ &= ~(np.isnan(first) & np.isnan(other))
        if differ.any():
            row = int(np.argmax(differ))
            raise InputError(
                f"{place.at(row)}: columns {places[0].column} and {place.column} go by the same "
                f"name and differ ({first[row]} and {other[row]}); remove or rename one"
            )
    return first


class Whole(NamedTuple):
    """All rows of all tables that fit.

    Attributes:
        columns: ``[row]`` by the name of what was wanted; optional ones that no table has
            are absent.
        starts: place of the first row of each block among all rows.
        blocks: the blocks without their columns.
    """

    columns: dict[str, np.ndarray]
    starts: tuple[int, ...]
    blocks: tuple[Block, ...]

    def place(self, index: int) -> str:
        """File, table and row of a row, for messages."""
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.blocks[number].place(index - self.starts[number])


def read_whole(
    path: Path, choose: Choose | Sequence[Wanted], remarks: Remarks, *, what: str = "table"
) -> Whole:
    """As :func:`read_blocks`, in one piece.

    Args:
        path: a file or a folder.
        choose: what is wanted.
        remarks: told of tables that do not fit, and of sentinels.
        what: how errors call such a file.

    Returns:
        All rows.

    Raises:
        InputError: as :func:`read_blocks`.
    """
    contents: dict[str, Content] = {}

    def noted(columns: tuple[str, ...]) -> Sequence[Wanted]:
        wanted = choose(columns) if callable(choose) else choose
        contents.update({each.name: each.content for each in wanted})
        return wanted

    blocks = list(read_blocks(path, noted, remarks, what=what))
    sizes = [block.rows for block in blocks]
    names = dict.fromkeys(name for block in blocks for name in block.columns)
    columns = {}
    for name in names:
        fill = FILL[contents[name]]
        parts = [
            block.columns.get(name, np.full(size, fill))
            for block, size in zip(blocks, sizes, strict=True)
        ]
        columns[name] = np.concatenate(parts)
    starts = tuple(int(start) for start in np.cumsum([0, *sizes])[:-1])
    return Whole(columns, starts, tuple(block._replace(columns={}) for block in blocks))
