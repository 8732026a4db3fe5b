"""S/N of coefficients against cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.preprocessing.snr import band_snrs, snr


def test_norm_over_norm() -> None:
    # sqrt(3^2 + 4^2) / sqrt(0^2 + 2^2) and sqrt(5^2 + 12^2) / sqrt(3^2 + 4^2).
    values = np.array([[3.0, 4.0], [-5.0, 12.0]])
    errors = np.array([[0.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(snr(values, errors), [2.5, 2.6])


def test_what_is_not_finite_counts_in_neither_norm() -> None:
    nan = np.nan
    values = np.array([[3.0, nan, 4.0], [nan, nan, nan], [1.0, 1.0, 1.0]])
    errors = np.array([[1.0, 9.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, nan]])
    np.testing.assert_allclose(snr(values, errors), [5.0, nan, nan])


def test_norms_do_not_overflow_in_float32() -> None:
    values = np.full((1, 10), 1e25, np.float32)
    errors = np.full((1, 10), 1e23, np.float32)
    np.testing.assert_allclose(snr(values, errors), 100.0, rtol=1e-6)


def test_ranges_of_figure_1() -> None:
    """Coefficients 1-10 and 11-55 of each band, counted from 1 and both ends included."""
    values, errors = np.zeros((1, 110)), np.ones((1, 110))
    values[0, 9], values[0, 10] = 10.0, 45.0
    values[0, 55], values[0, 109] = 20.0, 90.0
    found = {name: float(v[0]) for name, v in band_snrs(values, errors, 55).items()}
    assert found == pytest.approx(
        {
            "snr_bp": np.hypot(10, 45) / np.sqrt(55),
            "snr_bp_low": 10 / np.sqrt(10),
            "snr_bp_high": 45 / np.sqrt(45),
            "snr_rp": np.hypot(20, 90) / np.sqrt(55),
            "snr_rp_low": 20 / np.sqrt(10),
            "snr_rp_high": 90 / np.sqrt(45),
        }
    )


def test_another_number_of_bp_coefficients() -> None:
    values, errors = np.ones((1, 100)), np.ones((1, 100))
    values[0, 44], values[0, 45] = 3.0, 5.0
    found = band_snrs(values, errors, 45)
    np.testing.assert_allclose(found["snr_bp_high"], np.sqrt((34 + 9) / 35))
    np.testing.assert_allclose(found["snr_rp_low"], np.sqrt((9 + 25) / 10))
