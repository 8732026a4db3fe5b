"""Which column of a file is which: in any case, after a join, or one number a column.

A name counts as it is, else in another case, else with TOPCAT's suffix ``_1`` for the
first table of a join. Arrays may be spread over numbered columns ("exploded"), as in
``bp_1, bp_1_error`` or ``flux_336``: the pattern is found, not guessed; where more than
one fits, the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from aspgap_jax.errors import InputError

__all__ = ["Names", "Series", "numbered"]

# A number at the end of a name or between two words of it.
NUMBERED = re.compile(
    r"^(?P<before>.*?)[_.\[( ]*(?P<number>\d+(?:\.\d+)?)[\])]?(?P<after>[^0-9]*)$"
)
ERRORS = re.compile(r"err|sig|unc|std|(^|_)e(_|$)")
OTHER = re.compile(r"corr|mag|snr|s2n|chi|phot")
FIRST, SECOND = "_1", "_2"
# Fewer columns than this are no exploded array, but two tables after a join.
FEW = 3
# nm. A number above it that comes first is a wavelength, not a count.
SHORTEST = 100.0


class Series(NamedTuple):
    """Numbered columns that hold one array.

    Attributes:
        columns: the names, in the order of their numbers.
        numbers: these numbers.
    """

    columns: tuple[str, ...]
    numbers: tuple[float, ...]

    @property
    def wavelengths(self) -> bool:
        """Whether the numbers are no counts, but can be wavelengths."""
        return self.numbers[0] >= SHORTEST

    def __str__(self) -> str:
        return f"{self.columns[0]} ... {self.columns[-1]}"


class Names:
    """The columns of a table, found by the name that the archive gives them.

    Args:
        columns: names as the file has them.
        where: file and table, for messages.

    Raises:
        InputError: a name is no text.
    """

    def __init__(self, columns: Sequence[object], where: Path | str) -> None:
        texts: list[str] = []
        for name in columns:
            if not isinstance(name, str):
                raise InputError(f"{where}: a column has no name of text, but {name!r}")
            texts.append(name)
        self.columns = tuple(texts)
        self._where = where
        self._lower: dict[str, list[str]] = {}
        for name in self.columns:
            self._lower.setdefault(name.strip().lower(), []).append(name)
        self._series = {
            stem: series for stem, series in numbered(self.columns).items() if _is_array(series)
        }
        self._parts = {name for series in self._series.values() for name in series.columns}

    def find(self, wanted: str) -> str | None:
        """The column that the archive calls ``wanted``; ``None`` if there is none.

        Raises:
            InputError: more than one column could be it.
        """
        for name in (wanted, wanted + FIRST):
            exact = self.columns.count(name)
            same = self._lower.get(name, [])
            if exact > 1 or (not exact and len(same) > 1):
                raise InputError(
                    f"{self._where}: the columns {', '.join(same)} could all be {wanted}; "
                    f"rename or remove all but one"
                )
            if same and not (name != wanted and same[0] in self._parts):
                return name if exact else same[0]
        return None

    def twin(self, wanted: str) -> str | None:
        """After a join, the column of the second table, if ``wanted`` is in both."""
        first, second = (self._lower.get(wanted + end, []) for end in (FIRST, SECOND))
        if wanted in self._lower or len(first) != 1 or len(second) != 1:
            return None
        return second[0]

    def series(self, band: str | None, *, error: bool) -> Series | None:
        """The numbered columns of a band's coefficients, or of the sampled flux.

        Args:
            band: ``bp`` or ``rp``; ``None`` for the flux.
            error: whether the errors are asked for.

        Returns:
            ``None`` where there are none.

        Raises:
            InputError: more than one pattern fits.
        """
        fits = []
        for stem, series in self._series.items():
            words = set(re.split(r"[^a-z]+", stem))
            named = band in words if band is not None else ("flux" in words)
            if named and bool(ERRORS.search(stem)) == error and not OTHER.search(stem):
                fits.append(series)
        if len(fits) > 1:
            what = f"{band.upper()} coefficients" if band else "fluxes"
            raise InputError(
                f"{self._where}: {' and '.join(map(str, fits))} could both be the "
                f"{'errors of the ' if error else ''}{what}; keep one of them"
            )
        return fits[0] if fits else None


def numbered(columns: Sequence[str]) -> dict[str, Series]:
    """Columns whose names differ in a number alone, by what is left of the name.

    Args:
        columns: names of a table.

    Returns:
        The columns of each series, by their numbers, under the name without one.
    """
    found: dict[str, list[tuple[float, str]]] = {}
    for name in columns:
        if (match := NUMBERED.match(name.strip().lower())) is not None and match["before"]:
            stem = match["before"] + match["after"]
            found.setdefault(stem, []).append((float(match["number"]), name))
    return {
        stem: Series(tuple(name for _, name in sorted(pairs)), tuple(n for n, _ in sorted(pairs)))
        for stem, pairs in found.items()
    }


def _is_array(series: Series) -> bool:
    """Whether the numbers count up without a gap, from 0 or 1, or are a list of wavelengths."""
    numbers = series.numbers
    if len(numbers) < FEW or len(set(numbers)) < len(numbers):
        return False
    counts = numbers[0] in (0, 1) and numbers[-1] - numbers[0] == len(numbers) - 1
    return counts or series.wavelengths
