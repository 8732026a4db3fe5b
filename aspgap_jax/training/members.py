"""Folds x repeats x seeds x hyperparameters as one training (paper section 4.1).

All members are mapped over in one compiled epoch: by ``vmap``, which fills a GPU
with many small networks, or on a CPU by ``lax.map``, one after the other, which is
at least as fast there and lets a stopped member cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from aspgap_jax import labels as label_table
from aspgap_jax.config import Config, Data
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.device import Stars
from aspgap_jax.preprocessing.folds import FoldRows
from aspgap_jax.preprocessing.scaling import (
    LABEL_RANGE,
    RobustScaler,
    Scalers,
    fit_representation,
    fit_scaler,
    stack,
)
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.runtime import parallel
from aspgap_jax.runtime.parallel import ONE_DEVICE, Layout
from aspgap_jax.training.loss import Hyper, hyper_of
from aspgap_jax.training.pretraining import (
    ArraySpectra,
    Pretrained,
    PretrainState,
    draw_labels,
    init_pretraining,
    pretrain_decoders,
)
from aspgap_jax.training.step import EpochSummary, Member, TrainState, init_state, train_epoch

__all__ = [
    "Diverged",
    "emulation_labels",
    "fit",
    "fit_scalers",
    "init_states",
    "make_members",
    "pretrain",
    "start_pretraining",
    "train_epochs",
]


def fit_scalers(device: Stars, rows: tuple[FoldRows, ...], cfg: Data) -> Scalers:
    """Scalers of every split, fitted to its own training stars ``[split, ...]``."""
    xp, error, truth = (np.asarray(a) for a in (device.xp, device.xp_error, device.labels))
    return stack(
        [
            Scalers(
                xp=fit_representation(xp[r.fit], error[r.fit], cfg),
                labels=fit_scaler(truth[r.fit], LABEL_RANGE, names=label_table.names()),
            )
            for r in rows
        ]
    )


def emulation_labels(stars: TrainingSet, rows: tuple[FoldRows, ...], cfg: Config) -> np.ndarray:
    """Labels at which each split's decoder sees spectra ``[split, spectrum, label]``."""
    return np.stack(
        [
            draw_labels(
                stars.labels[r.fit], cfg.pretrain, np.random.default_rng([cfg.train.seed, i])
            )
            for i, r in enumerate(rows)
        ]
    )


def keys(cfg: Config, count: int, purpose: int) -> jax.Array:
    """Typed keys ``[count]``, another set for every purpose."""
    key = jax.random.fold_in(jax.random.key(cfg.train.seed), purpose)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))


def start_pretraining(
    at: np.ndarray, scalers: Scalers, cfg: Config, *, n_pixels: int
) -> tuple[PretrainState, jax.Array]:
    """Every split's decoder before its first step, and the scaled labels to train it on.

    Args:
        at: labels of the spectra, physical ``[split, spectrum, label]``.
        scalers: of every split.
        cfg: all settings.
        n_pixels: width of a spectrum.
    """
    scaled = jax.vmap(RobustScaler.transform)(scalers.labels, jnp.asarray(at, jnp.float32))
    n_splits, n_spectra, _ = at.shape
    start = init_pretraining(keys(cfg, n_splits, 0), cfg, n_spectra=n_spectra, n_pixels=n_pixels)
    return start, scaled


def pretrain(spectra: np.ndarray, at: np.ndarray, scalers: Scalers, cfg: Config) -> Pretrained:
    """Pre-train a decoder for every split.

    Args:
        spectra: normalised flux ``[split, spectrum, pixel]``.
        at: their labels, physical ``[split, spectrum, label]``.
        scalers: of every split.
        cfg: all settings.
    """
    state, scaled = start_pretraining(at, scalers, cfg, n_pixels=spectra.shape[-1])
    return pretrain_decoders(state, ArraySpectra(spectra), scaled, cfg)


def _pad(rows: list[np.ndarray]) -> tuple[jax.Array, jax.Array]:
    """Row numbers of unequal counts as a rectangle, and 0 where it is padding."""
    width = max(len(r) for r in rows)
    padded = np.stack([np.pad(r, (0, width - len(r)), mode="edge") for r in rows])
    weight = np.stack([np.arange(width) < len(r) for r in rows])
    return jnp.asarray(padded, jnp.int32), jnp.asarray(weight, jnp.float32)


