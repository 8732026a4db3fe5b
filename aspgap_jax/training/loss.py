"""The objective of eq. 2-4, a pure function a term.

All terms are in scaled label units. ``weight`` is 0 for padding and 1 for a
star. Sums over stars are means over the weighted batch; where an ``axis_name``
is given they are pooled over its devices, so that the result is that of the
whole batch. The KL term is a function of batch moments: the moments are pooled,
never the losses.

A label that a star lacks takes part in no term: its share of the sums over labels is 0,
and the moments of the KL term are those of the stars that have the label, the term
counting by their share of the batch. Where all labels are ``measured`` (``None``),
nothing is masked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from aspgap_jax.config import LossForm
from aspgap_jax.model import Outputs, Params
from aspgap_jax.training.recipe import Hyper
from aspgap_jax.typing import Array, Float, Labels, Measured, PerLabel, PerStar, Scalar

__all__ = [
    "LossTerms",
    "apogee_branch",
    "kl_to_standard_normal",
    "l1_norm",
    "log_variance",
    "loss_terms",
    "pooled_mean",
    "pooled_moments",
    "total",
    "xp_nll",
]


class LossTerms(NamedTuple):
    """The terms of eq. 3, each already divided by N, before Lambda_1 and Lambda_2, and the
    prior of a hallucinator with a basis.

    Attributes:
        nll: alpha_1/2 r^2/s^2 + 1/2 ln s^2 of the XP decoder, summed over labels.
        branch: alpha_2/2 r^2/s^2 of the hallucinator and the APOGEE decoder.
        l1: sum of the absolute trainable parameters.
        kl: divergence of the normalised residuals from N(0, 1), summed over labels.
        prior: 1/2 |z|^2 of the components z of hallucinated spectra, before its weight.
    """

    nll: Scalar
    branch: Scalar
    l1: Scalar
    kl: Scalar
    prior: Scalar


def pooled_mean(
    x: Float[Array, "star ..."], weight: PerStar, axis_name: str | None = None
) -> Float[Array, "..."]:
    """Weighted mean over the stars of all devices.

    Args:
        x: a value a star ``[star, ...]``.
        weight: 1 for a star, 0 for padding.
        axis_name: the device axis to pool over, or ``None``.

    Returns:
        The mean, without the axis of stars.
    """
    sums = (weight.sum(), jnp.tensordot(weight, x, axes=1))
    weight_sum, x_sum = sums if axis_name is None else lax.psum(sums, axis_name)
    return x_sum / weight_sum


def pooled_moments(
    chi: Labels, weight: PerStar, axis_name: str | None = None, measured: Measured | None = None
) -> tuple[PerLabel, PerLabel, PerLabel | float]:
    """Mean and variance of ``chi`` a label, over the stars of all devices that have it, and
    their share of all stars.

    Args:
        chi: residuals over their standard deviations.
        weight: 1 for a star, 0 for padding.
        axis_name: the device axis to pool over, or ``None``.
        measured: which labels a star has; ``None`` for all.

    Returns:
        Mean, variance and share, equal on all devices. Of a label that fewer than two stars
        have: 0, 1 and 0, which diverge from nothing.
    """
    if measured is None:
        mean = pooled_mean(chi, weight, axis_name)
        return mean, pooled_mean(jnp.square(chi - mean[None, :]), weight, axis_name), 1.0
    share = pooled_mean(measured.astype(chi.dtype), weight, axis_name)
    stars = weight.sum() if axis_name is None else lax.psum(weight.sum(), axis_name)
    enough = share * stars > 1.5
    divisor = jnp.where(enough, share, 1.0)

    def over_measured(values: Labels) -> PerLabel:
        return pooled_mean(jnp.where(measured, values, 0.0), weight, axis_name) / divisor

    mean = jnp.where(enough, over_measured(chi), 0.0)
    variance = over_measured(jnp.square(chi - mean[None, :]))
    return mean, jnp.where(enough, variance, 1.0), jnp.where(enough, share, 0.0)


def log_variance(log_sigma: Labels, label_error: Labels, cfg: LossForm) -> Labels:
    """ln s_i^2 of s_i^2 = max(epsilon, sigma_i^2 + s_model^2), eq. 2.

    In logarithms, so that no log_sigma overflows on an outlying spectrum. With
    ``std_as_variance`` the square root stands in the place of sigma_i^2 +
    s_model^2, which is what the released code hands to its Gaussian likelihood.

    Args:
        log_sigma: ln s_model, of the XP decoder, scaled.
        label_error: sigma_i, scaled; positive.
        cfg: gives epsilon, and the form.

    Returns:
        ln s_i^2, of the square of a scaled label.

    Examples:
        Errors of 3 and 4 add up to 5:

        >>> ln_sigma = jnp.log(jnp.array([[4.0]]))
        >>> round(float(jnp.exp(log_variance(ln_sigma, jnp.array([[3.0]]), LossForm()))[0, 0]), 3)
        25.0
    """
    log_total = jnp.logaddexp(2.0 * jnp.log(label_error), 2.0 * log_sigma)
    if cfg.std_as_variance:
        log_total = 0.5 * log_total
    return jnp.maximum(jnp.log(cfg.variance_floor), log_total)


def xp_nll(
    residual: Labels,
    log_var: Labels,
    alpha: Labels | Scalar | float,
    measured: Measured | None = None,
) -> PerStar:
    """First branch of eq. 3 with its ln s: sum over the measured labels, ``[star]``.

    Args:
        residual: label minus prediction, scaled.
        log_var: of :func:`log_variance`.
        alpha: alpha_1.
        measured: which labels a star has; ``None`` for all.

    Returns:
        The negative log-likelihood without ln(2 pi)/2 a label.
    """
    squares = jnp.square(residual) * jnp.exp(-log_var)
    return _sum_labels(0.5 * alpha * squares + 0.5 * log_var, measured)


def apogee_branch(
    residual: Labels,
    log_var: Labels,
    alpha: Scalar | float,
    cfg: LossForm,
    measured: Measured | None = None,
) -> PerStar:
    """Second branch of eq. 3 over the same s: sum over the measured labels, ``[star]``.

    ``apogee_branch="mse"`` leaves s out, as the released code does.

    Args:
        residual: label minus the APOGEE decoder's, scaled.
        log_var: of :func:`log_variance`.
        alpha: alpha_2.
        cfg: the form of the branch.
        measured: which labels a star has; ``None`` for all.

    Returns:
        Half of the weighted squares.
    """
    squares = jnp.square(residual)
    if cfg.apogee_branch == "nll":
        squares = squares * jnp.exp(-log_var)
    return _sum_labels(0.5 * alpha * squares, measured)


def _sum_labels(terms: Labels, measured: Measured | None) -> PerStar:
    return (terms if measured is None else jnp.where(measured, terms, 0.0)).sum(axis=-1)


def l1_norm(params: Any) -> Scalar:
    """Sum of the absolute values of a parameter pytree.

    Its gradient is sign(theta), 0 at 0: that of ``jnp.abs`` is 1 there, which would
    push a parameter away from the zero that the penalty is to keep it at.

    Args:
        params: the trainable blocks.

    Returns:
        A scalar, the sum in the term of Lambda_1 in eq. 3.
    """
    return sum(
        ((leaf * jnp.sign(leaf)).sum() for leaf in jax.tree.leaves(params)), start=jnp.zeros(())
    )


def kl_to_standard_normal(mean: PerLabel, variance: PerLabel) -> PerLabel:
    """D_KL(N(mean, variance) || N(0, 1)) a label, eq. 4.

    Args:
        mean: of chi, over stars.
        variance: of chi, over stars; positive.

    Returns:
        Nats, ``[label]``.

    Examples:
        >>> kl_to_standard_normal(jnp.array([0.0, 1.0]), jnp.array([1.0, 1.0])).tolist()
        [0.0, 0.5]
    """
    return 0.5 * (variance + jnp.square(mean) - 1.0 - jnp.log(variance))


def loss_terms(
    outputs: Outputs,
    labels: Labels,
    label_error: Labels,
    weight: PerStar,
    params: Params,
    n_stars: Scalar,
    hyper: Hyper,
    cfg: LossForm,
    axis_name: str | None = None,
    measured: Measured | None = None,
    taught: tuple[bool, ...] | None = None,
) -> LossTerms:
    """All terms of eq. 3 for a batch.

    Args:
        outputs: of :func:`aspgap_jax.model.apply`.
        labels: APOGEE's, scaled ``[star, label]``; any finite number where not measured.
        label_error: their standard deviations, scaled ``[star, label]``, likewise.
        weight: 1 for a star, 0 for padding.
        params: the trainable blocks alone.
        n_stars: N, the size of the training set. Lambda_1 and Lambda_2 are over
            it, so that the objective does not depend on the batch size.
        hyper: alpha_1 and alpha_2.
        cfg: the form of the objective.
        axis_name: the device axis to pool over, or ``None``.
        measured: which labels a star has; ``None`` for all.
        taught: which labels the APOGEE decoder knows; ``None`` for all. The others have no
            part in the second branch.

    Returns:
        Scalars, equal on all devices.
    """
    log_var = log_variance(outputs.log_sigma, label_error, cfg)
    residual = labels - outputs.mean
    told, alpha = measured, hyper.alpha_xp
    if taught is not None:
        known = jnp.broadcast_to(jnp.asarray(taught)[None, :], labels.shape)
        told = known if measured is None else known & measured
        # What one branch cannot say the other says alone: s stays that of the residuals.
        alpha = jnp.where(known, alpha, alpha + hyper.alpha_apogee)
    nll = xp_nll(residual, log_var, alpha, measured)
    branch = apogee_branch(labels - outputs.apogee_mean, log_var, hyper.alpha_apogee, cfg, told)
    chi = residual * jnp.exp(-0.5 * log_var)
    mean, variance, share = pooled_moments(chi, weight, axis_name, measured)
    kl = (share * kl_to_standard_normal(mean, variance)).sum()
    return LossTerms(
        nll=pooled_mean(nll, weight, axis_name),
        branch=pooled_mean(branch, weight, axis_name),
        l1=l1_norm(params) / n_stars,
        kl=kl / n_stars if cfg.kl_over_n else kl,
        prior=pooled_mean(outputs.penalty, weight, axis_name),
    )


def total(terms: LossTerms, hyper: Hyper) -> Scalar:
    """Eq. 3, and the prior.

    Args:
        terms: of :func:`loss_terms`.
        hyper: Lambda_1, Lambda_2 and the weight of the prior.

    Returns:
        The number that is minimised.
    """
    penalties = hyper.l1 * terms.l1 + hyper.kl * terms.kl + hyper.prior * terms.prior
    return terms.nll + terms.branch + penalties
