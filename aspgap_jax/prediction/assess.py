"""From trained networks to what predicts: calibration, domain, photometry.

Fitted once, when the networks are done, to the stars that they were trained on.
Statistics of spectra, latents and labels come from all of them. Calibration and
thresholds come from predictions by networks that had not seen the star: those of the
other folds, or, where there are no folds, the stars held out for early stopping,
which took part in no gradient step (but did choose the epoch).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from aspgap_jax import model
from aspgap_jax.config import Config, Model
from aspgap_jax.prediction import domain as domains
from aspgap_jax.prediction import uncertainty
from aspgap_jax.prediction.bundle import Bundle, Networks
from aspgap_jax.prediction.correlation import no_correlation
from aspgap_jax.prediction.domain import SCORES, LatentStatistics
from aspgap_jax.prediction.out_of_fold import fit_errors, label_unseen
from aspgap_jax.prediction.photometry import Photometry, fit_photometry
from aspgap_jax.prediction.spectra import FLUX_UNIT, instrument_matrix
from aspgap_jax.preprocessing.scaling import normalise
from aspgap_jax.preprocessing.snr import snr
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.typing import XP, Array, Float

__all__ = ["BP_ALONE_BELOW", "RP_ALONE_ABOVE", "assess", "fit_magnitudes"]

BATCH = 4096
BP_ALONE_BELOW = 635.0
RP_ALONE_ABOVE = 643.0
"""nm: between the two Gaia merges BP and RP."""


def assess(
    networks: Networks,
    stars: TrainingSet,
    unseen: Bool[np.ndarray, "member star"],
    cfg: Config,
) -> Bundle:
    """All that predicts, of trained networks.

    Args:
        networks: as they were trained.
        stars: the training set.
        unseen: of :func:`aspgap_jax.preprocessing.folds.unseen_stars`.
        cfg: of the training.

    Returns:
        The networks with domain and calibration.

    Raises:
        InputError: too few held-out stars to calibrate with.
    """
    bundle = _uncalibrated(networks, stars, cfg)
    rows = np.flatnonzero(unseen.any(axis=0))
    held_out = stars.where(rows)
    found = label_unseen(bundle, held_out, unseen[:, rows], cfg)
    ln_snr, scores = (np.array(each, np.float64) for each in (found.ln_snr, found.scores))
    column = [score.name for score in SCORES].index("sigma")
    by_noise = ln_snr[:, 0]
    trend = domains.sigma_trend(scores[:, column], by_noise)
    scores[:, column] -= np.polyval(trend, by_noise)
    domain = bundle.domain._replace(
        sigma_trend=jnp.asarray(trend, jnp.float32),
        ln_snr=jnp.asarray([by_noise.min(), by_noise.max()], jnp.float32),
        thresholds=jnp.asarray(domains.fit_thresholds(scores), jnp.float32),
    )
    calibration, correlation = fit_errors(found, held_out.labels, held_out.label_error, cfg.labels)
    return bundle._replace(domain=domain, calibration=calibration, correlation=correlation)


def _uncalibrated(networks: Networks, stars: TrainingSet, cfg: Config) -> Bundle:
    """What predicts, but that no score flags and that sigma is as the networks give it."""
    exponent = cfg.data.magnitude_exponent
    xp, error = (
        normalise(values, stars.g_mag, exponent).astype(np.float32)
        for values in (stars.xp, stars.xp_error)
    )
    bands = _bands(stars)
    latents = _latents(networks, xp, cfg.model)
    domain = domains.fit_domain(
        xp,
        error,
        stars.labels,
        jax.vmap(domains.absorb_latents)(networks.params.encoder, latents),
        np.stack([_band_snr(stars, own) for own in bands], axis=1),
        bands,
        cfg.labels,
    )
    matrix = np.zeros((stars.xp.shape[1], 0))
    if stars.representation == "sampled" and stars.xp.shape[1] == len(instrument_matrix()):
        matrix = instrument_matrix() / FLUX_UNIT
    return Bundle(
        params=jax.vmap(model.absorb)(networks.params, networks.decoder),
        scalers=networks.scalers,
        calibration=uncertainty.identity_calibration(stars.labels.shape[1]),
        correlation=no_correlation(stars.labels.shape[1]),
        domain=domain,
        photometry=fit_magnitudes(stars),
        instrument=jnp.asarray(matrix, jnp.float32),
    )


def fit_magnitudes(stars: TrainingSet) -> Photometry:
    """The synthetic magnitudes of a training set's spectra.

    Args:
        stars: the training set, in physical units.

    Returns:
        Weights of the bands that it has magnitudes of.
    """
    unknown = np.full(len(stars), np.nan, np.float32)
    return fit_photometry(
        stars.xp,
        stars.g_mag,
        stars.columns.get("phot_bp_mean_mag", unknown),
        stars.columns.get("phot_rp_mean_mag", unknown),
    )


@partial(jax.jit, static_argnames="cfg")
def _encode(networks: Networks, normalised: XP, cfg: Model) -> Float[Array, "member star latent"]:
    def member(networks: Networks) -> Float[Array, "star latent"]:
        return model.encode(cfg, networks.params, networks.scalers.xp.transform(normalised))

    return jax.vmap(member)(networks)


def _latents(
    networks: Networks, normalised: Float[np.ndarray, "star xp"], cfg: Model
) -> LatentStatistics:
    """Statistics of the latents of all training stars, of every member."""
    n_members, n_stars = networks.scalers.labels.centre.shape[0], len(normalised)
    total = np.zeros((n_members, cfg.latent))
    products = np.zeros((n_members, cfg.latent, cfg.latent))
    for start in range(0, n_stars, BATCH):
        # Of one length, so that one program serves all.
        rows = np.arange(start, start + min(BATCH, n_stars)).clip(max=n_stars - 1)
        latents = np.asarray(_encode(networks, jnp.asarray(normalised[rows]), cfg))
        latents = latents[:, : n_stars - start]
        total += latents.sum(axis=1, dtype=np.float64)
        products += latents.transpose(0, 2, 1) @ latents
    mean = total / n_stars
    covariance = products / n_stars - mean[:, :, None] * mean[:, None, :]
    each = [domains.fit_latents(m, c) for m, c in zip(mean, covariance, strict=True)]
    stacked: LatentStatistics = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    return stacked


def _bands(stars: TrainingSet) -> np.ndarray:
    """Which columns are samples of BP alone, of RP alone ``[2, xp]``."""
    if stars.representation != "sampled" or stars.wavelength is None:
        return np.zeros((2, stars.xp.shape[1]), bool)
    return np.stack([stars.wavelength < BP_ALONE_BELOW, stars.wavelength > RP_ALONE_ABOVE])


def _band_snr(stars: TrainingSet, own: np.ndarray) -> np.ndarray:
    """S/N of the samples of one band; 0 where there are none, which flags no star."""
    if not own.any():
        return np.zeros(len(stars))
    return np.asarray(np.nan_to_num(snr(stars.xp[:, own], stars.xp_error[:, own])))
