"""Which stars train, which stop the training, which are predicted.

Folds are split by star, by a hash of the Gaia source id, so that they depend
on no order of rows; balanced resampling draws, with replacement, inside the
training stars of a fold, so that no copy of a star stands on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from aspgap_jax import labels
from aspgap_jax.config import Config, Data
from aspgap_jax.errors import InputError
from aspgap_jax.labels import LabelSet
from aspgap_jax.preprocessing.stars import TrainingSet

__all__ = [
    "ALPHA_M_EDGES",
    "M_H_EDGES",
    "Assignment",
    "FoldRows",
    "Split",
    "all_splits",
    "assignments",
    "balanced_rows",
    "fold_of",
    "split",
    "split_rows",
    "unseen_stars",
]

# Section 2.2. The first edge is printed "2.0"; the sequence shows that -2.0 is meant.
# fmt: off
M_H_EDGES = np.array([
    -2.0, -1.8, -1.6, -1.4, -1.2, -1.0, -0.9, -0.8, -0.7, -0.6, -0.5,
    -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.6,
])
# fmt: on
ALPHA_M_EDGES = np.array([-0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4])

MIN_STARS = 20
"""Fewer training or validation stars than this fit no scaler and stop no training."""

_VALIDATION_SALT = 1 << 32
"""Keeps the hash that holds out validation stars apart from those of the folds."""


class FoldRows(NamedTuple):
    """Row numbers of a fold, into the arrays of all stars.

    Attributes:
        train: rows to train on; a row can occur many times after balancing.
        fit: the distinct training rows, to which scalers are fitted.
        valid: rows held out of them for early stopping.
        test: rows of the fold itself, predicted and never seen in training.
    """

    train: np.ndarray
    fit: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def _hash(source_id: np.ndarray, salt: int) -> np.ndarray:
    """splitmix64 (Steele et al. 2014) of the id and a salt: uint64 ``[star]``."""
    with np.errstate(over="ignore"):
        z = np.asarray(source_id).astype(np.uint64) + np.uint64(salt) * np.uint64(
            0x9E3779B97F4A7C15
        )
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return z ^ (z >> np.uint64(31))


def fold_of(source_id: np.ndarray, n_folds: int, repeat: int = 0) -> np.ndarray:
    """The fold of each star, a hash of its source id: the same in any file, in any order.

    Args:
        source_id: Gaia source ids ``[star]``.
        n_folds: how many.
        repeat: another one gives another, independent split.

    Returns:
        int16 ``[star]``, 0 to ``n_folds`` - 1.

    Examples:
        >>> ids = np.array([4295806720, 34361129088, 38655544960])
        >>> bool((fold_of(ids[::-1], 2) == fold_of(ids, 2)[::-1]).all())
        True
    """
    return (_hash(source_id, repeat + 1) % np.uint64(n_folds)).astype(np.int16)


def balanced_rows(
    m_h: np.ndarray, alpha_m: np.ndarray, draws_per_bin: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows drawn evenly from every ([M/H], [alpha/M]) bin that has stars.

    Args:
        m_h: ``[star]``, dex.
        alpha_m: ``[star]``, dex.
        draws_per_bin: draws with replacement from each bin (paper: 1,000).
        rng: source of the draws.

    Returns:
        Row numbers, ``draws_per_bin`` for each bin that is not empty. Stars
        outside the edges are never drawn.
    """
    i = np.digitize(m_h, M_H_EDGES) - 1
    j = np.digitize(alpha_m, ALPHA_M_EDGES) - 1
    n_i, n_j = len(M_H_EDGES) - 1, len(ALPHA_M_EDGES) - 1
    inside = (i >= 0) & (i < n_i) & (j >= 0) & (j < n_j)
    bins = np.where(inside, i * n_j + j, -1)
    drawn = [
        rng.choice(np.flatnonzero(bins == b), draws_per_bin)
        for b in range(n_i * n_j)
        if (bins == b).any()
    ]
    return np.concatenate(drawn) if drawn else np.empty(0, np.int64)


