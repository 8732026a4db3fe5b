"""Tables of Gaia sources: which columns they have, and what they are called where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from aspgap_jax.columns import COLUMNS
from aspgap_jax.errors import InputError
from aspgap_jax.survey.ids import (
    BY_NAME,
    SOURCE_ID,
    IdChoice,
    check_solution,
    id_column,
    mapped,
    say_share,
)
from aspgap_jax.survey.sentinels import kind_of
from aspgap_jax.survey.tables import Remarks, Unfit, Wanted, find_columns, read_blocks
from aspgap_jax.survey.tables.names import listed

__all__ = [
    "COLUMN_NAMES",
    "GAIA_IDS",
    "G_MAG",
    "PREFIX",
    "SOURCE_ID",
    "UNITS",
    "gaia_columns",
    "gaia_dtype",
    "gaia_table",
    "read_gaia_tables",
    "read_source_ids",
]

G_MAG = "phot_g_mean_mag"
# APOGEE's allStar gives Gaia's columns this prefix.
PREFIX = "gaiaedr3_"
# In a table of Gaia sources these are its own release's ids, which is taken to be DR3.
GAIA_IDS = (SOURCE_ID, PREFIX + SOURCE_ID)
COLUMN_NAMES: tuple[str, ...] = (
    *("ra", "dec", "l", "b"),
    *("parallax", "parallax_error", "pmra", "pmra_error", "pmdec", "pmdec_error", "ruwe"),
    *(G_MAG, "phot_bp_mean_mag", "phot_rp_mean_mag"),
    *("radial_velocity", "radial_velocity_error"),
)
"""Columns of ``gaia_source`` that are kept where a table has them; all are numbers.
Their units and types are those of the catalogue's table."""

_SPECS = {spec.name: spec for spec in COLUMNS if spec.name in COLUMN_NAMES}
UNITS: dict[str, str] = {name: _SPECS[name].unit for name in COLUMN_NAMES}

# As VizieR's I/355 calls them; SDSS's magnitudes differ from Gaia's there in their case.
VIZIER: Mapping[str, str] = {
    "ra": "RA_ICRS",
    "dec": "DE_ICRS",
    "l": "GLON",
    "b": "GLAT",
    "parallax": "Plx",
    "parallax_error": "e_Plx",
    "pmra_error": "e_pmRA",
    "pmdec": "pmDE",
    "pmdec_error": "e_pmDE",
    G_MAG: "Gmag",
    "phot_bp_mean_mag": "BPmag",
    "phot_rp_mean_mag": "RPmag",
    "radial_velocity": "RV",
    "radial_velocity_error": "e_RV",
}


def gaia_dtype(name: str) -> type[np.generic]:
    """Type of one of :data:`COLUMN_NAMES`, that of the archive.

    Args:
        name: of the column.

    Returns:
        A NumPy type.
    """
    return _SPECS[name].dtype


def gaia_columns(names: Sequence[str] = COLUMN_NAMES) -> list[Wanted]:
    """Columns of :data:`COLUMN_NAMES` as tables of Gaia sources call them; none is required.

    Args:
        names: of the columns wanted.

    Returns:
        Every column with the names it may have in a table.
    """
    return [
        Wanted(
            name,
            (name, PREFIX + name, *((VIZIER[name],) if name in VIZIER else ())),
            required=False,
            kind=kind_of(name),
        )
        for name in names
    ]


def gaia_table(
    names: Sequence[str] = COLUMN_NAMES, required: Sequence[str] = (), *, any_of: bool = False
) -> Callable[[tuple[str, ...]], list[Wanted]]:
    """What is wanted of a table of Gaia sources: ids and columns.

    Args:
        names: the columns.
        required: those without which a table does not fit.
        any_of: whether one of ``names`` at least is needed.

    Returns:
        From the names of a table's columns to what is wanted of them.

    Raises:
        Unfit: raised by what is returned, for a table without what is needed.
    """

    def choose(columns: tuple[str, ...]) -> list[Wanted]:
        ids, _ = id_column(columns, BY_NAME, GAIA_IDS)
        wanted = gaia_columns(names)
        found = {each.name for each in wanted if find_columns(columns, each.accepted)}
        for name in required:
            if name not in found:
                raise Unfit(
                    f"no column {name}; accepted is {name} or {PREFIX}{name} in any case, the "
                    f"table has {listed(columns)}"
                )
        if any_of and not found:
            raise Unfit(f"has none of the columns {', '.join(names)}; pass Gaia's columns")
        return [ids, Wanted("solution_id", ("solution_id",), "integer", required=False), *wanted]

    return choose


