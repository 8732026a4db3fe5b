"""HEALPix pixels of stars, in the nested numbering.

Source: Gorski et al. 2005, ApJ 622, 759, section 4 (the projection and the
numbering of its pixels). A Gaia source id begins with the star's nested pixel of
order 12; the pixel of any lower order is its leading bits.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

__all__ = ["MAX_ORDER", "nested_pixels", "source_id_pixels"]

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
    """
    n_side = 1 << order
    z = np.sin(np.radians(dec))
    # Quarter turns, 0 to 4.
    turns = np.mod(ra, 360.0) / 90.0
    polar = np.abs(z) > 2.0 / 3.0
    face, x, y = (
        np.where(polar, of_cap, of_belt)
        for of_cap, of_belt in zip(
            _in_cap(turns, dec, n_side), _in_belt(turns, z, n_side), strict=True
        )
    )
    return (face.astype(np.int64) << (2 * order)) | _spread(x) | (_spread(y) << 1)


def _in_belt(turns: np.ndarray, z: np.ndarray, n_side: int) -> tuple[np.ndarray, ...]:
    """Face, x and y of positions between the polar caps."""
    middle = n_side * (0.5 + turns)
    offset = n_side * z * 0.75
    # Numbers of the ascending and the descending border below a position.
    rising = np.floor(middle - offset).astype(np.int64)
    falling = np.floor(middle + offset).astype(np.int64)
    one, other = rising // n_side, falling // n_side
    # 4-7 are the faces on the equator, 0-3 those north of it, 8-11 those south of it.
    face = np.where(one == other, one % 4 + 4, np.where(one < other, one % 4, other % 4 + 8))
    return face, falling % n_side, n_side - 1 - rising % n_side


def _in_cap(turns: np.ndarray, dec: np.ndarray, n_side: int) -> tuple[np.ndarray, ...]:
    """Face, x and y of positions in the polar caps."""
    quarter = np.minimum(np.floor(turns), 3.0)
    within = turns - quarter
    # sqrt(3 (1 - |z|)), without the cancellation near the pole.
    distance = n_side * np.sqrt(6.0) * np.abs(np.sin(np.radians(90.0 - np.abs(dec)) / 2.0))
    rising = np.minimum(np.floor(within * distance), n_side - 1).astype(np.int64)
    falling = np.minimum(np.floor((1.0 - within) * distance), n_side - 1).astype(np.int64)
    north = dec >= 0
    face = quarter.astype(np.int64) + np.where(north, 0, 8)
    return (
        face,
        np.where(north, n_side - 1 - falling, rising),
        np.where(north, n_side - 1 - rising, falling),
    )


def _spread(values: np.ndarray) -> np.ndarray:
    """The bits of 32-bit numbers, each followed by a zero."""
    out = values.astype(np.int64)
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        out = (out | (out << shift)) & mask
    return out
