"""Orbits from Gaia's astrometry and radial velocity, and how they go with [alpha/M] (Fig. 16)."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from aspgap_jax.errors import InputError
from aspgap_jax.extras import cure
from aspgap_jax.validation.bootstrap import bootstrap

__all__ = ["MOH_BINS", "OrbitTrend", "Orbits", "PhaseSpace", "mean_with_error", "orbits", "trend"]

MOH_BINS = ((-0.7, -0.5), (-0.5, -0.3))
"""[M/H] of the two groups of section 4.5.2."""

# The potential of McMillan (2017), as Kordopatis et al. (2023) take it: the Sun's distance
# [kpc], the circular velocity there [km/s], and Schoenrich et al.'s (2010) solar motion.
SUN_RADIUS, SUN_VELOCITY, SUN_HEIGHT = 8.21, 233.1, 0.0208
SOLAR_MOTION = (-11.1, 12.24, 7.25)
# Focal length of the Staeckel approximation in units of the Sun's distance; typical of
# orbits through the disk (Mackereth & Bovy 2018).
DELTA = 0.4


class PhaseSpace(NamedTuple):
    """Where stars are and how they move, as Gaia gives it; all ``[star]``.

    Attributes:
        ra, dec: deg.
        parallax: mas; the distance is its inverse, so it must be positive and precise.
        pmra, pmdec: mas/yr; ``pmra`` includes cos(dec).
        radial_velocity: km/s.
    """

    ra: Float[np.ndarray, " star"]
    dec: Float[np.ndarray, " star"]
    parallax: Float[np.ndarray, " star"]
    pmra: Float[np.ndarray, " star"]
    pmdec: Float[np.ndarray, " star"]
    radial_velocity: Float[np.ndarray, " star"]


class Orbits(NamedTuple):
    """Orbits, all ``[star]``; NaN where unknown.

    Attributes:
        l_z: angular momentum, kpc km/s; positive with the rotation of the disk.
        j_z: vertical action, kpc km/s.
        eccentricity: (apocentre - pericentre) / (apocentre + pericentre).
        apocentre: kpc.
        energy: km^2/s^2; 0 at infinity.
    """

    l_z: Float[np.ndarray, " star"]
    j_z: Float[np.ndarray, " star"]
    eccentricity: Float[np.ndarray, " star"]
    apocentre: Float[np.ndarray, " star"]
    energy: Float[np.ndarray, " star"]


class OrbitTrend(NamedTuple):
    """Mean of a quantity in bins of [alpha/M], ``[bin]``; only bins with two stars or more.

    Attributes:
        alpha_m: mean [alpha/M] of the bin, dex.
        n: stars.
        mean: of the quantity.
        error: its bootstrap error.
    """

    alpha_m: np.ndarray
    n: np.ndarray
    mean: np.ndarray
    error: np.ndarray


def orbits(phase: PhaseSpace) -> Orbits:
    """Actions (Staeckel approximation), eccentricity, apocentre and energy.

    In the axisymmetric potential of McMillan (2017), with galpy (Bovy 2015). It takes some
    10 s to set up, and 15 ms a star: for millions of stars give an orbit catalogue.

    Args:
        phase: positions and velocities of stars.

    Returns:
        Of every star, ``[star]``.

    Raises:
        InputError: galpy is not installed.
    """
    try:
        with warnings.catch_warnings():
            # galpy warns of optional parts that are not installed.
            warnings.simplefilter("ignore")
            from galpy.orbit import Orbit
            from galpy.potential.mwpotentials import McMillan17
    except ImportError as error:
        raise InputError(f"orbits need galpy ({error}): {cure('dynamics')}") from None
    if not len(phase.ra):
        return Orbits(*[np.zeros(0)] * len(Orbits._fields))
    vector = np.stack(
        [phase.ra, phase.dec, 1.0 / phase.parallax, phase.pmra, phase.pmdec, phase.radial_velocity],
        axis=1,
    ).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        orbit = Orbit(
            vector,
            radec=True,
            ro=SUN_RADIUS,
            vo=SUN_VELOCITY,
            zo=SUN_HEIGHT,
            solarmotion=list(SOLAR_MOTION),
        )
        options = {"pot": McMillan17, "type": "staeckel", "delta": DELTA}
        return Orbits(
            l_z=np.atleast_1d(orbit.Lz()),
            j_z=np.atleast_1d(orbit.jz(**options)),
            eccentricity=np.atleast_1d(orbit.e(analytic=True, **options)),
            apocentre=np.atleast_1d(orbit.rap(analytic=True, **options)),
            energy=np.atleast_1d(orbit.E(pot=McMillan17)),
        )


def trend(
    alpha_m: Float[np.ndarray, " star"],
    quantity: Float[np.ndarray, " star"],
    edges: Float[np.ndarray, " edge"],
    *,
    draws: int,
    seed: int,
) -> OrbitTrend:
    """Mean of ``quantity`` in bins of [alpha/M], with bootstrap errors (Fig. 16).

    Args:
        alpha_m: dex.
        quantity: what is averaged; stars where it is NaN are left out.
        edges: of the bins, dex.
        draws: bootstrap resamples.
        seed: of the resamples.

    Returns:
        A mean a bin; bins of fewer than two stars are left out.
    """
    known = np.isfinite(alpha_m) & np.isfinite(quantity)
    alpha_m, quantity = alpha_m[known].astype(np.float64), quantity[known].astype(np.float64)
    place = np.digitize(alpha_m, edges) - 1
    rows = []
    for index in range(len(edges) - 1):
        values = quantity[place == index]
        if len(values) < 2:
            continue
        middle = float(alpha_m[place == index].mean())
        rows.append((middle, len(values), *mean_with_error(values, draws=draws, seed=seed)))
    if not rows:
        return OrbitTrend(*[np.zeros(0)] * len(OrbitTrend._fields))
    return OrbitTrend(*(np.array(column) for column in zip(*rows, strict=True)))


def mean_with_error(
    values: Float[np.ndarray, " star"], *, draws: int, seed: int
) -> tuple[float, float]:
    """Mean of two values or more, and its bootstrap error.

    Args:
        values: at least two.
        draws: bootstrap resamples.
        seed: of the resamples.

    Returns:
        Both in the unit of the values.
    """

    def mean(rows: Int[np.ndarray, " row"]) -> float:
        return float(values[rows].mean())

    found = bootstrap(mean, len(values), draws=draws, seed=seed)
    return float(found.value), float(found.error)
