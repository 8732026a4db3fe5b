"""Residual trends and the extinction proxy on made-up stars."""

from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.validation.trends import colour_excess, residual_trend


def test_bins_means_errors_and_slope() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 2.0, 6000)
    scatter = np.array([10.0, 0.1])
    residual = rng.normal(size=(6000, 2)) * scatter + np.outer(x, [4.0, 0.0])
    x[:5] = np.nan
    found = residual_trend(x, residual, bins=10, draws=200)
    assert found.n_stars == 5995
    keep = np.isfinite(x)
    place = np.searchsorted(np.quantile(x[keep], np.linspace(0, 1, 11))[1:-1], x[keep], "right")
    by_hand = np.stack([residual[keep][place == i].mean(axis=0) for i in range(10)])
    np.testing.assert_allclose(found.mean.value, by_hand)
    standard = scatter / np.sqrt(600)
    np.testing.assert_allclose(found.mean.error.mean(axis=0), standard, rtol=0.15)
    slope = [np.polyfit(x[keep], residual[keep, i], 1)[0] for i in range(2)]
    np.testing.assert_allclose(found.slope.value, slope)
    np.testing.assert_allclose(
        found.slope.error, scatter / np.sqrt(6000) / (2 / np.sqrt(12)), rtol=0.2
    )
    # A straight line of slope 4 over 2 has a standard deviation of 8 / sqrt(12) = 2.31.
    assert found.amplitude[0] == pytest.approx(2.31, abs=0.4)
    assert found.amplitude[1] < standard[1]


def test_too_little_is_refused() -> None:
    with pytest.raises(InputError, match="100 stars for 12 bins"):
        residual_trend(np.arange(100.0), np.zeros((100, 4)))
    with pytest.raises(InputError, match="varies too little"):
        residual_trend(np.ones(1000), np.zeros((1000, 4)))
    with pytest.raises(InputError, match="50 stars with a colour"):
        colour_excess(np.ones(50), np.ones((50, 3)))


def test_colour_excess_is_the_reddening_and_not_the_labels() -> None:
    rng = np.random.default_rng(1)
    labels = rng.normal(size=(5000, 3))
    intrinsic = 1.2 - 0.3 * labels[:, 0] + 0.1 * labels[:, 1] ** 2
    # Half of the stars hardly reddened, and a long tail, which goes with a label.
    true = rng.exponential(0.3, 5000) * (1 + 0.5 * (labels[:, 2] > 0)) * (rng.random(5000) > 0.3)
    colour = intrinsic + true + rng.normal(size=5000) * 0.02
    colour[7] = np.nan
    found = colour_excess(colour, labels)
    assert np.isnan(found[7])
    keep = np.isfinite(found)
    assert np.corrcoef(found[keep], true[keep])[0, 1] > 0.99
    slope = np.polyfit(true[keep], found[keep], 1)[0]
    assert slope == pytest.approx(1.0, abs=0.02)
    assert abs(np.corrcoef(found[keep] - true[keep], labels[keep, 0])[0, 1]) < 0.3
