"""Tests of conditional information: their size under the null, and their power."""

from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.validation.conditional import (
    conditional_permutation,
    matched_pair_test,
    matched_pairs,
    neighbourhoods,
)

DATASETS = 80
# The 5% tests reject 4 +- 1.9 of 80 where nothing is to be found; 11 is 3.6 sigma above.
MOST = 11


def planted(rng: np.random.Generator, signal: float, n: int = 1500) -> tuple[np.ndarray, ...]:
    """Truth a and prediction p, both curved functions of conditions z; p knows ``signal`` of a."""
    z = rng.normal(size=(n, 3))
    own = rng.normal(size=n)
    a = np.sin(0.7 * z[:, 0]) + 0.3 * z[:, 1] * z[:, 2] + 0.3 * own
    p = np.sin(0.7 * z[:, 0]) + 0.3 * z[:, 1] ** 2 + 0.3 * (signal * own + rng.normal(size=n))
    return a, p, z


def test_groups_are_of_equal_size_and_tight() -> None:
    z = np.random.default_rng(0).normal(size=(1000, 3)) * np.array([1.0, 100.0, 0.01])
    group = neighbourhoods(z, 30)
    counts = np.bincount(group)
    assert counts.min() >= 30
    assert counts.max() < 60
    spread = np.stack([z[group == g].std(axis=0) for g in range(len(counts))]).mean(axis=0)
    # Thirty-two cells cut each of three axes three times or so.
    assert (spread < 0.55 * z.std(axis=0)).all()


def test_permutation_test_has_its_size_where_there_is_nothing() -> None:
    rng = np.random.default_rng(1)
    found = [
        conditional_permutation(*planted(rng, 0.0), permutations=99, seed=i)
        for i in range(DATASETS)
    ]
    rejected = sum(test.p_value <= 0.05 for test in found)
    assert 1 <= rejected <= MOST
    # Truth and prediction go together all the same: the test is not fooled by it.
    a, p, _ = planted(rng, 0.0)
    assert np.corrcoef(a, p)[0, 1] > 0.4


def test_permutation_test_finds_a_planted_signal() -> None:
    rng = np.random.default_rng(2)
    found = [conditional_permutation(*planted(rng, 0.3), permutations=99) for _ in range(15)]
    assert sum(test.p_value <= 0.05 for test in found) >= 14


def test_permutation_test_measures_the_partial_correlation() -> None:
    a, p, z = planted(np.random.default_rng(3), 1.0, n=20_000)
    found = conditional_permutation(a, p, z, permutations=19)
    # p = own + noise of equal size, a = own, in units of 0.3.
    assert found.correlation == pytest.approx(np.sqrt(0.5), abs=0.03)
    assert found.slope == pytest.approx(1.0, abs=0.05)
    assert found.chance < 0.05
    assert found.p_value == pytest.approx(1 / 20)
    assert found.n_stars == 20_000


def test_matched_pairs_are_disjoint_alike_and_different() -> None:
    a, _, z = planted(np.random.default_rng(4), 0.0, n=3000)
    tolerance = np.array([0.2, 0.2, 0.3])
    pairs = matched_pairs(a, z, tolerance, difference=0.3)
    assert len(pairs) > 100
    assert len(np.unique(pairs)) == pairs.size
    assert (np.abs(z[pairs[:, 0]] - z[pairs[:, 1]]) <= tolerance).all()
    assert (a[pairs[:, 1]] - a[pairs[:, 0]] >= 0.3).all()


def test_pair_test_has_its_size_and_its_power() -> None:
    rng = np.random.default_rng(5)
    tolerance = np.full(3, 0.4)
    rejected = {0.0: 0, 0.5: 0}
    for signal in rejected:
        for i in range(40):
            a, p, z = planted(rng, signal, n=800)
            pairs = matched_pairs(a, z, tolerance, difference=0.2)
            test = matched_pair_test(a, p, z, pairs, draws=99, seed=i)
            rejected[signal] += int(test.p_value <= 0.05)
    # 2 +- 1.4 of 40 by chance.
    assert rejected[0.0] <= 7
    assert rejected[0.5] >= 36


def test_pair_test_measures_the_slope() -> None:
    a, p, z = planted(np.random.default_rng(6), 0.7, n=20_000)
    pairs = matched_pairs(a, z, np.full(3, 0.2), difference=0.2)
    found = matched_pair_test(a, p, z, pairs, draws=200)
    assert abs(found.slope.value - 0.7) < 4 * found.slope.error
    assert found.slope.error < 0.05
    assert found.n_pairs == len(pairs)
    right = (p[pairs[:, 1]] > p[pairs[:, 0]]).mean()
    assert found.right == right
    assert found.truth_difference == pytest.approx((a[pairs[:, 1]] - a[pairs[:, 0]]).mean())


def test_what_cannot_be_tested_is_refused() -> None:
    a, p, z = planted(np.random.default_rng(7), 0.0)
    with pytest.raises(InputError, match="make no group of 40"):
        conditional_permutation(a[:30], p[:30], z[:30])
    with pytest.raises(InputError, match="condition 1 is not finite or does not vary"):
        conditional_permutation(a, p, z * np.array([1.0, 0.0, 1.0]))
    with pytest.raises(InputError, match="groups of 5 stars cannot fix 3 conditions"):
        conditional_permutation(a, p, z, size=5)
    with pytest.raises(InputError, match="does not vary at fixed conditions"):
        conditional_permutation(a, np.zeros_like(p), z)
    with pytest.raises(InputError, match="0 matched pairs"):
        matched_pair_test(a, p, z, np.zeros((0, 2), np.int64))
