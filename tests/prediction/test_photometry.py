from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax.prediction.photometry import (
    LEAST_TOLERANCE,
    fit_photometry,
    fit_tolerance,
    fit_weights,
    magnitudes,
    unseen_differences,
)


def made_up(n: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Spectra of 30 samples, and their magnitudes in three made-up passbands."""
    rng = np.random.default_rng(seed)
    slope = rng.normal(0, 0.5, (n, 1))
    shape = np.exp(slope * np.linspace(-1, 1, 30)) * (1 + 0.05 * rng.normal(size=(n, 30)))
    flux = shape * 1e-16 * 10 ** rng.uniform(-2, 2, (n, 1))
    grid = np.arange(30)
    bands = {"g": np.exp(-((grid - 15) ** 2) / 200), "bp": grid < 14, "rp": grid > 16}
    return flux, {name: -2.5 * np.log10(flux @ band) - 20.0 for name, band in bands.items()}


def test_magnitudes_of_stars_that_were_not_fitted() -> None:
    flux, mags = made_up(600, 0)
    photometry = fit_photometry(flux, *mags.values())
    new, truth = made_up(200, 1)
    found = magnitudes(photometry, jnp.asarray(new, jnp.float32))
    np.testing.assert_allclose(found, np.stack(list(truth.values()), axis=1), atol=2e-3)
    assert np.ptp(truth["g"]) > 5


def test_stars_without_a_magnitude_are_left_out() -> None:
    flux, mags = made_up(600, 0)
    some = mags["g"].copy()
    some[::2] = np.nan
    np.testing.assert_allclose(
        fit_weights(flux, some), fit_weights(flux[1::2], mags["g"][1::2]), rtol=1e-9
    )


def test_band_without_magnitudes_stays_unknown() -> None:
    flux, mags = made_up(100, 0)
    none = np.full(100, np.nan)
    photometry = fit_photometry(flux, mags["g"], none, none)
    found = np.asarray(magnitudes(photometry, jnp.asarray(flux[:3], jnp.float32)))
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 1:]).all()


def test_negative_flux_has_no_magnitude() -> None:
    flux, mags = made_up(100, 0)
    photometry = fit_photometry(flux, *mags.values())
    assert np.isnan(magnitudes(photometry, jnp.asarray(-flux[:2], jnp.float32))).all()


def test_differences_are_of_stars_that_the_weights_had_not_seen() -> None:
    # Magnitudes that have nothing to do with the spectra, and as many weights as stars of a
    # half: weights that had seen them would reproduce them.
    rng = np.random.default_rng(3)
    flux, _ = made_up(60, 0)
    differences = unseen_differences(flux, rng.uniform(10, 12, 60))
    assert np.median(np.abs(differences[np.isfinite(differences)])) > 0.3
    # And those that the spectra do determine, to the noise of the ridge.
    flux, mags = made_up(600, 0)
    mags["g"][5] = np.nan
    differences = unseen_differences(flux, mags["g"])
    assert np.isnan(differences).tolist() == [row == 5 for row in range(600)]
    assert np.nanmax(np.abs(differences)) < 5e-3


def test_tolerance_is_what_99_percent_keep() -> None:
    differences = np.linspace(-1.0, 1.0, 2001)
    assert fit_tolerance(differences) == pytest.approx(0.99, abs=1e-3)
    # A constant offset counts, whatever its sign; NaN does not.
    offset = np.append(np.full(99, -0.2), np.nan)
    assert fit_tolerance(offset) == pytest.approx(0.2)
    assert fit_tolerance(1e-4 * differences) == LEAST_TOLERANCE
    assert fit_tolerance(np.full(3, np.nan)) == np.inf
