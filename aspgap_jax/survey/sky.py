"""Where a star is on the sky: Gaia writes it into the source id."""

from __future__ import annotations

from collections.abc import Mapping

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from jaxtyping import Float, Int64

from aspgap_jax.survey.healpix import source_id_pixels

__all__ = ["galactic", "pixel_centre"]

ORDER = 12
NSIDE = 1 << ORDER
# Position of the 12 base pixels: rings of their southern corners, and longitudes.
RING = np.repeat([2, 3, 4], 4)
LONGITUDE = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7])


def pixel_centre(
    source_id: Int64[np.ndarray, " star"],
) -> tuple[Float[np.ndarray, " star"], Float[np.ndarray, " star"]]:
    """Right ascension and declination of the HEALPix pixels that source ids name, deg.

    A pixel of level 12 is 0.86 arcmin wide, so stars are within an arcminute of it
    (Gorski et al. 2005, nested scheme; Gaia DR3 documentation, ``source_id``).
    """
    face, inside = np.divmod(source_id_pixels(source_id, ORDER), NSIDE * NSIDE)
    x, y = _every_second_bit(inside), _every_second_bit(inside >> 1)
    ring = RING[face] * NSIDE - x - y - 1
    north, south = ring < NSIDE, ring > 3 * NSIDE
    polar = north | south
    # Pixels of a ring in a quarter turn; in the belt around the equator it is NSIDE.
    quarter = np.where(north, ring, np.where(south, 4 * NSIDE - ring, NSIDE))
    cap = np.square(quarter / NSIDE) / 3.0
    z = np.where(
        north, 1.0 - cap, np.where(south, cap - 1.0, (2 * NSIDE - ring) * 2.0 / (3.0 * NSIDE))
    )
    shift = np.where(polar, 0, (ring - NSIDE) & 1)
    place = (LONGITUDE[face] * quarter + x - y + 1 + shift) // 2
    place = np.where(place < 1, place + 4 * quarter, place)
    longitude = (place - 0.5 * (shift + 1)) * 90.0 / quarter
    return longitude % 360.0, np.degrees(np.arcsin(z))


def _every_second_bit(values: np.ndarray) -> np.ndarray:
    """Bits 0, 2, 4, ... of 24-bit numbers, moved together."""
    found = np.zeros_like(values)
    for bit in range(12):
        found |= ((values >> (2 * bit)) & 1) << bit
    return found


def galactic(
    source_id: Int64[np.ndarray, " star"], columns: Mapping[str, np.ndarray]
) -> tuple[Float[np.ndarray, " star"], Float[np.ndarray, " star"]]:
    """Galactic longitude and latitude, deg.

    From the columns ``l`` and ``b``, else from ``ra`` and ``dec``, else from the source
    ids, to an arcminute.
    """
    if {"l", "b"} <= columns.keys():
        return np.asarray(columns["l"], np.float64), np.asarray(columns["b"], np.float64)
    if {"ra", "dec"} <= columns.keys():
        ra, dec = (np.asarray(columns[name], np.float64) for name in ("ra", "dec"))
    else:
        ra, dec = pixel_centre(source_id)
    place = SkyCoord(ra * u.deg, dec * u.deg).galactic
    return place.l.deg, place.b.deg
