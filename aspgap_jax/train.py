"""Joint training of encoder, hallucinator and XP decoder (paper section 3.2).

``train_step`` and ``train_epoch`` are pure functions of one training. They are
written for one member; :mod:`aspgap_jax.crossval` maps them over many.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from aspgap_jax import model
from aspgap_jax.config import Config, Loss, Optim
from aspgap_jax.loss import LossTerms, log_variance, loss_terms, pooled_mean, total, xp_nll
from aspgap_jax.model import Params, Variables
from aspgap_jax.scaling import Scalers
from aspgap_jax.stars import Stars
from aspgap_jax.typing import XP, Array, Bool, Int, Labels, PerStar, Rows, Scalar

__all__ = [
    "Batch",
    "EpochSummary",
    "Member",
    "TrainState",
    "init_state",
    "make_optimizer",
    "train_epoch",
    "train_step",
    "validation_loss",
]


VALIDATION_LOSS = Loss()
"""Eq. 2 as printed: whatever a training minimises, it is stopped by the same rule."""


class Member(NamedTuple):
    """What one training has for itself; all else it shares with the others.

    Attributes:
        decoder: the frozen APOGEE decoder, pre-trained for this fold.
        scalers: fitted to this fold's training stars.
        train: rows into :class:`Stars` ``[row]``.
        train_weight: 1, or 0 where ``train`` is padding ``[row]``.
        valid: rows held out for early stopping ``[row]``.
        valid_weight: 1, or 0 where ``valid`` is padding ``[row]``.
    """

    decoder: Variables
    scalers: Scalers
    train: Rows
    train_weight: PerStar
    valid: Rows
    valid_weight: PerStar


class Batch(NamedTuple):
    """Scaled stars of one step; ``weight`` is 0 for padding."""

    xp: XP
    xp_error: XP
    labels: Labels
    label_error: Labels
    weight: PerStar


class TrainState(NamedTuple):
    """Everything that training changes.

    Attributes:
        step: updates done.
        epoch: passes done.
        params: the trainable blocks.
        opt_state: of the optimiser.
        key: typed key of the whole training; steps derive theirs from it.
        best_params: those with the lowest validation loss so far.
        best_loss: that loss.
        stale: epochs since.
    """

    step: Int[Array, ""]
    epoch: Int[Array, ""]
    params: Params
    opt_state: Any
    key: jax.Array
    best_params: Params
    best_loss: Scalar
    stale: Int[Array, ""]


class EpochSummary(NamedTuple):
    """Diagnostics of an epoch: means over its steps, then the validation loss."""

    total: Scalar
    terms: LossTerms
    valid_nll: Scalar
    stopped: Bool[Array, ""]


def make_optimizer(cfg: Optim, total_steps: int) -> optax.GradientTransformation:
    """Adam, with what the config puts before the update.

    Args:
        cfg: learning rate, schedule, weight decay, clipping.
        total_steps: updates over which the cosine schedule anneals.
    """
    schedule: Any = cfg.learning_rate
    if cfg.schedule == "cosine":
        schedule = optax.cosine_decay_schedule(cfg.learning_rate, total_steps)
    before = []
    if cfg.clip_norm is not None:
        before.append(optax.clip_by_global_norm(cfg.clip_norm))
    if cfg.weight_decay > 0:
        before.append(optax.add_decayed_weights(cfg.weight_decay))
    return optax.chain(*before, optax.adam(schedule))


def steps_per_epoch(n_rows: int, batch_size: int) -> int:
    """Whole batches in ``n_rows``. The rows left over change from epoch to epoch."""
    return max(1, n_rows // batch_size)


def _optimizer(cfg: Config, n_rows: int) -> optax.GradientTransformation:
    return make_optimizer(
        cfg.optim, cfg.train.epochs * steps_per_epoch(n_rows, cfg.train.batch_size)
    )


def init_state(key: jax.Array, cfg: Config, *, n_xp: int, n_pixels: int, n_rows: int) -> TrainState:
    """A training before its first step.

    Args:
        key: typed key of this training.
        cfg: all settings.
        n_xp: width of a spectrum.
        n_pixels: width of an APOGEE-like spectrum.
        n_rows: training rows, padding included.
    """
    params = model.init(jax.random.fold_in(key, 0), cfg.model, n_xp=n_xp, n_pixels=n_pixels)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        epoch=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=_optimizer(cfg, n_rows).init(params),
        key=jax.random.fold_in(key, 1),
        # A copy: the state is donated, and one buffer cannot be donated twice.
        best_params=jax.tree.map(jnp.copy, params),
        best_loss=jnp.full((), jnp.inf, jnp.float32),
        stale=jnp.zeros((), jnp.int32),
    )


def make_batch(stars: Stars, scalers: Scalers, rows: Rows, weight: PerStar) -> Batch:
    """Gather and scale rows."""
    return Batch(
        xp=scalers.xp.transform(stars.xp[rows]),
        xp_error=scalers.xp.transform_error(stars.xp_error[rows]),
        labels=scalers.labels.transform(stars.labels[rows]),
        label_error=scalers.labels.transform_error(stars.label_error[rows]),
        weight=weight,
    )


def train_step(
    state: TrainState,
    batch: Batch,
    member: Member,
    optimizer: optax.GradientTransformation,
    cfg: Config,
    axis_name: str | None = None,
) -> tuple[TrainState, tuple[Scalar, LossTerms]]:
    """One update.

    Args:
        state: before it.
        batch: scaled stars; under an ``axis_name`` this device's share of them.
        member: gives the frozen decoder and the size of the training set.
        optimizer: of :func:`make_optimizer`.
        cfg: all settings.
        axis_name: the device axis that shares the batch, or ``None``.
    """
    key = jax.random.fold_in(state.key, state.step)
    if axis_name is not None:
        key = jax.random.fold_in(key, lax.axis_index(axis_name))
    noise_key, dropout_key = jax.random.split(key)
    xp = batch.xp
    if cfg.train.noise > 0:
        noise = jax.random.normal(noise_key, xp.shape, xp.dtype)
        xp = xp + cfg.train.noise * batch.xp_error * noise
    n_stars = member.train_weight.sum()

    def objective(params: Params) -> tuple[Scalar, LossTerms]:
        dropout = dropout_key if cfg.model.dropout > 0 else None
        outputs = model.apply(cfg.model, params, member.decoder, xp, dropout)
        terms = loss_terms(
            outputs,
            batch.labels,
            batch.label_error,
            batch.weight,
            params,
            n_stars,
            cfg.loss,
            axis_name,
        )
        return total(terms, cfg.loss), terms

    (value, terms), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    if axis_name is not None:
        gradient = lax.pmean(gradient, axis_name)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    state = state._replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        opt_state=opt_state,
    )
    return state, (value, terms)


def validation_loss(params: Params, batch: Batch, cfg: Config) -> Scalar:
    """Gaussian negative log-likelihood of the XP decoder, summed over labels.

    Prediction uses this branch alone, so the other has no say in when to stop,
    and neither have the branch weights and the penalties. The likelihood is that
    of eq. 2-3 whatever options the training loss has.
    """
    latents = model.encode(cfg.model, params, batch.xp)
    mean, log_sigma = model.decode_xp(cfg.model, params, latents)
    log_var = log_variance(log_sigma, batch.label_error, VALIDATION_LOSS)
    return pooled_mean(xp_nll(batch.labels - mean, log_var, 1.0), batch.weight)


def train_epoch(
    state: TrainState, stars: Stars, member: Member, cfg: Config
) -> tuple[TrainState, EpochSummary]:
    """One pass over the training rows, then validation and early stopping.

    The whole pass is one ``lax.scan``. A training that has stopped, because its
    validation loss was stale for ``cfg.train.patience`` epochs, passes through
    unchanged: the others of its ``vmap`` may go on.
    """
    n_rows = member.train.shape[0]
    batch_size = min(cfg.train.batch_size, n_rows)
    n_steps = steps_per_epoch(n_rows, batch_size)
    optimizer = _optimizer(cfg, n_rows)
    order = jax.random.permutation(jax.random.fold_in(state.key, -1 - state.epoch), n_rows)
    order = order[: n_steps * batch_size].reshape(n_steps, batch_size)

    def step(
        carry: TrainState, chosen: Int[Array, " batch"]
    ) -> tuple[TrainState, tuple[Scalar, LossTerms]]:
        batch = make_batch(stars, member.scalers, member.train[chosen], member.train_weight[chosen])
        return train_step(carry, batch, member, optimizer, cfg)

    new, (value, terms) = lax.scan(step, state, order)
    valid = make_batch(stars, member.scalers, member.valid, member.valid_weight)
    loss = validation_loss(new.params, valid, cfg)
    improved = loss < new.best_loss
    new = new._replace(
        epoch=new.epoch + 1,
        best_params=_where(improved, new.params, new.best_params),
        best_loss=jnp.where(improved, loss, new.best_loss),
        stale=jnp.where(improved, 0, new.stale + 1),
    )
    stopped = state.stale >= cfg.train.patience
    summary = EpochSummary(value.mean(), jax.tree.map(jnp.mean, terms), loss, stopped)
    return _where(stopped, state, new), summary


def _where(condition: Bool[Array, ""], x: Any, y: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), x, y)
