"""Scores of a predicted distribution: how wide it is, and how well it is placed, at once.

The distribution of a measured label is normal: the predicted mean, and the predicted
sigma and the label's own error in quadrature (chi of section 3.1). Both scores are
proper: no other distribution has a lower one in expectation than the true one
(Gneiting & Raftery 2007).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr
from scipy.stats import chi2

from aspgap_jax import labels
from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.validation.coverage import fit_chi
from aspgap_jax.validation.metrics import MetricsTable, normalised_residual, residual_statistics

__all__ = [
    "JointScores",
    "ProbabilisticScores",
    "groups_of",
    "joint_scores",
    "probabilistic_scores",
    "scores_table",
]

METAL_POOR = -1.0  # dex
DUSTY = 0.3  # mag of A_K


class ProbabilisticScores(NamedTuple):
    """Of one label; lower is better but for the coverages.

    Attributes:
        crps: mean continuous ranked probability score, in the label's unit; of a
            distribution without width it is the mean absolute error.
        log_score: mean negative ln of the density at the measured label, with the label
            in its unit.
        coverage_68: fraction of stars within one sigma; 0.683 is right.
        coverage_95: fraction within 1.96 sigma; 0.95 is right.
    """

    crps: float
    log_score: float
    coverage_68: float
    coverage_95: float


def probabilistic_scores(
    prediction: Float[np.ndarray, " star"],
    sigma: Float[np.ndarray, " star"],
    truth: Float[np.ndarray, " star"],
    truth_error: Float[np.ndarray, " star"],
) -> ProbabilisticScores:
    """Score one label over the stars whose truth and its error are known.

    Args:
        prediction: mean of the predicted distribution.
        sigma: its standard deviation, same unit.
        truth: measured label.
        truth_error: its 1-sigma error.

    Returns:
        NaN in every field where there is no such star.
    """
    chi = normalised_residual(prediction, sigma, truth, truth_error)
    width = np.hypot(sigma, truth_error, dtype=np.float64)
    known = np.isfinite(truth) & np.isfinite(truth_error)
    chi, width = chi[known], width[known]
    if not chi.size:
        return ProbabilisticScores(*[float("nan")] * 4)
    density = np.exp(-0.5 * np.square(chi)) / np.sqrt(2.0 * np.pi)
    crps = width * (chi * (2.0 * ndtr(chi) - 1.0) + 2.0 * density - 1.0 / np.sqrt(np.pi))
    log_score = 0.5 * np.square(chi) + np.log(width * np.sqrt(2.0 * np.pi))
    fit = fit_chi(chi)
    return ProbabilisticScores(
        float(crps.mean()), float(log_score.mean()), fit.within_1, fit.within_2
    )


class JointScores(NamedTuple):
    """Of all labels of a star together.

    Attributes:
        chi_squared: mean squared Mahalanobis distance of the residuals, over the number of
            labels; 1 is right.
        coverage_68: fraction of stars within the ellipsoid that holds 68.27%.
        coverage_95: fraction within that of 95%.
        log_score: mean negative ln of the joint density at the measured labels; lower is
            better.
    """

    chi_squared: float
    coverage_68: float
    coverage_95: float
    log_score: float


def joint_scores(
    prediction: Float[np.ndarray, "star label"],
    sigma: Float[np.ndarray, "star label"],
    correlation: Float[np.ndarray, "#star label label"],
    truth: Float[np.ndarray, "star label"],
    truth_error: Float[np.ndarray, "star label"],
) -> JointScores:
    """Score the labels of stars together, over the stars whose labels are all known.

    Args:
        prediction: means of the predicted distribution.
        sigma: their standard deviations.
        correlation: of the errors; one matrix for all stars will do.
        truth: measured labels.
        truth_error: their 1-sigma errors, independent of each other.

    Returns:
        NaN in every field where there is no such star.
    """
    known = (np.isfinite(truth) & np.isfinite(truth_error)).all(axis=1)
    residual = np.subtract(prediction, truth, dtype=np.float64)[known]
    if not len(residual):
        return JointScores(*[float("nan")] * 4)
    n_labels = residual.shape[1]
    width = sigma[known].astype(np.float64)
    covariance = np.broadcast_to(correlation, (len(truth), n_labels, n_labels))[known]
    covariance = covariance * width[:, :, None] * width[:, None, :]
    covariance += np.square(truth_error[known].astype(np.float64))[:, :, None] * np.eye(n_labels)
    solved = np.linalg.solve(covariance, residual[..., None])[..., 0]
    distance = (residual * solved).sum(axis=1)
    size = np.linalg.slogdet(covariance)[1] + n_labels * np.log(2.0 * np.pi)
    return JointScores(
        float(distance.mean() / n_labels),
        float((distance < chi2.ppf(0.6827, n_labels)).mean()),
        float((distance < chi2.ppf(0.95, n_labels)).mean()),
        float(0.5 * (distance + size).mean()),
    )


def groups_of(
    stars: Predictions, table_1: Bool[np.ndarray, " star"]
) -> dict[str, Bool[np.ndarray, " star"]]:
    """Groups of stars that a benchmark looks at apart: name to mask ``[star]``.

    Args:
        stars: with the column ``ak_targ`` for the dusty ones, which are left out otherwise.
        table_1: whether a star passes the paper's Table 1.

    Returns:
        Masks by name.
    """
    m_h = stars.truth[:, labels.index("m_h")]
    groups = {
        "all": np.ones(len(stars.source_id), bool),
        "g_lt_14": stars.g_mag < 14.0,
        "table_1": table_1,
        "metal_poor": m_h < METAL_POOR,
    }
    if "ak_targ" in stars.columns:
        groups["dusty"] = stars.columns["ak_targ"] > DUSTY
    return groups


def scores_table(
    stars: Predictions, groups: Mapping[str, Bool[np.ndarray, " star"]]
) -> MetricsTable:
    """Residual statistics and scores of every label and group.

    Args:
        stars: predictions and truth.
        groups: of :func:`groups_of`.

    Returns:
        ``{group: {label: {statistic: value}}}``; a value that does not exist is ``None``.
    """
    table: MetricsTable = {}
    for group, keep in groups.items():
        table[group] = {}
        for column, label in enumerate(labels.LABELS):
            prediction, sigma, truth, error = (
                values[keep, column]
                for values in (stars.prediction, stars.sigma, stars.truth, stars.truth_error)
            )
            residuals = residual_statistics(prediction, sigma, truth, error, label.outlier)
            scores = probabilistic_scores(prediction, sigma, truth, error)
            found = residuals._asdict() | scores._asdict()
            table[group][label.name] = {
                name: value if np.isfinite(value) else None for name, value in found.items()
            }
    return table
