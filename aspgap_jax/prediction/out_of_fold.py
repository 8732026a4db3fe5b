"""Labels of the stars of a training run, by the networks that had not seen them.

They come from :func:`aspgap_jax.prediction.labelling.label_stars`, as those of any file
do; weights of 0 hide a star from the networks that saw it. A bundle's own calibration
was fitted to these very stars, so their uncertainties are calibrated anew: those of a
fold with the stars of the other folds alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from tqdm import tqdm

from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.columns import correlation_columns
from aspgap_jax.config import Config, PredictOptions
from aspgap_jax.labels import LABELS, LabelSet
from aspgap_jax.prediction.batches import DEFAULT, label_options, star_batch
from aspgap_jax.prediction.bundle import Bundle, BundleInfo
from aspgap_jax.prediction.correlation import Correlation, correlation_of, fit_correlation
from aspgap_jax.prediction.labelling import StarLabels, label_stars
from aspgap_jax.prediction.uncertainty import Calibration, calibrate, fit_calibration
from aspgap_jax.preprocessing.folds import fold_of, unseen_stars
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.inputs import as_chunk

__all__ = ["fit_errors", "label_unseen", "out_of_fold", "predictions_of"]

BATCH = 4096


def label_unseen(
    bundle: Bundle,
    stars: TrainingSet,
    unseen: Bool[np.ndarray, "member star"],
    cfg: Config,
    options: PredictOptions = DEFAULT,
) -> StarLabels:
    """Labels of stars by some of the networks, those alike in weight.

    Args:
        bundle: of the networks.
        stars: one at least.
        unseen: whether a network counts for a star
            (:func:`aspgap_jax.preprocessing.folds.unseen_stars`).
        cfg: of the bundle.
        options: how to predict.

    Returns:
        host arrays ``[star, ...]``; uncertainties by the bundle's calibration.

    Raises:
        ValueError: no network counts for a star.
    """
    voices = unseen.sum(axis=0)
    if not voices.all():
        raise ValueError(f"star {np.argmin(voices)}: every network has seen it")
    weight = (unseen / voices[None, :]).astype(np.float32)
    chunk = as_chunk(stars)
    ruwe = np.asarray(stars.columns.get("ruwe", np.full(len(stars), np.nan)))
    whole = star_batch(chunk, stars.g_mag, ruwe, options)
    asked = label_options(chunk, options)
    size = min(options.batch_size or BATCH, len(stars))
    parts = []
    for start in tqdm(
        range(0, len(stars), size), desc="label", unit="batch", disable=None, leave=False
    ):
        rows = np.arange(start, start + size).clip(max=len(stars) - 1)
        batch = jax.tree.map(lambda leaf, rows=rows: jnp.asarray(leaf[rows]), whole)
        found = label_stars(bundle, batch, cfg, asked, jnp.asarray(weight[:, rows]))
        count = min(size, len(stars) - start)
        parts.append(jax.tree.map(lambda leaf, n=count: np.asarray(leaf)[:n], found))
    joined: StarLabels = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return joined


def out_of_fold(bundle: Bundle, info: BundleInfo, stars: TrainingSet) -> StarLabels:
    """Labels of the stars of a cross-validation, each as if it were new.

    No network counts that has seen the star, and no residual of a star of its own fold
    has any part in the calibration of its uncertainty.

    Args:
        bundle: of the run.
        info: what it is.
        stars: those of the run.

    Returns:
        host arrays ``[star, ...]``.

    Raises:
        InputError: the other folds of a star are too few to calibrate with.
    """
    cfg = info.config
    unseen = unseen_stars(stars.source_id, info.members, cfg)
    found = label_unseen(bundle, stars, unseen, cfg)
    fold = fold_of(stars.source_id, cfg.cv.folds)
    sigma, correlation = np.empty_like(found.sigma), np.empty_like(found.correlation)
    for own in (fold == name for name in np.unique(fold)):
        calibration, correlated = fit_errors(
            jax.tree.map(lambda leaf, others=~own: leaf[others], found),
            stars.labels[~own],
            stars.label_error[~own],
            cfg.labels,
        )
        here: StarLabels = jax.tree.map(lambda leaf, own=own: jnp.asarray(leaf[own]), found)
        sigma[own] = calibrate(calibration, jnp.hypot(here.aleatoric, here.epistemic), here.ln_snr)
        correlation[own] = correlation_of(correlated, here.mean, cfg.labels)
    return found._replace(sigma=jnp.asarray(sigma), correlation=jnp.asarray(correlation))


def fit_errors(
    found: StarLabels,
    truth: Float[np.ndarray, "star label"],
    truth_error: Float[np.ndarray, "star label"],
    table: LabelSet = LABELS,
) -> tuple[Calibration, Correlation]:
    """How large the errors of labels are, and how they go together.

    Args:
        found: labels of stars by networks that had not seen them.
        truth: the measured labels.
        truth_error: their 1-sigma errors.
        table: what the labels are.

    Returns:
        The calibration of the uncertainties, and the correlations of those calibrated.

    Raises:
        InputError: the stars are too few.
    """
    mean, ln_snr = np.asarray(found.mean, np.float64), np.asarray(found.ln_snr, np.float64)
    raw, residual = np.hypot(found.aleatoric, found.epistemic), mean - truth
    calibration = fit_calibration(residual, raw, truth_error, ln_snr)
    sigma = np.asarray(calibrate(calibration, jnp.asarray(raw), jnp.asarray(found.ln_snr)))
    return calibration, fit_correlation(mean, residual, sigma, truth_error, table)


def predictions_of(stars: TrainingSet, found: StarLabels, n_folds: int) -> Predictions:
    """Labels of stars with what is measured of them, as a run and a study keep them.

    Args:
        stars: what was labelled; labels and their errors are the truth.
        found: their labels, in the same order.
        n_folds: parts into which the stars are split by their ids.

    Returns:
        One record a star, with synthetic G and correlations of errors as columns.
    """
    row, column = np.triu_indices(found.mean.shape[1], 1)
    pairs = np.asarray(found.correlation)[:, row, column].T
    names = (spec.name for spec in correlation_columns(stars.label_table))
    return Predictions(
        source_id=stars.source_id,
        fold=fold_of(stars.source_id, n_folds),
        prediction=np.asarray(found.mean),
        sigma=np.asarray(found.sigma),
        aleatoric=np.asarray(found.aleatoric),
        epistemic=np.asarray(found.epistemic),
        flags=np.asarray(found.flags),
        truth=stars.labels,
        truth_error=stars.label_error,
        g_mag=stars.g_mag,
        columns={
            **stars.columns,
            "g_synthetic": np.asarray(found.g_synthetic),
            **dict(zip(names, pairs, strict=True)),
        },
        label_table=stars.label_table,
    )
