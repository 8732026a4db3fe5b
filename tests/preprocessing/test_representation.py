from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax.config import Data
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.representation import Whitened, fit_whitened
from aspgap_jax.preprocessing.scaling import RobustScaler, fit_representation

STD = np.array([50.0, 10.0, 2.0, 0.5])


def spectra(n_stars: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectra of six values that scatter along four known directions, in units of their noise."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(6, 6)))[0][:, :4]
    noise = 1e-18 * np.array([1.0, 2.0, 0.5, 3.0, 1.0, 4.0])
    x = 7e-17 + noise * ((STD * rng.normal(size=(n_stars, 4))) @ directions.T)
    error = noise * rng.uniform(0.5, 1.5, (n_stars, 1))
    return x, error, directions


@pytest.mark.parametrize("whitening", [0.0, 0.4, 1.0])
def test_components_scatter_as_their_power_of_the_spectra_s_scatter(whitening: float) -> None:
    x, error, directions = spectra()
    fitted = fit_whitened(x, error, components=4, whitening=whitening)
    assert fitted.n_inputs == 4
    inputs = np.asarray(fitted.transform(jnp.asarray(x, jnp.float32)))
    np.testing.assert_allclose(np.square(inputs).mean(), 1.0, rtol=0.02)
    expected = STD ** (1 - whitening)
    np.testing.assert_allclose(
        inputs.std(axis=0), expected / np.sqrt(np.square(expected).mean()), rtol=0.05
    )
    unit = np.asarray(fitted.rotation) / np.linalg.norm(fitted.rotation, axis=0)
    np.testing.assert_allclose(np.abs(np.sum(unit * directions, axis=0)), 1.0, atol=0.02)
    correlation = np.corrcoef(inputs, rowvar=False)
    np.testing.assert_allclose(correlation, np.eye(4), atol=1e-3)


@pytest.mark.parametrize("representation", ["robust", "whitened"])
def test_a_change_of_a_spectrum_changes_the_inputs_alike(
    representation: Literal["robust", "whitened"],
) -> None:
    x, error, _ = spectra(200)
    cfg = Data(representation=representation, components=3)
    fitted = fit_representation(x, error, cfg)
    # Multiples of the noise; the rest of the numbers is float32's.
    change = jnp.asarray(100.0 * error, jnp.float32)
    before, after = (fitted.transform(jnp.asarray(a, jnp.float32)) for a in (x, x + 100.0 * error))
    np.testing.assert_allclose(
        after - before, fitted.transform_change(change), rtol=1e-4, atol=1e-3
    )


def test_centre_and_noise_are_medians() -> None:
    x, error, _ = spectra(101)
    fitted = fit_whitened(x, error, components=2, whitening=0.4)
    np.testing.assert_allclose(fitted.centre, np.sort(x, axis=0)[50], rtol=1e-6)
    np.testing.assert_allclose(fitted.noise, np.sort(error, axis=0)[50], rtol=1e-6)


def test_the_config_chooses() -> None:
    x, error, _ = spectra(100)
    assert isinstance(fit_representation(x, error, Data()), RobustScaler)
    cfg = Data(representation="whitened", components=3)
    chosen = fit_representation(x, error, cfg)
    assert isinstance(chosen, Whitened)
    assert chosen.n_inputs == 3


def test_what_cannot_be_fitted_is_refused() -> None:
    x, error, _ = spectra(100)

    def fit(x: np.ndarray, error: np.ndarray, components: int = 4) -> None:
        fit_whitened(x, error, components=components, whitening=0.4)

    with pytest.raises(InputError, match=r"4 training stars.*too few for 4 components: pass more"):
        fit(x[:4], error[:4])
    with pytest.raises(InputError, match=r"7 components of spectra with 6 values: set --data.comp"):
        fit(x, error, 7)
    with pytest.raises(InputError, match="span 4 components, not 5: pass more stars, or lower"):
        fit(x, error, 5)
    constant = np.where(np.arange(6) == 3, 1.0, x)
    with pytest.raises(InputError, match="column 3 of xp of the training set constant: drop"):
        fit(constant, error)
    broken = x.copy()
    broken[7, 2] = np.nan
    broken[8, 5] = np.inf
    with pytest.raises(InputError, match="column 2 and 1 more of xp of the training set not fini"):
        fit(broken, error)
    with pytest.raises(InputError, match=r"column 0 and 5 more of xp_error .* not above 0"):
        fit(x, 0 * error)
