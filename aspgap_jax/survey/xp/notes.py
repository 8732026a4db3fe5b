"""What a reader did to a file that its user should know: counted, then said in one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

__all__ = ["Notes", "OnNote"]

OnNote = Callable[[str], None]


class Notes:
    """Counts what was converted, replaced or left out in one file."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, what: str, count: int = 0) -> None:
        """Count ``what``; ``count`` 0 where it holds for the whole file.

        Args:
            what: words for the user.
            count: how often.
        """
        self._counts[what] += count

    def lines(self) -> tuple[str, ...]:
        """One line each, in the order in which they first occurred."""
        return tuple(
            f"{what} ({count:,} {'star' if count == 1 else 'stars'})" if count else what
            for what, count in self._counts.items()
        )
