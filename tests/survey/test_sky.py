"""Positions from source ids, against real stars and astropy."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from aspgap_jax.errors import InputError
from aspgap_jax.survey.healpix import nested_pixels, pixel_centres
from aspgap_jax.survey.sample import load_sample
from aspgap_jax.survey.sky import galactic


def test_pixel_centres_lie_in_their_pixels() -> None:
    """There and back, all over the sky and in both polar caps."""
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 3000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    dec[:50], dec[50:100] = rng.uniform(85, 90, 50), rng.uniform(-90, -85, 50)
    pixels = nested_pixels(ra, dec, 12)
    at = pixel_centres((pixels << 35) + 12345)
    assert (nested_pixels(*at, 12) == pixels).all()


def test_real_stars_are_where_their_2mass_names_say() -> None:
    try:
        stars = load_sample()
    except InputError as error:
        pytest.skip(str(error))
    names = np.char.strip(stars.columns["apogee_id"].astype(str))
    rows = np.flatnonzero(np.char.startswith(names, "2M"))[::50]
    place = [
        f"{n[2:4]} {n[4:6]} {n[6:8]}.{n[8:10]} {n[10:13]} {n[13:15]} {n[15:17]}.{n[17]}"
        for n in names[rows]
    ]
    truth = SkyCoord(place, unit=("hourangle", "deg"))
    found = SkyCoord(*pixel_centres(stars.source_id[rows]), unit="deg")
    assert len(rows) > 500
    assert truth.separation(found).arcmin.max() < 1.0


def test_columns_are_preferred() -> None:
    ids = np.array([1 << 35], np.int64)
    pole = {"ra": np.array([192.859508]), "dec": np.array([27.128336])}
    assert galactic(ids, pole)[1][0] == pytest.approx(90, abs=1e-3)
    given = {"l": np.array([10.0]), "b": np.array([-5.0])}
    assert galactic(ids, pole | given) == (np.array([10.0]), np.array([-5.0]))
