"""What a trained ensemble learns about itself: calibration, domain, photometry.

Fitted once, when the networks are done, to the stars that they were trained on.
Statistics of spectra, latents and labels come from all of them. Calibration and
thresholds come from predictions by networks that had not seen the star: those of the
other folds, or, where there are no folds, the stars held out for early stopping,
which took part in no gradient step (but did choose the epoch).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import model
from aspgap_jax.config import Config, Model
from aspgap_jax.errors import InputError
from aspgap_jax.model import Params
from aspgap_jax.prediction import domain as domains
from aspgap_jax.prediction import labelling, uncertainty
from aspgap_jax.prediction.domain import SCORES, LatentStatistics
from aspgap_jax.prediction.labelling import Ensemble, Scored
from aspgap_jax.prediction.photometry import fit_photometry
from aspgap_jax.prediction.predict import FLUX_UNIT, Bundle, Trust, with_second_path
from aspgap_jax.prediction.uncertainty import Calibration
from aspgap_jax.preprocessing.folds import Assignment, FoldRows
from aspgap_jax.preprocessing.scaling import Scalers, magnitude_factor
from aspgap_jax.preprocessing.snr import snr
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.typing import XP, Array, Float, PerStar

__all__ = [
    "assess",
    "held_out_stars",
    "instrument_matrix",
    "n_coefficients",
    "predict_held_out",
]

BATCH = 4096
BP_ALONE_BELOW = 635.0
RP_ALONE_ABOVE = 643.0
"""nm: between the two Gaia merges BP and RP."""


def instrument_matrix() -> Float[np.ndarray, "sample coeff"]:
    """From coefficients to samples, W m^-2 nm^-1 per e-/s (Gaia DR3, both bands).

    The matrix of :func:`aspgap_jax.survey.xp.instrument.instrument_model`, kept with
    the package (``experiments/package_data/instrument_matrix.py``), because GaiaXPy is no
    requirement of it.
    """
    path = resources.files("aspgap_jax") / "data" / "xp_instrument.npy"
    with resources.as_file(path) as file:
        return np.load(file, allow_pickle=False)


def held_out_stars(
    rows: Sequence[FoldRows], members: Sequence[Assignment], n_stars: int
) -> np.ndarray:
    """Which stars a member was not trained on: bool ``[member, star]``.

    Args:
        rows: of every split.
        members: all trainings; the seeds of a split stand together.
        n_stars: of the training set.
    """
    seeds = len(members) // len(rows)
    unseen = np.zeros((len(members), n_stars), bool)
    for m, member in enumerate(members):
        split = rows[m // seeds]
        unseen[m, split.test if member.fold >= 0 else split.valid] = True
    return unseen


def assess(bundle: Bundle, stars: TrainingSet, unseen: np.ndarray, cfg: Config) -> Bundle:
    """The bundle with its second path merged and its trust fitted.

    Args:
        bundle: the trained networks.
        stars: the training set.
        unseen: of :func:`held_out_stars`.
        cfg: of the training.

    Raises:
        InputError: too few held-out stars to calibrate with.
    """
    bundle = with_second_path(bundle)
    factor = magnitude_factor(stars.g_mag, cfg.data.magnitude_exponent)[:, None]
    bands = _bands(stars)
    unknown = np.full(len(stars), np.nan, np.float32)
    domain = domains.fit_domain(
        (stars.xp / factor).astype(np.float32),
        (stars.xp_error / factor).astype(np.float32),
        stars.labels,
        _latents(bundle, stars, cfg),
        np.stack([_band_snr(stars, own) for own in bands], axis=1),
        bands,
    )
    matrix = np.zeros((stars.xp.shape[1], 0))
    if stars.representation == "sampled" and stars.xp.shape[1] == len(instrument_matrix()):
        matrix = instrument_matrix() / FLUX_UNIT
    trust = Trust(
        calibration=identity_calibration(stars.labels.shape[1]),
        domain=domain,
        photometry=fit_photometry(
            stars.xp,
            stars.g_mag,
            stars.columns.get("phot_bp_mean_mag", unknown),
            stars.columns.get("phot_rp_mean_mag", unknown),
        ),
        instrument=jnp.asarray(matrix, jnp.float32),
    )
    rows = np.flatnonzero(unseen.any(axis=0))
    ensemble, scored = predict_held_out(bundle._replace(trust=trust), stars, unseen, rows, cfg)
    ln_snr = np.asarray(scored.ln_snr, np.float64)
    column = [score.name for score in SCORES].index("sigma")
    scores = np.array(scored.scores, np.float64)
    trend = domains.sigma_trend(scores[:, column], ln_snr)
    scores[:, column] -= np.polyval(trend, ln_snr)
    domain = domain._replace(
        sigma_trend=jnp.asarray(trend, jnp.float32),
        ln_snr=jnp.asarray([ln_snr.min(), ln_snr.max()], jnp.float32),
        thresholds=jnp.asarray(domains.fit_thresholds(scores), jnp.float32),
    )
    calibration = uncertainty.fit_calibration(
        np.asarray(ensemble.moments.mean, np.float64) - stars.labels[rows],
        np.asarray(ensemble.moments.sigma),
        stars.label_error[rows],
        ln_snr,
    )
    return bundle._replace(trust=trust._replace(domain=domain, calibration=calibration))


def n_coefficients(bundle: Bundle) -> int:
    """How many coefficients the instrument matrix of a bundle takes; 0 if it has none."""
    return 0 if bundle.trust is None else bundle.trust.instrument.shape[1]


def predict_held_out(
    bundle: Bundle, stars: TrainingSet, unseen: np.ndarray, rows: np.ndarray, cfg: Config
) -> tuple[Ensemble, Scored]:
    """Ensemble and scores of training stars, by the members that had not seen them.

    Args:
        bundle: with trust.
        stars: the training set.
        unseen: of :func:`held_out_stars`.
        rows: which stars; each must be unseen by a member.
        cfg: of the training.

    Returns:
        host arrays ``[row, ...]``.
    """
    parts = []
    for batch, count in _batches(rows):
        use = unseen[:, batch]
        weight = use / use.sum(axis=0, keepdims=True)
        found = _score_batch(
            bundle,
            jnp.asarray(stars.xp[batch], jnp.float32),
            jnp.asarray(stars.xp_error[batch], jnp.float32),
            jnp.asarray(stars.g_mag[batch], jnp.float32),
            jnp.asarray(weight, jnp.float32),
            cfg,
        )
        parts.append(jax.tree.map(lambda leaf, n=count: np.asarray(leaf)[:n], found))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@partial(jax.jit, static_argnames="cfg")
def _score_batch(
    bundle: Bundle,
    xp: XP,
    error: XP,
    g_mag: PerStar,
    weight: Float[Array, "member star"],
    cfg: Config,
) -> tuple[Ensemble, Scored]:
    if bundle.trust is None:
        raise InputError("the bundle has no domain to score stars with")
    prepared = labelling.prepare(bundle.trust, xp, error, g_mag, cfg)
    ensemble = labelling.run_ensemble(
        bundle, prepared.normalised, weight, cfg.model, second_path=True
    )
    return ensemble, labelling.score(bundle.trust, prepared, ensemble)


def identity_calibration(n_labels: int) -> Calibration:
    """The calibration that changes nothing."""
    return Calibration(
        offset=jnp.zeros(n_labels),
        slope=jnp.ones(n_labels),
        snr_slope=jnp.zeros(n_labels),
        ln_snr=jnp.zeros(2),
        reference=jnp.zeros(()),
    )


def _batches(rows: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Row numbers in pieces of one length, and how many of each are no padding."""
    size = min(BATCH, len(rows))
    for start in range(0, len(rows), size):
        piece = rows[start : start + size]
        yield np.pad(piece, (0, size - len(piece)), mode="edge"), len(piece)


