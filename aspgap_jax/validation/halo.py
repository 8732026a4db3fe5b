"""Populations whose [alpha/M] is known from elsewhere (section 4.5.3, Fig. 17)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from aspgap_jax.validation.bootstrap import bootstrap
from aspgap_jax.validation.disks import DIVIDING_LINE

__all__ = [
    "GES_ENERGY",
    "GES_L_Z",
    "POOR_MOH",
    "Fraction",
    "high_alpha_map",
    "is_ges",
    "is_precise_giant",
    "share_below",
]

GES_ENERGY = -1.2e5  # km^2/s^2
GES_L_Z = 500.0  # kpc km/s
POOR_MOH = -1.1
"""[M/H] below which the stars of the Poor Old Heart are taken."""
LOOSE_ECCENTRICITY, LOOSE_APOCENTRE = 0.75, 10.0  # kpc

MAX_SIGMA_MOH, MAX_SIGMA_AOM, MAX_LOGG = 0.1, 0.05, 2.0


class Fraction(NamedTuple):
    """Stars below the dividing line.

    Attributes:
        n: stars.
        below: fraction of them below the line; NaN without stars.
        error: its bootstrap error; NaN below two stars.
        offset: median [alpha/M] minus that of the line, dex.
    """

    n: int
    below: float
    error: float
    offset: float


def is_ges(
    energy: Float[np.ndarray, " star"], l_z: Float[np.ndarray, " star"]
) -> Bool[np.ndarray, " star"]:
    """Likely Gaia-Enceladus/Sausage stars by their orbits alone.

    Args:
        energy: km^2/s^2, above -1.2e5.
        l_z: kpc km/s, below 500 in size.

    Returns:
        Mask; false where either is NaN.
    """
    return np.asarray((energy > GES_ENERGY) & (np.abs(l_z) < GES_L_Z))


def is_loose(
    eccentricity: Float[np.ndarray, " star"], apocentre: Float[np.ndarray, " star"]
) -> Bool[np.ndarray, " star"]:
    """Loosely bound, radial orbits (e > 0.75, apocentre > 10 kpc): visitors, not the Heart."""
    return np.asarray((eccentricity > LOOSE_ECCENTRICITY) & (apocentre > LOOSE_APOCENTRE))


def is_precise_giant(
    sigma_moh: Float[np.ndarray, " star"],
    sigma_aom: Float[np.ndarray, " star"],
    logg: Float[np.ndarray, " star"],
) -> Bool[np.ndarray, " star"]:
    """The cuts of Fig. 17: sigma [M/H] < 0.1, sigma [alpha/M] < 0.05, log g < 2.

    Args:
        sigma_moh: uncertainty of [M/H], dex.
        sigma_aom: uncertainty of [alpha/M], dex.
        logg: dex.

    Returns:
        Mask; false for NaN.
    """
    return np.asarray((sigma_moh < MAX_SIGMA_MOH) & (sigma_aom < MAX_SIGMA_AOM) & (logg < MAX_LOGG))


def share_below(
    moh: Float[np.ndarray, " star"],
    aom: Float[np.ndarray, " star"],
    *,
    draws: int,
    seed: int,
) -> Fraction:
    """The fraction of stars below the dividing line, with its bootstrap error.

    Args:
        moh, aom: [M/H] and [alpha/M], dex; a star that is NaN in either is left out.
        draws: bootstrap resamples.
        seed: of the resamples.

    Returns:
        The share and how it was counted.
    """
    known = np.isfinite(moh) & np.isfinite(aom)
    offset = aom[known].astype(np.float64) - DIVIDING_LINE.at(moh[known].astype(np.float64))
    n = int(known.sum())
    if not n:
        return Fraction(0, float("nan"), float("nan"), float("nan"))
    below = offset <= 0
    error = float("nan")
    if n > 1:
        error = float(bootstrap(lambda rows: below[rows].mean(), n, draws=draws, seed=seed).error)
    return Fraction(n, float(below.mean()), error, float(np.median(offset)))


def high_alpha_map(
    apocentre: Float[np.ndarray, " star"],
    eccentricity: Float[np.ndarray, " star"],
    high: Bool[np.ndarray, " star"],
    apocentre_edges: Float[np.ndarray, " apocentre_edge"],
    eccentricity_edges: Float[np.ndarray, " eccentricity_edge"],
    *,
    least: int = 5,
) -> Float[np.ndarray, "apocentre eccentricity"]:
    """The fraction of high-alpha stars in cells of apocentre and eccentricity.

    NaN in cells with fewer than ``least`` stars.

    Args:
        apocentre: kpc.
        eccentricity: between 0 and 1.
        high: whether a star is high-alpha.
        apocentre_edges: of the cells, kpc.
        eccentricity_edges: of the cells.
        least: stars of a cell that is not NaN.

    Returns:
        Between 0 and 1.
    """
    edges = [apocentre_edges, eccentricity_edges]
    every = np.histogram2d(apocentre, eccentricity, edges)[0]
    those = np.histogram2d(apocentre[high], eccentricity[high], edges)[0]
    share = np.full(every.shape, np.nan)
    np.divide(those, every, out=share, where=every >= least)
    return share
