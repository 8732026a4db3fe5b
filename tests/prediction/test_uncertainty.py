from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from aspgap_jax import model
from aspgap_jax.errors import InputError
from aspgap_jax.prediction.uncertainty import calibrate, fit_calibration, propagate, total_variance
from support.bundles import CFG


def test_variance_parts_are_those_of_the_mixture() -> None:
    rng = np.random.default_rng(0)
    mean, sigma = np.array([1.0, 3.0, 8.0]), np.array([0.5, 1.0, 2.0])
    weight = np.array([0.25, 0.75, 0.0])
    moments = total_variance(*(jnp.asarray(x)[:, None, None] for x in (mean, sigma)),
                             jnp.asarray(weight)[:, None])  # fmt: skip
    which = rng.choice(3, 400_000, p=weight)
    drawn = rng.normal(mean[which], sigma[which])
    np.testing.assert_allclose(moments.mean[0, 0], 2.5, rtol=1e-6)
    np.testing.assert_allclose(moments.sigma[0, 0], drawn.std(), rtol=5e-3)
    # By hand: 0.25 * 0.25 + 0.75 * 1; 0.25 * 1.5^2 + 0.75 * 0.5^2.
    np.testing.assert_allclose(moments.aleatoric[0, 0], np.sqrt(0.8125), rtol=1e-6)
    np.testing.assert_allclose(moments.epistemic[0, 0], np.sqrt(0.75), rtol=1e-6)


def made_up_residuals(
    n: int, truth: tuple[float, float, float], seed: int
) -> tuple[np.ndarray, ...]:
    """Residuals of variance exp(2 (a + b ln sigma + c (ln SNR - 3))) + error^2, and a second
    measure of S/N that nothing depends on."""
    rng = np.random.default_rng(seed)
    sigma = np.exp(rng.normal(-2.0, 0.5, (n, 1)))
    ln_snr = rng.uniform(1.0, 5.0, n)
    a, b, c = truth
    true = np.exp(a + b * np.log(sigma) + c * (ln_snr - 3.0)[:, None])
    error = np.full_like(sigma, 0.05)
    residual = rng.normal(size=(n, 1)) * np.hypot(true, error)
    return residual, sigma, error, np.stack([ln_snr, rng.normal(size=n)], axis=1), true


def test_calibration_finds_the_law_that_made_the_residuals() -> None:
    truth = (0.3, 1.2, -0.4)
    residual, sigma, error, ln_snr, _ = made_up_residuals(40_000, truth, 0)
    fitted = fit_calibration(residual, sigma, error, ln_snr)
    at_3 = np.array([3.0, 0.0]) - fitted.reference
    offset_at_3 = float(fitted.offset[0] + at_3 @ fitted.snr_slope[:, 0])
    np.testing.assert_allclose(
        [offset_at_3, fitted.slope[0], *fitted.snr_slope[:, 0]], (*truth, 0.0), atol=0.03
    )
    # The same likelihood, maximised by another method.
    features = np.stack([np.ones(len(sigma)), np.log(sigma[:, 0]), *(ln_snr - ln_snr.mean(0)).T])

    def loss(p: np.ndarray) -> float:
        v = np.exp(2 * p @ features) + error[:, 0] ** 2
        return float(np.mean(np.log(v) + residual[:, 0] ** 2 / v))

    options = {"xatol": 1e-6, "maxiter": 2000, "maxfev": 2000}
    best = minimize(loss, [0.0, 1.0, 0.0, 0.0], method="Nelder-Mead", options=options)
    np.testing.assert_allclose(
        [fitted.offset[0], fitted.slope[0], *fitted.snr_slope[:, 0]], best.x, atol=1e-3
    )


def test_calibrated_sigma_covers_stars_that_were_not_fitted() -> None:
    truth = (0.3, 1.2, -0.4)
    fitted = fit_calibration(*made_up_residuals(20_000, truth, 1)[:4])
    residual, sigma, error, ln_snr, true = made_up_residuals(20_000, truth, 2)
    found = np.asarray(calibrate(fitted, jnp.asarray(sigma), jnp.asarray(ln_snr)))
    np.testing.assert_allclose(found, true, rtol=0.1)
    for half in (ln_snr[:, 0] < 3, ln_snr[:, 0] >= 3):
        raw = np.abs(residual / np.hypot(sigma, error))[half]
        chi = np.abs(residual / np.hypot(found, error))[half]
        assert abs((chi < 1).mean() - 0.683) < 0.015
        assert abs((chi < 1.96).mean() - 0.95) < 0.01
        assert abs((raw < 1).mean() - 0.683) > 0.05


