"""Out-of-fold labels, against NumPy alone: who speaks of a star, and what calibrates it."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

from aspgap_jax.config import CrossValidation, PredictOptions
from aspgap_jax.prediction.assess import assess
from aspgap_jax.prediction.bundle import Bundle, BundleInfo
from aspgap_jax.prediction.labelling import StarLabels
from aspgap_jax.prediction.out_of_fold import label_unseen, out_of_fold
from aspgap_jax.preprocessing.folds import Assignment, fold_of, unseen_stars
from aspgap_jax.preprocessing.stars import TrainingSet
from support.bundles import (
    CFG as BASE,
)
from support.bundles import (
    bundle_of,
    gaia_set,
    mixture,
    networks_of,
    predicted_by_hand,
)

CFG = replace(BASE, cv=CrossValidation(folds=3, seeds=2))
MEMBERS = tuple(Assignment(0, fold, seed) for fold in range(3) for seed in range(2))


@pytest.fixture(scope="module")
def stars() -> TrainingSet:
    return gaia_set(600)


@pytest.fixture(scope="module")
def made(stars: TrainingSet) -> tuple[Bundle, BundleInfo]:
    unseen = unseen_stars(stars.source_id, MEMBERS, CFG)
    bundle, info = bundle_of(stars, unseen, members=len(MEMBERS))
    return bundle, replace(info, config=CFG, members=MEMBERS)


@pytest.fixture(scope="module")
def found(made: tuple[Bundle, BundleInfo], stars: TrainingSet) -> StarLabels:
    return out_of_fold(*made, stars)


def by_hand(stars: TrainingSet) -> tuple[np.ndarray, np.ndarray]:
    """Mean and total sigma by the two members that hold out a star's fold."""
    fold = fold_of(stars.source_id, 3)
    use = np.stack([fold == member.fold for member in MEMBERS])
    assert (use.sum(axis=0) == 2).all()
    networks = networks_of(stars, CFG, members=len(MEMBERS))
    return mixture(*predicted_by_hand(networks, stars.xp, stars.g_mag), use)


def calibrated_by_hand(
    residual: np.ndarray, sigma: np.ndarray, error: np.ndarray, ln_snr: np.ndarray, fold: np.ndarray
) -> np.ndarray:
    """Of one label: the law of every fold by L-BFGS-B, from the other folds."""
    calibrated = np.empty_like(sigma)
    for own in (fold == f for f in range(3)):
        low, high = ln_snr[~own].min(axis=0), ln_snr[~own].max(axis=0)
        features = np.stack(
            [
                np.ones_like(sigma),
                np.log(sigma),
                *(np.clip(ln_snr, low, high) - ln_snr[~own].mean(axis=0)).T,
            ]
        )

        def loss(p: np.ndarray, f: np.ndarray = features[:, ~own], o: np.ndarray = ~own) -> float:
            v = np.exp(2 * p @ f) + error[o] ** 2
            # One standard deviation of ln SNR changes ln sigma by 0.5, give or take.
            prior = np.square(p[2:] * f[2:].std(axis=1) / 0.5).sum() / o.sum()
            return float(np.mean(np.log(v) + residual[o] ** 2 / v) + prior)

        best = minimize(
            loss,
            [0.0, 1.0, 0.0, 0.0],
            method="L-BFGS-B",
            bounds=[(None, None), (0.0, None), (None, None), (None, None)],
            options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 10_000},
        )
        calibrated[own] = np.exp(best.x @ features[:, own])
    return calibrated


def test_labels_are_those_of_the_members_that_had_not_seen_the_star(
    stars: TrainingSet, found: StarLabels
) -> None:
    mean, sigma = by_hand(stars)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.hypot(found.aleatoric, found.epistemic), sigma, rtol=1e-3)
    np.testing.assert_array_less(0, found.epistemic)


