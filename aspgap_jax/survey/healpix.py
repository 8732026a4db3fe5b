"""HEALPix pixels of stars, in the nested numbering (Gorski et al. 2005, ApJ 622, 759).

A Gaia source id begins with the star's nested pixel of order 12; the pixel of any lower
order is its leading bits.
"""

from __future__ import annotations

import astropy.units as u
import numpy as np
from astropy_healpix import HEALPix
from jaxtyping import Float, Int64

__all__ = ["MAX_ORDER", "nested_pixels", "pixel_centres", "source_id_pixels"]

MAX_ORDER = 29
"""The highest order whose pixel numbers fit 64 bits; HATS indexes stars by it."""
SOURCE_ID_ORDER = 12
SOURCE_ID_SHIFT = 35


def source_id_pixels(
    source_id: Int64[np.ndarray, " star"], order: int
) -> Int64[np.ndarray, " star"]:
    """Pixels of stars from their Gaia source ids; beyond order 12 the first one inside.

    Args:
        source_id: Gaia source ids.
        order: of the pixels, 0 to 29.

    Returns:
        Nested pixel numbers.

    Examples:
        Gaia's bulk files are named after pixels of order 8.

        >>> source_id_pixels(np.array([5853498713190525696]), 8).tolist()
        [665465]
    """
    shift = 2 * (order - SOURCE_ID_ORDER)
    pixel = source_id >> SOURCE_ID_SHIFT
    return pixel << shift if shift >= 0 else pixel >> -shift


def nested_pixels(
    ra: Float[np.ndarray, " star"], dec: Float[np.ndarray, " star"], order: int
) -> Int64[np.ndarray, " star"]:
    """Pixels of positions.

    Args:
        ra: right ascension, deg.
        dec: declination, deg.
        order: of the pixels, 0 to 29.

    Returns:
        Nested pixel numbers.

    Examples:
        Order 0 has twelve pixels; four lie around the north pole.

        >>> nested_pixels(np.array([45.0, 135.0]), np.array([80.0, 80.0]), 0).tolist()
        [0, 1]
    """
    finest = HEALPix(1 << MAX_ORDER, order="nested").lonlat_to_healpix(ra * u.deg, dec * u.deg)
    # Leading bits, so that orders agree on positions at the border of pixels too.
    return np.asarray(finest, np.int64) >> 2 * (MAX_ORDER - order)


def pixel_centres(
    source_id: Int64[np.ndarray, " star"],
) -> tuple[Float[np.ndarray, " star"], Float[np.ndarray, " star"]]:
    """Right ascension and declination of the pixels that source ids name, deg.

    A pixel of order 12 is 0.86 arcmin wide, so stars are within an arcminute of its centre
    (Gaia DR3 documentation, ``source_id``).

    Args:
        source_id: Gaia source ids.

    Returns:
        Right ascensions and declinations.
    """
    pixels = source_id_pixels(source_id, SOURCE_ID_ORDER)
    grid = HEALPix(1 << SOURCE_ID_ORDER, order="nested")
    ra, dec = grid.healpix_to_lonlat(pixels)
    return ra.to_value(u.deg), dec.to_value(u.deg)
