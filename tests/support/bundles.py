"""Made-up networks and bundles: random weights, everything round them fitted to made-up stars."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels, model
from aspgap_jax.config import Config, Data
from aspgap_jax.prediction.assess import assess
from aspgap_jax.prediction.batches import DEFAULT, star_batch
from aspgap_jax.prediction.bundle import Bundle, BundleInfo, Networks
from aspgap_jax.prediction.labelling import StarBatch
from aspgap_jax.prediction.spectra import instrument_matrix
from aspgap_jax.preprocessing.folds import Assignment
from aspgap_jax.preprocessing.scaling import (
    LABEL_RANGE,
    RobustScaler,
    Scalers,
    fit_representation,
    fit_scaler,
    normalise,
    stack,
)
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.inputs import as_chunk, release_of
from aspgap_jax.survey.xp import WAVELENGTH
from support.made_up import made_up_stars
from support.tiny import TINY
from support.xp_files import Row, star

# Random weights of these few widths give labels that are not absurd.
_NARROW = {"encoder": (6,), "latent": 7, "hallucinator": (4,), "xp_decoder": (4,)}
CFG = replace(TINY, model=replace(TINY.model, **_NARROW, apogee_decoder=(4,), dropout=0.9))
WHITENED = replace(CFG, data=Data(magnitude_exponent=0.4, representation="whitened", components=7))
N_PIXELS = 9
N_MEMBERS = 2


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


def gaia_set(n_stars: int = 300) -> TrainingSet:
    """Made-up stars on Gaia's grid of samples, of different S/N."""
    stars = replace(made_up_stars(n_stars, n_xp=len(WAVELENGTH)), wavelength=WAVELENGTH)
    # Stars of one S/N would not show how anything depends on it.
    noise = np.random.default_rng(1).uniform(0.5, 2.0, (len(stars), 1))
    return replace(stars, xp_error=(stars.xp_error * noise).astype(np.float32))


def random_networks(
    scalers: Scalers, cfg: Config = CFG, *, n_pixels: int = N_PIXELS, members: int = N_MEMBERS
) -> Networks:
    """Untrained networks, of one split."""

    def one(key: jax.Array) -> tuple[model.Params, model.Variables]:
        a, b = jax.random.split(key)
        return (
            model.init(a, cfg.model, n_xp=scalers.xp.n_inputs, n_pixels=n_pixels),
            model.init_apogee_decoder(b, cfg.model, n_pixels=n_pixels),
        )

    # Drawn by NumPy: to compile the initialisation takes longer than most tests.
    rng = np.random.default_rng(3)

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        scale = 1.0 / np.sqrt(leaf.shape[0]) if len(leaf.shape) == 2 else 0.1
        return jnp.asarray(scale * rng.normal(size=(members, *leaf.shape)), jnp.float32)

    params, decoder = jax.tree.map(draw, jax.eval_shape(one, jax.random.key(0)))
    return Networks(params, decoder, stack([scalers] * members))


N_XP = 9
REFERENCE = np.array([4500.0, 2.0, -0.3, 0.1])
LABEL_SCALE = np.array([900.0, 2.5, 1.2, 0.3])


def networks_at_reference(n_pixels: int = 40) -> Networks:
    """Untrained networks whose scalers are round numbers."""
    scalers = Scalers(
        RobustScaler(jnp.full(N_XP, 2e-17), jnp.full(N_XP, 1e-17)),
        RobustScaler(jnp.asarray(REFERENCE, jnp.float32), jnp.asarray(LABEL_SCALE, jnp.float32)),
    )
    return random_networks(scalers, n_pixels=n_pixels)


def perceptron(variables: dict, member: int, x: np.ndarray) -> np.ndarray:
    """A multilayer perceptron with LeakyReLU (slope 0.01), float64 NumPy."""
    layers = variables["params"]
    for i in range(len(layers)):
        layer = layers[f"Dense_{i}"]
        x = x @ np.asarray(layer["kernel"][member], np.float64)
        x = x + np.asarray(layer["bias"][member], np.float64)
        if i < len(layers) - 1:
            x = np.where(x > 0, x, 0.01 * x)
    return x


