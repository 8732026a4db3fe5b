"""Low- and high-alpha stars: the dividing line, and how well they are told apart (Table 3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

__all__ = [
    "DISK_MOH",
    "DIVIDING_LINE",
    "Confusion",
    "DividingLine",
    "confusion",
    "in_disk_range",
]


class DividingLine(NamedTuple):
    """``[alpha/M] = intercept + slope [M/H]``; above it a star is high-alpha."""

    intercept: float
    slope: float

    def at(self, moh: Float[np.ndarray, " star"]) -> Float[np.ndarray, " star"]:
        """[alpha/M] of the line, dex."""
        return self.intercept + self.slope * moh

    def above(
        self, moh: Float[np.ndarray, " star"], aom: Float[np.ndarray, " star"]
    ) -> Bool[np.ndarray, " star"]:
        """Whether stars are high-alpha.

        Args:
            moh: [M/H], dex.
            aom: [alpha/M], dex.

        Returns:
            Mask; false where either is NaN.
        """
        return np.asarray(aom > self.at(moh))


DIVIDING_LINE = DividingLine(0.12, -0.08)
"""The paper draws its line and does not print it. This one follows the valley between the
two sequences of APOGEE DR17 giants from [M/H] = -0.9 to 0, bin by bin of 0.1 dex."""

DISK_MOH = (-0.9, 0.0)
"""[M/H] of the disk stars of section 4.5.1 and appendix B."""


class Confusion(NamedTuple):
    """Counts of stars by true and predicted group, and what follows from them.

    Attributes:
        low_as_low, low_as_high, high_as_low, high_as_high: truth, then prediction.
        low_precision: of the stars called low-alpha, the fraction that are.
        low_recall: of the low-alpha stars, the fraction called so.
        high_precision, high_recall: the same for high-alpha.
    """

    low_as_low: int
    low_as_high: int
    high_as_low: int
    high_as_high: int
    low_precision: float
    low_recall: float
    high_precision: float
    high_recall: float


def in_disk_range(moh: Float[np.ndarray, " star"]) -> Bool[np.ndarray, " star"]:
    """Stars with -0.9 < [M/H] < 0.

    Args:
        moh: [M/H], dex.

    Returns:
        Mask; false for NaN.
    """
    return np.asarray((moh > DISK_MOH[0]) & (moh < DISK_MOH[1]))


def confusion(truth: Bool[np.ndarray, " star"], called: Bool[np.ndarray, " star"]) -> Confusion:
    """Precision and recall of a classification into low (False) and high alpha (True).

    Args:
        truth: whether a star is high-alpha.
        called: whether it is said to be.

    Returns:
        Counts and fractions; a fraction of no stars is NaN.

    Examples:
        >>> found = confusion(np.array([True, True, False]), np.array([True, False, False]))
        >>> found.high_precision, found.high_recall, found.low_precision
        (1.0, 0.5, 0.5)
    """
    ll, lh, hl, hh = (
        int(np.sum((truth == one) & (called == other)))
        for one in (False, True)
        for other in (False, True)
    )
    return Confusion(
        low_as_low=ll,
        low_as_high=lh,
        high_as_low=hl,
        high_as_high=hh,
        low_precision=_ratio(ll, ll + hl),
        low_recall=_ratio(ll, ll + lh),
        high_precision=_ratio(hh, hh + lh),
        high_recall=_ratio(hh, hh + hl),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
