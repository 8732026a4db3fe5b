"""Pre-training of the APOGEE decoder on APOGEE(-like) spectra (paper Fig. 3).

The decoders of all splits are trained together, one update a call. Where the
spectra fit into the device they are held there; otherwise a background thread
reads them from their file while the device works. Both ways see the same batches
in the same order and run the same compiled update, so they give the same decoders.

Reading single rows of a file at random is slow, so an epoch shuffles blocks of
neighbouring rows, and then the rows of as many blocks as host memory is to hold.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aspgap_jax import model
from aspgap_jax.config import Config, Pretrain
from aspgap_jax.errors import InputError
from aspgap_jax.model import Variables
from aspgap_jax.runtime.prefetch import prefetch
from aspgap_jax.typing import Array, Float, Int, Labels, Spectra

__all__ = [
    "ArraySpectra",
    "PretrainState",
    "Pretrained",
    "SpectraReader",
    "draw_labels",
    "init_pretraining",
    "pretrain_decoders",
    "training_count",
    "unfilled",
]

HELD_OUT = 0.1
"""Share of the spectra that the decoder does not see, to state its precision."""
BLOCK_ROWS = 32
"""Rows read together: 1.1 MB of spectra."""
POOL_ROWS = 2048
"""Rows of a split shuffled together in host memory: 70 MB of spectra."""


@runtime_checkable
class SpectraReader(Protocol):
    """Continuum-normalised spectra of every split, read in pieces.

    The first :func:`training_count` rows of a split are trained on; the others are
    held out, so they should be drawn at random.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(split, spectrum, pixel)``."""

    def read(self, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        """Rows ``[start, stop)`` of every range: float32 ``[split, row, pixel]``."""


@dataclass(frozen=True)
class ArraySpectra:
    """Spectra in host memory ``[split, spectrum, pixel]``."""

    flux: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.flux.shape

    def read(self, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        parts = [self.flux[:, start:stop] for start, stop in ranges]
        return np.concatenate(parts, axis=1).astype(np.float32, copy=False)


class Pretrained(NamedTuple):
    """The pre-trained decoders of all splits, and how well they read new spectra.

    Attributes:
        decoder: their parameters, to be frozen ``[split, ...]``.
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


def training_count(n_spectra: int) -> int:
    """How many of a split's spectra are trained on: the first ones."""
    return n_spectra - max(1, round(HELD_OUT * n_spectra))


def _steps(n_spectra: int, cfg: Pretrain) -> tuple[int, int]:
    """Batch size, and whole batches in an epoch."""
    n_train = training_count(n_spectra)
    batch_size = min(cfg.batch_size, n_train)
    return batch_size, n_train // batch_size


def _optimizer(cfg: Pretrain, n_steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(cfg.learning_rate, cfg.epochs * n_steps))


def init_pretraining(
    keys: jax.Array, cfg: Config, *, n_spectra: int, n_pixels: int
) -> PretrainState:
    """Pre-training before its first step.

    Args:
        keys: typed keys ``[split]``: parameters, dropout and noise.
        cfg: all settings.
        n_spectra: spectra of a split, held-out ones included.
        n_pixels: width of a spectrum.
    """
    optimizer = _optimizer(cfg.pretrain, _steps(n_spectra, cfg.pretrain)[1])

    @jax.jit
    @jax.vmap
    def start(key: jax.Array) -> tuple[Variables, optax.OptState, jax.Array]:
        parameters, steps = jax.random.split(key)
        variables = model.init_apogee_decoder(parameters, cfg.model, n_pixels=n_pixels)
        return variables, optimizer.init(variables), steps

    variables, opt_state, steps = start(keys)
    losses = jnp.zeros((len(keys), cfg.pretrain.epochs), jnp.float32)
    return PretrainState(jnp.zeros((), jnp.int32), variables, opt_state, steps, losses)


