from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.prediction.assess import assess
from aspgap_jax.prediction.domain import ALARM_RATE, SCORES
from aspgap_jax.prediction.out_of_fold import label_unseen
from support.bundles import WHITENED as CFG
from support.bundles import made_up_set, networks_of


def test_what_is_seen_sets_no_threshold_and_no_calibration() -> None:
    """Spoil the labels of the stars that every member was trained on."""
    stars = made_up_set(400)
    unseen = np.broadcast_to(np.arange(400) < 200, (2, 400))
    spoilt = replace(stars, labels=stars.labels.copy())
    # The extremes stay, so that the label hull and its scaler do.
    inner = 200 + np.flatnonzero(np.abs(stars.labels[200:, 2] + 0.95) < 0.5)[:50]
    spoilt.labels[inner] = spoilt.labels[inner][::-1]
    a, b = (assess(networks_of(stars, CFG), s, unseen, CFG) for s in (stars, spoilt))
    for x, y in zip(*(jax.tree.leaves(bundle.calibration) for bundle in (a, b)), strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(a.domain.thresholds, b.domain.thresholds)


def test_thresholds_hold_for_stars_that_did_not_set_them() -> None:
    stars, new = made_up_set(3_000), made_up_set(6_000)
    new = new.where(np.arange(6_000) >= 3_000)
    bundle = assess(networks_of(stars, CFG), stars, np.ones((2, 3_000), bool), CFG)
    found = label_unseen(bundle, new, np.ones((2, len(new)), bool), CFG)
    free = np.array([not np.isfinite(score.cap) for score in SCORES])
    alarms = (found.scores > np.asarray(bundle.domain.thresholds))[:, free].any(axis=1)
    assert 0.3 * ALARM_RATE < alarms.mean() < 2 * ALARM_RATE


def test_too_few_held_out_stars_are_refused() -> None:
    stars = made_up_set(400)
    unseen = np.zeros((2, 400), bool)
    unseen[:, :5] = True
    with pytest.raises(InputError, match="5 held-out stars"):
        assess(networks_of(stars, CFG), stars, unseen, CFG)
