"""Gaia source ids: of which release, in which column, and how many of them match.

A star has another id in another release, or an id another star: only EDR3 and DR3 share
theirs. Names that tell the release are known here; a column whose name does not
(``gaia_source_id``, which in LAMOST's tables is DR2's) is taken when the user says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from aspgap_jax.errors import InputError
from aspgap_jax.survey.tables import Block, Remarks, Unfit, Wanted, find_columns, read_blocks
from aspgap_jax.survey.tables.names import listed

__all__ = [
    "BARE",
    "BY_NAME",
    "LITTLE",
    "IdChoice",
    "check_solution",
    "id_column",
    "mapped",
    "release_of",
    "say_share",
]

SOURCE_ID = "source_id"
RELEASE = "dr3"
DISTANCE = "angular_distance"
TELLING = re.compile(
    r"(?:gaia_?)?(?:source_?id_?|id_?)?(?P<release>e?dr\d)(?:_?(?:source_?id|source|id|name|gaia))?"
    r"(?:_\d{1,2})?"
)
BARE: tuple[str, ...] = (SOURCE_ID, "gaia_source_id", "gaia_id", "gaiaid", "gaia", "source")
"""Names of columns of ids that do not tell the release."""
EXAMPLES = "dr3_source_id, source_id_dr3 or gaiaedr3_source_id"
# ``solution_id`` of the tables gaia_source (Gaia documentation, release by release).
SOLUTIONS: dict[int, str] = {
    1635378410781933568: "dr1",
    1635721458409799680: "dr2",
    1636042515805110273: "dr3",
    1636148068921376768: "dr3",
}
LITTLE = 0.1
"""Of fewer matches than this share of the smaller table the user is warned."""


class IdChoice(NamedTuple):
    """What the user says of the ids of a table.

    Attributes:
        column: where they are (``--id-column``); empty: found by its name.
        release: of which release they are (``--id-release``), ``dr3``; empty: as the name
            of the column tells.
        mapping: a table of the archive that maps ids of one release to those of the next
            (``dr2_neighbourhood``, ``dr3_neighbourhood``).
    """

    column: str = ""
    release: str = ""
    mapping: Path | None = None


BY_NAME = IdChoice()


def release_of(column: str) -> str | None:
    """The release that the name of a column of ids tells: ``dr2``, ``dr3``; EDR3 is DR3.

    None where it tells none.

    Args:
        column: its name, in any case.

    Returns:
        ``dr2``, ``dr3``, or ``None``.
    """
    name = column.strip().lower()
    found = TELLING.fullmatch(name)
    if found is None or name == found["release"]:
        return None
    return found["release"].removeprefix("e")


def id_column(
    columns: Sequence[str], choice: IdChoice, trusted: Sequence[str] = ()
) -> tuple[Wanted, str]:
    """The column of source ids of a table, and the release they are of.

    Args:
        columns: names of the table's columns.
        choice: what the user says.
        trusted: names that mean DR3's ids in tables of this kind, though they do not tell.

    Returns:
        What to read, and ``dr1`` to ``dr3``.

    Raises:
        Unfit: no column, one that does not tell its release, or one of another release
            than DR3 without a table to map it.
        InputError: the user contradicts the name of the column.
    """
    if choice.column:
        name, release = choice.column.lower(), release_of(choice.column)
        if not find_columns(columns, (name,)):
            raise Unfit(f"no column {choice.column} (--id-column); the table has {listed(columns)}")
        if release and choice.release and release != _plain(choice.release):
            raise InputError(
                f"--id-release {choice.release}: the column {choice.column} is of {release.upper()}"
            )
        return _usable(name, release or _plain(choice.release or RELEASE), choice)
    told = {column.strip().lower(): release_of(column) for column in columns}
    for name, release in told.items():
        if release == RELEASE:
            return _usable(name, RELEASE, choice)
    names = [name for name in trusted if find_columns(columns, (name,))]
    if names and not choice.release:
        return _usable(names[0], RELEASE, choice)
    accepted = f"{trusted[0]} or gaiaedr3_source_id" if trusted else EXAMPLES
    missing = f"no column {trusted[0]}" if trusted else "no column of Gaia DR3 source ids"
    missing += f"; accepted is {accepted} in any case"
    bare = names or [name for name in BARE if find_columns(columns, (name,))]
    if bare and choice.release:
        return _usable(bare[0], _plain(choice.release), choice)
    other = [(name, release) for name, release in told.items() if release]
    if other:
        return _usable(*other[0], choice)
    if bare:
        raise Unfit(
            f"{missing}; {bare[0]} does not tell of which release its ids are (LAMOST's are of "
            f"DR2): if they are DR3's, pass --id-column {bare[0]} or --id-release dr3"
        )
    raise Unfit(f"{missing}, the table has {listed(columns)}")


def _plain(release: str) -> str:
    name = release.strip().lower().removeprefix("gaia").strip("_ ").removeprefix("e")
    if not re.fullmatch(r"dr\d", name):
        raise InputError(f"--id-release {release}: no release of Gaia; write dr3")
    return name


def _usable(name: str, release: str, choice: IdChoice) -> tuple[Wanted, str]:
    if release != RELEASE and choice.mapping is None:
        older, newer = sorted((release, RELEASE))
        raise Unfit(
            f"the ids in {name} are of {release.upper()}, where stars have other ids than in "
            f"{RELEASE.upper()}: pass the archive's {older}_neighbourhood ({older}_source_id, "
            f"{newer}_source_id, angular_distance) of these stars with --id-map"
        )
    return Wanted(SOURCE_ID, (name,), "id"), release


def check_solution(block: Block) -> None:
    """Refuse rows of gaia_source of another release, which the column ``solution_id`` tells.

    Args:
        block: rows of a table, with or without that column.

    Raises:
        InputError: names the first row.
    """
    if "solution_id" not in block.columns:
        return
    for solution in np.unique(block.columns["solution_id"]).tolist():
        if SOLUTIONS.get(solution, RELEASE) != RELEASE:
            row = int(np.argmax(block.columns["solution_id"] == solution))
            raise InputError(
                f"{block.place(row)}: solution_id {solution} is of Gaia "
                f"{SOLUTIONS[solution].upper()}, where stars have other ids than in DR3; pass "
                f"gaiadr3.gaia_source"
            )


def mapped(
    ids: Int64[np.ndarray, " row"], release: str, choice: IdChoice, remarks: Remarks
) -> Int64[np.ndarray, " row"]:
    """Ids of a release as those of DR3, by a table of neighbours; -1 where it has none.

    Of several neighbours the one at the least angular distance is taken; of several old ids
    with one neighbour, the closest alone.

    Args:
        ids: of that release.
        release: ``dr1``, ``dr2``.
        choice: what the user says; it has the table.
        remarks: told how many have no neighbour.

    Returns:
        In the order of ``ids``.

    Raises:
        InputError: the table cannot be read, or has none of the ids.
    """
    if release == RELEASE or choice.mapping is None:
        return ids
    names = (f"{release}_source_id", f"{RELEASE}_source_id")
    wanted = [*(Wanted(name, (name,), "id") for name in names), Wanted(DISTANCE, (DISTANCE,))]
    kept = []
    # The whole table has as many rows as Gaia has stars.
    for block in read_blocks(choice.mapping, wanted, remarks, what="table of neighbours"):
        inside = np.isin(block.columns[names[0]], ids[ids > 0])
        kept.append([block.columns[each.name][inside] for each in wanted])
    old, new, distance = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    order = np.lexsort((new, old, distance))
    order = order[new[order] > 0]
    for key in (old, new):
        order = order[np.sort(np.unique(key[order], return_index=True)[1])]
    if not len(order):
        raise InputError(
            f"{choice.mapping}: has none of the {len(ids):,} ids of {release.upper()}; pass the "
            f"neighbours of these stars"
        )
    order = order[np.argsort(old[order])]
    place = np.minimum(np.searchsorted(old[order], ids), len(order) - 1)
    hit = old[order][place] == ids
    remarks.say(
        f"{choice.mapping}: {int(hit.sum()):,} of {int((ids > 0).sum()):,} ids of "
        f"{release.upper()} are mapped to {RELEASE.upper()}"
    )
    return np.where(hit, new[order][place], -1)


def say_share(matched: int, ours: int, theirs: int, what: str, remarks: Remarks) -> None:
    """Say how many stars two tables have in common, and warn where they are few.

    Args:
        matched: stars in common.
        ours: stars that were looked up.
        theirs: stars of the other table.
        what: what the message calls the other table.
        remarks: told.
    """
    smaller = max(min(ours, theirs), 1)
    share = f"{what}: {matched:,} of {ours:,} stars are among its {theirs:,}"
    if matched < LITTLE * smaller:
        share += f", less than {LITTLE:.0%} of the smaller: are the ids of the same release?"
    remarks.say(share)
