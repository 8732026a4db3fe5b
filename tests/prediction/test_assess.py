from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from aspgap_jax.config import CrossValidation
from aspgap_jax.errors import InputError
from aspgap_jax.prediction import assess as trust
from aspgap_jax.prediction.domain import ALARM_RATE, SCORES
from aspgap_jax.prediction.predict import combine, predict_in_batches
from aspgap_jax.preprocessing import folds
from support.trusted_bundle import CFG, made_up_set, networks

FOLDS = replace(CFG, cv=CrossValidation(folds=2, seeds=2))


def test_held_out_stars_are_those_of_no_gradient_step() -> None:
    stars = made_up_set(800)
    for crossed in (True, False):
        splits = folds.all_splits(FOLDS, folds=crossed)
        rows = folds.split_rows(stars, FOLDS, splits)
        members = folds.assignments(FOLDS, splits)
        unseen = trust.held_out_stars(rows, members, len(stars))
        assert len(unseen) == len(members)
        for member, mask in zip(members, unseen, strict=True):
            split = rows[0 if member.fold < 0 else member.fold]
            assert not mask[split.train].any()
            if crossed:
                np.testing.assert_array_equal(mask, folds.in_test(stars.source_id, member, FOLDS))
            else:
                assert sorted(np.flatnonzero(mask)) == sorted(split.valid)


def test_only_members_that_have_not_seen_a_star_speak_of_it() -> None:
    stars = made_up_set(400)
    rng = np.random.default_rng(0)
    first = rng.random(400) < 0.5
    unseen = np.stack([first, ~first])
    bundle = trust.assess(networks(stars), stars, unseen, CFG)
    rows = np.flatnonzero(stars.g_mag < 13)
    ensemble, scored = trust.predict_held_out(bundle, stars, unseen, rows, CFG)
    estimate = predict_in_batches(bundle, stars.xp[rows], stars.g_mag[rows], CFG)
    expected = combine(estimate, unseen[:, rows])
    np.testing.assert_allclose(ensemble.moments.mean, expected.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ensemble.moments.sigma, expected.sigma, rtol=1e-3)
    assert scored.scores.shape == (len(rows), len(SCORES))


def test_what_is_seen_sets_no_threshold_and_no_calibration() -> None:
    """Spoil the labels of the stars that every member was trained on."""
    stars = made_up_set(400)
    unseen = np.broadcast_to(np.arange(400) < 200, (2, 400))
    spoilt = replace(stars, labels=stars.labels.copy())
    # The extremes stay, so that the label hull and its scaler do.
    inner = 200 + np.flatnonzero(np.abs(stars.labels[200:, 2] + 0.95) < 0.5)[:50]
    spoilt.labels[inner] = spoilt.labels[inner][::-1]
    a, b = (trust.assess(networks(stars), s, unseen, CFG).trust for s in (stars, spoilt))
    for x, y in zip(*(jax.tree.leaves(t.calibration) for t in (a, b)), strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(a.domain.thresholds, b.domain.thresholds)


def test_thresholds_hold_for_stars_that_did_not_set_them() -> None:
    stars, new = made_up_set(3_000), made_up_set(6_000)
    new = new.where(np.arange(6_000) >= 3_000)
    bundle = trust.assess(networks(stars), stars, np.ones((2, 3_000), bool), CFG)
    rows = np.arange(len(new))
    _, scored = trust.predict_held_out(bundle, new, np.ones((2, len(new)), bool), rows, CFG)
    free = np.array([not np.isfinite(score.cap) for score in SCORES])
    alarms = (scored.scores > np.asarray(bundle.trust.domain.thresholds))[:, free].any(axis=1)
    assert 0.3 * ALARM_RATE < alarms.mean() < 2 * ALARM_RATE


def test_too_few_held_out_stars_are_refused() -> None:
    stars = made_up_set(400)
    unseen = np.zeros((2, 400), bool)
    unseen[:, :5] = True
    with pytest.raises(InputError, match="5 held-out stars"):
        trust.assess(networks(stars), stars, unseen, CFG)