def predicted_by_hand(
    networks: Networks, xp: np.ndarray, g_mag: np.ndarray, cfg: Config = CFG
) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of every member ``[member, star, label]``, float64 NumPy."""
    normalised = xp / 10.0 ** (cfg.data.magnitude_exponent * (15.0 - g_mag.astype(float)))[:, None]
    means, sigmas = [], []
    for m in range(len(networks.scalers.labels.centre)):
        seen, (centre, scale) = (
            [np.asarray(part[m], np.float64) for part in scaler] for scaler in networks.scalers
        )
        inputs = (normalised - seen[0]) / seen[1]
        if cfg.data.representation == "whitened":
            inputs = inputs @ seen[2]
        latents = perceptron(networks.params.encoder, m, inputs)
        mean, log_sigma = np.split(perceptron(networks.params.xp_decoder, m, latents), 2, axis=1)
        means.append(mean * scale + centre)
        sigmas.append(np.exp(log_sigma) * scale)
    return np.stack(means), np.stack(sigmas)


def mixture(mean: np.ndarray, sigma: np.ndarray, use: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of a mixture of those members that count for a star.

    By its raw moments: E[y] and E[y^2] - E[y]^2.
    """
    weight = use[:, :, None] / use.sum(axis=0)[None, :, None]
    first = (weight * mean).sum(axis=0)
    second = (weight * (sigma**2 + mean**2)).sum(axis=0)
    return first, np.sqrt(second - first**2)


def networks_of(stars: TrainingSet, cfg: Config = CFG, *, members: int = N_MEMBERS) -> Networks:
    """Untrained networks, scaled by the stars."""
    normalised, error = (
        normalise(values, stars.g_mag, cfg.data.magnitude_exponent)
        for values in (stars.xp, stars.xp_error)
    )
    scalers = Scalers(
        fit_representation(normalised, error, cfg.data),
        fit_scaler(stars.labels, LABEL_RANGE, names=labels.names()),
    )
    return random_networks(scalers, cfg, members=members)


def bundle_of(
    stars: TrainingSet,
    unseen: np.ndarray | None = None,
    cfg: Config = CFG,
    *,
    members: int = N_MEMBERS,
) -> tuple[Bundle, BundleInfo]:
    """Untrained networks, and all that is fitted to the stars; by default none was seen."""
    networks = networks_of(stars, cfg, members=members)
    if unseen is None:
        unseen = np.ones((members, len(stars)), bool)
    bundle = assess(networks, stars, unseen, cfg)
    info = BundleInfo(
        config=cfg,
        representation=stars.representation,
        n_xp=stars.xp.shape[1],
        n_coefficients=bundle.instrument.shape[1],
        release=release_of(stars),
        n_parameters=sum(leaf.size for leaf in jax.tree.leaves(networks.params)) // members,
        label_names=labels.names(),
        members=tuple(Assignment(0, m, 0) for m in range(members)),
        apogee_spectra="none",
    )
    return bundle, info


@cache
def gaia_bundle() -> tuple[Bundle, BundleInfo]:
    """A bundle for samples, and so for coefficients too."""
    return bundle_of(gaia_set())


def batch_of(stars: TrainingSet, rows: slice = slice(None)) -> StarBatch:
    """Stars as a file would deliver them."""
    some = stars.where(np.arange(len(stars))[rows])
    batch = star_batch(as_chunk(some), some.g_mag, np.ones(len(some)), DEFAULT)
    return jax.tree.map(jnp.asarray, batch)


@cache
def _flat() -> np.ndarray:
    """Coefficients of a spectrum of about 1e-16 W m^-2 nm^-1 everywhere."""
    matrix = instrument_matrix()
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
