"""Gaia's columns by source id, from tables that need not fit into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64
from tqdm import tqdm

from aspgap_jax.errors import InputError
from aspgap_jax.survey.gaia import UNITS, gaia_columns, read_table, source_ids
from aspgap_jax.survey.manifest import MANIFEST

__all__ = ["GaiaLookup", "open_gaia"]


@dataclass(frozen=True)
class _Sorted:
    """One table on disk, its rows in the order of their ids."""

    source_id: Int64[np.ndarray, " row"]
    columns: dict[str, np.ndarray]


@dataclass(frozen=True)
class GaiaLookup:
    """Finds stars in sorted tables on disk; see :func:`open_gaia`.

    Attributes:
        names: the columns that at least one of the tables has.
    """

    names: tuple[str, ...]
    tables: tuple[_Sorted, ...]

    def find(
        self, source_id: Int64[np.ndarray, " star"]
    ) -> tuple[Bool[np.ndarray, " star"], dict[str, np.ndarray]]:
        """Whether a table has each star, and every column ``[star]``, NaN where none has it.

        Of several rows of one star the first of the first table counts.
        """
        found = np.zeros(len(source_id), bool)
        columns = {name: np.full(len(source_id), np.nan) for name in self.names}
        for table in self.tables:
            low, high = table.source_id[0], table.source_id[-1]
            asked = np.flatnonzero(~found & (source_id >= low) & (source_id <= high))
            place = np.searchsorted(table.source_id, source_id[asked])
            hit = table.source_id[place] == source_id[asked]
            for name, values in table.columns.items():
                columns[name][asked[hit]] = values[place[hit]]
            found[asked[hit]] = True
        return found, columns


@contextmanager
def open_gaia(
    paths: Sequence[Path], names: Sequence[str] = tuple(UNITS)
) -> Iterator[GaiaLookup | None]:
    """Sort tables of Gaia sources into a temporary folder and look stars up in them.

    Memory is needed for the longest of the tables, not for all; the folder
    (``TMPDIR``) takes at most 120 bytes a row and is removed in the end.

    Args:
        paths: tables with a column ``source_id`` in any format that
            :func:`aspgap_jax.survey.gaia.read_table` takes, and folders of such
            (``aspgap fetch gaia_source`` writes one). None: there is no lookup.
        names: the columns that are wanted.

    Raises:
        InputError: a table cannot be read, or has no source ids, or none of the
            wanted columns.
    """
    if not paths:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="aspgap-gaia-") as folder:
        tables = []
        files = _files(paths)
        for number, path in enumerate(
            tqdm(files, desc="Gaia columns", unit="table", disable=None, leave=False)
        ):
            table = _sort(path, Path(folder) / str(number), names)
            if len(table.source_id):
                tables.append(table)
        found = {name for table in tables for name in table.columns}
        yield GaiaLookup(tuple(name for name in names if name in found), tuple(tables))


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(
                p for p in path.iterdir() if p.is_file() and p.name[0] != "." and p.name != MANIFEST
            )
            if not inside:
                raise InputError(f"{path}: an empty folder; pass tables of Gaia sources")
            files += inside
        else:
            files.append(path)
    return files


def _sort(path: Path, folder: Path, names: Sequence[str]) -> _Sorted:
    table = read_table(path)
    ids = source_ids(table, path)
    columns = {name: c for name, c in gaia_columns(table, path).items() if name in names}
    if not columns:
        raise InputError(f"{path}: has none of the columns {', '.join(names)}; pass Gaia's columns")
    order = np.argsort(ids, kind="stable")
    order = order[ids[order] >= 0]
    folder.mkdir()

    def stored(name: str, values: np.ndarray) -> np.ndarray:
        np.save(folder / name, values[order])
        return np.load(folder / f"{name}.npy", mmap_mode="r")

    return _Sorted(
        stored("source_id", ids), {name: stored(name, values) for name, values in columns.items()}
    )
