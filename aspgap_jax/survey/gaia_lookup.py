"""Gaia's columns by source id, from tables that need not fit into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64
from tqdm import tqdm

from aspgap_jax.errors import InputError
from aspgap_jax.survey.gaia import SOURCE_ID, UNITS, gaia_dtype, gaia_table
from aspgap_jax.survey.ids import check_solution, say_share
from aspgap_jax.survey.tables import Block, Remarks, read_blocks

__all__ = ["GaiaLookup", "open_gaia"]


class _Sorted(NamedTuple):
    """Rows on disk in the order of their ids.

    Attributes:
        start, stop: which rows.
        low, high: the first id and the last.
    """

    start: int
    stop: int
    low: int
    high: int


class GaiaLookup:
    """Finds stars in sorted runs of rows on disk; see :func:`open_gaia`.

    Attributes:
        names: the columns that at least one of the tables has.
        rows: rows with an id.
        asked: stars that were looked up so far.
        matched: how many of them were found.
    """

    def __init__(
        self, columns: dict[str, np.ndarray], runs: Sequence[_Sorted], tables: str
    ) -> None:
        self._ids = columns[SOURCE_ID]
        self._columns = {name: values for name, values in columns.items() if name != SOURCE_ID}
        self._runs = tuple(runs)
        self._tables = tables
        self.names = tuple(self._columns)
        self.rows = runs[-1].stop if runs else 0
        self.asked = self.matched = 0

    def find(
        self, source_id: Int64[np.ndarray, " star"]
    ) -> tuple[Bool[np.ndarray, " star"], dict[str, np.ndarray]]:
        """Whether a table has each star, and every column ``[star]``, NaN where none has it.

        Of several rows of one star the first of the first table counts; the others fill in
        what it lacks.
        """
        found = np.zeros(len(source_id), bool)
        columns = {name: np.full(len(source_id), np.nan) for name in self.names}
        first, last = (source_id.min(), source_id.max()) if len(source_id) else (0, -1)
        for run in self._runs:
            if run.high < first or run.low > last:
                continue
            asked = np.flatnonzero((source_id >= run.low) & (source_id <= run.high))
            ids = self._ids[run.start : run.stop]
            place = np.searchsorted(ids, source_id[asked])
            hit = ids[place] == source_id[asked]
            stars, rows = asked[hit], run.start + place[hit]
            for name, values in self._columns.items():
                lacking = np.isnan(columns[name][stars])
                columns[name][stars[lacking]] = values[rows[lacking]]
            found[stars] = True
        self.asked += len(source_id)
        self.matched += int(found.sum())
        return found, columns

    def check(self, remarks: Remarks, *, everything: bool = True) -> None:
        """Say how many of the stars that were looked up the tables have.

        Args:
            remarks: told.
            everything: whether these were all stars, so that to have none of them is wrong.

        Raises:
            InputError: the tables have none.
        """
        if everything and self.asked and not self.matched:
            raise InputError(
                f"--gaia {self._tables}: has none of the {self.asked:,} stars, so that nothing "
                f"was taken from it; pass a table of these stars, with ids of Gaia DR3"
            )
        say_share(self.matched, self.asked, self.rows, self._tables, remarks)


@contextmanager
def open_gaia(
    paths: Sequence[Path],
    names: Sequence[str] = tuple(UNITS),
    remarks: Remarks | None = None,
) -> Iterator[GaiaLookup | None]:
    """Sort tables of Gaia sources into a temporary folder and look stars up in them.

    Memory holds a block of rows; the folder (``TMPDIR``) takes at most 120 bytes a row and
    is removed in the end.

    Args:
        paths: tables of Gaia sources, and folders of such (``aspgap fetch gaia_source``
            writes one), see :mod:`aspgap_jax.survey.tables`. None: there is no lookup.
        names: the columns that are wanted.
        remarks: told what was left out or replaced.

    Returns:
        The lookup, for a ``with`` statement.

    Raises:
        InputError: a table cannot be read, or has no source ids, or none of the
            wanted columns.
    """
    if not paths:
        yield None
        return
    remarks = remarks or Remarks()
    with tempfile.TemporaryDirectory(prefix="aspgap-gaia-") as name, ExitStack() as stack:
        folder = Path(name)
        files = {n: stack.enter_context((folder / n).open("wb")) for n in (SOURCE_ID, *names)}
        runs: list[_Sorted] = []
        found: set[str] = set()
        rows = 0
        for path in tqdm(paths, desc="Gaia columns", unit="table", disable=None, leave=False):
            for block in read_blocks(path, gaia_table(names, any_of=True), remarks):
                check_solution(block)
                found |= block.columns.keys()
                rows += block.rows
                _append(block, names, files, runs)
        stack.close()
        lookup_rows = runs[-1].stop if runs else 0
        tables = ", ".join(map(str, paths))
        if lookup_rows < rows:
            remarks.say(f"{tables}: {rows - lookup_rows:,} of {rows:,} rows have no source id")
        kept = {n: _dtype(n) for n in (SOURCE_ID, *names) if n in found}
        # NumPy maps no empty file.
        columns = {
            n: np.memmap(folder / n, dtype, "r") if runs else np.empty(0, dtype)
            for n, dtype in kept.items()
        }
        yield GaiaLookup(columns, runs, tables)


def _dtype(name: str) -> type[np.generic]:
    return np.int64 if name == SOURCE_ID else gaia_dtype(name)


def _append(
    block: Block, names: Sequence[str], files: Mapping[str, IO[bytes]], runs: list[_Sorted]
) -> None:
    """Write the rows with an id, sorted, as one run; one file a column, however many tables."""
    ids = block.columns[SOURCE_ID]
    order = np.argsort(ids, kind="stable")
    order = order[ids[order] > 0]
    if not len(order):
        return
    ids[order].tofile(files[SOURCE_ID])
    missing = np.full(len(ids), np.nan)
    for name in names:
        block.columns.get(name, missing)[order].astype(_dtype(name)).tofile(files[name])
    start = runs[-1].stop if runs else 0
    runs.append(_Sorted(start, start + len(order), int(ids[order[0]]), int(ids[order[-1]])))
