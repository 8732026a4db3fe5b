"""A tiny bundle with random networks, for tests of what surrounds them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels, model
from aspgap_jax.config import Config, Data, Model
from aspgap_jax.prediction import assess as trust
from aspgap_jax.prediction.bundle import BundleInfo
from aspgap_jax.prediction.predict import Bundle
from aspgap_jax.preprocessing.folds import Assignment
from aspgap_jax.preprocessing.scaling import (
    LABEL_RANGE,
    SPECTRUM_RANGE,
    Scalers,
    fit_scaler,
    magnitude_factor,
)
from aspgap_jax.survey.xp import WAVELENGTH
from support.made_up import made_up_stars
from support.xp_files import Row, star

N_PIXELS = 9
CFG = Config(
    model=Model(
        encoder=(6,), latent=7, hallucinator=(4,), xp_decoder=(4,), apogee_decoder=(3,), dropout=0.9
    ),
    data=Data(magnitude_exponent=0.4),
)


@cache
def made_up_bundle(n_members: int = 2) -> tuple[Bundle, BundleInfo]:
    """Untrained networks for samples, and so for coefficients too.

    Domain and calibration are those of made-up stars.
    """
    n_xp = len(WAVELENGTH)
    stars = replace(made_up_stars(300, n_xp=n_xp), wavelength=WAVELENGTH)
    # Stars of one S/N would not show how anything depends on it.
    noise = np.random.default_rng(1).uniform(0.5, 2.0, (len(stars), 1))
    stars = replace(stars, xp_error=(stars.xp_error * noise).astype(np.float32))
    factor = magnitude_factor(stars.g_mag, 0.4)[:, None]
    scalers = Scalers(
        fit_scaler(stars.xp / factor, SPECTRUM_RANGE), fit_scaler(stars.labels, LABEL_RANGE)
    )

    def one(key: jax.Array) -> Bundle:
        a, b = jax.random.split(key)
        return Bundle(
            model.init(a, CFG.model, n_xp=n_xp, n_pixels=N_PIXELS),
            model.init_apogee_decoder(b, CFG.model, n_pixels=N_PIXELS),
            jax.tree.map(jnp.asarray, scalers),
        )

    bundle = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), n_members))
    unseen = np.zeros((n_members, len(stars)), bool)
    unseen[np.arange(len(stars)) % n_members, np.arange(len(stars))] = True
    members = tuple(Assignment(0, m, 0) for m in range(n_members))
    info = BundleInfo(
        config=CFG,
        representation="sampled",
        n_xp=n_xp,
        n_pixels=N_PIXELS,
        label_names=labels.names(),
        members=members,
        apogee_spectra="none",
    )
    bundle = trust.assess(bundle, stars, unseen, CFG)
    return bundle, replace(info, n_coefficients=trust.n_coefficients(bundle))


@cache
def _flat() -> np.ndarray:
    """Coefficients of a spectrum of about 1e-16 W m^-2 nm^-1 everywhere."""
    matrix = trust.instrument_matrix()
    return np.linalg.lstsq(matrix, np.full(len(matrix), 1e-16), rcond=1e-3)[0]


def flat_star(source_id: int) -> Row:
    """A made-up star whose spectrum is positive, so that it has a synthetic G."""
    row, rng = star(source_id), np.random.default_rng(source_id)
    brightness = rng.uniform(0.5, 5.0)
    for band, values in zip(("bp", "rp"), np.split(_flat(), [55]), strict=True):
        noise = rng.normal(0, 0.002 * np.abs(values).max(), 55)
        row[f"{band}_coefficients"] = brightness * (values + noise)
        row[f"{band}_coefficient_errors"] = np.full(55, 0.002 * brightness * np.abs(values).max())
    return row
