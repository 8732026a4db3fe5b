"""HEALPix pixels against Gaia's own, which stand in the source ids, and the inverse formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from aspgap_jax.survey.healpix import nested_pixels, pixel_centres, source_id_pixels


def test_real_stars_lie_in_the_pixels_of_their_ids(shared: Path) -> None:
    """Two stars whose positions stand in one file and whose ids in another."""
    folder = shared / "data/xp_formats"
    stars = Table.read(folder / "XP_SAMPLED_RAW_dr3int6.csv", format="ascii.csv")
    ids = Table.read(folder / "XP_CONTINUOUS_RAW.ecsv", format="ascii.ecsv")["source_id"]
    found = nested_pixels(np.asarray(stars["ra"]), np.asarray(stars["dec"]), 12)
    np.testing.assert_array_equal(found, np.asarray(ids) // 2**35)


@pytest.mark.parametrize("order", [0, 3, 8, 12])
def test_the_centre_of_a_pixel_lies_in_it(order: int) -> None:
    pixels = np.random.default_rng(order).integers(0, 12 * 4**12, 20_000)
    ra, dec = pixel_centres(pixels << 35)
    np.testing.assert_array_equal(nested_pixels(ra, dec, order), pixels >> 2 * (12 - order))


def test_high_orders_refine_low_ones_everywhere() -> None:
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(-10, 370, 5000), np.degrees(np.arcsin(rng.uniform(-1, 1, 5000)))
    # The poles, the borders of the faces, and the circles where the caps begin.
    edge = np.degrees(np.arcsin(2 / 3))
    ra = np.append(ra, [0, 90, 180, 270, 360, 45, 45, 12, 12])
    dec = np.append(dec, [90, -90, 0, edge, -edge, edge, -edge, 89.9999999, -89.9999999])
    fine = nested_pixels(ra, dec, 29)
    assert fine.min() >= 0
    assert fine.max() < 12 * 4**29
    for order in (0, 5, 20):
        np.testing.assert_array_equal(nested_pixels(ra, dec, order), fine >> 2 * (29 - order))


def test_pixels_of_source_ids() -> None:
    ids = np.array([(1234 << 35) + 77])
    assert source_id_pixels(ids, 12)[0] == 1234
    assert source_id_pixels(ids, 8)[0] == 1234 // 4**4
    assert source_id_pixels(ids, 29)[0] == 1234 * 4**17
