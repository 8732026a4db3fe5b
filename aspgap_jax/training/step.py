"""One step, and one epoch, of one training of encoder, hallucinator and XP decoder.

Pure functions (paper section 3.2); :mod:`aspgap_jax.training.loop` maps them over all members.

Under an ``axis_name`` the devices share every batch: each holds all the data and
takes its slice. Noise and dropout are functions of a star's place in the whole
batch, and statistics are pooled, so that a training does not depend on the number
of devices.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from optax.contrib import ReduceLROnPlateauState

from aspgap_jax import basis, model
from aspgap_jax.config import LossForm
from aspgap_jax.model import Params
from aspgap_jax.preprocessing.device import Stars
from aspgap_jax.preprocessing.scaling import Scalers
from aspgap_jax.training.loss import (
    LossTerms,
    log_variance,
    loss_terms,
    pooled_mean,
    total,
    xp_nll,
)
from aspgap_jax.training.members import Member
from aspgap_jax.training.optimizer import make_plateau, optimizer_of, steps_per_epoch
from aspgap_jax.training.recipe import Recipe
from aspgap_jax.typing import XP, Array, Bool, Float, Int, Labels, Measured, PerStar, Rows, Scalar

__all__ = [
    "Batch",
    "EpochSummary",
    "Faults",
    "StepSummary",
    "TrainState",
    "init_state",
    "make_batch",
    "share",
    "train_epoch",
    "train_step",
    "validation_loss",
    "validation_terms",
]

VALIDATION_LOSS = LossForm()
"""Eq. 2 as printed: whatever a training minimises, it is stopped by the same rule."""


class Batch(NamedTuple):
    """Stars of one step: the encoder's inputs, errors of the normalised spectra, scaled labels
    and their errors; ``weight`` is 0 for padding; ``measured`` as :class:`Stars` has it."""

    xp: XP
    xp_error: XP
    labels: Labels
    label_error: Labels
    weight: PerStar
    measured: Measured | None = None


class TrainState(NamedTuple):
    """Everything that training changes.

    Attributes:
        step: updates done.
        epoch: passes done.
        params: the trainable blocks.
        opt_state: of the optimiser.
        plateau: by what the learning rate has been lowered since the start.
        key: typed key of the whole training; steps derive theirs from it.
        best_params: those with the lowest validation loss so far.
        best_loss: that loss.
        stale: epochs since.
    """

    step: Int[Array, ""]
    epoch: Int[Array, ""]
    params: Params
    opt_state: Any
    plateau: ReduceLROnPlateauState
    key: jax.Array
    best_params: Params
    best_loss: Scalar
    stale: Int[Array, ""]


class StepSummary(NamedTuple):
    """Diagnostics of a step: the objective, its terms, the norm of its gradient."""

    total: Scalar
    terms: LossTerms
    gradient_norm: Scalar


class Faults(NamedTuple):
    """What was the first thing in an epoch that was not finite.

    Attributes:
        nll, branch, l1, kl, prior: a term of the first bad step.
        gradient: its gradient, all terms being finite.
        parameters: those after the epoch, all its steps being finite.
        validation: the validation loss, all else being finite.
    """

    nll: Bool[Array, ""]
    branch: Bool[Array, ""]
    l1: Bool[Array, ""]
    kl: Bool[Array, ""]
    prior: Bool[Array, ""]
    gradient: Bool[Array, ""]
    parameters: Bool[Array, ""]
    validation: Bool[Array, ""]


class EpochSummary(NamedTuple):
    """Diagnostics of an epoch.

    Attributes:
        total, terms, gradient_norm: means over its steps; NaN where ``stopped``.
        valid_nll: validation loss after it; the best one where ``stopped``.
        valid_total, valid: the objective of the held-out stars after it, and its terms;
            NaN where ``stopped``.
        stopped: the training had stopped before, and stood still.
        faults: nothing, in a sound epoch; with any, the training stood still too.
    """

    total: Scalar
    terms: LossTerms
    gradient_norm: Scalar
    valid_nll: Scalar
    valid_total: Scalar
    valid: LossTerms
    stopped: Bool[Array, ""]
    faults: Faults


def init_state(member: Member, recipe: Recipe) -> TrainState:
    """A training before its first step.

    Args:
        member: its key is the source of the parameters; its scalers and its decoder say
            how wide the two kinds of spectra are.
        recipe: widths of the blocks, and the optimiser.

    Returns:
        Fresh parameters, an optimiser that has seen nothing, and no best epoch.
    """
    params = model.init(
        jax.random.fold_in(member.key, 0),
        recipe.model,
        n_xp=member.scalers.xp.n_inputs,
        n_pixels=basis.width(member.decoder),
    )
    optimizer = optimizer_of(recipe, member.train.shape[0], member.hyper.learning_rate)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        epoch=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        plateau=make_plateau(recipe.optim).init(params),
        key=jax.random.fold_in(member.key, 1),
        # A copy: the state is donated, and one buffer cannot be donated twice.
        best_params=jax.tree.map(jnp.copy, params),
        best_loss=jnp.full((), jnp.inf, jnp.float32),
        stale=jnp.zeros((), jnp.int32),
    )


def make_batch(stars: Stars, scalers: Scalers, rows: Rows, weight: PerStar) -> Batch:
    """Gather rows, make the encoder's inputs and scale the labels.

    Args:
        stars: all of them, on the device.
        scalers: of this member's split.
        rows: indices into ``stars``.
        weight: 1 for a star, 0 for padding.

    Returns:
        Scaled inputs and labels; errors of the spectra as they are, for the noise. A label
        that was not measured becomes 0, with an error of 1: masked or not, it must be no NaN
        to the gradient.
    """
    batch = Batch(
        xp=scalers.xp.transform(stars.xp[rows]),
        xp_error=stars.xp_error[rows],
        labels=scalers.labels.transform(stars.labels[rows]),
        label_error=scalers.labels.transform_error(stars.label_error[rows]),
        weight=weight,
    )
    if stars.measured is None:
        return batch
    measured = stars.measured[rows]
    return batch._replace(
        labels=jnp.where(measured, batch.labels, 0.0),
        label_error=jnp.where(measured, batch.label_error, 1.0),
        measured=measured,
    )


def train_step(
    state: TrainState,
    batch: Batch,
    member: Member,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    axis_name: str | None = None,
    position: Int[Array, " star"] | None = None,
) -> tuple[TrainState, StepSummary]:
    """One update.

    Args:
        state: before it.
        batch: scaled stars; under an ``axis_name`` this device's share of them.
        member: gives the frozen decoder, the weights of the objective and the size
            of the training set.
        optimizer: of :func:`aspgap_jax.training.optimizer.make_optimizer`.
        recipe: the blocks, the form of the objective, the noise.
        axis_name: the device axis that shares the batch, or ``None``.
        position: places of these stars in the whole batch; from 0 by default.

    Returns:
        The state after it, and the terms of the loss before it.
    """
    if position is None:
        position = jnp.arange(batch.weight.shape[0])
    key = jax.random.fold_in(state.key, state.step)
    keys = jax.vmap(partial(jax.random.fold_in, key))(position)
    xp = batch.xp
    if recipe.train.noise > 0:
        keys, noise_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        draw = partial(jax.random.normal, shape=batch.xp_error.shape[1:], dtype=xp.dtype)
        noise = recipe.train.noise * batch.xp_error * jax.vmap(draw)(noise_keys)
        xp = xp + member.scalers.xp.transform_change(noise)
    n_stars = member.train_weight.sum()

    def objective(params: Params) -> tuple[Scalar, LossTerms]:
        outputs = model.apply(recipe.model, params, member.decoder, xp, keys)
        terms = loss_terms(
            outputs,
            batch.labels,
            batch.label_error,
            batch.weight,
            params,
            n_stars,
            member.hyper,
            recipe.loss,
            axis_name,
            batch.measured,
            recipe.taught,
        )
        return total(terms, member.hyper), terms

    (value, terms), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    if axis_name is not None:
        # The loss is pooled already, and each device's gradient is that of its own
        # stars times the number of devices: their mean is the gradient of the batch.
        gradient = lax.pmean(gradient, axis_name)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    state = state._replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        opt_state=opt_state,
    )
    return state, StepSummary(value, terms, optax.tree.norm(gradient))


def validation_loss(
    params: Params, batch: Batch, recipe: Recipe, axis_name: str | None = None
) -> Scalar:
    """Gaussian negative log-likelihood of the XP decoder, summed over labels.

    Prediction uses this branch alone, so the other has no say in when to stop,
    and neither have the branch weights and the penalties. The likelihood is that
    of eq. 2-3 whatever options the training loss has.

    Args:
        params: the trainable blocks.
        batch: held-out stars; under an ``axis_name`` this device's share of them.
        recipe: the blocks.
        axis_name: the device axis that shares the batch, or ``None``.

    Returns:
        The mean over the stars of all devices.
    """
    latents = model.encode(recipe.model, params, batch.xp)
    mean, log_sigma = model.decode_xp(recipe.model, params, latents)
    log_var = log_variance(log_sigma, batch.label_error, VALIDATION_LOSS)
    nll = xp_nll(batch.labels - mean, log_var, 1.0, batch.measured)
    return pooled_mean(nll, batch.weight, axis_name)


def validation_terms(
    params: Params, batch: Batch, member: Member, recipe: Recipe, axis_name: str | None = None
) -> LossTerms:
    """The terms of the objective for held-out stars, without dropout; nothing depends on them.

    Args:
        params: the trainable blocks.
        batch: held-out stars; under an ``axis_name`` this device's share of them.
        member: gives the frozen decoder and the weights of the objective.
        recipe: the blocks and the form of the objective.
        axis_name: the device axis that shares the batch, or ``None``.

    Returns:
        Scalars, those of the training stars' own objective.
    """
    return loss_terms(
        model.apply(recipe.model, params, member.decoder, batch.xp),
        batch.labels,
        batch.label_error,
        batch.weight,
        params,
        member.train_weight.sum(),
        member.hyper,
        recipe.loss,
        axis_name,
        batch.measured,
    )


def train_epoch(
    state: TrainState, stars: Stars, member: Member, recipe: Recipe, axis_name: str | None = None
) -> tuple[TrainState, EpochSummary]:
    """One pass over the training rows, then validation and early stopping.

    The whole pass is one ``lax.scan``. A training that has stopped, because its
    validation loss was stale for ``recipe.train.patience`` epochs, passes through
    unchanged: the others of its map may go on. So does one in which anything was
    not finite: the state from before the epoch is the last good one.

    Args:
        state: before it.
        stars: all of them, on every device.
        member: this training's own.
        recipe: what it is compiled for.
        axis_name: the device axis that shares every batch, or ``None``.

    Returns:
        The state after it, and the means of the epoch.
    """
    stopped = state.stale >= recipe.train.patience
    run = partial(_run_epoch, stars=stars, member=member, recipe=recipe, axis_name=axis_name)
    done: tuple[TrainState, EpochSummary] = lax.cond(stopped, _stand_still, run, state)
    return done


def _stand_still(state: TrainState) -> tuple[TrainState, EpochSummary]:
    nan, no = jnp.full_like(state.best_loss, jnp.nan), jnp.zeros((), bool)
    summary = EpochSummary(
        total=nan,
        terms=LossTerms(*[nan] * len(LossTerms._fields)),
        gradient_norm=nan,
        valid_nll=state.best_loss,
        valid_total=nan,
        valid=LossTerms(*[nan] * len(LossTerms._fields)),
        stopped=jnp.ones((), bool),
        faults=Faults(*[no] * len(Faults._fields)),
    )
    return state, summary


def _run_epoch(
    state: TrainState, stars: Stars, member: Member, recipe: Recipe, axis_name: str | None
) -> tuple[TrainState, EpochSummary]:
    n_rows = member.train.shape[0]
    batch_size = min(recipe.train.batch_size, n_rows)
    n_steps = steps_per_epoch(n_rows, batch_size)
    rate = member.hyper.learning_rate * state.plateau.scale
    optimizer = optimizer_of(recipe, n_rows, rate)
    order = jax.random.permutation(jax.random.fold_in(state.key, -1 - state.epoch), n_rows)
    order = order[: n_steps * batch_size].reshape(n_steps, batch_size)
    position, here = share(batch_size, axis_name)

    def step(carry: TrainState, chosen: Int[Array, " batch"]) -> tuple[TrainState, StepSummary]:
        chosen = chosen[position]
        weight = member.train_weight[chosen] * here
        batch = make_batch(stars, member.scalers, member.train[chosen], weight)
        return train_step(carry, batch, member, optimizer, recipe, axis_name, position)

    new, steps = lax.scan(step, state, order)
    held_out, real = share(member.valid.shape[0], axis_name)
    valid_weight = member.valid_weight[held_out] * real
    valid = make_batch(stars, member.scalers, member.valid[held_out], valid_weight)
    loss = validation_loss(new.params, valid, recipe, axis_name)
    valid_terms = validation_terms(new.params, valid, member, recipe, axis_name)
    improved = loss < new.best_loss
    new = new._replace(
        epoch=new.epoch + 1,
        best_params=_where(improved, new.params, new.best_params),
        best_loss=jnp.where(improved, loss, new.best_loss),
        stale=jnp.where(improved, 0, new.stale + 1),
    )
    if recipe.optim.schedule == "plateau":
        _, plateau = make_plateau(recipe.optim).update((), state.plateau, value=loss)
        new = new._replace(plateau=plateau)
    faults = _faults(steps, new.params, loss)
    means = jax.tree.map(jnp.mean, steps)
    summary = EpochSummary(
        total=means.total,
        terms=means.terms,
        gradient_norm=means.gradient_norm,
        valid_nll=loss,
        valid_total=total(valid_terms, member.hyper),
        valid=valid_terms,
        stopped=jnp.zeros((), bool),
        faults=faults,
    )
    return _where(jnp.any(jnp.stack(faults)), state, new), summary


def share(count: int, axis_name: str | None) -> tuple[Int[Array, " star"], Float[Array, " star"]]:
    """Which of ``count`` rows are this device's, and 0 where it has one too many.

    Args:
        count: rows of a whole batch.
        axis_name: the device axis that shares it, or ``None``.

    Returns:
        Positions in the batch, and their weights (1 or 0).
    """
    if axis_name is None:
        return jnp.arange(count), jnp.ones(count)
    size = -(-count // lax.axis_size(axis_name))
    position = lax.axis_index(axis_name) * size + jnp.arange(size)
    return jnp.minimum(position, count - 1), (position < count).astype(jnp.float32)


def _faults(steps: StepSummary, params: Params, valid: Scalar) -> Faults:
    """The first thing not finite among the steps ``[step]`` and what follows them."""
    bad = LossTerms(*(~jnp.isfinite(term) for term in steps.terms))
    bad_gradient = ~jnp.isfinite(steps.gradient_norm)
    bad_term = jnp.stack(bad).any(axis=0)
    first = jnp.argmax(bad_term | bad_gradient)
    gradient = bad_gradient[first] & ~bad_term[first]
    before = bad_term[first] | gradient
    sound = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()
    validation = ~jnp.isfinite(valid) & sound & ~before
    terms = {name: term[first] for name, term in bad._asdict().items()}
    return Faults(**terms, gradient=gradient, parameters=~sound & ~before, validation=validation)


def _where(condition: Bool[Array, ""], x: Any, y: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), x, y)
