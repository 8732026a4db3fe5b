"""Prediction: encoder and XP decoder alone, dropout off, physical units."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from aspgap_jax import model
from aspgap_jax.config import Config
from aspgap_jax.model import Params, Variables
from aspgap_jax.prediction import domain
from aspgap_jax.prediction.domain import Domain
from aspgap_jax.prediction.photometry import Photometry
from aspgap_jax.prediction.uncertainty import Calibration
from aspgap_jax.preprocessing.scaling import REFERENCE_MAGNITUDE, Scalers
from aspgap_jax.typing import XP, Array, Float, PerStar

__all__ = [
    "FLUX_UNIT",
    "Bundle",
    "Estimate",
    "Trust",
    "combine",
    "folded",
    "predict",
    "predict_in_batches",
    "with_second_path",
    "without_spectra",
]

FLUX_UNIT = 1e-18
"""W m^-2 nm^-1. The squares of fluxes in W m^-2 nm^-1 are too small for float32."""


class Trust(NamedTuple):
    """How far labels can be trusted: fitted after the training, to its stars.

    Attributes:
        calibration: of the uncertainties.
        domain: scores and thresholds of the flags.
        photometry: synthetic magnitudes; G where a file has none.
        instrument: from BP and RP coefficients to sampled fluxes, in units of
            :data:`FLUX_UNIT` ``[xp, coeff]``; no columns where the networks take
            coefficients themselves.
    """

    calibration: Calibration
    domain: Domain
    photometry: Photometry
    instrument: Float[Array, "xp coeff"]


class Bundle(NamedTuple):
    """What prediction needs, of every trained member ``[member, ...]``.

    Attributes:
        params: encoder, hallucinator and XP decoder.
        decoder: the frozen APOGEE decoder of the second branch.
        scalers: of spectra and labels.
        second: hallucinator and APOGEE decoder merged (:func:`aspgap_jax.model.merge`).
            A bundle without spectra (:func:`without_spectra`) has this alone of both.
        trust: shared by the members; ``None`` before it is fitted.
    """

    params: Params
    decoder: Variables
    scalers: Scalers
    second: Variables = None
    trust: Trust | None = None


def with_second_path(bundle: Bundle) -> Bundle:
    """The bundle with its second branch merged, once for all predictions."""
    return bundle._replace(second=jax.vmap(model.merge)(bundle.params, bundle.decoder))


def without_spectra(bundle: Bundle) -> Bundle:
    """The bundle without what only a hallucinated spectrum needs: half its size."""
    return bundle._replace(params=bundle.params._replace(hallucinator=None), decoder=None)


def folded(bundle: Bundle) -> Bundle:
    """The same predictions with a layer less (:func:`aspgap_jax.model.fold_latents`).

    What are latents elsewhere is then the encoder's last hidden layer. A bundle whose
    encoder is narrower at its latents than before them, or has no hidden layer, gains
    nothing and stays as it is.

    Args:
        bundle: with a second path; it keeps no hallucinator and no decoder.
    """
    layers = bundle.params.encoder["params"]
    width, latents = layers[f"Dense_{len(layers) - 1}"]["kernel"].shape[1:]
    if len(layers) == 1 or latents < width:
        return bundle
    slim = without_spectra(bundle)._replace(trust=None)

    @jax.vmap
    def fold(slim: Bundle) -> Bundle:
        encoder, xp_decoder, second = model.fold_latents(
            slim.params.encoder, slim.params.xp_decoder, slim.second
        )
        return slim._replace(params=Params(encoder, None, xp_decoder), second=second)

    done: Bundle = fold(slim)
    if bundle.trust is None:
        return done
    statistics = jax.vmap(domain.fold_latents)(slim.params.encoder, bundle.trust.domain.latents)
    kept = bundle.trust.domain._replace(latents=statistics)
    return done._replace(trust=bundle.trust._replace(domain=kept))


class Estimate(NamedTuple):
    """Labels in physical units and their standard deviations s_model.

    Device arrays out of :func:`predict`, host arrays out of the others.
    """

    mean: Float[Array | np.ndarray, "*member star label"]
    sigma: Float[Array | np.ndarray, "*member star label"]


@partial(jax.jit, static_argnames="cfg")
def predict(bundle: Bundle, xp: XP, g_mag: PerStar, cfg: Config) -> Estimate:
    """Labels of every member for physical spectra.

    Args:
        bundle: of ``aspgap train`` or ``aspgap crossval``.
        xp: spectra as Gaia delivers them ``[star, xp]``.
        g_mag: Gaia G, mag.
        cfg: of the bundle.

    Returns:
        ``[member, star, label]``, in the units of the label table.
    """
    factor = 10.0 ** (cfg.data.magnitude_exponent * (REFERENCE_MAGNITUDE - g_mag))
    normalised = xp / factor[:, None]

    def member(params: Params, scalers: Scalers) -> Estimate:
        latents = model.encode(cfg.model, params, scalers.xp.transform(normalised))
        mean, log_sigma = model.decode_xp(cfg.model, params, latents)
        return Estimate(
            scalers.labels.inverse(mean), scalers.labels.inverse_error(jnp.exp(log_sigma))
        )

    return jax.vmap(member)(bundle.params, bundle.scalers)


def predict_in_batches(
    bundle: Bundle, xp: np.ndarray, g_mag: np.ndarray, cfg: Config, *, batch_size: int = 4096
) -> Estimate:
    """:func:`predict` for any number of stars, in one compiled shape (host arrays)."""
    n_stars = len(xp)
    means, sigmas = [], []
    for start in tqdm(
        range(0, n_stars, batch_size), desc="predict", unit="batch", disable=None, leave=False
    ):
        rows = np.arange(start, start + batch_size).clip(max=n_stars - 1)
        estimate = predict(
            bundle,
            jnp.asarray(xp[rows], jnp.float32),
            jnp.asarray(g_mag[rows], jnp.float32),
            cfg,
        )
        means.append(np.asarray(estimate.mean))
        sigmas.append(np.asarray(estimate.sigma))
    return Estimate(
        np.concatenate(means, axis=1)[:, :n_stars], np.concatenate(sigmas, axis=1)[:, :n_stars]
    )


def combine(estimate: Estimate, use: np.ndarray) -> Estimate:
    """One estimate a star from the members that may speak of it.

    Means are averaged; the variance is the mean of the variances plus the
    variance of the means (the law of total variance).

    Args:
        estimate: ``[member, star, label]``.
        use: whether a member counts for a star ``[member, star]``; at least one must.

    Returns:
        float32 ``[star, label]``.
    """
    weight = use[:, :, None] / use.sum(axis=0)[None, :, None]
    means, sigmas = np.asarray(estimate.mean, np.float64), np.asarray(estimate.sigma, np.float64)
    mean = (weight * means).sum(axis=0)
    variance = (weight * (sigmas**2 + (means - mean[None]) ** 2)).sum(axis=0)
    return Estimate(mean.astype(np.float32), np.sqrt(variance).astype(np.float32))