@partial(jax.jit, static_argnames="cfg")
def _latents_of(
    params: Params, scalers: Scalers, normalised: XP, cfg: Model
) -> Float[Array, "member star latent"]:
    def member(params: Params, scalers: Scalers) -> Float[Array, "star latent"]:
        return model.encode(cfg, params, scalers.xp.transform(normalised))

    return jax.vmap(member)(params, scalers)


def _latents(bundle: Bundle, stars: TrainingSet, cfg: Config) -> LatentStatistics:
    """Statistics of the latents of all training stars, of every member."""
    factor = magnitude_factor(stars.g_mag, cfg.data.magnitude_exponent)[:, None]
    n_members = bundle.scalers.labels.centre.shape[0]
    total = np.zeros((n_members, cfg.model.latent))
    products = np.zeros((n_members, cfg.model.latent, cfg.model.latent))
    for batch, count in _batches(np.arange(len(stars))):
        normalised = jnp.asarray(stars.xp[batch] / factor[batch], jnp.float32)
        latents = np.asarray(_latents_of(bundle.params, bundle.scalers, normalised, cfg.model))[
            :, :count
        ]
        total += latents.sum(axis=1, dtype=np.float64)
        products += latents.transpose(0, 2, 1) @ latents
    mean = total / len(stars)
    covariance = products / len(stars) - mean[:, :, None] * mean[:, None, :]
    each = [domains.fit_latents(m, c) for m, c in zip(mean, covariance, strict=True)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


def _bands(stars: TrainingSet) -> np.ndarray:
    """Which columns are samples of BP alone, of RP alone ``[2, xp]``."""
    if stars.representation != "sampled" or stars.wavelength is None:
        return np.zeros((2, stars.xp.shape[1]), bool)
    return np.stack([stars.wavelength < BP_ALONE_BELOW, stars.wavelength > RP_ALONE_ABOVE])


def _band_snr(stars: TrainingSet, own: np.ndarray) -> np.ndarray:
    """S/N of the samples of one band; 0 where there are none, which flags no star."""
    if not own.any():
        return np.zeros(len(stars))
    return np.nan_to_num(snr(stars.xp[:, own], stars.xp_error[:, own]))
