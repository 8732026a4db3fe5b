"""Where a star is on the sky: Gaia writes it into the source id."""

from __future__ import annotations

from collections.abc import Mapping

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from jaxtyping import Float, Int64

from aspgap_jax.survey.healpix import pixel_centres

__all__ = ["galactic"]


def galactic(
    source_id: Int64[np.ndarray, " star"], columns: Mapping[str, np.ndarray]
) -> tuple[Float[np.ndarray, " star"], Float[np.ndarray, " star"]]:
    """Galactic longitude and latitude, deg.

    From the columns ``l`` and ``b``, else from ``ra`` and ``dec``, else from the source
    ids, to an arcminute.

    Args:
        source_id: Gaia source ids.
        columns: further columns of the same stars.

    Returns:
        l and b.

    Examples:
        The Galactic centre by its right ascension and declination.

        >>> l, b = galactic(np.array([0]), {"ra": np.array([266.405]), "dec": np.array([-28.936])})
        >>> bool(abs(b[0]) < 0.01)
        True
    """
    if {"l", "b"} <= columns.keys():
        return np.asarray(columns["l"], np.float64), np.asarray(columns["b"], np.float64)
    if {"ra", "dec"} <= columns.keys():
        ra, dec = (np.asarray(columns[name], np.float64) for name in ("ra", "dec"))
    else:
        ra, dec = pixel_centres(source_id)
    place = SkyCoord(ra * u.deg, dec * u.deg).galactic
    return place.l.deg, place.b.deg
