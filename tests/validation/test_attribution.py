"""Integrated gradients: their axioms, and what becomes of them on the way to wavelength."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax import model
from aspgap_jax.errors import InputError
from aspgap_jax.validation import attribution
from support.bundles import CFG, N_XP, networks_at_reference, predicted_by_hand


def shares(
    function: Callable[[jax.Array], jax.Array], start: jax.Array, end: jax.Array, *, steps: int
) -> jax.Array:
    """Integrated gradients."""
    return (end - start) * attribution.path_gradients(function, start, end, steps=steps)


def test_linear_and_quadratic_functions_are_shared_out_exactly() -> None:
    rng = np.random.default_rng(0)
    start, end = (jnp.asarray(rng.normal(size=(3, 5)), jnp.float32) for _ in range(2))
    weight = jnp.asarray(rng.normal(size=5), jnp.float32)
    found = shares(lambda x: weight @ x, start, end, steps=1)
    np.testing.assert_allclose(found, weight[None] * (end - start), rtol=1e-5)
    # The integral of 2 w x along the line is w (x^2 - x'^2).
    found = shares(lambda x: weight @ x**2, start, end, steps=4)
    np.testing.assert_allclose(found, weight[None] * (end**2 - start**2), rtol=1e-4, atol=1e-5)


def test_shares_add_up_to_the_change() -> None:
    """Completeness, for a smooth network; an input without effect gets nothing."""
    key = jax.random.split(jax.random.key(0), 2)
    first, second = jax.random.normal(key[0], (6, 20)), jax.random.normal(key[1], (20,))
    first = first.at[2].set(0.0)

    def function(x: jax.Array) -> jax.Array:
        return jnp.tanh(x @ first) @ second

    rng = np.random.default_rng(1)
    start, end = (jnp.asarray(rng.normal(size=(40, 6)), jnp.float32) for _ in range(2))
    found = shares(function, start, end, steps=256)
    change = jax.vmap(function)(end) - jax.vmap(function)(start)
    np.testing.assert_allclose(found.sum(axis=1), change, atol=2e-3)
    assert np.abs(change).max() > 3.0
    np.testing.assert_array_equal(found[:, 2], 0.0)


def test_label_gradients_add_up_to_the_change_of_the_prediction() -> None:
    networks = networks_at_reference()
    rng = np.random.default_rng(2)
    low = rng.uniform(1e-17, 3e-17, (12, N_XP)).astype(np.float32)
    high = low + rng.normal(size=low.shape).astype(np.float32) * 1e-17
    g_mag = np.full(12, 15.0)
    for member in range(2):
        gradient, change = attribution.label_gradients(
            networks, CFG, member, "alpha_m", low, high, steps=256
        )
        means = [predicted_by_hand(networks, x, g_mag)[0][member, :, 3] for x in (low, high)]
        np.testing.assert_allclose(change, means[1] - means[0], atol=1e-6)
        total = (gradient * (high - low)).sum(axis=1)
        np.testing.assert_allclose(total, change, atol=0.02 * np.abs(change).max())
    assert model.output_width(networks.params.xp_decoder) == 8


def test_gradients_by_flux_keep_the_sum() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(30, 8)) * 1e-18
    gradient, difference = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    by_flux = attribution.gradients_by_flux(gradient, matrix)
    np.testing.assert_allclose(
        (by_flux * (difference @ matrix.T)).sum(axis=1), (gradient * difference).sum(axis=1)
    )
    np.testing.assert_allclose(by_flux @ matrix, gradient, rtol=1e-6, atol=1e-9)
    with pytest.raises(InputError, match="takes 8 coefficients, the gradients have 7"):
        attribution.gradients_by_flux(gradient[:, 1:], matrix)


def test_broad_shape_and_features_are_told_apart() -> None:
    wavelength = np.arange(336.0, 1021.0, 2.0)
    gradient = np.ones((2, len(wavelength)))
    line = np.exp(-0.5 * np.square((wavelength - 516.0) / 4.0))
    slope = (wavelength - 700.0) / 700.0
    difference = np.stack([slope + 0.5 - 0.1 * line, -0.1 * line])
    found = attribution.split_shares(gradient, difference, wavelength)
    whole = (gradient * difference).sum(axis=1)
    np.testing.assert_allclose(found.broad + found.features.sum(axis=1), whole)
    # A slope is its own mean, but for the ends.
    np.testing.assert_allclose(found.features[0, 60:-60], found.features[1, 60:-60], atol=1e-3)
    assert abs(found.features[1].argmin() - np.argmax(line)) == 0
    bands = attribution.band_shares(found.features[1:].repeat(3, 0), wavelength, draws=5, seed=0)
    inside = (wavelength >= 506.0) & (wavelength <= 530.0)
    assert float(bands["Mg b"].value) == pytest.approx(found.features[1, inside].sum())
    assert float(bands["Mg b"].error) == pytest.approx(0.0, abs=1e-12)
    assert abs(bands["Ca triplet"].value) < 1e-3 * abs(bands["Mg b"].value)