def test_calibration_never_turns_the_order_of_sigmas_round() -> None:
    rng = np.random.default_rng(3)
    sigma = np.exp(rng.normal(-2.0, 0.5, (5_000, 1)))
    # The larger the predicted sigma, the smaller the residuals.
    residual = rng.normal(size=sigma.shape) * 0.01 / sigma
    ln_snr = rng.uniform(1.0, 5.0, (len(sigma), 2))
    fitted = fit_calibration(residual, sigma, np.zeros_like(sigma), ln_snr)
    assert fitted.slope[0] == 0
    at_reference = jnp.broadcast_to(fitted.reference, ln_snr.shape)
    flat = calibrate(fitted, jnp.asarray(sigma), at_reference)
    np.testing.assert_allclose(np.asarray(flat), residual.std(), rtol=0.02)


def test_calibration_is_not_followed_beyond_the_snr_it_was_fitted_to() -> None:
    residual, sigma, error, ln_snr, _ = made_up_residuals(2_000, (0.0, 1.0, -1.0), 4)
    fitted = fit_calibration(residual, sigma, error, ln_snr)
    one = jnp.full((2, 1), 0.1)
    beyond = calibrate(fitted, one, jnp.array([[-20.0, 20.0], [20.0, -20.0]]))
    low, high = ln_snr.min(axis=0), ln_snr.max(axis=0)
    ends = jnp.asarray([[low[0], high[1]], [high[0], low[1]]])
    at_the_end = calibrate(fitted, one, ends)
    np.testing.assert_allclose(beyond, at_the_end, rtol=1e-5)


def test_too_few_stars_are_refused() -> None:
    nothing = np.full((30, 1), np.nan)
    with pytest.raises(InputError, match="0 held-out stars"):
        fit_calibration(nothing, np.ones((30, 1)), np.ones((30, 1)), np.linspace(1, 2, 30)[:, None])


def random_correlations(rng: np.random.Generator, size: int) -> np.ndarray:
    factor = rng.normal(size=(size, size + 2))
    covariance = factor @ factor.T
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)


def test_propagation_of_a_linear_function_is_exact() -> None:
    rng = np.random.default_rng(0)
    n_bp, n_rp = 4, 3
    jacobian = rng.normal(size=(2, n_bp + n_rp))
    xp, error = rng.normal(size=(5, 7)), rng.uniform(0.1, 2.0, (5, 7))
    blocks = [[random_correlations(rng, n) for n in (n_bp, n_rp)] for _ in range(5)]
    pairs = np.full((5, 2, 6), np.nan)
    expected = {"diagonal": np.empty((5, 2)), "full": np.empty((5, 2))}
    for i, (bp, rp) in enumerate(blocks):
        pairs[i, 0] = bp[np.tril_indices(4, -1)]
        pairs[i, 1, :3] = rp[np.tril_indices(3, -1)]
        full = np.zeros((7, 7))
        full[:4, :4], full[4:, 4:] = bp, rp
        for name, matrix in (("diagonal", np.eye(7)), ("full", full)):
            covariance = np.outer(error[i], error[i]) * matrix
            expected[name][i] = np.sqrt(np.diag(jacobian @ covariance @ jacobian.T))

    def linear(x: jax.Array) -> jax.Array:
        return x @ jnp.asarray(jacobian, jnp.float32).T

    arrays = [jnp.asarray(a, jnp.float32) for a in (xp, error, pairs)]
    run = jax.jit(partial(propagate, linear, n_bp=4))
    np.testing.assert_allclose(run(*arrays[:2]), expected["diagonal"], rtol=1e-5)
    np.testing.assert_allclose(run(*arrays), expected["full"], rtol=1e-4)


def test_propagation_agrees_with_draws_through_a_network() -> None:
    rng = np.random.default_rng(1)
    params = model.init(jax.random.key(3), CFG.model, n_xp=7, n_pixels=5)

    @jax.jit
    def mean(x: jax.Array) -> jax.Array:
        return model.decode_xp(CFG.model, params, model.encode(CFG.model, params, x))[0]

    xp, error = rng.normal(size=7), 0.02 * rng.uniform(0.5, 1.0, 7)
    correlation = np.eye(7)
    correlation[:4, :4] += 0.95 * (1 - np.eye(4))
    draws = rng.multivariate_normal(xp, np.outer(error, error) * correlation, 20_000)
    scatter = np.asarray(mean(jnp.asarray(draws, jnp.float32))).std(axis=0)
    pairs = np.zeros((1, 2, 6))
    pairs[0, 0] = correlation[:4, :4][np.tril_indices(4, -1)]
    arrays = [jnp.asarray(a, jnp.float32) for a in (xp[None], error[None], pairs)]
    run = jax.jit(partial(propagate, mean, n_bp=4))
    found, independent = run(*arrays), run(*arrays[:2])
    np.testing.assert_allclose(found[0], scatter, rtol=0.03)
    # The draws tell the two covariances apart.
    assert not np.allclose(independent[0], scatter, rtol=0.03)
