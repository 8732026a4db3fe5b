"""Adam, what stands before it, and the schedules of its learning rate."""

from __future__ import annotations

from collections.abc import Callable

import jax
import optax
from optax.contrib import reduce_on_plateau

from aspgap_jax.config import OptimForm
from aspgap_jax.training.recipe import Recipe
from aspgap_jax.typing import Scalar

__all__ = [
    "PLATEAU_MARGIN",
    "make_optimizer",
    "make_plateau",
    "optimizer_of",
    "steps_per_epoch",
]

PLATEAU_MARGIN = 1e-4
"""Less than this is no lower validation loss to the schedule ``plateau``. Absolute:
a relative margin would go the wrong way, the loss being negative."""


def steps_per_epoch(n_rows: int, batch_size: int) -> int:
    """Whole batches in ``n_rows``. The rows left over change from epoch to epoch.

    Args:
        n_rows: training rows.
        batch_size: rows of a step.

    Returns:
        One or more: a batch larger than the rows is one step.
    """
    return max(1, n_rows // batch_size)


def make_optimizer(
    cfg: OptimForm, total_steps: int, learning_rate: Scalar | float
) -> optax.GradientTransformation:
    """Adam, with what the config puts before the update.

    Args:
        cfg: schedule, weight decay, clipping.
        total_steps: updates over which the cosine schedule anneals.
        learning_rate: the initial one, traced or not. The schedule ``plateau`` lowers
            it from outside.

    Returns:
        an optimiser; only its updates depend on the learning rate, its state does not.
    """
    rate: Scalar | float | Callable[[jax.Array], jax.Array] = learning_rate
    if cfg.schedule == "cosine":
        decay = optax.cosine_decay_schedule(1.0, total_steps)

        def rate(count: jax.Array) -> jax.Array:
            now: jax.Array = learning_rate * decay(count)
            return now

    before = []
    if cfg.clip_norm is not None:
        before.append(optax.clip_by_global_norm(cfg.clip_norm))
    if cfg.decoupled:
        return optax.chain(*before, optax.adamw(rate, weight_decay=cfg.weight_decay))
    if cfg.weight_decay > 0:
        before.append(optax.add_decayed_weights(cfg.weight_decay))
    return optax.chain(*before, optax.adam(rate))


def optimizer_of(
    recipe: Recipe, n_rows: int, learning_rate: Scalar | float
) -> optax.GradientTransformation:
    """The optimiser of a training on ``n_rows`` rows.

    Args:
        recipe: optimiser, epochs and batch size.
        n_rows: training rows.
        learning_rate: at the start; traced.

    Returns:
        Optax's transformation of gradients.
    """
    total_steps = recipe.train.epochs * steps_per_epoch(n_rows, recipe.train.batch_size)
    return make_optimizer(recipe.optim, total_steps, learning_rate)


def make_plateau(cfg: OptimForm) -> optax.GradientTransformationExtraArgs:
    """The schedule ``plateau``; it is told the validation loss once an epoch.

    Args:
        cfg: factor and patience.

    Returns:
        A transformation that scales updates.
    """
    return reduce_on_plateau(
        factor=cfg.plateau_factor, patience=cfg.plateau_patience, rtol=0.0, atol=PLATEAU_MARGIN
    )
