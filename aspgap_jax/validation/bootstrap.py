"""Bootstrap over stars: the error and the interval of any statistic of a sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from aspgap_jax.errors import InputError

__all__ = ["Interval", "bootstrap", "paired_difference"]

LEVEL = 0.95
"""Probability inside the intervals."""


class Interval(NamedTuple):
    """A statistic with its bootstrap error; every field has the statistic's shape.

    Attributes:
        value: of the sample itself.
        error: standard deviation over the resamples.
        low: lower end of the 95% percentile interval.
        high: upper end.
    """

    value: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def numbers(self) -> dict[str, float | list[float]]:
        """The fields by name, as JSON takes them."""
        return {name: np.asarray(values).tolist() for name, values in self._asdict().items()}


def bootstrap(
    statistic: Callable[[Int[np.ndarray, " row"]], np.ndarray | float],
    n_stars: int,
    *,
    draws: int,
    seed: int,
) -> Interval:
    """Resample stars with replacement (Efron & Tibshirani 1993, chapters 6 and 13).

    Args:
        statistic: of the stars with these row numbers, which may repeat. A NaN in
            any resample makes error and interval NaN.
        n_stars: stars in the sample.
        draws: resamples.
        seed: of the draws: two calls with one seed draw the same stars.

    Returns:
        The statistic of the sample, with its error and 95% interval.

    Raises:
        InputError: fewer than two stars or two draws.

    Examples:
        The error of a mean is the scatter over the square root of the number.

        >>> x = np.random.default_rng(0).normal(size=400)
        >>> found = bootstrap(lambda rows: x[rows].mean(), len(x), draws=500, seed=1)
        >>> bool(abs(found.error - x.std() / 20) < 0.005)
        True
    """
    if n_stars < 2 or draws < 2:
        raise InputError(f"a bootstrap needs 2 stars and 2 draws, got {n_stars} and {draws}")
    rng = np.random.default_rng(seed)
    value = np.asarray(statistic(np.arange(n_stars)), np.float64)
    resampled = np.stack([statistic(rng.integers(n_stars, size=n_stars)) for _ in range(draws)])
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail], axis=0)
    return Interval(value, np.std(resampled, axis=0), low, high)


def paired_difference(
    first: Float[np.ndarray, "seed star label"],
    second: Float[np.ndarray, "seed star label"],
    *,
    draws: int,
    seed: int,
) -> dict[str, Interval]:
    """rms and mean absolute residual of ``first`` minus those of ``second``, paired by star.

    The statistics are those of single seeds, averaged over seeds. Both sides lose or
    gain the same stars in a resample, so what a hard star costs both cancels.

    Args:
        first: residuals, out of fold.
        second: of the same stars and as many seeds.
        draws: resamples.
        seed: of the draws.

    Returns:
        ``rms`` and ``mae``, each ``[label]`` in the labels' units.
    """
    squares = [np.square(np.asarray(side, np.float64)) for side in (first, second)]
    # |r| is linear, so its mean over seeds can be taken first.
    absolute = [np.sqrt(side).mean(axis=0) for side in squares]

    def rms(rows: Int[np.ndarray, " row"]) -> np.ndarray:
        # Counting the rows is several times faster than gathering them.
        count = np.bincount(rows, minlength=first.shape[1]) / len(rows)
        a, b = (np.sqrt(np.einsum("i,sil->sl", count, side)).mean(axis=0) for side in squares)
        return np.asarray(a - b)

    def mae(rows: Int[np.ndarray, " row"]) -> np.ndarray:
        count = np.bincount(rows, minlength=first.shape[1]) / len(rows)
        return np.asarray(count @ absolute[0] - count @ absolute[1])

    return {
        "rms": bootstrap(rms, first.shape[1], draws=draws, seed=seed),
        "mae": bootstrap(mae, first.shape[1], draws=draws, seed=seed),
    }
