"""Columns by name: in any case, with the numbers that joins append."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["find_columns", "listed"]

# TOPCAT and astropy number the columns that both tables of a join have; pandas letters them.
JOINED = re.compile(r"(?P<name>.+?)_(?:\d{1,2}|[xy])")


def find_columns(columns: Sequence[str], accepted: Sequence[str]) -> tuple[int, ...]:
    """Where the first of the accepted names stands that a table has.

    Args:
        columns: names of the table's columns.
        accepted: names, the best first; in lower case they stand for any case, with a
            capital (VizieR's ``Gmag``, beside which there is SDSS's ``gmag``) for themselves.

    Returns:
        Places of the columns of that name in any case; or, without one, of those that a
        join has numbered (``teff_1``, ``teff_2``). Several are copies of one quantity, and
        must agree. None: the table has no such column.
    """
    plain = [column.strip() for column in columns]
    joined = [match["name"] if (match := JOINED.fullmatch(name)) else "" for name in plain]
    for names in (plain, joined):
        for wanted in accepted:
            if found := tuple(i for i, name in enumerate(names) if _is(name, wanted)):
                return found
    return ()


def _is(name: str, wanted: str) -> bool:
    return name == wanted or name.lower() == wanted


def listed(columns: Sequence[str]) -> str:
    """The first six columns of a table, for a message.

    Args:
        columns: their names.

    Returns:
        Names with commas; "no columns" for none.
    """
    shown = ", ".join(column[:40] for column in columns[:6])
    return (shown + (", ..." if len(columns) > 6 else "")) or "no columns"
