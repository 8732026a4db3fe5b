"""The apStar grid against its definition, published numbers and an independent list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aspgap_jax import apstar


def test_grid_is_logarithmic_with_the_published_ends() -> None:
    steps = np.diff(np.log10(apstar.WAVELENGTH))
    np.testing.assert_allclose(steps, 6e-6, rtol=1e-7)
    # 15100.8 to 16999.8 Angstrom: the ends that the data model of apStar gives.
    np.testing.assert_allclose(apstar.WAVELENGTH[[0, -1]], [15100.80, 16999.81], atol=0.01)
    assert apstar.WAVELENGTH.dtype == np.float64
    assert len(apstar.WAVELENGTH) == apstar.N_PIXELS == 8575


def test_chips_hold_7214_pixels() -> None:
    chosen = np.concatenate([np.arange(8575)[chip] for chip in apstar.CHIPS])
    assert len(chosen) == apstar.N_CHIP_PIXELS == 7214
    np.testing.assert_array_equal(np.flatnonzero(apstar.in_chips), chosen)


def test_chip_wavelengths_match_an_independent_list(shared: Path) -> None:
    with np.load(shared / "data" / "apogee_emulator" / "wavelength.npz") as data:
        np.testing.assert_allclose(
            apstar.WAVELENGTH[apstar.in_chips], data["wavelength"], atol=1e-6
        )


def test_grid_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        apstar.WAVELENGTH[0] = 0.0


def test_running_continuum_finds_a_sloped_continuum_under_lines() -> None:
    rng = np.random.default_rng(0)
    true = 3.0 + 2e-4 * np.arange(8575)
    lines = np.ones(8575)
    lines[rng.choice(8575, 900, replace=False)] = 0.5
    flux = np.stack([true * lines, 10.0 * true * lines])
    flux[:, 1000:1040] = np.nan
    continuum = apstar.running_continuum(flux)
    # A 90 per cent quantile on a slope sits above its centre by less than 0.4 * 501 pixels.
    high = continuum[:, apstar.in_chips] / (true * [[1.0], [10.0]])[:, apstar.in_chips]
    assert high.min() > 0.98
    assert high.max() < 1.03
    assert np.isnan(continuum[:, ~apstar.in_chips]).all()


def test_running_continuum_of_an_empty_chip_is_nan() -> None:
    flux = np.ones(8575)
    flux[apstar.CHIPS[1]] = np.nan
    continuum = apstar.running_continuum(flux)
    assert np.isnan(continuum[apstar.CHIPS[1]]).all()
    assert (continuum[apstar.CHIPS[0]] == 1.0).all()


@pytest.mark.parametrize("flux", [np.ones(7214), np.ones((8575, 2)), np.float64(1.0)])
def test_running_continuum_wants_the_whole_grid(flux: np.ndarray) -> None:
    with pytest.raises(ValueError, match="8575 pixels"):
        apstar.running_continuum(flux)