def test_uncertainties_are_calibrated_on_the_other_folds(
    made: tuple[Bundle, BundleInfo], stars: TrainingSet
) -> None:
    mean, sigma = by_hand(stars)
    # A truth that is half as far again from the prediction as the networks say.
    residual = 1.5 * sigma * np.random.default_rng(8).normal(size=sigma.shape)
    truth = (mean - residual).astype(np.float32)
    error = (0.3 * sigma.mean(axis=0)[None] * np.ones((len(stars), 1))).astype(np.float32)
    found = out_of_fold(*made, replace(stars, labels=truth, label_error=error))
    factor = 10.0 ** (0.4 * (15.0 - stars.g_mag.astype(float)))[:, None]
    low, high = np.percentile(stars.xp / factor, [25, 75], axis=0)
    by_noise = -0.5 * np.log(np.square(stars.xp_error / factor / (high - low)).mean(axis=1))
    by_flux = np.log(np.abs(stars.xp / stars.xp_error).mean(axis=1))
    ln_snr = np.stack([by_noise, by_flux], axis=1)
    np.testing.assert_allclose(found.ln_snr, ln_snr, rtol=1e-4)
    for k in range(4):
        expected = calibrated_by_hand(
            mean[:, k] - truth[:, k],
            sigma[:, k],
            error[:, k].astype(float),
            ln_snr,
            fold_of(stars.source_id, 3),
        )
        np.testing.assert_allclose(np.asarray(found.sigma)[:, k], expected, rtol=5e-3)


def test_the_truth_of_a_fold_is_no_part_of_its_own_calibration(
    made: tuple[Bundle, BundleInfo], stars: TrainingSet, found: StarLabels
) -> None:
    first = fold_of(stars.source_id, 3) == 0
    wrong = np.where(first[:, None], 1.1 * stars.labels + 0.3, stars.labels).astype(np.float32)
    again = out_of_fold(*made, replace(stars, labels=wrong))
    np.testing.assert_array_equal(
        np.asarray(again.correlation)[first], np.asarray(found.correlation)[first]
    )
    same, other = np.asarray(again.sigma), np.asarray(found.sigma)
    np.testing.assert_array_equal(same[first], other[first])
    assert (np.abs(same[~first] / other[~first] - 1).max(axis=0) > 1e-3).all()


def test_a_network_that_saw_a_star_has_no_weight(
    made: tuple[Bundle, BundleInfo], stars: TrainingSet, found: StarLabels
) -> None:
    """Members 0 and 1 hold out fold 0; spoilt, they speak of no other star."""
    bundle, info = made

    def spoil(leaf: jax.Array) -> jax.Array:
        return leaf.at[:2].add(1.0)

    spoilt = bundle._replace(params=jax.tree.map(spoil, bundle.params))
    again = out_of_fold(spoilt, info, stars)
    first = fold_of(stars.source_id, 3) == 0
    for name in ("mean", "aleatoric", "epistemic", "scores", "flags"):
        a, b = (np.asarray(getattr(labels, name)) for labels in (again, found))
        np.testing.assert_array_equal(a[~first], b[~first], err_msg=name)
    changed = np.asarray(again.mean)[first] != np.asarray(found.mean)[first]
    assert changed.all(axis=1).mean() > 0.99


def test_the_bundle_of_a_run_is_calibrated_on_all_folds(
    made: tuple[Bundle, BundleInfo], stars: TrainingSet
) -> None:
    """The calibration for new stars uses every out-of-fold residual."""
    unseen = unseen_stars(stars.source_id, MEMBERS, CFG)
    wrong = replace(stars, labels=stars.labels + (fold_of(stars.source_id, 3) == 0)[:, None])
    networks = networks_of(stars, CFG, members=len(MEMBERS))
    moved = assess(networks, wrong, unseen, CFG).calibration
    assert (np.asarray(moved.offset) != np.asarray(made[0].calibration.offset)).all()


def test_batches_do_not_change_the_labels(
    made: tuple[Bundle, BundleInfo], stars: TrainingSet
) -> None:
    some = stars.where(np.arange(23))
    unseen = unseen_stars(some.source_id, MEMBERS, CFG)
    whole, parts = (
        label_unseen(made[0], some, unseen, CFG, PredictOptions(batch_size=size))
        for size in (64, 5)
    )
    assert whole.mean.shape == (23, 4)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_star_that_every_network_has_seen_is_refused(
    made: tuple[Bundle, BundleInfo], stars: TrainingSet
) -> None:
    unseen = np.ones((len(MEMBERS), 7), bool)
    unseen[:, 4] = False
    with pytest.raises(ValueError, match="star 4: every network has seen it"):
        label_unseen(made[0], stars.where(np.arange(7)), unseen, CFG)
