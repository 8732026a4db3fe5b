"""Do residuals follow anything that is no label: brightness, extinction, place on the sky?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from aspgap_jax.errors import InputError, TooFewStars
from aspgap_jax.validation.bootstrap import Interval, bootstrap
from aspgap_jax.validation.conditional import quadratic

__all__ = ["Trend", "colour_excess", "residual_trend"]

EXPECTILE = 0.05
"""Where the blue edge lies: 0.5 would be the mean, 0 the bluest star."""
# The fit of the edge converges in some ten.
ITERATIONS = 50


class Trend(NamedTuple):
    """Residuals against one quantity.

    Attributes:
        edges: of the bins, which hold as many stars each ``[bin + 1]``.
        centre: median of the quantity in each bin ``[bin]``.
        mean: mean residual in each bin ``[bin, label]``.
        slope: of a straight line through all stars, per unit of the quantity ``[label]``.
        amplitude: scatter of the bins' means beyond their errors, the square root of
            max(0, variance of means - mean squared error) ``[label]``.
        n_stars: stars used.
    """

    edges: Float[np.ndarray, " edge"]
    centre: Float[np.ndarray, " bin"]
    mean: Interval
    slope: Interval
    amplitude: Float[np.ndarray, " label"]
    n_stars: int


def residual_trend(
    quantity: Float[np.ndarray, " star"],
    residual: Float[np.ndarray, "star label"],
    *,
    bins: int = 12,
    draws: int = 200,
    seed: int = 0,
) -> Trend:
    """Mean residual in bins of a quantity and the slope with it, with bootstrap errors.

    Stars where the quantity or a residual is not finite are left out.

    Args:
        quantity: what the residuals may follow, any unit.
        residual: prediction minus truth.
        bins: how many, with as many stars each.
        draws: bootstrap resamples.
        seed: of the resamples.

    Returns:
        Means, slope and amplitude, in the units of the labels.

    Raises:
        InputError: fewer than 20 stars a bin, or a quantity that does not vary enough
            for as many bins.
    """
    keep = np.isfinite(quantity) & np.isfinite(residual).all(axis=1)
    x, r = np.asarray(quantity[keep], np.float64), np.asarray(residual[keep], np.float64)
    if len(x) < 20 * bins:
        raise TooFewStars(f"{len(x)} stars for {bins} bins, {20 * bins} are needed")
    edges = np.quantile(x, np.linspace(0.0, 1.0, bins + 1))
    if not (np.diff(edges) > 0).all():
        raise InputError(f"the quantity varies too little for {bins} bins")
    place = np.digitize(x, edges[1:-1])
    centre = np.array([np.median(x[place == i]) for i in range(bins)])

    def means(rows: Int[np.ndarray, " row"]) -> np.ndarray:
        # Sums by bin; counts of bins of equal size are never zero in practice.
        weight = np.bincount(rows, minlength=len(x)).astype(np.float64)
        count = np.bincount(place, weight, bins)
        sums = [np.bincount(place, weight * column, bins) for column in r.T]
        return np.stack(sums, axis=1) / count[:, None]

    def slope(rows: Int[np.ndarray, " row"]) -> np.ndarray:
        away = x[rows] - x[rows].mean()
        return np.asarray(away @ r[rows] / (away @ away))

    mean = bootstrap(means, len(x), draws=draws, seed=seed)
    excess = mean.value.var(axis=0) - np.square(mean.error).mean(axis=0)
    return Trend(
        edges=edges,
        centre=centre,
        mean=mean,
        slope=bootstrap(slope, len(x), draws=draws, seed=seed),
        amplitude=np.sqrt(np.maximum(excess, 0.0)),
        n_stars=len(x),
    )


def colour_excess(
    colour: Float[np.ndarray, " star"],
    truth: Float[np.ndarray, "star label"],
) -> Float[np.ndarray, " star"]:
    """A proxy of extinction: how much redder a star is than stars of its labels can be.

    The intrinsic colour is a quadratic polynomial of the reference labels at the blue edge
    of the stars: their low expectile (Newey & Powell 1987), by iteratively reweighted least
    squares. The proxy's zero point is arbitrary, and no spectrum enters.

    Args:
        colour: BP - RP, say; NaN where unknown.
        truth: reference labels. Leave out the label that is under test: with the excess
            fixed, the colour would tell it.

    Returns:
        mag, NaN where colour or a label is unknown.

    Raises:
        InputError: fewer than 100 stars with a colour.
    """
    keep = np.isfinite(colour) & np.isfinite(truth).all(axis=1)
    if keep.sum() < 100:
        raise TooFewStars(f"{keep.sum()} stars with a colour, 100 are needed for an excess")
    design = quadratic(np.asarray(truth[keep], np.float64))
    target = np.asarray(colour[keep], np.float64)
    weight = np.ones(len(target))
    for _ in range(ITERATIONS):
        root = np.sqrt(weight)
        fitted = design @ np.linalg.lstsq(root[:, None] * design, root * target, rcond=None)[0]
        weight = np.where(target > fitted, EXPECTILE, 1.0 - EXPECTILE)
    excess = np.full(len(colour), np.nan)
    excess[keep] = target - fitted
    return excess
