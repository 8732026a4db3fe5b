"""Counts of stars in planes, and their cells."""

from __future__ import annotations

import numpy as np

from aspgap_jax.catalogue.diagrams import Plane


def test_wider_cells_hold_the_same_stars() -> None:
    rng = np.random.default_rng(0)
    x, y, third = rng.uniform(0, 1, (3, 3000))
    plane = Plane((0.0, 1.0), (0.0, 1.0))
    plane.add(x, y, third)
    plane.add(np.array([2.0]), np.array([0.5]))
    wide = plane.coarser(30)
    # 3000 stars in 25 x 25 cells are 5 a cell: it ends at the widest.
    assert wide.counts.shape == (25, 25)
    assert wide.outside == 1
    expected = np.histogram2d(x, y, 25, ((0, 1), (0, 1)))[0]
    np.testing.assert_array_equal(wide.counts, expected)
    sums = np.histogram2d(x, y, 25, ((0, 1), (0, 1)), weights=third)[0]
    filled = expected > 0
    np.testing.assert_allclose(wide.mean[filled], sums[filled] / expected[filled])
    assert np.isnan(wide.mean[~filled]).all()


def test_one_full_cell_does_not_make_a_plane() -> None:
    """Half of the stars decide, not the peak of the density."""
    rng = np.random.default_rng(1)
    plane = Plane((0.0, 1.0), (0.0, 1.0))
    plane.add(np.full(1000, 0.501), np.full(1000, 0.501))
    plane.add(*rng.uniform(0, 1, (2, 4000)))
    # 4000 stars in 100 x 100 cells would be 0.4 a cell, in 50 x 50 about 1.6, in 25 x 25 6.4.
    assert plane.coarser(4).counts.shape == (25, 25)


def test_cells_that_are_full_stay_as_they_are() -> None:
    plane = Plane((0.0, 1.0), (0.0, 1.0))
    plane.add(np.full(40, 0.501), np.full(40, 0.501))
    assert plane.coarser(30) is plane