def read_source_ids(
    path: Path, choice: IdChoice = BY_NAME, remarks: Remarks | None = None
) -> Int64[np.ndarray, " row"]:
    """Gaia source ids of a table, int64 ``[row]``; rows without an id are left out.

    Args:
        path: any table with a column of ids; APOGEE's allStar is one too.
        choice: what the user says of them.
        remarks: told what was left out.

    Returns:
        In the order of the table.

    Raises:
        InputError: the table cannot be read, or has no such column, or no id.
    """
    remarks = remarks or Remarks()
    releases: set[str] = set()

    def choose(columns: tuple[str, ...]) -> list[Wanted]:
        ids, release = id_column(columns, choice, GAIA_IDS)
        releases.add(release)
        return [ids]

    parts = [block.columns[SOURCE_ID] for block in read_blocks(path, choose, remarks)]
    ids = np.concatenate(parts)
    rows = len(ids)
    if len(releases) > 1:
        raise InputError(f"{path}: has ids of {' and '.join(sorted(releases))}; pass them apart")
    ids = mapped(ids, releases.pop(), choice, remarks)
    ids = ids[ids > 0]
    if not len(ids):
        raise InputError(f"{path}: no row has a Gaia source id")
    if len(ids) < rows:
        remarks.say(f"{path}: {rows - len(ids):,} of {rows:,} rows have no Gaia source id")
    return ids


def read_gaia_tables(
    paths: Iterable[Path], wanted: Int64[np.ndarray, " star"], remarks: Remarks | None = None
) -> tuple[Bool[np.ndarray, " star"], dict[str, np.ndarray]]:
    """Gaia's columns for the stars ``wanted``, from one table or several.

    Args:
        paths: the tables; a star may be in several, if they agree.
        wanted: source ids, ascending.
        remarks: told what was left out or replaced.

    Returns:
        Whether a table has the star ``[star]``, and each column ``[star]``, NaN
        where no table has it.

    Raises:
        InputError: a table cannot be read, lacks source_id or G, has none of the stars, or
            two rows contradict each other about the G of a star.
    """
    remarks = remarks or Remarks()
    found = np.zeros(len(wanted), bool)
    columns: dict[str, np.ndarray] = {}
    rows = 0
    paths = tuple(paths)
    for path in paths:
        for block in read_blocks(path, gaia_table(required=(G_MAG,)), remarks):
            check_solution(block)
            ids = block.columns[SOURCE_ID]
            rows += len(ids)
            place = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
            hit = np.flatnonzero(wanted[place] == ids)
            place = place[hit]
            for name in COLUMN_NAMES:
                if name in block.columns:
                    values = block.columns[name][hit].astype(gaia_dtype(name))
                    column = columns.setdefault(name, np.full(len(wanted), np.nan, values.dtype))
                    before = column[place]
                    column[place] = values
                    if name == G_MAG:
                        # Either an earlier table, or an earlier row of this one.
                        clash = found[place] & _differ(before, values)
                        clash |= _differ(column[place], values)
                        if clash.any():
                            star = wanted[place[clash][0]]
                            raise InputError(
                                f"{path}: source_id {star} occurs twice with different {G_MAG}; "
                                f"remove one of the rows"
                            )
            found[place] = True
    if paths:
        what = ", ".join(map(str, paths[:3])) + (", ..." if len(paths) > 3 else "")
        say_share(int(found.sum()), len(wanted), rows, what, remarks)
    return found, columns


def _differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray((one != other) & ~(np.isnan(one) & np.isnan(other)))