def unfilled(cfg: Config, *, n_splits: int, n_labels: int, n_pixels: int) -> Pretrained:
    """Zeros of the shapes that pre-training gives, to be filled from elsewhere."""
    keys = jax.random.split(jax.random.key(0), n_splits)
    init = partial(model.init_apogee_decoder, cfg=cfg.model, n_pixels=n_pixels)
    decoder = jax.eval_shape(jax.vmap(init), keys)
    return Pretrained(
        decoder=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), decoder),
        loss=jnp.zeros((n_splits, cfg.pretrain.epochs), jnp.float32),
        rms=jnp.zeros((n_splits, n_labels), jnp.float32),
    )


def pretrain_decoders(
    state: PretrainState,
    spectra: SpectraReader,
    labels: Float[Array, "split spectrum label"],
    cfg: Config,
    *,
    device_bytes: int | None = None,
    after_epoch: Callable[[PretrainState], None] = lambda _: None,
) -> Pretrained:
    """Train APOGEE decoders with Adam on squared residuals.

    Fresh noise of ``cfg.pretrain.snr`` is added to every spectrum at every step.

    Args:
        state: of :func:`init_pretraining`, or from a checkpoint; it is donated.
        spectra: of every split.
        labels: in scaled units.
        cfg: all settings.
        device_bytes: spectra of all splits that take more than this are streamed.
        after_epoch: called with the state (device) after every epoch.

    Raises:
        InputError: the loss is not finite.
    """
    n_splits, n_spectra, n_pixels = spectra.shape
    n_train = training_count(n_spectra)
    batch_size, n_steps = _steps(n_spectra, cfg.pretrain)
    held: jax.Array | None = None
    if int(state.epoch) == cfg.pretrain.epochs:
        pass  # A finished one from a checkpoint: only its precision is to be stated.
    elif device_bytes is None or 4 * n_splits * n_train * n_pixels <= device_bytes:
        held = jnp.asarray(spectra.read([(0, n_train)]))
    for epoch in range(int(state.epoch), cfg.pretrain.epochs):
        pools = _pools(n_train, np.random.default_rng([cfg.train.seed, epoch]))
        rows = np.concatenate([pool.rows() for pool in pools])
        rows = rows[: n_steps * batch_size].reshape(n_steps, batch_size)
        batches: Generator[jax.Array | np.ndarray, None, None]
        if held is None:
            batches = prefetch(_read_batches(spectra, pools, batch_size))
        else:
            batches = (_take(held, jnp.asarray(chosen)) for chosen in rows)
        losses: list[jax.Array] = []
        with contextlib.closing(batches):
            for step, (chosen, flux) in enumerate(zip(rows, batches, strict=True)):
                target = _take(labels, jnp.asarray(chosen))
                state, loss = _update(state, jnp.asarray(flux), target, step, cfg, n_steps)
                # One step behind: batches must not pile up on the device.
                if losses:
                    losses[-1].block_until_ready()
                losses.append(loss)
        mean = jnp.stack(losses, axis=1).mean(axis=1)
        if not np.isfinite(mean).all():
            raise InputError(
                f"epoch {epoch + 1} of the APOGEE decoder: its loss is not finite: "
                "lower --pretrain.learning-rate"
            )
        state = state._replace(epoch=state.epoch + 1, loss=state.loss.at[:, epoch].set(mean))
        after_epoch(state)
    return Pretrained(state.variables, state.loss, _held_out_rms(state, spectra, labels, cfg))


def _predict(
    variables: Variables, flux: Spectra, cfg: Config, key: jax.Array | None = None
) -> Labels:
    return model.decode_apogee(cfg.model, variables, flux, key)


