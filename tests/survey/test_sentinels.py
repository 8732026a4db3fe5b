"""Numbers that stand for "not measured", and the same numbers where they are measurements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspgap_jax.survey.gaia import COLUMN_NAMES
from aspgap_jax.survey.sentinels import KINDS, is_sentinel, kind_of, without_sentinels


@pytest.mark.parametrize(
    ("kind", "missing", "measured"),
    [
        ("magnitude", [0, -1, 99, 99.99, 99.999, -999, -9999, 999, 1e20], [1.7, 21.4, -1.4, 9.99]),
        ("Gaia magnitude", [0, -1, -1.4, -7.25, 99.99, -9999, 999, 1e20], [1.7, 21.4, 9.99]),
        ("temperature", [0, -9999, -999.99, 999, 99.99, -1, 1e20], [2800, 4999.9, 9999, 99000]),
        ("temperature error", [0, -1, -9999, 9999, 1e30], [99, 99.99, 999, 0.1]),
        ("gravity", [-9999, -999.99, 99.99, -99], [0, -0.4, 5.1, -1]),
        ("abundance", [-9999, -999, 99.9, -9.999], [0, -4.2, 0.6, -1]),
        ("parallax", [-9999, -999, 999, 1e20], [0, -0.3, 99.99, 768.1]),
        ("error", [0, -0.1, -9999, 99.99, 999], [0.01, 3.0]),
        ("ruwe", [0, -1, -9999, 999], [0.9, 1.4, 99.99]),
        ("velocity", [-9999, 999.99, -999], [0, -450, 533]),
        ("motion", [-9999, -999], [0, -3678.1, 10393]),
        ("orbit", [-9999, 1e20], [-999, 999, 0, -98000]),
        ("positive orbit", [-9999, -999, -1], [0, 0.99, 999]),
    ],
)
def test_what_is_missing_depends_on_the_column(
    kind: str, missing: list[float], measured: list[float]
) -> None:
    for dtype in (np.float32, np.float64):
        assert is_sentinel(np.array(missing, dtype), kind).all()
        assert not is_sentinel(np.array(measured, dtype), kind).any()


@pytest.mark.parametrize("kind", KINDS)
def test_no_column_holds_these(kind: str) -> None:
    values = np.array([1e20, -1e20, 9.96921e36, np.inf, -np.inf, -3.4e38])
    assert is_sentinel(values, kind).all()
    assert not is_sentinel(np.array([np.nan]), kind).any()


@given(st.floats(1.0, 24.0), st.sampled_from([np.float32, np.float64]))
def test_no_magnitude_of_a_star_is_a_sentinel(value: float, dtype: type) -> None:
    assert not is_sentinel(np.array([value], dtype), "magnitude").any()


def test_replaced_values_are_counted() -> None:
    cleaned = without_sentinels(np.array([10.5, 99.99, 0, 99.99, np.nan], np.float32), "magnitude")
    np.testing.assert_array_equal(np.isnan(cleaned.values), [False, True, True, True, True])
    assert cleaned.values[0] == 10.5
    assert str(cleaned) == "2 times 99.99, 1 times 0"
    assert without_sentinels(np.arange(1, 5), "magnitude").replaced == {}


def test_every_column_of_gaia_has_a_kind() -> None:
    assert {name: kind_of(name) for name in COLUMN_NAMES if kind_of(name) == "any"} == {}
    assert kind_of("parallax_error") == kind_of("e_logg") == kind_of("m_h_err") == "error"
    assert kind_of("teff_err") == "temperature error"
    assert kind_of("e_something") == "any"
