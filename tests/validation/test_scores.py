from __future__ import annotations

import numpy as np
from scipy import stats

from aspgap_jax import labels
from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.validation.scores import (
    groups_of,
    joint_scores,
    probabilistic_scores,
    scores_table,
)

N_LABELS = len(labels.LABELS)


def test_scores_are_those_of_the_normal_distribution() -> None:
    prediction, sigma = np.array([1.0, -2.0, 0.5]), np.array([0.3, 4.0, 0.0])
    truth, truth_error = np.array([1.8, -5.0, 0.1]), np.array([0.4, 3.0, 1.0])
    found = probabilistic_scores(prediction, sigma, truth, truth_error)
    width = np.array([0.5, 5.0, 1.0])
    np.testing.assert_allclose(
        found.log_score, -stats.norm.logpdf(truth, prediction, width).mean(), rtol=1e-12
    )
    # CRPS is the integral of (F(x) - [x >= truth])^2.
    x = np.linspace(-60.0, 60.0, 1_200_001)
    integrals = [
        np.sum((stats.norm.cdf(x, p, w) - (x >= t)) ** 2) * (x[1] - x[0])
        for p, w, t in zip(prediction, width, truth, strict=True)
    ]
    np.testing.assert_allclose(found.crps, np.mean(integrals), rtol=1e-4)
    # |chi| is 1.6, 0.6 and 0.4.
    assert (found.coverage_68, found.coverage_95) == (2 / 3, 1.0)


def test_stars_without_truth_are_left_out() -> None:
    nan = np.array([np.nan])
    assert np.isnan(probabilistic_scores(*(np.ones(1),) * 2, nan, np.ones(1))).all()
    one, two = (
        probabilistic_scores(np.ones(n), np.ones(n), np.array([2.0, np.nan])[:n], np.ones(n))
        for n in (1, 2)
    )
    assert one == two


def test_joint_scores_are_those_of_the_normal_distribution_of_all_labels() -> None:
    rng = np.random.default_rng(0)
    n_stars = 3000
    factor = rng.normal(size=(2, 2))
    correlation = factor @ factor.T
    correlation /= np.sqrt(np.outer(np.diag(correlation), np.diag(correlation)))
    sigma, error = rng.uniform(0.5, 2.0, (2, n_stars, 2))
    covariances = [
        correlation * np.outer(s, s) + np.diag(e**2) for s, e in zip(sigma, error, strict=True)
    ]
    drawn = np.array([rng.multivariate_normal([0, 0], c) for c in covariances])
    error[-1, 0] = np.nan  # not known
    found = joint_scores(drawn, sigma, correlation[None], np.zeros_like(drawn), error)
    density = [
        stats.multivariate_normal([0, 0], c).logpdf(x)
        for c, x in zip(covariances[:-1], drawn[:-1], strict=True)
    ]
    np.testing.assert_allclose(found.log_score, -np.mean(density), rtol=1e-9)
    np.testing.assert_allclose(found.chi_squared, 1.0, atol=0.06)
    np.testing.assert_allclose(found.coverage_68, 0.683, atol=0.03)
    np.testing.assert_allclose(found.coverage_95, 0.95, atol=0.015)
    error[:, 0] = np.nan
    nobody = joint_scores(drawn, sigma, correlation[None], np.zeros_like(drawn), error)
    assert np.isnan(nobody).all()


def test_groups_look_at_their_own_stars() -> None:
    n_stars = 5
    truth = np.zeros((n_stars, N_LABELS))
    truth[:, labels.index("m_h")] = [-2.0, -1.5, 0.0, 0.0, 0.0]
    shift = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    stars = Predictions(
        source_id=np.arange(n_stars),
        fold=np.zeros(n_stars, np.int16),
        prediction=truth + shift[:, None],
        sigma=np.ones_like(truth),
        aleatoric=np.ones_like(truth),
        epistemic=np.zeros_like(truth),
        flags=np.zeros(n_stars, np.int32),
        truth=truth,
        truth_error=np.zeros_like(truth),
        g_mag=np.array([13.0, 15.0, 13.0, 15.0, 13.0]),
        columns={"ak_targ": np.array([0.0, 0.0, 0.0, 0.0, 1.0])},
    )
    groups = groups_of(stars, np.arange(n_stars) == 3)
    table = scores_table(stars, groups)
    bias = {group: table[group]["logg"]["bias"] for group in table}
    assert bias == {"all": 3.0, "g_lt_14": 3.0, "table_1": 4.0, "metal_poor": 1.5, "dusty": 5.0}
    assert table["metal_poor"]["m_h"]["n"] == 2
    assert table["dusty"]["teff"]["coverage_68"] == 0.0