@partial(jax.jit, static_argnames=("cfg", "n_steps"), donate_argnums=0)
def _update(
    state: PretrainState,
    flux: Float[Array, "split star pixel"],
    target: Float[Array, "split star label"],
    step: Int[Array, ""] | int,
    cfg: Config,
    n_steps: int,
) -> tuple[PretrainState, Float[Array, " split"]]:
    """One step of every split's decoder."""
    optimizer = _optimizer(cfg.pretrain, n_steps)

    def one(
        variables: Variables, opt_state: optax.OptState, key: jax.Array, flux: Spectra, y: Labels
    ) -> tuple[Variables, optax.OptState, jax.Array]:
        key = jax.random.fold_in(jax.random.fold_in(key, state.epoch), step)
        noise_key, dropout_key = jax.random.split(key)
        flux = flux + jax.random.normal(noise_key, flux.shape, flux.dtype) / cfg.pretrain.snr

        def objective(variables: Variables) -> jax.Array:
            return jnp.square(_predict(variables, flux, cfg, dropout_key) - y).mean()

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


@partial(jax.jit, static_argnames="cfg")
def _squared_residuals(
    variables: Variables, flux: jax.Array, target: jax.Array, cfg: Config
) -> jax.Array:
    """Summed over the stars ``[split, label]``."""
    predicted = jax.vmap(partial(_predict, cfg=cfg))(variables, flux)
    return jnp.square(predicted - target).sum(axis=1)


def _held_out_rms(
    state: PretrainState, spectra: SpectraReader, labels: jax.Array, cfg: Config
) -> Float[Array, "split label"]:
    n_spectra = spectra.shape[1]
    n_train = training_count(n_spectra)
    total = jnp.zeros((labels.shape[0], labels.shape[2]), jnp.float32)
    for start in range(n_train, n_spectra, POOL_ROWS):
        stop = min(start + POOL_ROWS, n_spectra)
        flux = jnp.asarray(spectra.read([(start, stop)]))
        total += _squared_residuals(state.variables, flux, labels[:, start:stop], cfg)
    return jnp.sqrt(total / (n_spectra - n_train))


class Pool(NamedTuple):
    """Blocks of neighbouring rows, read together and shuffled together.

    Attributes:
        blocks: ranges of rows, in the order of reading.
        order: permutation of the rows so read.
    """

    blocks: list[tuple[int, int]]
    order: np.ndarray

    def rows(self) -> np.ndarray:
        """Rows in the order in which they are trained on."""
        return np.concatenate([np.arange(*block) for block in self.blocks])[self.order]


def _pools(n_rows: int, rng: np.random.Generator) -> list[Pool]:
    """The order of an epoch. Up to ``POOL_ROWS`` rows, any order is equally likely."""
    starts = BLOCK_ROWS * rng.permutation(-(-n_rows // BLOCK_ROWS))
    blocks = [(int(start), min(int(start) + BLOCK_ROWS, n_rows)) for start in starts]
    pools = []
    for first in range(0, len(blocks), POOL_ROWS // BLOCK_ROWS):
        chosen = blocks[first : first + POOL_ROWS // BLOCK_ROWS]
        pools.append(Pool(chosen, rng.permutation(sum(stop - start for start, stop in chosen))))
    return pools


def _read_batches(
    spectra: SpectraReader, pools: list[Pool], batch_size: int
) -> Generator[np.ndarray, None, None]:
    """Whole batches ``[split, star, pixel]``; what is left of a pool begins the next one."""
    n_splits, _, n_pixels = spectra.shape
    rest = np.empty((n_splits, 0, n_pixels), np.float32)
    for pool in pools:
        flux, used = spectra.read(pool.blocks), 0
        while rest.shape[1] + len(pool.order) - used >= batch_size:
            wanted = batch_size - rest.shape[1]
            part = flux[:, pool.order[used : used + wanted]]
            yield np.concatenate([rest, part], axis=1) if rest.shape[1] else part
            rest, used = rest[:, :0], used + wanted
        rest = np.concatenate([rest, flux[:, pool.order[used:]]], axis=1)
        # Not two pools at a time.
        del flux
