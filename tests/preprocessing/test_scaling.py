from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.scaling import (
    LABEL_RANGE,
    SPECTRUM_RANGE,
    Scalers,
    fit_scaler,
    magnitude_factor,
    normalise,
    stack,
)


def test_magnitude_factor_as_printed_and_as_released() -> None:
    np.testing.assert_allclose(magnitude_factor(np.array([15.0, 13.0]), 0.5), [1.0, 10.0])
    np.testing.assert_allclose(magnitude_factor(np.array([15.0, 12.5]), 0.4), [1.0, 10.0])


def test_host_and_device_normalise_alike() -> None:
    rng = np.random.default_rng(0)
    # 0.6 of a magnitude above 15 at the exponent 0.5: a factor of 10^-0.3.
    g_mag = np.array([15.0, 13.0, 15.6], np.float32)
    xp = rng.normal(size=(3, 5)).astype(np.float32)
    host = normalise(xp, g_mag, 0.5)
    assert host.dtype == np.float64
    np.testing.assert_allclose(host, xp / np.array([[1.0], [10.0], [10**-0.3]]), rtol=1e-6)
    device = normalise(jnp.asarray(xp), jnp.asarray(g_mag), 0.5)
    assert device.dtype == jnp.float32
    np.testing.assert_allclose(device, host, rtol=1e-6)


def test_equation_1_on_a_hand_counted_column() -> None:
    x = np.array([[0.0], [1.0], [2.0], [3.0], [100.0]])
    scaler = fit_scaler(x, SPECTRUM_RANGE)
    # Median 2, quartiles 1 and 3: the outlier moves neither.
    np.testing.assert_allclose(scaler.centre, [2.0])
    np.testing.assert_allclose(scaler.scale, [2.0])
    np.testing.assert_allclose(
        scaler.transform(jnp.asarray(x, jnp.float32))[:, 0], [-1, -0.5, 0, 0.5, 49]
    )


def test_label_range_is_95_percent() -> None:
    x = np.linspace(0.0, 1.0, 1001)[:, None]
    np.testing.assert_allclose(fit_scaler(x, LABEL_RANGE).scale, [0.95], rtol=1e-6)


def test_inverse_undoes_transform_and_errors_have_no_centre() -> None:
    x = np.random.default_rng(0).normal(5.0, 3.0, (50, 4))
    scaler = fit_scaler(x, SPECTRUM_RANGE)
    as_float32 = jnp.asarray(x, jnp.float32)
    np.testing.assert_allclose(scaler.inverse(scaler.transform(as_float32)), x, rtol=1e-5)
    np.testing.assert_allclose(
        scaler.transform_error(as_float32 + 1.0) - scaler.transform_error(as_float32),
        np.tile(1.0 / np.asarray(scaler.scale), (50, 1)),
        rtol=1e-3,
    )
    np.testing.assert_allclose(
        scaler.inverse_error(scaler.transform_error(as_float32)), x, rtol=1e-5
    )


def test_constant_and_non_finite_columns_are_named() -> None:
    x = np.random.default_rng(0).normal(size=(9, 4))
    x[:, 2] = 7.0
    with pytest.raises(InputError, match=r"column 2 .* zero percentile range.*got 9"):
        fit_scaler(x, SPECTRUM_RANGE)
    x[4, 1] = np.nan
    with pytest.raises(InputError, match="column logg of the training set not finite"):
        fit_scaler(x, LABEL_RANGE, names=("teff", "logg", "m_h", "alpha_m"))
    with pytest.raises(InputError, match="no rows"):
        fit_scaler(x[:0], SPECTRUM_RANGE)


def test_stack_adds_the_member_axis() -> None:
    x = np.random.default_rng(0).normal(size=(9, 4))
    one = Scalers(fit_scaler(x, SPECTRUM_RANGE), fit_scaler(x, LABEL_RANGE))
    two = Scalers(fit_scaler(x + 1, SPECTRUM_RANGE), fit_scaler(x, LABEL_RANGE))
    both = stack([one, two])
    assert both.xp.centre.shape == (2, 4)
    np.testing.assert_allclose(both.xp.centre[1] - both.xp.centre[0], np.ones(4), rtol=1e-5)
