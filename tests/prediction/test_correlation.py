"""Correlations of a star's labels: found where they were put, and matrices everywhere."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from aspgap_jax.prediction.correlation import (
    Correlation,
    correlation_of,
    fit_correlation,
    no_correlation,
)

COOL = np.array([[1.0, 0.7, 0.3, 0.0], [0.7, 1.0, 0.2, 0.0], [0.3, 0.2, 1.0, 0.0], [0, 0, 0, 1.0]])
WARM = np.array(
    [[1.0, 0.6, 0.6, -0.3], [0.6, 1.0, 0.5, -0.3], [0.6, 0.5, 1.0, -0.5], [-0.3, -0.3, -0.5, 1.0]]
)
SCALE = np.array([50.0, 0.2, 0.1, 0.03])


def made_up(n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Stars whose correlations run from COOL at 3500 K to WARM at 5500 K."""
    rng = np.random.default_rng(seed)
    mean = np.tile([0.0, 2.0, 0.0, 0.1], (n, 1))
    mean[:, 0] = rng.uniform(3500.0, 5500.0, n)
    share = ((mean[:, 0] - 3500) / 2000)[:, None, None]
    true = (1 - share) * COOL + share * WARM
    z = np.einsum("sjk,sk->sj", np.linalg.cholesky(true), rng.normal(size=(n, 4)))
    sigma = SCALE * rng.uniform(0.5, 2.0, (n, 1))
    error = np.broadcast_to(0.4 * SCALE, sigma.shape)
    return mean, z * sigma + error * rng.normal(size=sigma.shape), sigma, error, true


def test_correlations_are_found_along_teff_without_the_errors_of_the_truth() -> None:
    mean, residual, sigma, error, true = made_up(60_000, 0)
    fitted = fit_correlation(mean, residual, sigma, error)
    found = np.asarray(correlation_of(fitted, jnp.asarray(mean, jnp.float32)))
    inside = (mean[:, 0] > fitted.teff[0]) & (mean[:, 0] < fitted.teff[-1])
    # The errors of the truth alone would take 0.06 off a correlation of 0.6.
    np.testing.assert_allclose(found[inside], true[inside], atol=0.05)
    assert abs((found - true)[inside].mean(axis=0)).max() < 0.015


def test_they_are_correlation_matrices_whatever_the_residuals() -> None:
    mean, residual, sigma, error, _ = made_up(40, 1)
    residual[:, 1] = residual[:, 0] / SCALE[0] * SCALE[1]  # one label knows all of another
    residual[0, 2] = np.nan
    residual[1] *= 1e6
    fitted = fit_correlation(mean, residual, sigma, error)
    teff = jnp.linspace(1000.0, 9000.0, 50)
    found = np.asarray(correlation_of(fitted, jnp.zeros((50, 4)).at[:, 0].set(teff)))
    np.testing.assert_allclose(found, found.transpose(0, 2, 1), atol=1e-6)
    np.testing.assert_allclose(np.einsum("sjj->sj", found), 1.0, atol=1e-5)
    assert np.linalg.eigvalsh(found).min() > 0.005


def test_between_the_knots_it_is_linear_and_beyond_them_constant() -> None:
    given = Correlation(jnp.array([4000.0, 5000.0]), jnp.stack([jnp.asarray(COOL), jnp.eye(4)]))
    mean = jnp.zeros((4, 4)).at[:, 0].set(jnp.array([3000.0, 4250.0, 6000.0, jnp.nan]))
    found = np.asarray(correlation_of(given, mean))
    np.testing.assert_allclose(found[0], COOL, rtol=1e-6)
    np.testing.assert_allclose(found[1], 0.75 * COOL + 0.25 * np.eye(4), rtol=1e-6)
    np.testing.assert_array_equal(found[2], np.eye(4))
    assert np.isnan(found[3]).all()


def test_stars_without_truth_leave_labels_uncorrelated() -> None:
    mean, residual, sigma, error, _ = made_up(5, 2)
    fitted = fit_correlation(mean, np.full_like(residual, np.nan), sigma, error)
    for a, b in zip(fitted, no_correlation(4), strict=True):
        np.testing.assert_array_equal(a, b)