def make_members(
    rows: tuple[FoldRows, ...],
    scalers: Scalers,
    pretrained: Pretrained,
    cfg: Config,
    hypers: Sequence[Hyper] = (),
) -> Member:
    """All members as one pytree with a leading ``member`` axis.

    The seeds of a split share its rows, its scalers and its APOGEE decoder; they
    differ in their networks and in the order of their batches. Trainings that
    differ in their hyperparameters alone share those too: they are paired.

    Args:
        rows: of every split.
        scalers: of every split.
        pretrained: of every split.
        cfg: the number of seeds; everything random follows from ``cfg.train.seed``.
        hypers: each trains all splits and seeds; the config's own by default.

    Returns:
        ``[member, ...]``: for every hyper, for every split, for every seed.
    """
    train, train_weight = _pad([r.train for r in rows])
    valid, valid_weight = _pad([r.valid for r in rows])
    hypers = hypers or (hyper_of(cfg),)
    n_trainings = len(rows) * cfg.cv.seeds

    def tile(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(hypers)), tree)

    def of_split(tree: Any) -> Any:
        return tile(jax.tree.map(lambda leaf: jnp.repeat(leaf, cfg.cv.seeds, axis=0), tree))

    return Member(
        decoder=of_split(pretrained.decoder),
        scalers=of_split(scalers),
        train=of_split(train),
        train_weight=of_split(train_weight),
        valid=of_split(valid),
        valid_weight=of_split(valid_weight),
        hyper=jax.tree.map(lambda *leaves: jnp.repeat(jnp.stack(leaves), n_trainings), *hypers),
        key=tile(keys(cfg, n_trainings, 1)),
    )


def init_states(cfg: Config, members: Member, *, n_xp: int, n_pixels: int) -> TrainState:
    """The states of all members before their first step ``[member, ...]``."""
    n_rows = members.train.shape[1]
    start = partial(init_state, cfg=cfg, n_xp=n_xp, n_pixels=n_pixels, n_rows=n_rows)
    return jax.jit(jax.vmap(start))(members.key)


@cache
def _epoch_of_all(cfg: Config, layout: Layout) -> Callable[..., Any]:
    """One epoch of all members, compiled for a config and a layout."""
    in_sequence = parallel.platform(layout) == "cpu"

    def epoch(
        states: TrainState, stars: Stars, members: Member, axis_name: str | None
    ) -> tuple[TrainState, EpochSummary]:
        def one(job: tuple[TrainState, Member]) -> tuple[TrainState, EpochSummary]:
            state, member = job
            return train_epoch(state, stars, member, cfg, axis_name)

        jobs = (states, members)
        return lax.map(one, jobs) if in_sequence else jax.vmap(one)(jobs)

    return parallel.over_devices(layout, epoch, donate=(0,))


def train_epochs(
    states: TrainState, stars: Stars, members: Member, cfg: Config, layout: Layout = ONE_DEVICE
) -> tuple[TrainState, EpochSummary]:
    """One epoch of every member, in one dispatch. The states are donated.

    All arguments lie where :func:`aspgap_jax.runtime.parallel.replicate` has put them.
    """
    return _epoch_of_all(cfg, layout)(states, stars, members)


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
    states: TrainState,
    stars: Stars,
    members: Member,
    cfg: Config,
    *,
    after_epoch: Callable[[TrainState, EpochSummary], None],
    layout: Layout = ONE_DEVICE,
) -> TrainState:
    """Train every member until it stops or has had its epochs.

    The states are donated. They can come from a checkpoint: training goes on at
    their epoch and gives what it would have given uninterrupted, on another number
    of devices to float tolerance.

    Args:
        states: one copy ``[member, ...]``.
        stars: shared by all.
        members: ``[member, ...]``.
        cfg: all settings.
        after_epoch: called with the states, as they lie on the devices (see
            :func:`aspgap_jax.runtime.parallel.one_copy`), and the epoch's diagnostics (host).
        layout: the devices.

    Returns:
        one copy of the states.

    Raises:
        Diverged: a loss, gradient or parameter is not finite; it, its member and
            its epoch are named.
    """
    done = int(states.epoch.max())
    going = bool((states.stale < cfg.train.patience).any())
    stars, members = parallel.replicate(layout, (stars, members))
    states = parallel.replicate(layout, states)
    while done < cfg.train.epochs and going:
        states, summary = train_epochs(states, stars, members, cfg, layout)
        summary = jax.device_get(parallel.one_copy(layout, summary))
        done += 1
        fault = describe_faults(summary, done)
        if fault is not None:
            raise Diverged(fault, parallel.one_copy(layout, states), done)
        after_epoch(states, summary)
        stale = np.asarray(parallel.one_copy(layout, states.stale))
        going = bool((stale < cfg.train.patience).any())
    return parallel.one_copy(layout, states)


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
