"""Nested numbers of a study as tables for a page, others' numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aspgap_jax import labels
from aspgap_jax.suite.study import is_scalar

__all__ = ["Cell", "NumberTable", "RowGroup", "as_words", "number_tables"]

VALUE = "value"
# Keys of validation.json that do not read as words by themselves.
WORDS = {
    "n": "stars",
    "mae": "MAE",
    "scatter_mad": "scatter (MAD)",
    "bias_median": "median bias",
    "outlier_rate": "outliers",
    "chi_sigma": "\N{GREEK SMALL LETTER SIGMA} of \N{GREEK SMALL LETTER CHI}",
    "sigma_mad": "\N{GREEK SMALL LETTER SIGMA} (MAD)",
    "sigma": "\N{GREEK SMALL LETTER SIGMA}",
    "coverage_68": "within 1 \N{GREEK SMALL LETTER SIGMA}",
    "coverage_95": "within 2 \N{GREEK SMALL LETTER SIGMA}",
    "snr": "S/N",
    "g_lt_14": "G < 14",
    "all": "all stars",
    "xp": "XP",
    "apogee": "APOGEE",
    "p_value": "p value",
    "n_stars": "stars",
    "n_groups": "groups",
    "g_mag": "G [mag]",
    "log_g_xp": "log g, XP [dex]",
    "log_g_apogee": "log g, APOGEE [dex]",
}
SHARES = ("_rate", "coverage_68", "coverage_95")
"""Ends of keys of what is shown in per cent, as the paper prints it."""


class Cell(NamedTuple):
    """A text of a table, and whose it is: ours, ``paper`` or ``other``."""

    text: str
    kind: str = ""


class RowGroup(NamedTuple):
    """Rows below one heading; the heading may be empty."""

    title: str
    rows: Sequence[Sequence[Cell]]


class NumberTable(NamedTuple):
    """A table of a page.

    Attributes:
        caption: above it, or empty.
        head: names of the columns; none for a list of facts.
        parts: its rows.
    """

    caption: str
    head: Sequence[Cell]
    parts: Sequence[RowGroup]

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self.head) or len(self.parts[0].rows[0])


@dataclass
class _Block:
    """Rows with the same columns; and of each source, what it has in the same places."""

    title: str
    columns: tuple[str, ...]
    rows: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    beside: dict[str, dict[str, Mapping[str, Any]]] = field(default_factory=dict)


def number_tables(
    numbers: Mapping[str, Any], beside: Mapping[str, Mapping[str, Any]]
) -> list[NumberTable]:
    """Nested numbers as tables: one for all groups that have the same columns.

    Args:
        numbers: ours, nested at will; lists are left to the JSON file.
        beside: of each source (``paper``, ``other``), its numbers in the same places; text
            is shown as it is printed.

    Returns:
        In the order of the numbers.
    """
    tables: dict[tuple[str, ...], list[_Block]] = {}
    for block in [_facts(numbers, beside), *_blocks(numbers, beside, "")]:
        if not block.rows:
            continue
        tables.setdefault(block.columns, []).append(block)
    return [_table(blocks, tuple(beside)) for blocks in tables.values()]


def as_words(name: str) -> str:
    """A key as words; a label with its unit.

    Args:
        name: a key of a study's numbers.

    Returns:
        What the report calls it.
    """
    if name in labels.names():
        label = labels.LABELS[labels.index(name)]
        return f"{label.plain} [{label.unit}]"
    return WORDS.get(name, name.replace("_", " "))


def _blocks(
    numbers: Mapping[str, Any], beside: Mapping[str, Mapping[str, Any]], title: str
) -> list[_Block]:
    """The groups of ``numbers``: their own numbers are rows here, their groups come below."""
    grouped: dict[tuple[str, ...], _Block] = {}
    deeper = []
    for name, value in numbers.items():
        if not isinstance(value, Mapping):
            continue
        inner = {source: _group(theirs, name) for source, theirs in beside.items()}
        if columns := tuple(key for key, each in value.items() if is_scalar(each)):
            block = grouped.setdefault(columns, _Block(title, columns))
            block.rows[name] = value
            for source, theirs in inner.items():
                block.beside.setdefault(source, {})[name] = theirs
        below = as_words(name)
        deeper += _blocks(value, inner, f"{title}: {below}" if title else below)
    return [*grouped.values(), *deeper]


def _facts(numbers: Mapping[str, Any], beside: Mapping[str, Mapping[str, Any]]) -> _Block:
    """What is in no group: a row a number."""
    rows = {name: {VALUE: value} for name, value in numbers.items() if is_scalar(value)}
    others: dict[str, dict[str, Mapping[str, Any]]] = {
        source: {name: {VALUE: theirs[name]} for name in rows if name in theirs}
        for source, theirs in beside.items()
    }
    return _Block("", (VALUE,), dict(rows), others)


def _group(numbers: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = numbers.get(name)
    return found if isinstance(found, Mapping) else {}


def _table(blocks: Sequence[_Block], sources: Sequence[str]) -> NumberTable:
    columns = blocks[0].columns
    # A source has a column where it has a number.
    shown = {
        column: [
            source
            for source in sources
            if any(
                row.get(column) not in (None, "")
                for block in blocks
                for row in block.beside.get(source, {}).values()
            )
        ]
        for column in columns
    }
    head = [Cell("")]
    for column in columns:
        head += [Cell(as_words(column)), *(Cell(source, source) for source in shown[column])]
    parts = []
    for block in blocks:
        rows = []
        for name, values in block.rows.items():
            cells = [Cell(as_words(name))]
            for column in columns:
                cells.append(Cell(_value(name, column, values[column])))
                for source in shown[column]:
                    theirs = block.beside[source].get(name, {}).get(column, "")
                    cells.append(Cell(_value(name, column, theirs), source))
            rows.append(cells)
        parts.append(RowGroup(block.title if len(blocks) > 1 else "", rows))
    facts = columns == (VALUE,) and not shown[VALUE]
    caption = blocks[0].title if len(blocks) == 1 else ""
    return NumberTable(caption, [] if facts else head, parts)


def _value(name: str, column: str, value: Any) -> str:
    """A number with four digits, or as many as it takes; rates in per cent."""
    if value is None:
        return "-"
    key = name if column == VALUE else column
    if isinstance(value, float):
        if key.endswith(SHARES):
            return f"{100 * value:.2f} %"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
