"""The red clump: a narrow peak in log g that labels must put in its place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["CLUMP_LOGG", "CLUMP_TEFF", "around_the_clump", "density", "peak"]

CLUMP_TEFF = (4500.0, 5100.0)  # K
CLUMP_LOGG = (1.9, 3.1)
"""Where the peak is looked for, dex."""
BANDWIDTH = 0.06  # dex, of the kernel
STEP = 0.005  # dex, to which the peak is found


def around_the_clump(teff: Float[np.ndarray, " star"]) -> Bool[np.ndarray, " star"]:
    """Stars between 4500 and 5100 K.

    Args:
        teff: K; NaN where unknown.

    Returns:
        True for those stars.
    """
    return np.asarray((teff > CLUMP_TEFF[0]) & (teff < CLUMP_TEFF[1]))


def density(
    logg: Float[np.ndarray, " star"], grid: Float[np.ndarray, " point"]
) -> Float[np.ndarray, " point"]:
    """Kernel density of log g per dex; normal kernels of 0.06 dex.

    The stars are binned to 0.002 dex first: a kernel a star would take seconds.

    Args:
        logg: dex; NaN counts in none.
        grid: where it is wanted, dex, ascending.

    Returns:
        Stars per dex, over the number of stars.
    """
    step = 0.002
    edges = np.arange(grid[0] - 6 * BANDWIDTH, grid[-1] + 6 * BANDWIDTH, step)
    counts = np.histogram(logg[np.isfinite(logg)], edges)[0]
    centres = 0.5 * (edges[:-1] + edges[1:])
    kernel = np.exp(-0.5 * np.square((grid[:, None] - centres) / BANDWIDTH))
    kernel /= BANDWIDTH * np.sqrt(2.0 * np.pi)
    return np.asarray(kernel @ counts / max(int(np.isfinite(logg).sum()), 1))


def peak(logg: Float[np.ndarray, " star"]) -> float:
    """log g of the highest density from 1.9 to 3.1 dex, to 0.005 dex; NaN without a star there.

    Args:
        logg: dex; NaN where unknown.

    Returns:
        dex.
    """
    inside = (logg > CLUMP_LOGG[0]) & (logg < CLUMP_LOGG[1])
    if not inside.any():
        return float("nan")
    grid = np.arange(*CLUMP_LOGG, STEP)
    highest = grid[np.argmax(density(logg.astype(np.float64), grid))]
    return round(float(highest), 3)
