"""Bootstrap errors against the formulas of large samples."""

from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.validation.bootstrap import bootstrap, paired_difference


def test_error_and_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 900)
    found = bootstrap(lambda rows: values[rows].mean(), 900, draws=2000, seed=1)
    assert found.value == pytest.approx(values.mean())
    standard = values.std() / np.sqrt(900)
    assert found.error == pytest.approx(standard, rel=0.06)
    assert found.low == pytest.approx(values.mean() - 1.96 * standard, abs=0.2 * standard)
    assert found.high == pytest.approx(values.mean() + 1.96 * standard, abs=0.2 * standard)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for i in range(200):
        values = rng.normal(size=100)
        found = bootstrap(lambda rows, v=values: v[rows].mean(), 100, draws=200, seed=i)
        inside += int(found.low <= 0.0 <= found.high)
    # 95% of 200 is 190 +- 3.1.
    assert 177 <= inside <= 199


def test_paired_difference_is_sharper_than_its_sides() -> None:
    """Two residuals that share what the star is hard for, the second 10% larger."""
    rng = np.random.default_rng(3)
    common = rng.normal(size=(1, 4000, 2)) * np.array([1.0, 50.0])
    own = rng.normal(size=(3, 4000, 2)) * np.array([0.1, 5.0])
    first, second = common + own, 1.1 * common - own
    found = paired_difference(first, second, draws=200, seed=0)
    rms = np.sqrt((first**2).mean(axis=1)) - np.sqrt((second**2).mean(axis=1))
    np.testing.assert_allclose(found["rms"].value, rms.mean(axis=0))
    np.testing.assert_allclose(
        found["mae"].value, np.abs(first).mean((0, 1)) - np.abs(second).mean((0, 1))
    )
    assert (found["rms"].high < 0).all()
    unpaired = np.sqrt(2.0) * np.array([1.0, 50.0]) / np.sqrt(2 * 4000)
    assert (found["rms"].error < 0.3 * unpaired).all()


def test_equal_sides_differ_by_nothing() -> None:
    values = np.random.default_rng(4).normal(size=(2, 50, 1))
    found = paired_difference(values, values.copy(), draws=20, seed=0)
    assert found["rms"].low == found["rms"].high == 0.0


def test_too_little_is_refused() -> None:
    with pytest.raises(InputError, match="needs 2 stars and 2 draws, got 1 and 20"):
        bootstrap(lambda rows: 0.0, 1, draws=20, seed=0)
