"""A bundle of random networks with its trust fitted to made-up stars."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels, model
from aspgap_jax.config import Config, Data, Model
from aspgap_jax.prediction import assess as trust
from aspgap_jax.prediction.bundle import BundleInfo
from aspgap_jax.prediction.labelling import StarBatch
from aspgap_jax.prediction.predict import Bundle
from aspgap_jax.preprocessing.folds import Assignment
from aspgap_jax.preprocessing.scaling import (
    LABEL_RANGE,
    Scalers,
    fit_representation,
    fit_scaler,
    magnitude_factor,
    stack,
)
from aspgap_jax.preprocessing.stars import TrainingSet
from support.made_up import made_up_stars

CFG = Config(
    model=Model(
        encoder=(6,), latent=5, hallucinator=(4,), xp_decoder=(4,), apogee_decoder=(3,), dropout=0.9
    ),
    data=Data(magnitude_exponent=0.4, representation="whitened", components=7),
)
N_PIXELS = 9
MEMBERS = tuple(Assignment(0, fold, 0) for fold in (0, 1))


def made_up_set(n_stars: int = 400) -> TrainingSet:
    """Made-up stars with synthetic BP and RP magnitudes from the two halves of the columns."""
    stars = made_up_stars(n_stars)
    middle = stars.xp.shape[1] // 2
    halves = (stars.xp[:, :middle], stars.xp[:, middle:])
    bp, rp = (-2.5 * np.log10(half.mean(axis=1)) - 25.0 for half in halves)
    columns = {"phot_bp_mean_mag": bp, "phot_rp_mean_mag": rp}
    # G is that of the whole spectrum, so that it can be synthesised.
    g_mag = (15.0 - 2.5 * np.log10(stars.xp.mean(axis=1) / 1e-16)).astype(np.float32)
    return replace(stars, g_mag=g_mag, columns={**stars.columns, **columns})


def networks(stars: TrainingSet) -> Bundle:
    """Random networks, scaled by the stars, without trust."""
    factor = magnitude_factor(stars.g_mag, 0.4)[:, None]
    scalers = Scalers(
        fit_representation(stars.xp / factor, stars.xp_error / factor, CFG.data),
        fit_scaler(stars.labels, LABEL_RANGE, names=labels.names()),
    )

    def one(key: jax.Array) -> tuple[model.Params, model.Variables]:
        a, b = jax.random.split(key)
        return (
            model.init(a, CFG.model, n_xp=scalers.xp.n_inputs, n_pixels=N_PIXELS),
            model.init_apogee_decoder(b, CFG.model, n_pixels=N_PIXELS),
        )

    params, decoder = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), len(MEMBERS)))
    return Bundle(params, decoder, stack([scalers] * len(MEMBERS)))


def trusted_bundle(stars: TrainingSet) -> tuple[Bundle, BundleInfo]:
    """Random networks that have seen none of the stars, and their trust."""
    unseen = np.ones((len(MEMBERS), len(stars)), bool)
    bundle = trust.assess(networks(stars), stars, unseen, CFG)
    info = BundleInfo(
        config=CFG,
        representation=stars.representation,
        n_xp=stars.xp.shape[1],
        n_pixels=N_PIXELS,
        label_names=labels.names(),
        members=MEMBERS,
        apogee_spectra="none",
        n_coefficients=trust.n_coefficients(bundle),
    )
    return bundle, info


def batch_of(stars: TrainingSet, rows: slice = slice(None)) -> StarBatch:
    """Stars as a file would deliver them."""
    count = len(stars.xp[rows])
    return StarBatch(
        xp=jnp.asarray(stars.xp[rows], jnp.float32),
        xp_error=jnp.asarray(stars.xp_error[rows], jnp.float32),
        g_mag=jnp.asarray(stars.g_mag[rows], jnp.float32),
        present=jnp.ones((count, 2), bool),
        snr=jnp.full((count, 2), jnp.nan),
        ruwe=jnp.ones(count),
    )
