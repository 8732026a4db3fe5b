from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.config import Config, CrossValidation, Data
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing import folds
from support.made_up import made_up_stars


def test_hash_is_splitmix64() -> None:
    """Outputs of the reference implementation from the state 1234567."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [int(folds._hash(np.array([1234567]), k)[0]) for k in (1, 2, 3)] == expected


def test_folds_follow_the_star_and_not_its_row() -> None:
    ids = made_up_stars(5000).source_id
    fold = folds.fold_of(ids, 2)
    shuffled = np.random.default_rng(0).permutation(len(ids))
    np.testing.assert_array_equal(folds.fold_of(ids[shuffled], 2), fold[shuffled])
    assert abs((fold == 0).mean() - 0.5) < 0.03
    # Another repeat is another split: it agrees with the first for half of the stars.
    assert abs((folds.fold_of(ids, 2, repeat=1) == fold).mean() - 0.5) < 0.03


def test_no_star_stands_on_two_sides() -> None:
    stars = made_up_stars(2000)
    for balance in (False, True):
        in_test = folds.fold_of(stars.source_id, 2) == 1
        rows = folds.split(stars.source_id, stars.labels, in_test, Data(balance=balance), seed=0)
        parts = [set(rows.fit), set(rows.valid), set(rows.test)]
        assert set(rows.train) <= parts[0]
        assert not (parts[0] & parts[1])
        assert not (parts[0] & parts[2])
        assert not (parts[1] & parts[2])
        assert set.union(*parts) == set(range(2000))
        assert abs(len(parts[1]) / (len(parts[0]) + len(parts[1])) - 0.1) < 0.03


@pytest.mark.parametrize("cross_validates", [True, False])
def test_unseen_stars_are_those_of_no_gradient_step(cross_validates: bool) -> None:
    stars = made_up_stars(800)
    cfg = Config(cv=CrossValidation(folds=2, repeats=2, seeds=2))
    splits = folds.all_splits(cfg, folds=cross_validates)
    rows = folds.split_rows(stars, cfg, splits)
    members = folds.assignments(cfg, splits)
    unseen = folds.unseen_stars(stars.source_id, members, cfg)
    assert unseen.shape == (8 if cross_validates else 2, 800)
    for number, mask in enumerate(unseen):
        # The seeds of a split stand together.
        split = rows[number // 2]
        assert not mask[split.train].any()
        held_out = split.test if cross_validates else split.valid
        assert sorted(np.flatnonzero(mask)) == sorted(held_out)


def test_balanced_rows_are_flat_over_the_bins_that_have_stars() -> None:
    # 3 stars in one bin, 1 in another, one outside the edges.
    m_h = np.array([-0.05, -0.02, -0.08, -1.9, 0.7])
    alpha_m = np.array([0.05, 0.02, 0.08, 0.25, 0.05])
    rows = folds.balanced_rows(m_h, alpha_m, 900, np.random.default_rng(0))
    count = np.bincount(rows, minlength=5)
    assert count[:3].sum() == 900
    assert count[:3].min() > 200
    assert count[3] == 900
    assert count[4] == 0


def test_paper_edges_make_120_bins() -> None:
    assert (len(folds.M_H_EDGES) - 1, len(folds.ALPHA_M_EDGES) - 1) == (20, 6)
    assert (np.diff(folds.M_H_EDGES) > 0).all()
    # 111,000 draws in the paper: 111 of its 120 bins have stars.
    full = np.array(
        [(a + 0.01, b + 0.01) for a in folds.M_H_EDGES[:-1] for b in folds.ALPHA_M_EDGES[:-1]]
    )
    rows = folds.balanced_rows(full[:111, 0], full[:111, 1], 1000, np.random.default_rng(0))
    assert len(rows) == 111_000


def test_too_few_stars_is_one_clear_line() -> None:
    stars = made_up_stars(60)
    in_test = folds.fold_of(stars.source_id, 2) == 1
    with pytest.raises(InputError, match=r"\d+ (training|validation) stars in a fold, of 60"):
        folds.split(stars.source_id, stars.labels, in_test, Data(), seed=0)


def test_balancing_without_a_star_in_the_bins() -> None:
    stars = made_up_stars(400)
    stars.labels[:, 2] = 5.0
    with pytest.raises(InputError, match="no training star inside"):
        folds.split(stars.source_id, stars.labels, np.zeros(400, bool), Data(balance=True), seed=0)
