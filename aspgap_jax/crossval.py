"""Folds x repeats x seeds as one vmapped training (paper section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels as label_table
from aspgap_jax.config import Config
from aspgap_jax.errors import InputError
from aspgap_jax.pretraining import Pretrained, draw_labels, pretrain_decoder
from aspgap_jax.sampling import FoldRows, fold_of, split
from aspgap_jax.scaling import (
    LABEL_RANGE,
    SPECTRUM_RANGE,
    RobustScaler,
    Scalers,
    fit_scaler,
    stack,
)
from aspgap_jax.stars import Stars, TrainingSet
from aspgap_jax.train import EpochSummary, Member, TrainState, init_state, train_epoch

__all__ = [
    "Assignment",
    "Split",
    "all_splits",
    "assignments",
    "emulation_labels",
    "fit",
    "fit_scalers",
    "in_test",
    "init_states",
    "make_members",
    "pretrain",
    "split_rows",
]


class Split(NamedTuple):
    """One division of the stars. ``fold`` -1 trains on all of them."""

    repeat: int
    fold: int


class Assignment(NamedTuple):
    """Which training a member is: a split, and the seed of its networks."""

    repeat: int
    fold: int
    seed: int


def all_splits(cfg: Config, *, folds: bool) -> tuple[Split, ...]:
    """The splits of a run.

    Args:
        cfg: number of folds and repeats.
        folds: cross-validate; otherwise one split that trains on all stars.
    """
    if not folds:
        return (Split(0, -1),)
    return tuple(
        Split(repeat, fold) for repeat in range(cfg.cv.repeats) for fold in range(cfg.cv.folds)
    )


def assignments(cfg: Config, splits: tuple[Split, ...]) -> tuple[Assignment, ...]:
    """All trainings of a run, in member order: the seeds of a split stand together."""
    return tuple(Assignment(*split, seed) for split in splits for seed in range(cfg.cv.seeds))


def in_test(source_id: np.ndarray, of: Split | Assignment, cfg: Config) -> np.ndarray:
    """The stars that a split predicts and must not train on ``[star]``."""
    if of.fold < 0:
        return np.zeros(len(source_id), bool)
    return fold_of(source_id, cfg.cv.folds, of.repeat) == of.fold


def split_rows(stars: TrainingSet, cfg: Config, splits: tuple[Split, ...]) -> tuple[FoldRows, ...]:
    """Rows of every split. Raises ``InputError`` where a fold has too few stars."""
    return tuple(
        split(
            stars.source_id,
            stars.labels,
            in_test(stars.source_id, of, cfg),
            cfg.data,
            seed=cfg.train.seed + of.repeat,
        )
        for of in splits
    )


def fit_scalers(device: Stars, rows: tuple[FoldRows, ...]) -> Scalers:
    """Scalers of every split, fitted to its own training stars ``[split, ...]``."""
    xp, truth = np.asarray(device.xp), np.asarray(device.labels)
    return stack(
        [
            Scalers(
                xp=fit_scaler(xp[r.fit], SPECTRUM_RANGE),
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


def pretrain(spectra: np.ndarray, at: np.ndarray, scalers: Scalers, cfg: Config) -> Pretrained:
    """Pre-train a decoder for every split.

    Args:
        spectra: normalised flux ``[split, spectrum, pixel]``.
        at: their labels, physical ``[split, spectrum, label]``.
        scalers: of every split.
        cfg: all settings.
    """
    scaled = jax.vmap(RobustScaler.transform)(scalers.labels, jnp.asarray(at, jnp.float32))
    run = jax.vmap(partial(pretrain_decoder, cfg=cfg))
    return run(keys(cfg, len(spectra), 0), jnp.asarray(spectra, jnp.float32), scaled)


def _pad(rows: list[np.ndarray]) -> tuple[jax.Array, jax.Array]:
    """Row numbers of unequal counts as a rectangle, and 0 where it is padding."""
    width = max(len(r) for r in rows)
    padded = np.stack([np.pad(r, (0, width - len(r)), mode="edge") for r in rows])
    weight = np.stack([np.arange(width) < len(r) for r in rows])
    return jnp.asarray(padded, jnp.int32), jnp.asarray(weight, jnp.float32)


def make_members(
    rows: tuple[FoldRows, ...], scalers: Scalers, pretrained: Pretrained, n_seeds: int
) -> Member:
    """All members as one pytree with a leading ``member`` axis.

    The seeds of a split share its rows, its scalers and its APOGEE decoder; they
    differ in their networks and in the order of their batches.
    """
    train, train_weight = _pad([r.train for r in rows])
    valid, valid_weight = _pad([r.valid for r in rows])
    splits = Member(pretrained.decoder, scalers, train, train_weight, valid, valid_weight)
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, n_seeds, axis=0), splits)


def init_states(cfg: Config, members: Member, *, n_xp: int, n_pixels: int) -> TrainState:
    """The states of all members before their first step ``[member, ...]``."""
    n_members, n_rows = members.train.shape
    start = partial(init_state, cfg=cfg, n_xp=n_xp, n_pixels=n_pixels, n_rows=n_rows)
    return jax.jit(jax.vmap(start))(keys(cfg, n_members, 1))


@partial(jax.jit, static_argnames="cfg", donate_argnums=0)
def train_epochs(
    states: TrainState, stars: Stars, members: Member, cfg: Config
) -> tuple[TrainState, EpochSummary]:
    """One epoch of every member, in one dispatch. The states are donated."""
    return jax.vmap(partial(train_epoch, cfg=cfg), in_axes=(0, None, 0))(states, stars, members)


def fit(
    states: TrainState,
    stars: Stars,
    members: Member,
    cfg: Config,
    *,
    after_epoch: Callable[[TrainState, EpochSummary], None],
) -> TrainState:
    """Train every member until it stops or has had its epochs.

    The states are donated. They can come from a checkpoint: training goes on at
    their epoch and gives what it would have given uninterrupted.

    Args:
        states: ``[member, ...]``.
        stars: shared by all.
        members: ``[member, ...]``.
        cfg: all settings.
        after_epoch: called with the states and the epoch's diagnostics (host).

    Raises:
        InputError: a term of the loss is not finite; it and its epoch are named.
    """
    jax.jit(jax.vmap(partial(train_epoch, cfg=cfg), in_axes=(0, None, 0)), donate_argnums=0)
    done = int(states.epoch.max())
    stopped = bool((states.stale >= cfg.train.patience).all())
    while done < cfg.train.epochs and not stopped:
        states, summary = train_epochs(states, stars, members, cfg)
        summary = jax.device_get(summary)
        done += 1
        check_finite(summary, done)
        after_epoch(states, summary)
        stopped = bool((states.stale >= cfg.train.patience).all())
    return states


def check_finite(summary: EpochSummary, epoch: int) -> None:
    """Raise where a term of the loss is not finite."""
    values = {**summary.terms._asdict(), "validation loss": summary.valid_nll}
    bad = [name for name, value in values.items() if not np.isfinite(value).all()]
    if bad:
        raise InputError(
            f"epoch {epoch}: {', '.join(bad)} not finite; the last checkpoint is kept: "
            "lower --optim.learning-rate or set --optim.clip-norm"
        )
