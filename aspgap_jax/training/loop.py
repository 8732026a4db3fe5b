"""The training loop: initialise, train all members for an epoch, tell the callback.

All members are mapped over in one compiled epoch: by ``vmap``, which fills a GPU with many
small networks, or on a CPU by ``lax.map``, one after the other, which is at least as fast
there and lets a stopped member cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import numpy as np
from jax import lax

from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.device import Stars
from aspgap_jax.runtime import parallel
from aspgap_jax.runtime.parallel import ONE_DEVICE, Layout
from aspgap_jax.training.members import Member
from aspgap_jax.training.recipe import Recipe
from aspgap_jax.training.step import EpochSummary, TrainState, init_state, train_epoch
from aspgap_jax.typing import Array, Int

__all__ = ["AfterEpoch", "Diverged", "epoch_of_all", "fit", "init_states"]

AfterEpoch = Callable[[int, TrainState, EpochSummary], None]
"""What is told about an epoch: its number, the states as they lie on the devices (see
:func:`aspgap_jax.runtime.parallel.one_copy`; the next epoch uses them up), and its
diagnostics in host memory, both ``[member, ...]``."""


class Diverged(InputError):
    """Something in a training was not finite.

    Attributes:
        states: the last good ones, one copy ``[member, ...]``: members that failed
            are as before the epoch.
        epoch: the epoch that failed.
    """

    def __init__(self, message: str, states: TrainState, epoch: int) -> None:
        super().__init__(message)
        self.states = states
        self.epoch = epoch


def fit(
    stars: Stars,
    members: Member,
    recipe: Recipe,
    *,
    start: TrainState | None = None,
    after_epoch: AfterEpoch = lambda epoch, states, summary: None,
    layout: Layout = ONE_DEVICE,
) -> TrainState:
    """Train every member until it stops or has had its epochs.

    Args:
        stars: shared by all.
        members: ``[member, ...]``.
        recipe: what the epoch is compiled for.
        start: where to go on, one copy ``[member, ...]``, which is donated: from a
            checkpoint a training gives what it would have given uninterrupted, on
            another number of devices to float tolerance. Fresh states by default.
        after_epoch: called after every epoch.
        layout: the devices.

    Returns:
        one copy of the states ``[member, ...]``.

    Raises:
        Diverged: a loss, gradient or parameter is not finite; it, its member and
            its epoch are named.
    """
    states = init_states(members, recipe) if start is None else start
    epoch, going = int(states.epoch.max()), _any_going(states.stale, recipe)
    states = parallel.replicate(layout, states)
    stars, members = parallel.replicate(layout, (stars, members))
    train_all = epoch_of_all(recipe, layout)
    while going and epoch < recipe.train.epochs:
        epoch += 1
        states, on_devices = train_all(states, stars, members)
        summary = jax.device_get(parallel.one_copy(layout, on_devices))
        fault = describe_faults(summary, epoch)
        if fault is not None:
            raise Diverged(fault, parallel.one_copy(layout, states), epoch)
        after_epoch(epoch, states, summary)
        going = _any_going(parallel.one_copy(layout, states.stale), recipe)
    trained: TrainState = parallel.one_copy(layout, states)
    return trained


@partial(jax.jit, static_argnames="recipe")
def init_states(members: Member, recipe: Recipe) -> TrainState:
    """The states of all members before their first step ``[member, ...]``.

    Args:
        members: all trainings ``[member, ...]``.
        recipe: what they are compiled for.

    Returns:
        A state for each.
    """
    return jax.vmap(partial(init_state, recipe=recipe))(members)


@cache
def epoch_of_all(recipe: Recipe, layout: Layout) -> Callable[..., Any]:
    """One epoch of all members in one dispatch, compiled for a recipe and a layout.

    Args:
        recipe: the settings that are compiled in.
        layout: the devices that share every batch.

    Returns:
        a function of the states, which are donated, the stars and the members, all where
        :func:`aspgap_jax.runtime.parallel.replicate` has put them; it gives the states
        and an :class:`EpochSummary`, both ``[member, ...]``.
    """
    in_sequence = parallel.platform(layout) == "cpu"

    def epoch(
        states: TrainState, stars: Stars, members: Member, axis_name: str | None
    ) -> tuple[TrainState, EpochSummary]:
        def one(job: tuple[TrainState, Member]) -> tuple[TrainState, EpochSummary]:
            state, member = job
            return train_epoch(state, stars, member, recipe, axis_name)

        jobs = (states, members)
        return lax.map(one, jobs) if in_sequence else jax.vmap(one)(jobs)

    return parallel.over_devices(layout, epoch, donate=(0,))


def _any_going(stale: Int[Array, " member"], recipe: Recipe) -> bool:
    """Whether any member has not yet lost its patience."""
    return bool((np.asarray(stale) < recipe.train.patience).any())


def describe_faults(summary: EpochSummary, epoch: int) -> str | None:
    """One line: what was not finite, in which member, and what to do."""
    found = summary.faults._asdict()
    bad = {name: np.flatnonzero(failed) for name, failed in found.items() if failed.any()}
    if not bad:
        return None
    named = ", ".join(f"{name} (member {members[0]})" for name, members in bad.items())
    return (
        f"epoch {epoch}: {named} not finite; the last good state is kept: "
        "lower --optim.learning-rate or set --optim.clip-norm"
    )
