"""Wavelength grids that a file states, and spectra brought from them to the archive's grid.

Samples are values of a smooth function of wavelength (not means over bins), so a
spectrum on another grid is interpolated: the flux by cubics through four neighbours, its
error linearly, since errors of neighbouring samples are the same to first order. Where
the grids share a wavelength nothing changes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from aspgap_jax.errors import InputError

__all__ = ["MAX_STEP", "Resampling", "resampling", "same_grid"]

# nm. Of real stars that GaiaXPy sampled at other wavelengths, resampling from steps of 2 or
# 3 nm misses the flux by a quarter of its error (rms), from steps of 4 nm by half of it.
MAX_STEP = 3.0
POINTS = 4
# nm; GaiaXPy and others write grids with rounding.
ROUNDING = 1e-6


class Resampling(NamedTuple):
    """From one grid to another.

    Attributes:
        order: which samples of the first grid to take, ascending in wavelength.
        flux: cubic weights ``[sample, first]``, at most four of a row not zero.
        error: linear weights ``[sample, first]``, none negative.
    """

    order: np.ndarray
    flux: Float[np.ndarray, "sample first"]
    error: Float[np.ndarray, "sample first"]

    def __call__(
        self, flux: Float[np.ndarray, "star first"], error: Float[np.ndarray, "star first"]
    ) -> tuple[Float[np.ndarray, "star sample"], Float[np.ndarray, "star sample"]]:
        """Flux and error on the new grid, NaN where a sample they depend on is not finite."""
        return _weighted(flux[:, self.order], self.flux), _weighted(
            error[:, self.order], self.error
        )


def same_grid(first: Float[np.ndarray, " first"], second: Float[np.ndarray, " second"]) -> bool:
    """Whether two grids are the same to rounding.

    Args:
        first: nm.
        second: nm.

    Returns:
        False also where they have different lengths.
    """
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=0, atol=ROUNDING))


def resampling(
    first: Float[np.ndarray, " first"], target: Float[np.ndarray, " sample"], where: str
) -> Resampling | None:
    """How to bring spectra from a grid to the ``target`` grid; ``None`` if they are the same.

    Args:
        first: wavelengths of the file, nm, in any order.
        target: wavelengths wanted, nm, ascending.
        where: whose grid it is, for messages.

    Returns:
        The weights.

    Raises:
        InputError: wavelengths are missing or repeated, or the grid does not cover the
            range of ``target`` in steps of :data:`MAX_STEP` or less.
    """
    if same_grid(first, target):
        return None
    return _resampling(first.tobytes(), target.tobytes(), where)


@lru_cache(maxsize=64)
def _resampling(first: bytes, target: bytes, where: str) -> Resampling:
    grid, wanted = np.frombuffer(first), np.frombuffer(target)
    if not np.isfinite(grid).all() or (grid <= 0).any():
        raise InputError(f"{where} has wavelengths that are missing or not positive")
    order = np.argsort(grid, kind="stable")
    grid = grid[order]
    low, high = wanted[0], wanted[-1]
    if len(grid) < POINTS or grid[0] > low + ROUNDING or grid[-1] < high - ROUNDING:
        ends = f"{grid[0]:g} to {grid[-1]:g} nm" if len(grid) else "nothing"
        raise InputError(
            f"{where} covers {ends}, not {low:g} to {high:g} nm: no labels can be had from it; "
            f"sample the spectrum on the archive's grid (GaiaXPy's default)"
        )
    steps = np.diff(grid)
    if (steps <= 0).any():
        raise InputError(f"{where} has the wavelength {grid[1:][steps <= 0][0]:g} nm twice")
    inside = (grid[1:] > low) & (grid[:-1] < high)
    if (wide := steps[inside].max()) > MAX_STEP + ROUNDING:
        at = grid[:-1][inside][steps[inside].argmax()]
        raise InputError(
            f"{where} has no sample between {at:g} and {at + wide:g} nm; resampling needs steps "
            f"of {MAX_STEP:g} nm or less"
        )
    flux = np.zeros((len(wanted), len(grid)))
    error = np.zeros_like(flux)
    rows = np.arange(len(wanted))
    left = np.clip(np.searchsorted(grid, wanted, side="right") - 1, 0, len(grid) - 2)
    fraction = np.clip((wanted - grid[left]) / (grid[left + 1] - grid[left]), 0.0, 1.0)
    error[rows, left], error[rows, left + 1] = 1.0 - fraction, fraction
    start = np.clip(left - POINTS // 2 + 1, 0, len(grid) - POINTS)
    points = grid[start[:, None] + np.arange(POINTS)]
    for at in range(POINTS):
        others = np.delete(points, at, axis=1)
        weight = ((wanted[:, None] - others) / (points[:, at, None] - others)).prod(axis=1)
        flux[rows, start + at] = weight
    # Where the grids share a wavelength its neighbours, perhaps missing, do not matter.
    for near in (left, left + 1):
        shared = np.abs(grid[near] - wanted) <= ROUNDING
        for weights in (flux, error):
            weights[shared] = 0.0
            weights[rows[shared], near[shared]] = 1.0
    return Resampling(order, flux, error)


def _weighted(
    values: Float[np.ndarray, "star first"], weights: Float[np.ndarray, "sample first"]
) -> Float[np.ndarray, "star sample"]:
    finite: Bool[np.ndarray, "star first"] = np.isfinite(values)
    out: np.ndarray = np.where(finite, values, 0.0) @ weights.T
    if not finite.all():
        out[(~finite).astype(float) @ (weights != 0).T.astype(float) > 0] = np.nan
    return out
