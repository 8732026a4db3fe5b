"""Uncertainties: ensembles, propagated errors of the spectrum, and calibration.

A member of an ensemble predicts a mean and a standard deviation. The mean of their
variances is *aleatoric*: what the spectrum leaves open. The variance of their means
is *epistemic*: what the training leaves open. Their sum is the total variance.

The total is then calibrated on stars that the networks had not seen. For each label

    ln sigma' = a + b ln sigma + c . ln SNR,    b >= 0,

with the parameters that maximise the Gaussian likelihood of the residuals, the
labels' own errors added in quadrature. S/N is measured in two ways: the noise of the
spectrum as if every star had one magnitude, and flux over error, which tells how bright
the star is. With one of them alone sigma(chi) is off by 5% in bins of the other.

The errors of the spectrum can also be propagated to the labels, through the Jacobian
of the network. That is reported beside the total and not added to it: the networks
were trained on spectra with such errors, so the aleatoric part has them already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.typing import XP, Array, Float, Labels, PerLabel

__all__ = [
    "Calibration",
    "Moments",
    "calibrate",
    "fit_calibration",
    "identity_calibration",
    "propagate",
    "total_variance",
    "weighted_mean",
]

SNR_MEASURES = 2
"""Ways in which S/N is measured (:class:`aspgap_jax.prediction.labelling.StarLabels`)."""
SLOPE_PRIOR = 0.5
"""Standard deviation of what one of S/N's does to ln sigma, before stars are looked at. It
keeps few stars, for which the measures of S/N are much alike, from steep and opposite slopes;
thousands outvote it."""
SCORING_STEPS = 100
CONVERGED = 1e-8


class Moments(NamedTuple):
    """What an ensemble says of a star, in the units of the label table.

    Attributes:
        mean: ``[star, label]``.
        aleatoric: root of the mean of the members' variances.
        epistemic: root of the variance of the members' means.
    """

    mean: Labels
    aleatoric: Labels
    epistemic: Labels

    @property
    def sigma(self) -> Labels:
        """Root of the total variance."""
        return jnp.hypot(self.aleatoric, self.epistemic)


class Calibration(NamedTuple):
    """ln sigma' = offset + slope ln sigma + snr_slope . (ln SNR - ln SNR_0), a label.

    Attributes:
        offset: a ``[label]``; sigma is in the units of the label table.
        slope: b ``[label]``, not below 0: a larger sigma stays larger.
        snr_slope: c ``[measure, label]``, of every measure of S/N.
        ln_snr: the range of ln SNR that was fitted ``[2, measure]``; outside it the nearest
            end is used, because a power law must not be followed into the unknown.
        reference: ln SNR_0, the mean of the stars that were fitted ``[measure]``.
    """

    offset: PerLabel
    slope: PerLabel
    snr_slope: Float[Array, "measure label"]
    ln_snr: Float[Array, "two=2 measure"]
    reference: Float[Array, " measure"]


def total_variance(
    mean: Float[Array, "member star label"],
    sigma: Float[Array, "member star label"],
    weight: Float[Array, "member star"],
) -> Moments:
    """The law of total variance.

    Args:
        mean: of every member.
        sigma: its standard deviation.
        weight: how much a member counts for a star; sums to 1 over the members.

    Returns:
        Mean, and the two parts of the variance.
    """
    centre = weighted_mean(mean, weight)
    return Moments(
        mean=centre,
        aleatoric=jnp.sqrt(weighted_mean(jnp.square(sigma), weight)),
        epistemic=jnp.sqrt(weighted_mean(jnp.square(mean - centre[None]), weight)),
    )


def weighted_mean(
    values: Float[Array, "member star label"], weight: Float[Array, "member star"]
) -> Labels:
    """Over the members. One without weight can say what it likes, NaN too.

    Args:
        values: of every member.
        weight: sums to 1 over the members.

    Returns:
        ``[star, label]``.
    """
    share = weight[:, :, None]
    return jnp.where(share > 0, share * values, 0.0).sum(axis=0)


def calibrate(
    calibration: Calibration, sigma: Labels, ln_snr: Float[Array, "star measure"]
) -> Labels:
    """Calibrated standard deviations, in the unit of ``sigma``.

    Args:
        calibration: of :func:`fit_calibration`.
        sigma: ``[star, label]``.
        ln_snr: ln of the spectrum's S/N ``[star, measure]``, as it was in the fit.

    Returns:
        ``[star, label]``.
    """
    low, high = calibration.ln_snr
    excess = jnp.clip(ln_snr, low[None, :], high[None, :]) - calibration.reference[None, :]
    return jnp.exp(
        calibration.offset[None, :]
        + calibration.slope[None, :] * jnp.log(sigma)
        + jnp.matmul(excess, calibration.snr_slope, precision="highest")
    )


def identity_calibration(n_labels: int) -> Calibration:
    """The calibration that changes nothing.

    Args:
        n_labels: width of the calibration.

    Returns:
        Factors of one at any S/N.
    """
    return Calibration(
        offset=jnp.zeros(n_labels),
        slope=jnp.ones(n_labels),
        snr_slope=jnp.zeros((SNR_MEASURES, n_labels)),
        ln_snr=jnp.zeros((2, SNR_MEASURES)),
        reference=jnp.zeros(SNR_MEASURES),
    )


def fit_calibration(
    residual: Float[np.ndarray, "star label"],
    sigma: Float[np.ndarray, "star label"],
    label_error: Float[np.ndarray, "star label"],
    ln_snr: Float[np.ndarray, "star measure"],
) -> Calibration:
    """Calibrate on stars that no network was trained on.

    Args:
        residual: prediction - truth, in the units of the label table.
        sigma: predicted standard deviations.
        label_error: the 1-sigma errors of the truth.
        ln_snr: ln of the spectra's S/N ``[star, measure]``.

    Returns:
        The calibration.

    Raises:
        InputError: fewer than ten stars with finite numbers for a label.
    """
    reference = ln_snr.mean(axis=0)
    rows = [
        _fit_label(residual[:, k], sigma[:, k], label_error[:, k], ln_snr - reference)
        for k in range(residual.shape[1])
    ]
    offset, slope, *snr_slope = np.array(rows).T
    return Calibration(
        offset=jnp.asarray(offset, jnp.float32),
        slope=jnp.asarray(slope, jnp.float32),
        snr_slope=jnp.asarray(snr_slope, jnp.float32),
        ln_snr=jnp.asarray([ln_snr.min(axis=0), ln_snr.max(axis=0)], jnp.float32),
        reference=jnp.asarray(reference, jnp.float32),
    )


def _fit_label(
    residual: np.ndarray, sigma: np.ndarray, label_error: np.ndarray, excess: np.ndarray
) -> np.ndarray:
    """a, b, and c of every measure of S/N, of one label."""
    known = np.isfinite(residual) & np.isfinite(sigma) & np.isfinite(label_error) & (sigma > 0)
    if known.sum() < 10:
        raise InputError(
            f"{known.sum()} held-out stars with finite labels are too few to calibrate "
            "uncertainties: pass more stars"
        )
    squared = np.square(residual[known].astype(np.float64))
    noise = np.square(label_error[known].astype(np.float64))
    log_sigma = np.log(sigma[known].astype(np.float64))
    features = np.column_stack([np.ones_like(log_sigma), log_sigma, excess[known]])
    start = np.eye(features.shape[1])[1]
    prior = np.array([0.0, 0.0, *(excess[known].std(axis=0) / SLOPE_PRIOR) ** 2])
    found = _scoring(features, squared, noise, start, prior)
    if found[1] < 0:
        # The likelihood asks for a falling function: the best monotone one is flat.
        start = np.zeros(features.shape[1] - 1)
        start[0] = log_sigma.mean()
        without = np.delete(features, 1, axis=1)
        flat = _scoring(without, squared, noise, start, np.delete(prior, 1))
        found = np.insert(flat, 1, 0.0)
    return found


def _scoring(
    features: np.ndarray,
    squared: np.ndarray,
    noise: np.ndarray,
    start: np.ndarray,
    prior: np.ndarray,
) -> np.ndarray:
    """Fisher scoring of the variance model exp(2 f.p) + noise.

    Its likelihood is 1/2 ln v + r^2 / (2 v), with v the variance, and 1/2 prior.p^2 for all
    stars together. The steps are halved until the likelihood falls, so that outliers cannot
    throw it off.
    """

    def loss(parameters: np.ndarray) -> float:
        # A step much too far is infinitely bad, and is halved like others.
        with np.errstate(over="ignore"):
            variance = np.exp(2 * features @ parameters) + noise
        likelihood = np.mean(np.log(variance) + squared / variance) / 2
        return float(likelihood + prior @ np.square(parameters) / (2 * len(features)))

    parameters, best = start, loss(start)
    # A direction that the stars do not constrain (one S/N for all) stays where it is.
    ridge = 1e-9 * len(features) * np.eye(features.shape[1])
    for _ in range(SCORING_STEPS):
        model = np.exp(2 * features @ parameters)
        share = model / (model + noise)
        score = features.T @ (share * (1 - squared / (model + noise))) + prior * parameters
        information = (features * (2 * share**2)[:, None]).T @ features + np.diag(prior)
        step = np.linalg.solve(information + ridge, score)
        while loss(parameters - step) > best and np.abs(step).max() > CONVERGED:
            step = step / 2
        parameters = parameters - step
        best = loss(parameters)
        if np.abs(step).max() <= CONVERGED:
            break
    return parameters


def propagate(
    mean: Callable[[XP], Labels],
    xp: XP,
    error: XP,
    correlations: Float[Array, "star band pair"] | None = None,
    n_bp: int = 0,
) -> Labels:
    """Standard deviations of labels that the errors of a spectrum cause.

    To first order the covariance is J C J^T, with J the Jacobian of ``mean``.

    Args:
        mean: spectra to labels, star by star.
        xp: where to linearise.
        error: 1-sigma errors of ``xp``.
        correlations: of the coefficients of BP and of RP: the strict lower triangle,
            row by row; NaN counts as 0. ``None``: the errors are independent.
        n_bp: how many columns are BP, where ``correlations`` is given.

    Returns:
        ``[star, label]``, in the unit of ``mean``.
    """
    labels, pull = jax.vjp(mean, xp)
    n_labels = labels.shape[1]
    # Stars do not mix, so one pull-back a label gives its gradient for every star.
    picks = jnp.broadcast_to(
        jnp.eye(n_labels, dtype=labels.dtype)[:, None, :], (n_labels, *labels.shape)
    )
    (gradient,) = jax.vmap(pull)(picks)
    scaled = gradient * error[None]
    variance = jnp.square(scaled).sum(axis=-1)
    if correlations is not None:
        for band, columns in enumerate((slice(0, n_bp), slice(n_bp, None))):
            part = scaled[..., columns]
            row, column = np.tril_indices(part.shape[-1], -1)
            pairs = jnp.nan_to_num(correlations[:, band, : len(row)])[None]
            variance = variance + 2 * (pairs * part[..., row] * part[..., column]).sum(axis=-1)
    # Rounding can leave a variance of nothing just below zero.
    return jnp.sqrt(jnp.maximum(variance, 0.0)).T
