"""Numbers that stand for "not measured": one table, by kind of column.

FITS has no missing floats, and neither has much software: surveys write -9999, users
-999, old catalogues 99.99, VizieR's tools 1e20. Which numbers cannot be measurements
depends on the column: zero is no magnitude and no error, but the parallax of a quasar
and the metallicity of the Sun; 99.99 is no magnitude, but a parallax.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Num

__all__ = ["KINDS", "Cleaned", "Kind", "is_sentinel", "kind_of", "without_sentinels"]


class Kind(NamedTuple):
    """What cannot be a measurement in columns of one kind.

    Attributes:
        numbers: the sentinels; a value counts if it is one to the rounding of float32.
        positive: whether a measurement is above zero, so that everything else is missing.
    """

    numbers: tuple[float, ...]
    positive: bool = False


def _with_decimals(*numbers: float) -> tuple[float, ...]:
    """Each of 99, 999, ... with up to three decimals of the same digit."""
    return tuple(np.sign(n) * (abs(n) + d) for n in numbers for d in (0.0, 0.9, 0.99, 0.999))


# Beyond this a number is an overflow, a fill value (1e20, 9.97e36) or the largest float.
HUGE = 1e20
NEGATIVE = _with_decimals(-999.0, -9999.0, -99999.0)
POSITIVE = _with_decimals(999.0, 9999.0, 99999.0)
TWO_DIGITS = _with_decimals(99.0, -99.0)
ONE_DIGIT = (9.99, 9.999, -9.99, -9.999)

KINDS: dict[str, Kind] = {
    # 9,999 K are an A star.
    "temperature": Kind((*NEGATIVE, *TWO_DIGITS, *_with_decimals(999.0)), positive=True),
    "temperature error": Kind((*NEGATIVE, *_with_decimals(9999.0, 99999.0)), positive=True),
    "gravity": Kind((*NEGATIVE, *POSITIVE, *TWO_DIGITS)),
    "abundance": Kind((*NEGATIVE, *POSITIVE, *TWO_DIGITS, *ONE_DIGIT)),
    "magnitude": Kind((0.0, -1.0, *NEGATIVE, *POSITIVE, *TWO_DIGITS)),
    # Gaia's brightest star has G = 1.7: below zero is another survey's, or an absolute one.
    "Gaia magnitude": Kind((-1.0, *NEGATIVE, *POSITIVE, *TWO_DIGITS), positive=True),
    # Zero and negative parallaxes are measurements.
    "parallax": Kind((*NEGATIVE, *POSITIVE)),
    "motion": Kind((*NEGATIVE, *_with_decimals(99999.0))),
    "velocity": Kind((*NEGATIVE, *POSITIVE)),
    "error": Kind((*NEGATIVE, *POSITIVE, *TWO_DIGITS), positive=True),
    # Of a spectrum in any unit: +999 can be a flux.
    "flux": Kind(NEGATIVE),
    "flux error": Kind(NEGATIVE, positive=True),
    "ruwe": Kind((*NEGATIVE, *POSITIVE), positive=True),
    # A S/N of zero is a spectrum without a signal.
    "snr": Kind((-1.0, *NEGATIVE, *TWO_DIGITS[4:])),
    "angle": Kind((*NEGATIVE, *POSITIVE)),
    "probability": Kind((-1.0, *NEGATIVE, *POSITIVE, *TWO_DIGITS)),
    # Angular momenta and energies are any number of three digits.
    "orbit": Kind(_with_decimals(-9999.0, -99999.0)),
    "positive orbit": Kind((-1.0, *NEGATIVE, *_with_decimals(99999.0))),
    # Nothing but what no column can hold.
    "any": Kind(()),
}
"""What stands for a missing value in each kind of column."""

_KIND_OF: dict[str, str] = {
    "teff": "temperature",
    "logg": "gravity",
    **dict.fromkeys(("m_h", "alpha_m", "fe_h"), "abundance"),
    **dict.fromkeys(
        ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "g_mag"), "Gaia magnitude"
    ),
    "parallax": "parallax",
    **dict.fromkeys(("pmra", "pmdec"), "motion"),
    "radial_velocity": "velocity",
    "ruwe": "ruwe",
    **dict.fromkeys(("snr", "snr_bp", "snr_rp"), "snr"),
    **dict.fromkeys(("ra", "dec", "l", "b"), "angle"),
    "probability": "probability",
    **dict.fromkeys(("l_z", "energy"), "orbit"),
    **dict.fromkeys(("j_z", "apocentre", "eccentricity"), "positive orbit"),
}


def kind_of(column: str) -> str:
    """The kind of a column, by the name this package gives it.

    An error is its quantity's name with the suffix ``_error``, ``_err``, or the prefix ``e_``.

    Args:
        column: its name in this package.

    Returns:
        A key of the table of sentinels; ``any`` for a name without a row.
    """
    bare = column.removesuffix("_error").removesuffix("_err").removeprefix("e_")
    if bare != column and bare in _KIND_OF:
        return "temperature error" if bare == "teff" else "error"
    return _KIND_OF.get(column, "any")


def is_sentinel(values: Num[np.ndarray, "..."], kind: str) -> Bool[np.ndarray, "..."]:
    """Which values stand for a missing one; NaN does not count, infinity does.

    Args:
        values: numbers of any type.
        kind: a key of :data:`KINDS`.

    Returns:
        Mask of the same shape.
    """
    numbers, positive = KINDS[kind]
    values = np.asarray(values, np.float64)
    with np.errstate(invalid="ignore"):
        found = np.abs(values) >= HUGE * (1 - 1e-6)
        if positive:
            found |= values <= 0
        if numbers:
            table = np.sort(np.array(numbers))
            place = np.searchsorted(table, values)
            for near in (np.maximum(place - 1, 0), np.minimum(place, len(table) - 1)):
                found |= np.abs(values - table[near]) <= 1e-7 * np.abs(table[near])
    return np.asarray(found)


class Cleaned(NamedTuple):
    """Values of a column without its sentinels.

    Attributes:
        values: float64, NaN where a sentinel stood.
        replaced: how often each number stood for a missing value, most frequent first.
    """

    values: Num[np.ndarray, "..."]
    replaced: dict[float, int]

    def __str__(self) -> str:
        return ", ".join(f"{count:,} times {number:g}" for number, count in self.replaced.items())


def without_sentinels(values: Num[np.ndarray, "..."], kind: str) -> Cleaned:
    """Numbers with NaN in the place of each sentinel, and the count of them.

    Args:
        values: numbers of any type.
        kind: a key of :data:`KINDS`.

    Returns:
        float64 of the same shape, and the count.
    """
    missing = is_sentinel(values, kind)
    cleaned = np.where(missing, np.nan, np.asarray(values, np.float64))
    numbers, counts = np.unique(np.asarray(values)[missing], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return Cleaned(cleaned, {float(numbers[i]): int(counts[i]) for i in order})