def split(
    source_id: np.ndarray,
    truth: np.ndarray,
    in_test: np.ndarray,
    cfg: Data,
    *,
    seed: int,
    table: LabelSet = labels.LABELS,
) -> FoldRows:
    """Divide the stars for one training.

    Args:
        source_id: ``[star]``.
        truth: labels ``[star, label]``, NaN where missing. Balancing draws no star that
            lacks one of its two.
        in_test: stars that this training must not see ``[star]``.
        cfg: validation share and balancing.
        seed: of the balancing draws.
        table: what the labels are.

    Returns:
        Rows to train on, to fit to, to validate with and to test.

    Raises:
        InputError: too few stars are left to train or to validate, or have a label.
    """
    valid = ~in_test & _for_validation(source_id, cfg)
    fit = np.flatnonzero(~in_test & ~valid)
    for what, count in (("training", len(fit)), ("validation", int(valid.sum()))):
        if count < MIN_STARS:
            raise InputError(
                f"{count} {what} stars in a fold, of {len(source_id)} stars in all, at least "
                f"{MIN_STARS} are needed: pass more stars, or change --cv.folds or "
                "--data.validation-fraction"
            )
    for name, count in zip(labels.names(table), np.isfinite(truth[fit]).sum(axis=0), strict=True):
        if count < MIN_STARS:
            raise InputError(
                f"{count} training stars of a fold have {name}, at least {MIN_STARS} are needed: "
                "pass more stars that have it"
            )
    train = fit
    if cfg.balance:
        if {"m_h", "alpha_m"} - set(labels.names(table)):
            raise InputError(
                "--data.balance is in bins of m_h and alpha_m, which are not among the labels: "
                "switch it off"
            )
        rows = balanced_rows(
            truth[fit, labels.index("m_h", table)],
            truth[fit, labels.index("alpha_m", table)],
            cfg.draws_per_bin,
            np.random.default_rng(seed),
        )
        if len(rows) == 0:
            raise InputError(
                "no training star inside the ([M/H], [alpha/M]) bins: switch off --data.balance"
            )
        train = fit[rows]
    return FoldRows(train, fit, np.flatnonzero(valid), np.flatnonzero(in_test))


def _for_validation(source_id: np.ndarray, cfg: Data) -> np.ndarray:
    """The stars that stop a training, where they are not tested by it ``[star]``."""
    scale = np.float64(2.0**64)
    place = _hash(source_id, _VALIDATION_SALT).astype(np.float64) / scale
    return place < cfg.validation_fraction


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

    Returns:
        Repeat by repeat, fold by fold.
    """
    if not folds:
        return (Split(0, -1),)
    return tuple(
        Split(repeat, fold) for repeat in range(cfg.cv.repeats) for fold in range(cfg.cv.folds)
    )


def assignments(cfg: Config, splits: tuple[Split, ...]) -> tuple[Assignment, ...]:
    """All trainings of a run, in member order: the seeds of a split stand together.

    Args:
        cfg: number of seeds.
        splits: of :func:`all_splits`.

    Returns:
        One a training.
    """
    return tuple(Assignment(*split, seed) for split in splits for seed in range(cfg.cv.seeds))


def _in_test(source_id: np.ndarray, of: Split | Assignment, cfg: Config) -> np.ndarray:
    """The stars that a split predicts and must not train on ``[star]``.

    Args:
        source_id: Gaia source ids ``[star]``.
        of: the split.
        cfg: number of folds.

    Returns:
        Mask; all false for a split that trains on all stars.
    """
    if of.fold < 0:
        return np.zeros(len(source_id), bool)
    return np.asarray(fold_of(source_id, cfg.cv.folds, of.repeat) == of.fold)


def unseen_stars(
    source_id: Int64[np.ndarray, " star"], members: Sequence[Assignment], cfg: Config
) -> Bool[np.ndarray, "member star"]:
    """Which stars took part in no gradient step of which member, and so can test it.

    Of a fold, its own stars. Of a training on all stars, those held out for early
    stopping: they did choose the epoch.

    Args:
        source_id: Gaia source ids.
        members: all trainings.
        cfg: of the trainings: number of folds, validation share.

    Returns:
        ``[member, star]``.

    Examples:
        Of two members of two folds, each star tests one:

        >>> from aspgap_jax.config import PRESETS
        >>> members = [Assignment(repeat=0, fold=0, seed=0), Assignment(repeat=0, fold=1, seed=0)]
        >>> unseen_stars(np.arange(1, 9) * 2**35, members, PRESETS["compact"]).sum(axis=0).tolist()
        [1, 1, 1, 1, 1, 1, 1, 1]
    """
    return np.stack(
        [
            _for_validation(source_id, cfg.data)
            if member.fold < 0
            else _in_test(source_id, member, cfg)
            for member in members
        ]
    )


def split_rows(stars: TrainingSet, cfg: Config, splits: tuple[Split, ...]) -> tuple[FoldRows, ...]:
    """Rows of every split. Raises ``InputError`` where a fold has too few stars.

    Args:
        stars: the training set.
        cfg: folds, validation share, balancing and seed.
        splits: of :func:`all_splits`.

    Returns:
        Rows a split, in the same order.

    Raises:
        InputError: a fold has too few stars.
    """
    return tuple(
        split(
            stars.source_id,
            stars.labels,
            _in_test(stars.source_id, of, cfg),
            cfg.data,
            seed=cfg.train.seed + of.repeat,
            table=stars.label_table,
        )
        for of in splits
    )
