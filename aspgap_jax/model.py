"""The four blocks of AspGap (paper section 3 and Fig. 3) as pure functions.

Every block is a multilayer perceptron. The modules hold no parameters:
``init_*`` makes a pytree, ``encode``, ``decode_xp``, ``hallucinate`` and
``decode_apogee`` apply one. Dropout acts only where a ``key`` is given.

The networks of the APOGEE side speak of line depth, 1 - flux, so that their
inputs and outputs scatter around zero; spectra outside are normalised flux.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from aspgap_jax import labels
from aspgap_jax.config import Model
from aspgap_jax.typing import XP, Labels, Latents, Spectra

__all__ = [
    "MLP",
    "Outputs",
    "Params",
    "apply",
    "decode_apogee",
    "decode_xp",
    "encode",
    "hallucinate",
    "init",
    "init_apogee_decoder",
]

Variables = Any
"""A Flax parameter pytree, ``{"params": {...}}``."""


class MLP(nn.Module):
    """Dense layers with LeakyReLU, and dropout after every hidden layer.

    Attributes:
        features: widths of the hidden layers, then of the output.
        dropout: probability that a hidden unit is dropped in training.
    """

    features: tuple[int, ...]
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        for width in self.features[:-1]:
            x = nn.leaky_relu(nn.Dense(width)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.features[-1])(x)


class Params(NamedTuple):
    """The trainable blocks. The frozen APOGEE decoder is never among them."""

    encoder: Variables
    hallucinator: Variables
    xp_decoder: Variables


class Outputs(NamedTuple):
    """What the two branches say, in scaled units.

    Attributes:
        mean: labels of the XP decoder ``[star, label]``.
        log_sigma: ln of its standard deviation s_model ``[star, label]``.
        apogee_mean: labels that the frozen APOGEE decoder reads off the
            hallucinated spectrum ``[star, label]``.
    """

    mean: Labels
    log_sigma: Labels
    apogee_mean: Labels


def encoder(cfg: Model) -> MLP:
    """XP encoder: spectrum to latents."""
    return MLP((*cfg.encoder, cfg.latent), cfg.dropout)


def xp_decoder(cfg: Model) -> MLP:
    """XP decoder: latents to a mean and a log-sigma a label."""
    return MLP((*cfg.xp_decoder, 2 * len(labels.LABELS)), cfg.dropout)


def hallucinator(cfg: Model, n_pixels: int) -> MLP:
    """Hallucinator: latents to the line depths of an APOGEE-like spectrum."""
    return MLP((*cfg.hallucinator, n_pixels), cfg.dropout)


def apogee_decoder(cfg: Model) -> MLP:
    """APOGEE decoder: line depths to labels."""
    return MLP((*cfg.apogee_decoder, len(labels.LABELS)), cfg.dropout)


def init(key: jax.Array, cfg: Model, *, n_xp: int, n_pixels: int) -> Params:
    """Fresh parameters of the three trainable blocks."""
    keys = jax.random.split(key, 3)
    latents = jnp.zeros((1, cfg.latent))
    return Params(
        encoder=encoder(cfg).init(keys[0], jnp.zeros((1, n_xp))),
        hallucinator=hallucinator(cfg, n_pixels).init(keys[1], latents),
        xp_decoder=xp_decoder(cfg).init(keys[2], latents),
    )


def init_apogee_decoder(key: jax.Array, cfg: Model, *, n_pixels: int) -> Variables:
    """Fresh parameters of the APOGEE decoder, to be pre-trained."""
    return apogee_decoder(cfg).init(key, jnp.zeros((1, n_pixels)))


def _run(block: MLP, variables: Variables, x: jax.Array, key: jax.Array | None) -> jax.Array:
    if key is None:
        return block.apply(variables, x)
    return block.apply(variables, x, train=True, rngs={"dropout": key})


def _fold_in(key: jax.Array | None, data: int) -> jax.Array | None:
    return None if key is None else jax.random.fold_in(key, data)


def encode(cfg: Model, params: Params, xp: XP, key: jax.Array | None = None) -> Latents:
    """Scaled XP spectra to latents."""
    return _run(encoder(cfg), params.encoder, xp, key)


def decode_xp(
    cfg: Model, params: Params, latents: Latents, key: jax.Array | None = None
) -> tuple[Labels, Labels]:
    """Latents to scaled labels and the ln of their standard deviations."""
    both = _run(xp_decoder(cfg), params.xp_decoder, latents, key)
    mean, log_sigma = jnp.split(both, 2, axis=-1)
    return mean, log_sigma


def hallucinate(
    cfg: Model, params: Params, latents: Latents, key: jax.Array | None = None
) -> Spectra:
    """Latents to APOGEE-like normalised flux."""
    n_pixels = output_width(params.hallucinator)
    return 1.0 - _run(hallucinator(cfg, n_pixels), params.hallucinator, latents, key)


def decode_apogee(
    cfg: Model, variables: Variables, flux: Spectra, key: jax.Array | None = None
) -> Labels:
    """Normalised APOGEE(-like) flux to scaled labels."""
    return _run(apogee_decoder(cfg), variables, 1.0 - flux, key)


def apply(
    cfg: Model, params: Params, decoder: Variables, xp: XP, key: jax.Array | None = None
) -> Outputs:
    """Both branches of Fig. 3.

    Args:
        cfg: sizes of the blocks.
        params: the trainable blocks.
        decoder: the frozen APOGEE decoder, which is run without dropout always:
            it is an instrument here, not a learner.
        xp: scaled spectra.
        key: drives dropout; ``None`` switches it off.
    """
    latents = encode(cfg, params, xp, _fold_in(key, 0))
    mean, log_sigma = decode_xp(cfg, params, latents, _fold_in(key, 1))
    flux = hallucinate(cfg, params, latents, _fold_in(key, 2))
    return Outputs(mean, log_sigma, decode_apogee(cfg, decoder, flux))


def output_width(variables: Variables) -> int:
    """Width of the last layer of an MLP's parameters."""
    layers = variables["params"]
    return layers[f"Dense_{len(layers) - 1}"]["bias"].shape[-1]
