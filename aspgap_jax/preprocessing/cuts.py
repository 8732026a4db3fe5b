"""One way to cut: conditions on the columns of a table, applied in order and counted.

A :class:`Condition` does not mind whose columns it reads. A training set shows its own
by :meth:`aspgap_jax.preprocessing.stars.TrainingSet.table` (labels by their key,
``teff``, and errors as ``e_teff``); a catalogue comes in blocks with the columns of
:data:`aspgap_jax.columns.COLUMNS` (``teff_xp``, ``e_teff_xp``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from aspgap_jax.columns import Columns
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.stars import Cut, TrainingSet

__all__ = ["Condition", "apply_cuts", "format_cuts", "left_after", "require_columns"]


class Condition(NamedTuple):
    """One cut on the rows of a table.

    Attributes:
        name: what it asks.
        needs: the columns that it reads.
        keep: from the columns to a mask ``[star]``; NaN does not pass.
    """

    name: str
    needs: tuple[str, ...]
    keep: Callable[[Columns], Bool[np.ndarray, " star"]]


def left_after(
    conditions: Sequence[Condition], columns: Columns
) -> Bool[np.ndarray, "condition star"]:
    """Which rows are left after each condition, one after the other.

    Args:
        conditions: applied in this order.
        columns: a table, ``[star]`` first.

    Returns:
        A row a condition; its sum is the count of stars left.

    Examples:
        >>> cool = Condition("Teff < 5500 K", ("teff",), lambda c: c["teff"] < 5500.0)
        >>> giant = Condition("log g < 3.8", ("logg",), lambda c: c["logg"] < 3.8)
        >>> stars = {"teff": np.array([4500.0, 4500.0, 6000.0]), "logg": np.array([2.0, 4.5, 2.0])}
        >>> left_after((cool, giant), stars).tolist()
        [[True, True, False], [True, False, False]]
    """
    passed = [condition.keep(columns) for condition in conditions]
    n_stars = len(next(iter(columns.values())))
    return np.logical_and.accumulate(np.reshape(passed, (len(passed), n_stars)), axis=0, dtype=bool)


def require_columns(
    conditions: Iterable[Condition], have: Iterable[str], *, table: str, cure: str
) -> None:
    """Refuse a table that lacks what a condition reads.

    Args:
        conditions: those that will be applied.
        have: names of the table's columns.
        table: what to call it.
        cure: what to do about it.

    Raises:
        InputError: a column is missing; the condition that needs it is named.
    """
    names = set(have)
    for condition in conditions:
        for column in condition.needs:
            if column not in names:
                raise InputError(
                    f"the cut '{condition.name}' needs the column {column}, which {table} "
                    f"does not have; {cure}"
                )


def apply_cuts(
    stars: TrainingSet, conditions: Sequence[Condition], *, table: str = "the training set"
) -> TrainingSet:
    """Apply ``conditions`` in order; the counts are appended to ``stars.cuts``.

    Args:
        stars: a training set.
        conditions: applied in this order; see :mod:`aspgap_jax.preprocessing.selection`.
        table: what errors call it, such as the file it is from.

    Returns:
        The stars that pass all of them.

    Raises:
        InputError: a column that a condition reads is missing, or no star is left; the
            condition that removed the last is named.
    """
    columns = stars.table()
    require_columns(
        conditions,
        columns,
        table=table,
        cure="prepare it with that column (`aspgap prepare`), or select by fewer (--select usable)",
    )
    left = left_after(conditions, columns)
    counts = [
        Cut(condition.name, int(mask.sum()))
        for condition, mask in zip(conditions, left, strict=True)
    ]
    for cut in counts:
        if not cut.left:
            raise InputError(f"no star is left after the cut '{cut.name}'")
    kept = stars.where(left[-1]) if len(left) else stars
    return replace(kept, cuts=(*stars.cuts, *counts))


def format_cuts(cuts: Sequence[Cut]) -> str:
    """The cuts as a table: what was asked, stars left, stars removed.

    Args:
        cuts: counts of one table, in the order in which they were made.

    Returns:
        A line a cut below the heads of the columns.

    Examples:
        >>> print(format_cuts([Cut("rows", 1200), Cut("Teff < 5500 K", 900)]))
        cut                 left    removed
        rows               1,200
        Teff < 5500 K        900        300
    """
    width = max((len(cut.name) for cut in cuts), default=0)
    lines = [f"{'cut':<{width}}  {'left':>9}  {'removed':>9}"]
    for i, cut in enumerate(cuts):
        removed = f"{cuts[i - 1].left - cut.left:,}" if i else ""
        lines.append(f"{cut.name:<{width}}  {cut.left:>9,}  {removed:>9}")
    return "\n".join(line.rstrip() for line in lines)
