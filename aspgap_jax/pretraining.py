"""Pre-training of the APOGEE decoder on APOGEE(-like) spectra (paper Fig. 3)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from aspgap_jax import model
from aspgap_jax.config import Config, Pretrain
from aspgap_jax.model import Variables
from aspgap_jax.typing import Array, Int, Labels, PerLabel, Scalar, Spectra

__all__ = ["Pretrained", "draw_labels", "pretrain_decoder"]

HELD_OUT = 0.1
"""Share of the spectra that the decoder does not see, to state its precision."""


class Pretrained(NamedTuple):
    """A pre-trained decoder and how well it reads spectra it has not seen.

    Attributes:
        decoder: its parameters, to be frozen.
        loss: mean squared residual of the training spectra, an epoch ``[epoch]``.
        rms: of the held-out spectra, in scaled units ``[label]``.
    """

    decoder: Variables
    loss: jax.Array
    rms: PerLabel


def draw_labels(truth: np.ndarray, cfg: Pretrain, rng: np.random.Generator) -> np.ndarray:
    """Labels at which to emulate spectra: training stars, shaken.

    Args:
        truth: labels of a fold's training stars ``[star, label]``.
        cfg: how many, and how far to shake them, as a share of the distance
            between the 2.5 and 97.5 percentiles.
        rng: source of the draws.

    Returns:
        float32 ``[n_spectra, label]``, inside the range of ``truth``.
    """
    drawn = truth[rng.integers(len(truth), size=cfg.n_spectra)].astype(np.float64)
    low, high = np.percentile(truth, [2.5, 97.5], axis=0)
    drawn += cfg.label_jitter * (high - low) * rng.standard_normal(drawn.shape)
    return np.clip(drawn, truth.min(axis=0), truth.max(axis=0)).astype(np.float32)


@partial(jax.jit, static_argnames="cfg")
def pretrain_decoder(key: jax.Array, spectra: Spectra, labels: Labels, cfg: Config) -> Pretrained:
    """Train an APOGEE decoder from scratch with Adam on squared residuals.

    Fresh noise of ``cfg.pretrain.snr`` is added to every spectrum at every step.

    Args:
        key: of parameters, batches, dropout and noise.
        spectra: continuum-normalised flux ``[star, pixel]``.
        labels: in scaled units ``[star, label]``.
        cfg: all settings.
    """
    n_spectra, n_pixels = spectra.shape
    n_train = n_spectra - max(1, round(HELD_OUT * n_spectra))
    batch_size = min(cfg.pretrain.batch_size, n_train)
    n_steps = n_train // batch_size
    optimizer = optax.adam(
        optax.cosine_decay_schedule(cfg.pretrain.learning_rate, cfg.pretrain.epochs * n_steps)
    )
    keys = jax.random.split(key, 2)
    variables = model.init_apogee_decoder(keys[0], cfg.model, n_pixels=n_pixels)

    def objective(variables: Variables, flux: Spectra, target: Labels, key: jax.Array) -> Scalar:
        predicted = model.decode_apogee(cfg.model, variables, flux, key)
        return jnp.square(predicted - target).mean()

    def step(
        carry: tuple[Variables, optax.OptState],
        job: tuple[Int[Array, " batch"], jax.Array],
    ) -> tuple[tuple[Variables, optax.OptState], Scalar]:
        variables, opt_state = carry
        rows, key = job
        noise_key, dropout_key = jax.random.split(key)
        flux = spectra[rows]
        flux = flux + jax.random.normal(noise_key, flux.shape, flux.dtype) / cfg.pretrain.snr
        loss, gradient = jax.value_and_grad(objective)(variables, flux, labels[rows], dropout_key)
        updates, opt_state = optimizer.update(gradient, opt_state, variables)
        return (optax.apply_updates(variables, updates), opt_state), loss

    def epoch(
        carry: tuple[Variables, optax.OptState], key: jax.Array
    ) -> tuple[tuple[Variables, optax.OptState], Scalar]:
        order_key, step_key = jax.random.split(key)
        order = jax.random.permutation(order_key, n_train)[: n_steps * batch_size]
        jobs = (order.reshape(n_steps, batch_size), jax.random.split(step_key, n_steps))
        carry, losses = lax.scan(step, carry, jobs)
        return carry, losses.mean()

    start = (variables, optimizer.init(variables))
    (variables, _), losses = lax.scan(epoch, start, jax.random.split(keys[1], cfg.pretrain.epochs))
    residual = model.decode_apogee(cfg.model, variables, spectra[n_train:]) - labels[n_train:]
    return Pretrained(variables, losses, jnp.sqrt(jnp.square(residual).mean(axis=0)))
