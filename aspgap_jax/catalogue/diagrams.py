"""Counts of stars in the planes of figures 10 and 11, summed over any number of blocks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from aspgap_jax.preprocessing.selection import ALPHA_M, LOGG, M_H, TEFF, pseudo_luminosity

__all__ = ["Abundance", "ColourMagnitude", "Kiel", "Plane"]

CELLS = 200
TEFF_RANGE = (3000.0, 7000.0)
M_G_RANGE = (-8.0, 12.0)
LOGG_RANGE = (-0.5, 5.5)
M_H_RANGE = (-2.5, 0.7)
ALPHA_M_RANGE = (-0.2, 0.6)


class Plane:
    """A two-dimensional histogram that grows.

    Args:
        x_range: first and last edge.
        y_range: the same of the other axis.

    Attributes:
        x: edges ``[cell + 1]``.
        y: edges ``[cell + 1]``.
        counts: stars ``[x cell, y cell]``.
        sums: of the third quantity, over the same stars.
        outside: stars that have no place in the plane.
    """

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self.x = np.linspace(*x_range, CELLS + 1)
        self.y = np.linspace(*y_range, CELLS + 1)
        self.counts = np.zeros((CELLS, CELLS))
        self.sums = np.zeros((CELLS, CELLS))
        self.outside = 0

    def add(
        self,
        x: Float[np.ndarray, " star"],
        y: Float[np.ndarray, " star"],
        third: Float[np.ndarray, " star"] | None = None,
    ) -> None:
        """Count stars; NaN has no place.

        Args:
            x: of each star.
            y: of each star.
            third: what :attr:`mean` averages; ``None``: nothing.
        """
        counts, _, _ = np.histogram2d(x, y, (self.x, self.y))
        self.counts += counts
        self.outside += len(x) - int(counts.sum())
        if third is not None:
            self.sums += np.histogram2d(x, y, (self.x, self.y), weights=third)[0]

    def coarser(self, full: int) -> Plane:
        """The same plane in cells twice as wide, again and again, until most stars have company.

        Cells that suit millions of stars show a few thousand as dust.

        Args:
            full: stars that the cell of the median star is to hold; there stay at least an
                eighth of 200 cells along an axis.
        """
        plane = self
        while _of_the_median_star(plane.counts) < full and len(plane.x) > CELLS // 8 + 1:
            wide = Plane((plane.x[0], plane.x[-1]), (plane.y[0], plane.y[-1]))
            wide.x, wide.y, wide.outside = plane.x[::2], plane.y[::2], plane.outside
            shape = (len(wide.x) - 1, 2, len(wide.y) - 1, 2)
            wide.counts = plane.counts.reshape(shape).sum(axis=(1, 3))
            wide.sums = plane.sums.reshape(shape).sum(axis=(1, 3))
            plane = wide
        return plane

    @property
    def mean(self) -> Float[np.ndarray, "x y"]:
        """Mean of the third quantity, NaN in empty cells."""
        empty = np.full(self.counts.shape, np.nan)
        return np.asarray(np.divide(self.sums, self.counts, out=empty, where=self.counts > 0))


def _of_the_median_star(counts: Float[np.ndarray, "x y"]) -> float:
    """How many stars the cell of the median star holds: half of all stars have fuller ones."""
    rising = np.sort(counts.ravel())
    return float(rising[np.searchsorted(rising.cumsum(), 0.5 * rising.sum())])


class ColourMagnitude(Plane):
    """Teff and M_G = 5 log10(L_pseudo) - 10, which needs a parallax above zero."""

    def __init__(self) -> None:
        super().__init__(TEFF_RANGE, M_G_RANGE)

    def add_stars(self, columns: Mapping[str, np.ndarray]) -> None:
        """Count the stars of catalogue columns; those of no positive parallax are outside."""
        luminosity = pseudo_luminosity(columns["parallax"], columns["phot_g_mean_mag"])
        placed = luminosity > 0
        self.outside += int((~placed).sum())
        self.add(columns[TEFF][placed], 5.0 * np.log10(luminosity[placed]) - 10.0)


class Kiel(Plane):
    """Teff and log g, with [M/H]."""

    def __init__(self) -> None:
        super().__init__(TEFF_RANGE, LOGG_RANGE)

    def add_stars(self, columns: Mapping[str, np.ndarray]) -> None:
        """Count the stars of catalogue columns whose [M/H] is known."""
        known = np.isfinite(columns[M_H])
        self.add(*(columns[name][known] for name in (TEFF, LOGG, M_H)))


class Abundance(Plane):
    """[M/H] and [alpha/M]."""

    def __init__(self) -> None:
        super().__init__(M_H_RANGE, ALPHA_M_RANGE)

    def add_stars(self, columns: Mapping[str, np.ndarray]) -> None:
        """Count the stars of catalogue columns."""
        self.add(columns[M_H], columns[ALPHA_M])
