"""What a reader left out, replaced or guessed: lines for the user."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

__all__ = ["Remarks"]


class Remarks:
    """Collects what is worth saying about files, each thing once and counted."""

    def __init__(self) -> None:
        self._said: dict[str, None] = {}
        self._replaced: dict[tuple[Path, str], Counter[float]] = {}

    def say(self, line: str) -> None:
        """Keep a line; the same one again is dropped."""
        self._said[line] = None

    def replaced(self, path: Path, column: str, numbers: dict[float, int]) -> None:
        """Count sentinels of a column, see :mod:`aspgap_jax.survey.sentinels`.

        Args:
            path: the file.
            column: its name there.
            numbers: how often each was replaced.
        """
        if numbers:
            self._replaced.setdefault((path, column), Counter()).update(numbers)

    @property
    def lines(self) -> tuple[str, ...]:
        """Everything, one line a remark."""
        counts = (
            f"{path}: column {column}: sentinels taken as missing values: {found.total():,} ("
            + ", ".join(f"{number:g}: {count:,}" for number, count in found.most_common(4))
            + (", ..." if len(found) > 4 else "")
            + ")"
            for (path, column), found in self._replaced.items()
        )
        return (*self._said, *counts)
