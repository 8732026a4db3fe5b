"""How the errors of a star's labels go together.

A spectrum that looks too hot looks too dense and too metal-rich at once: the errors of Teff,
log g and [M/H] have correlations of 0.4 to 0.7, those with [alpha/M] run from 0 for the
coolest giants to -0.5 for the warmest. Both are read off the residuals of stars that the
networks had not seen, over their calibrated uncertainties, as a function of the predicted
Teff; with the uncertainties they make the covariance of a star's labels.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax.labels import LABELS, LabelSet, index, names
from aspgap_jax.typing import Array, Float, Labels

__all__ = [
    "Correlation",
    "correlation_of",
    "fit_correlation",
    "no_correlation",
]

QUANTILES = (0.05, 0.275, 0.5, 0.725, 0.95)
"""Where the knots lie among the stars."""
OUTLIER = 4.0
"""Residuals count as no larger than so many uncertainties: a correlation must not hang on
a handful of stars."""
LEAST = 0.02
"""The least eigenvalue of a correlation matrix: no combination of labels is known exactly."""


class Correlation(NamedTuple):
    """Correlation matrices along the predicted Teff; linear between the knots, constant beyond.

    Attributes:
        teff: the knots ``[knot]``, K.
        matrix: there ``[knot, label, label]``. What lies between two correlation matrices is
            one too.
    """

    teff: Float[Array, " knot"]
    matrix: Float[Array, "knot label label"]


def no_correlation(n_labels: int) -> Correlation:
    """Of errors that know nothing of each other.

    Args:
        n_labels: how many labels.

    Returns:
        One knot.
    """
    return Correlation(jnp.zeros(1), jnp.eye(n_labels)[None])


def fit_correlation(
    mean: Float[np.ndarray, "star label"],
    residual: Float[np.ndarray, "star label"],
    sigma: Float[np.ndarray, "star label"],
    label_error: Float[np.ndarray, "star label"],
    table: LabelSet = LABELS,
) -> Correlation:
    """Fit to stars that no network was trained on.

    Stars count for the two knots around them, by their distance. The errors of the truth are
    independent of each other: they widen residuals, and are taken off again.

    Args:
        mean: predicted labels.
        residual: prediction - truth.
        sigma: calibrated uncertainties.
        label_error: the 1-sigma errors of the truth.
        table: what the labels are; without Teff there is one knot.

    Returns:
        The correlations, of the stars that have all labels.
    """
    arrays = [np.asarray(a, np.float64) for a in (mean, residual, sigma, label_error)]
    known = np.isfinite(arrays).all(axis=(0, 2))
    mean, residual, sigma, label_error = (a[known] for a in arrays)
    if not len(mean):
        return no_correlation(mean.shape[1])
    teff = mean[:, index("teff", table)] if "teff" in names(table) else np.zeros(len(mean))
    knots = np.unique(np.quantile(teff, QUANTILES))
    z = np.clip(residual / sigma, -OUTLIER, OUTLIER)
    noise = np.square(label_error / sigma)
    matrices = []
    for here in np.eye(len(knots)):
        weight = np.interp(teff, knots, here)
        weight /= weight.sum()
        products = np.einsum("s,sj,sk->jk", weight, z, z)
        total = np.diag(products)
        own = np.maximum(total - weight @ noise, 0.5 * total)
        np.fill_diagonal(products, own)
        matrices.append(_correlation_matrix(products))
    return Correlation(jnp.asarray(knots, jnp.float32), jnp.asarray(matrices, jnp.float32))


def _correlation_matrix(covariance: Float[np.ndarray, "label label"]) -> np.ndarray:
    """Of a covariance whose diagonal has had something taken off."""
    scale = np.sqrt(np.maximum(np.diag(covariance), np.finfo(np.float64).tiny))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    mended = (vectors * np.maximum(values, LEAST)) @ vectors.T
    scale = np.sqrt(np.diag(mended))
    return np.asarray(mended / np.outer(scale, scale))


def correlation_of(
    correlation: Correlation, mean: Labels, table: LabelSet = LABELS
) -> Float[Array, "star label label"]:
    """Correlation matrices of stars.

    Args:
        correlation: of :func:`fit_correlation`.
        mean: predicted labels.
        table: what they are.

    Returns:
        ``[star, label, label]``; NaN where Teff is.
    """
    teff = mean[:, index("teff", table)] if "teff" in names(table) else jnp.zeros(len(mean))
    n_labels = correlation.matrix.shape[-1]
    flat = correlation.matrix.reshape(len(correlation.teff), -1)
    between = jax.vmap(lambda column: jnp.interp(teff, correlation.teff, column), 1, 1)(flat)
    return between.reshape(-1, n_labels, n_labels)
