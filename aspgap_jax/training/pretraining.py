"""Pre-training of the APOGEE decoder on APOGEE(-like) spectra (paper Fig. 3).

The decoders of all splits are trained together, one update a call. Where the
spectra fit into the device they are held there; otherwise a background thread
reads them from their file while the device works. Both ways see the same batches
in the same order and run the same compiled update, so they give the same decoders.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aspgap_jax import basis, model
from aspgap_jax.config import Config, Model, Pretrain
from aspgap_jax.errors import InputError
from aspgap_jax.model import Variables
from aspgap_jax.preprocessing.scaling import RobustScaler, Scalers
from aspgap_jax.runtime.prefetch import prefetch
from aspgap_jax.training.components import principal_components
from aspgap_jax.training.recipe import keys
from aspgap_jax.training.spectra_batches import (
    POOL_ROWS,
    SpectraReader,
    pools_of_epoch,
    read_batches,
    training_count,
)
from aspgap_jax.typing import Array, Float, Int, Labels, Spectra

__all__ = [
    "AfterEpoch",
    "PretrainState",
    "Pretrained",
    "init_pretraining",
    "pretrain",
    "unfilled",
]


class Pretrained(NamedTuple):
    """The pre-trained decoders of all splits, and how well they read new spectra.

    Attributes:
        decoder: their parameters, to be frozen, and the basis of hallucinated spectra
            where the config asks for one ``[split, ...]``.
        loss: mean squared residual of the training spectra ``[split, epoch]``.
        rms: of the held-out spectra, in scaled units ``[split, label]``.
    """

    decoder: Variables
    loss: jax.Array
    rms: jax.Array


class PretrainState(NamedTuple):
    """Everything that pre-training changes, of all splits.

    Attributes:
        epoch: passes done.
        variables: of the decoders ``[split, ...]``.
        opt_state: of Adam ``[split, ...]``.
        key: typed keys; steps derive theirs ``[split]``.
        loss: mean over the steps of an epoch, 0 of those to come ``[split, epoch]``.
    """

    epoch: Int[Array, ""]
    variables: Variables
    opt_state: optax.OptState
    key: jax.Array
    loss: Float[Array, "split epoch"]


AfterEpoch = Callable[[int, PretrainState, float], None]
"""What is told about an epoch: its number, the state on the device (the next epoch uses it
up), and the mean loss."""


def pretrain(
    spectra: SpectraReader,
    at: np.ndarray,
    scalers: Scalers,
    cfg: Config,
    *,
    start: PretrainState | None = None,
    after_epoch: AfterEpoch = lambda epoch, state, loss: None,
    device_bytes: int | None = None,
) -> Pretrained:
    """Train an APOGEE decoder for every split, with Adam on squared residuals.

    Fresh noise of ``cfg.pretrain.snr`` and of the pixels' own scatter is added to every
    spectrum at every step. A basis of hallucinated spectra is fitted to the same spectra.

    Args:
        spectra: of every split.
        at: their labels, in the units of the label table ``[split, spectrum, label]``; NaN
            where a star lacks one, which then has no part in the loss.
        scalers: of every split; its labels are used.
        cfg: all settings.
        start: where to go on, which is donated: from a checkpoint a training gives what it
            would have given uninterrupted. A fresh state by default.
        after_epoch: called after every epoch.
        device_bytes: spectra of all splits that take more than this are streamed.

    Returns:
        The decoders ``[split, ...]``, their loss by epoch, and the rms of held-out labels.

    Raises:
        InputError: the loss is not finite, or the spectra do not span the basis.
    """
    n_components = cfg.model.hallucinator_basis
    components = None if n_components is None else principal_components(spectra, n_components)
    noise = jnp.sqrt(jnp.square(jnp.asarray(spectra.scatter)) + cfg.pretrain.snr**-2.0)
    state = init_pretraining(cfg, spectra.shape) if start is None else start
    labels = jax.vmap(RobustScaler.transform)(scalers.labels, jnp.asarray(at, jnp.float32))
    done, gaps = int(state.epoch), not np.isfinite(at).all()
    held = None
    # With no epoch left only the precision is to be stated.
    if done < cfg.pretrain.epochs and _fit_into(device_bytes, spectra):
        held = jnp.asarray(spectra.read([(0, training_count(spectra.shape[1]))]))
    for epoch in range(done + 1, cfg.pretrain.epochs + 1):
        state = _train_epoch(state, epoch, spectra, held, labels, noise, cfg, gaps)
        loss = np.asarray(state.loss[:, epoch - 1])
        if not np.isfinite(loss).all():
            raise InputError(
                f"epoch {epoch} of the APOGEE decoder: its loss is not finite: "
                "lower --pretrain.learning-rate"
            )
        after_epoch(epoch, state, float(loss.mean()))
    rms = _held_out_rms(state, spectra, labels, cfg.model)
    decoder = state.variables
    if components is not None:
        decoder = basis.with_basis(decoder, *(jnp.asarray(part) for part in components))
    return Pretrained(decoder, state.loss, rms)


def init_pretraining(cfg: Config, shape: tuple[int, int, int]) -> PretrainState:
    """Pre-training before its first step.

    Args:
        cfg: all settings.
        shape: of the spectra, ``(split, spectrum, pixel)``, held-out ones included.

    Returns:
        Random decoders and a fresh optimiser ``[split, ...]``.
    """
    n_splits, n_spectra, n_pixels = shape
    n_steps = _steps(n_spectra, cfg.pretrain)[1]
    first = keys(cfg.train.seed, n_splits, 0)
    state: PretrainState = _init(first, cfg.model, cfg.pretrain, n_pixels, n_steps)
    return state


@partial(jax.jit, static_argnames=("sizes", "cfg", "n_pixels", "n_steps"))
def _init(
    keys: jax.Array, sizes: Model, cfg: Pretrain, n_pixels: int, n_steps: int
) -> PretrainState:
    optimizer = _optimizer(cfg, n_steps)

    def one(key: jax.Array) -> tuple[Variables, optax.OptState, jax.Array]:
        parameters, steps = jax.random.split(key)
        variables = model.init_apogee_decoder(parameters, sizes, n_pixels=n_pixels)
        return variables, optimizer.init(variables), steps

    variables, opt_state, steps = jax.vmap(one)(keys)
    losses = jnp.zeros((len(keys), cfg.epochs), jnp.float32)
    return PretrainState(jnp.zeros((), jnp.int32), variables, opt_state, steps, losses)


def unfilled(cfg: Config, *, n_splits: int, n_labels: int, n_pixels: int) -> Pretrained:
    """Zeros of the shapes that pre-training gives, to be filled from elsewhere.

    Args:
        cfg: all settings.
        n_splits: how many decoders.
        n_labels: width of their labels.
        n_pixels: width of a spectrum.

    Returns:
        The zeros.
    """
    init = partial(model.init_apogee_decoder, cfg=cfg.model, n_pixels=n_pixels)
    decoder = jax.eval_shape(jax.vmap(init), jax.random.split(jax.random.key(0), n_splits))
    decoder = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), decoder)
    if (k := cfg.model.hallucinator_basis) is not None:
        mean, vectors = jnp.zeros((n_splits, n_pixels)), jnp.zeros((n_splits, k, n_pixels))
        decoder = basis.with_basis(decoder, mean, vectors)
    return Pretrained(
        decoder=decoder,
        loss=jnp.zeros((n_splits, cfg.pretrain.epochs), jnp.float32),
        rms=jnp.zeros((n_splits, n_labels), jnp.float32),
    )


def _steps(n_spectra: int, cfg: Pretrain) -> tuple[int, int]:
    """Batch size, and whole batches in an epoch."""
    n_train = training_count(n_spectra)
    batch_size = min(cfg.batch_size, n_train)
    return batch_size, n_train // batch_size


def _optimizer(cfg: Pretrain, n_steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(cfg.learning_rate, cfg.epochs * n_steps))


def _fit_into(device_bytes: int | None, spectra: SpectraReader) -> bool:
    """Whether the device can hold the spectra that are trained on."""
    n_splits, n_spectra, n_pixels = spectra.shape
    needed = 4 * n_splits * training_count(n_spectra) * n_pixels
    return device_bytes is None or needed <= device_bytes


def _train_epoch(
    state: PretrainState,
    epoch: int,
    spectra: SpectraReader,
    held: Float[Array, "split trained pixel"] | None,
    labels: Float[Array, "split spectrum label"],
    noise: Float[Array, " pixel"],
    cfg: Config,
    gaps: bool,
) -> PretrainState:
    """One pass over the spectra: those held on the device, or else read as they are needed."""
    n_spectra = spectra.shape[1]
    batch_size, n_steps = _steps(n_spectra, cfg.pretrain)
    pools = pools_of_epoch(
        training_count(n_spectra), np.random.default_rng([cfg.train.seed, epoch - 1])
    )
    rows = np.concatenate([pool.rows() for pool in pools])
    rows = rows[: n_steps * batch_size].reshape(n_steps, batch_size)
    batches: Generator[jax.Array | np.ndarray, None, None]
    if held is None:
        batches = prefetch(read_batches(spectra, pools, batch_size))
    else:
        batches = (_take(held, jnp.asarray(chosen)) for chosen in rows)
    losses: list[jax.Array] = []
    with closing(batches):
        for step, (chosen, flux) in enumerate(zip(rows, batches, strict=True)):
            target = _take(labels, jnp.asarray(chosen))
            state, loss = _update(
                state,
                jnp.asarray(flux),
                target,
                noise,
                step,
                cfg.model,
                cfg.pretrain,
                n_steps,
                gaps,
            )
            # One step behind: batches must not pile up on the device.
            if losses:
                losses[-1].block_until_ready()
            losses.append(loss)
    mean = jnp.stack(losses, axis=1).mean(axis=1)
    return state._replace(epoch=state.epoch + 1, loss=state.loss.at[:, epoch - 1].set(mean))


@partial(jax.jit, static_argnames=("sizes", "cfg", "n_steps", "gaps"), donate_argnums=0)
def _update(
    state: PretrainState,
    flux: Float[Array, "split star pixel"],
    target: Float[Array, "split star label"],
    noise: Float[Array, " pixel"],
    step: Int[Array, ""] | int,
    sizes: Model,
    cfg: Pretrain,
    n_steps: int,
    gaps: bool,
) -> tuple[PretrainState, Float[Array, " split"]]:
    """One step of every split's decoder. With ``gaps`` labels that are NaN have no part in it."""
    optimizer = _optimizer(cfg, n_steps)

    def one(
        variables: Variables, opt_state: optax.OptState, key: jax.Array, flux: Spectra, y: Labels
    ) -> tuple[Variables, optax.OptState, jax.Array]:
        key = jax.random.fold_in(jax.random.fold_in(key, state.epoch), step)
        noise_key, dropout_key = jax.random.split(key)
        flux = flux + jax.random.normal(noise_key, flux.shape, flux.dtype) * noise[None, :]

        def objective(variables: Variables) -> jax.Array:
            read = model.decode_apogee(sizes, variables, flux, dropout_key)
            if not gaps:
                return jnp.square(read - y).mean()
            measured = jnp.isfinite(y)
            squares = jnp.square(jnp.where(measured, read - y, 0.0))
            return squares.sum() / jnp.maximum(measured.sum(), 1)

        loss, gradient = jax.value_and_grad(objective)(variables)
        updates, opt_state = optimizer.update(gradient, opt_state, variables)
        return optax.apply_updates(variables, updates), opt_state, loss

    variables, opt_state, loss = jax.vmap(one)(
        state.variables, state.opt_state, state.key, flux, target
    )
    return state._replace(variables=variables, opt_state=opt_state), loss


@jax.jit
def _take(values: jax.Array, rows: jax.Array) -> jax.Array:
    return values[:, rows]


@partial(jax.jit, static_argnames="sizes")
def _squared_residuals(
    variables: Variables, flux: jax.Array, target: jax.Array, sizes: Model
) -> jax.Array:
    """Summed over the stars that have the label ``[split, label]``."""
    predicted = jax.vmap(partial(model.decode_apogee, sizes))(variables, flux)
    return jnp.nansum(jnp.square(predicted - target), axis=1)


def _held_out_rms(
    state: PretrainState, spectra: SpectraReader, labels: jax.Array, sizes: Model
) -> Float[Array, "split label"]:
    n_spectra = spectra.shape[1]
    n_train = training_count(n_spectra)
    total = jnp.zeros((labels.shape[0], labels.shape[2]), jnp.float32)
    for start in range(n_train, n_spectra, POOL_ROWS):
        stop = min(start + POOL_ROWS, n_spectra)
        flux = jnp.asarray(spectra.read([(start, stop)]))
        total += _squared_residuals(state.variables, flux, labels[:, start:stop], sizes)
    return jnp.sqrt(total / jnp.isfinite(labels[:, n_train:]).sum(axis=1))
