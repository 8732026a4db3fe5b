"""A training that begins where another has ended: fine-tuning on other stars, or other labels.

The encoder is the other's, with what makes its inputs of a spectrum (``scalers.xp``), so that
inputs mean the same. For the same labels everything else is its too: heads, label scalers, the
hallucinator and the frozen APOGEE decoder. For other labels the last layer of the XP decoder,
the label scalers and the second branch are fresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels
from aspgap_jax.config import Config
from aspgap_jax.errors import InputError
from aspgap_jax.model import Params, Variables
from aspgap_jax.prediction.bundle import BundleInfo, Networks, check_spectra, load_networks
from aspgap_jax.preprocessing.folds import Assignment, Split
from aspgap_jax.preprocessing.stars import TrainingSet

__all__ = ["Inherited", "inherit", "inherited_params", "members_of"]

INPUTS = ("magnitude_exponent", "representation", "components", "whitening")
BLOCKS = ("encoder", "latent", "activation")
DECODERS = ("xp_decoder", "hallucinator", "hallucinator_basis", "apogee_decoder")
"""Blocks that fit only where the labels are the same."""


class Inherited(NamedTuple):
    """What a run takes from the networks of another.

    Attributes:
        networks: one a training of the new run ``[member, ...]``.
        of_split: the scalers and APOGEE decoders in them are alike within a split: this one
            of each ``[split, ...]``.
        info: of the bundle.
        same_labels: whether the new run has its labels.
        words: what is done, in a line for the user.
    """

    networks: Networks
    of_split: Networks
    info: BundleInfo
    same_labels: bool
    words: str


def members_of(
    members: Sequence[Assignment], splits: Sequence[Split], seeds: int
) -> tuple[np.ndarray, bool]:
    """Which of a bundle's networks each training of a run begins with.

    Those of the same fold where the bundle has it, since they have not seen its stars;
    elsewhere those of its first split. Seeds take turns.

    Args:
        members: of the bundle.
        splits: of the run.
        seeds: trainings of each.

    Returns:
        Places among ``members`` ``[split, seed]``, and whether every split found its own.

    Examples:
        >>> folds = [Assignment(0, 0, 0), Assignment(0, 0, 1), Assignment(0, 1, 0)]
        >>> members_of(folds, [Split(0, 1), Split(0, 0)], 2)[0].tolist()
        [[2, 2], [0, 1]]
    """
    of = {
        split: [i for i, member in enumerate(members) if (member.repeat, member.fold) == split]
        for split in splits
    }
    first = [i for i, m in enumerate(members) if m[:2] == members[0][:2]]
    rows = [[(of[s] or first)[k % len(of[s] or first)] for k in range(seeds)] for s in splits]
    return np.array(rows), all(of.values())


def inherit(folder: Path, cfg: Config, stars: TrainingSet, splits: Sequence[Split]) -> Inherited:
    """The networks that a run begins with.

    Args:
        folder: of a bundle with its networks, or of a run.
        cfg: of the new run.
        stars: those of the new run.
        splits: of the new run.

    Returns:
        The networks, a line of words with them.

    Raises:
        InputError: there are none, they take other spectra, or the new run's blocks or inputs
            are others; the first difference is named.
    """
    networks, info = load_networks(folder)
    check_spectra(info, stars.representation, stars.xp.shape[1])
    old, same = info.config, info.label_names == labels.names(cfg.labels)
    blocks = (*BLOCKS, *(DECODERS if same else ()))
    for section, names in (("model", blocks), ("data", INPUTS)):
        here, there = getattr(cfg, section), getattr(old, section)
        for name in (field.name for field in fields(here) if field.name in names):
            if getattr(here, name) != getattr(there, name):
                raise InputError(
                    f"--init-from {folder}: {section}.{name} is {getattr(there, name)} there and "
                    f"{getattr(here, name)} here, so its networks do not fit: leave out that "
                    "option, the settings start from those of the bundle"
                )
    place, own = members_of(info.members, splits, cfg.cv.seeds)
    crossed = any(split.fold >= 0 for split in splits)
    unseen = own and crossed and cfg.cv.folds == old.cv.folds
    if crossed and own and not unseen:
        place, _ = members_of(info.members[:1], splits, cfg.cv.seeds)
    words = f"networks start from {folder}: its encoder, and its representation of spectra; " + (
        "its decoders, hallucinator and label scalers too"
        if same
        else "XP decoder but for its last layer; new heads, label scalers and second branch for "
        f"{', '.join(labels.names(cfg.labels))}"
    )
    if unseen:
        words += "; each fold from a network of the same fold, which has not seen its stars"
    elif crossed:
        words += "; they may have seen the stars of the folds: labels new to them are fairly tested"
    return Inherited(
        networks=_take(networks, place.ravel()),
        of_split=_take(networks, place[:, 0]),
        info=info,
        same_labels=same,
        words=words,
    )


def _take(networks: Networks, rows: np.ndarray) -> Networks:
    taken: Networks = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[rows]), networks)
    return taken


def inherited_params(fresh: Params, inherited: Inherited) -> Params:
    """Parameters to begin with.

    Args:
        fresh: of the new run ``[member, ...]``.
        inherited: of the other.

    Returns:
        Every layer that is taken over, and fresh ones in the place of the others.

    Raises:
        InputError: the shapes of the encoder, or of what else is taken, are others.
    """
    old, same = inherited.networks.params, inherited.same_labels
    layers = fresh.xp_decoder["params"]
    last = f"Dense_{len(layers) - 1}"
    theirs = old.xp_decoder["params"]
    decoder = {
        name: theirs[name] if name in theirs and _fits(theirs[name], layer) else layer
        for name, layer in layers.items()
    }
    if not same:
        decoder[last] = layers[last]
    return Params(
        encoder=_whole(old.encoder, fresh.encoder, "encoder"),
        hallucinator=_whole(old.hallucinator, fresh.hallucinator, "hallucinator")
        if same
        else fresh.hallucinator,
        xp_decoder={"params": decoder},
    )


def _fits(old: Variables, new: Variables) -> bool:
    return bool(jax.tree.map(jnp.shape, old) == jax.tree.map(jnp.shape, new))


def _whole(old: Variables, new: Variables, what: str) -> Variables:
    if _fits(old, new):
        return old
    shapes = [
        ", ".join("x".join(map(str, leaf.shape[1:])) for leaf in jax.tree.leaves(tree))
        for tree in (old, new)
    ]
    raise InputError(
        f"--init-from: the {what} there has the shapes {shapes[0]}, here {shapes[1]}: take the "
        "same widths (--model), or another bundle"
    )
