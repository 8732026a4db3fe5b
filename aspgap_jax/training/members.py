"""What a member is: one training of a fold, a repeat, a seed and hyperparameters.

The members of a run (paper section 4.1) are one pytree with a leading ``member`` axis,
so that :mod:`aspgap_jax.training.loop` trains them all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import model
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.config import Config, Data
from aspgap_jax.errors import InputError
from aspgap_jax.labels import LABELS, LabelSet, names
from aspgap_jax.model import Variables
from aspgap_jax.preprocessing.device import Stars
from aspgap_jax.preprocessing.folds import FoldRows
from aspgap_jax.preprocessing.representation import Whitened
from aspgap_jax.preprocessing.scaling import (
    LABEL_RANGE,
    RobustScaler,
    Scalers,
    fit_representation,
    fit_scaler,
    stack,
)
from aspgap_jax.runtime import parallel
from aspgap_jax.training.pretraining import Pretrained
from aspgap_jax.training.recipe import Hyper, hyper_of, keys
from aspgap_jax.typing import PerStar, Rows

__all__ = ["Member", "check_memory", "fit_scalers", "make_members"]

COPIES = 5
"""Parameters, gradient, two moments, and the best so far."""


class Member(NamedTuple):
    """What one training has for itself; all else it shares with the others.

    Attributes:
        decoder: the frozen APOGEE decoder, pre-trained for this fold.
        scalers: fitted to this fold's training stars.
        train: rows into :class:`Stars` ``[row]``.
        train_weight: 1, or 0 where ``train`` is padding ``[row]``.
        valid: rows held out for early stopping ``[row]``.
        valid_weight: 1, or 0 where ``valid`` is padding ``[row]``.
        hyper: weights of the objective, and the learning rate.
        key: typed key of everything random in this training.
    """

    decoder: Variables
    scalers: Scalers
    train: Rows
    train_weight: PerStar
    valid: Rows
    valid_weight: PerStar
    hyper: Hyper
    key: jax.Array


def fit_scalers(
    device: Stars,
    rows: tuple[FoldRows, ...],
    cfg: Data,
    labels: LabelSet = LABELS,
    inputs: RobustScaler | Whitened | None = None,
) -> Scalers:
    """Scalers of every split, fitted to its own training stars ``[split, ...]``.

    Args:
        device: all stars; fluxes normalised by magnitude.
        rows: of every split.
        cfg: the representation of a spectrum.
        labels: what the labels are.
        inputs: the representations of spectra, where they are not to be fitted ``[split, ...]``.

    Returns:
        Scalers of spectra and labels, stacked.
    """
    xp, error, truth = (np.asarray(a) for a in (device.xp, device.xp_error, device.labels))
    return stack(
        [
            Scalers(
                xp=fit_representation(xp[r.fit], error[r.fit], cfg)
                if inputs is None
                else jax.tree.map(lambda leaf, i=i: leaf[i], inputs),
                labels=fit_scaler(truth[r.fit], LABEL_RANGE, names=names(labels), gaps=True),
            )
            for i, r in enumerate(rows)
        ]
    )


def check_memory(cfg: Config, members: int, n_xp: int) -> None:
    """Refuse more members than memory can hold, before anything else is done.

    They are trained all at once. Counted is what a training has at the least: its
    parameters, their gradient, two moments of Adam and the best so far, and its decoder.

    Args:
        cfg: sizes of the networks.
        members: how many.
        n_xp: width of a spectrum.

    Raises:
        InputError: they need more than there is.
    """
    free = parallel.free_bytes()
    key = jax.random.key(0)

    def one() -> Any:
        decoder = model.init_apogee_decoder(key, cfg.model, n_pixels=N_PIXELS)
        params = model.init(key, cfg.model, n_xp=n_xp, n_pixels=N_PIXELS)
        return (params,) * COPIES, decoder

    leaves = jax.tree.leaves(jax.eval_shape(one))
    needed = members * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    if free is not None and needed > free:
        raise InputError(
            f"{members:,} trainings at once need {needed / 1e9:.1f} GB at the least, there are "
            f"{free / 1e9:.1f} GB: fewer --cv.folds, --cv.repeats or --cv.seeds, or smaller "
            "networks"
        )


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
        key=tile(keys(cfg.train.seed, n_trainings, 1)),
    )
