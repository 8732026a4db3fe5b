"""A small training on made-up stars, for the tests of all that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import model
from aspgap_jax.config import Config, Loss, Optim, Training
from aspgap_jax.preprocessing import folds
from aspgap_jax.preprocessing.device import Stars, to_device
from aspgap_jax.preprocessing.folds import FoldRows
from aspgap_jax.preprocessing.scaling import Scalers
from aspgap_jax.runtime import parallel
from aspgap_jax.runtime.parallel import Layout
from aspgap_jax.training.loop import epoch_of_all, fit, init_states
from aspgap_jax.training.members import Member, fit_scalers, make_members
from aspgap_jax.training.pretraining import Pretrained
from aspgap_jax.training.recipe import Hyper, recipe_of
from aspgap_jax.training.step import EpochSummary, TrainState
from support.made_up import made_up_stars
from support.tiny import TINY

CFG = replace(
    TINY,
    loss=Loss(l1=0.01, kl=20.0),
    optim=Optim(learning_rate=1e-2, schedule="plateau", plateau_factor=0.3, plateau_patience=2),
    train=Training(epochs=40, batch_size=30, patience=8, noise=1.0),
)
"""Every term of the loss is on, and so are dropout and noise."""
RECIPE = recipe_of(CFG)
"""One, so that the tests share one compiled program; they differ in what is traced."""

N_PIXELS = 30


@cache
def _made(cfg: Config) -> tuple[Stars, tuple[FoldRows, ...], Scalers, Pretrained]:
    stars = made_up_stars()
    rows = folds.split_rows(stars, cfg, folds.all_splits(cfg, folds=True))
    device = to_device(stars, cfg.data.magnitude_exponent)
    scalers = fit_scalers(device, rows, cfg.data)
    # An arbitrary instrument: nothing here depends on what the decoder has learnt.
    init = partial(model.init_apogee_decoder, cfg=cfg.model, n_pixels=N_PIXELS)
    decoders = jax.jit(jax.vmap(init))(jax.random.split(jax.random.key(7), len(rows)))
    nothing = jnp.asarray(np.zeros(0, np.float32))
    return device, rows, scalers, Pretrained(decoders, nothing, nothing)


@cache
def _started(cfg: Config, hypers: tuple[tuple[float, ...], ...]) -> tuple[Member, TrainState]:
    _, *rest = _made(replace(CFG, cv=cfg.cv))
    traced = [Hyper(*(jnp.float32(value) for value in values)) for values in hypers]
    members = make_members(*rest, cfg, traced)
    return members, init_states(members, recipe_of(cfg))


EPOCHS = 2
"""Of 12 steps each: 24 steps of 30 stars, which four devices cannot share evenly."""


def prepare(
    cfg: Config = CFG, hypers: tuple[tuple[float, ...], ...] = ()
) -> tuple[Stars, Member, TrainState]:
    """Device arrays, members, and fresh states, which are donated when trained."""
    members, states = _started(cfg, hypers)
    return _made(replace(CFG, cv=cfg.cv))[0], members, copied(states)


def with_hyper(members: Member, **values: float) -> Member:
    """Members with other traced settings."""
    hyper = members.hyper
    changed = {
        name: jnp.asarray(np.full(hyper.l1.shape, value, np.float32))
        for name, value in values.items()
    }
    return members._replace(hyper=hyper._replace(**changed))


class _Enough(Exception):
    """Ends a training from its ``after_epoch``."""


def train(
    states: TrainState, stars: Stars, members: Member, epochs: int | None = None
) -> tuple[TrainState, list[EpochSummary]]:
    """Train to the end, or so many epochs from here and not one more.

    Returns:
        The states, and every epoch's diagnostics.
    """
    history: list[EpochSummary] = []
    last: list[TrainState] = []

    def after_epoch(epoch: int, states: TrainState, summary: EpochSummary) -> None:
        history.append(summary)
        if len(history) == epochs:
            last.append(copied(states))
            raise _Enough

    try:
        return fit(stars, members, RECIPE, start=states, after_epoch=after_epoch), history
    except _Enough:
        return last[0], history


# By way of NumPy: as JAX operations every shape would be compiled for itself.
def copied(tree: Any) -> Any:
    """A copy of a pytree, of which one can be donated."""
    return _on_host(lambda x: x, tree)


def one(tree: Any, m: int | list[int]) -> Any:
    """The m-th of a stack; or a stack of several."""
    return _on_host(lambda x: x[m], tree)


def _on_host(function: Callable[[np.ndarray], np.ndarray], tree: Any) -> Any:
    def apply(leaf: jax.Array) -> jax.Array:
        made = jnp.asarray(np.array(function(numbers(leaf))))
        return jax.random.wrap_key_data(made) if _is_key(leaf) else made

    return jax.tree.map(apply, tree)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def numbers(leaf: object) -> np.ndarray:
    """A leaf as numbers, typed keys too."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def assert_close(a: object, b: object, **tolerance: float) -> None:
    """Leaf by leaf."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(numbers(x), numbers(y), **tolerance)


def distance(a: object, b: object) -> float:
    """Largest of |a - b| / |b| (Euclidean) over the leaves of two pytrees."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(
        float(np.linalg.norm(numbers(x) - numbers(y)) / np.linalg.norm(numbers(y)))
        for x, y in pairs
    )


def trained(layout: Layout) -> TrainState:
    """Parameters after 24 steps on a layout: one copy."""
    stars, members, states = prepare()
    states, stars, members = parallel.replicate(layout, (states, stars, members))
    for _ in range(EPOCHS):
        states, _ = epoch_of_all(RECIPE, layout)(states, stars, members)
    return parallel.one_copy(layout, states)


def flat(states: TrainState) -> np.ndarray:
    """Parameters and the best validation losses as one vector."""
    leaves = jax.tree.leaves((states.params, states.best_loss))
    return np.concatenate([np.ravel(leaf) for leaf in leaves])
