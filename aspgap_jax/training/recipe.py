"""A config as a training takes it: what is compiled in, what is traced, what is random.

Every setting of the joint training stands in one of the two, never in both: trainings
that differ in their :class:`Hyper` run the same program.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from aspgap_jax.config import Config, LossForm, Model, OptimForm, TrainForm
from aspgap_jax.labels import names
from aspgap_jax.typing import Scalar

__all__ = ["Hyper", "Recipe", "hyper_of", "keys", "recipe_of"]

Form = TypeVar("Form", LossForm, OptimForm, TrainForm)


@dataclass(frozen=True)
class Recipe:
    """What a training is compiled for; a static argument of ``jax.jit``.

    Attributes:
        model: widths of the blocks.
        loss: eq. 2-4 without the weights.
        optim: what surrounds Adam.
        train: epochs, batches, early stopping, noise.
        taught: whether the APOGEE decoder knows a label, a label; ``None``: it knows all.
    """

    model: Model
    loss: LossForm
    optim: OptimForm
    train: TrainForm
    taught: tuple[bool, ...] | None = None


class Hyper(NamedTuple):
    """What is traced: scalars, or one value a member ``[member]``.

    Attributes:
        alpha_xp: alpha_1, weight of the XP decoder's residuals.
        alpha_apogee: alpha_2, weight of the hallucinator's residuals.
        l1: Lambda_1.
        kl: Lambda_2.
        prior: weight of 1/2 |z|^2.
        learning_rate: initial learning rate.
    """

    alpha_xp: Scalar
    alpha_apogee: Scalar
    l1: Scalar
    kl: Scalar
    prior: Scalar
    learning_rate: Scalar


def recipe_of(cfg: Config) -> Recipe:
    """The settings of a config that are compiled in.

    Args:
        cfg: all settings.

    Returns:
        A static argument of ``jit``: configs that differ in nothing else share a program.

    Examples:
        Trainings that differ in the weights of the loss alone share a compiled program:

        >>> from dataclasses import replace
        >>> cfg = Config()
        >>> recipe_of(cfg) == recipe_of(replace(cfg, loss=replace(cfg.loss, l1=0.5)))
        True
    """
    return Recipe(
        model=cfg.model,
        loss=_form(LossForm, cfg.loss),
        optim=_form(OptimForm, cfg.optim),
        train=_form(TrainForm, cfg.train),
        taught=None
        if cfg.taught is None
        else tuple(name in cfg.taught for name in names(cfg.labels)),
    )


def _form(kind: type[Form], settings: Form) -> Form:
    """``settings``, of a subclass of ``kind``, without what the subclass adds."""
    values: dict[str, Any] = {field.name: getattr(settings, field.name) for field in fields(kind)}
    return kind(**values)


def hyper_of(cfg: Config) -> Hyper:
    """The settings of a config that are traced, as float32 scalars.

    Args:
        cfg: all settings.

    Returns:
        Weights of the loss and the learning rate.
    """
    loss = cfg.loss
    weights = (loss.alpha_xp, loss.alpha_apogee, loss.l1, loss.kl, loss.prior)
    return Hyper(*(jnp.float32(value) for value in (*weights, cfg.optim.learning_rate)))


def keys(seed: int, count: int, purpose: int) -> jax.Array:
    """Typed keys ``[count]``.

    Args:
        seed: of a run.
        count: how many; the first ones do not depend on it.
        purpose: another set for every purpose.

    Returns:
        One a training.
    """
    key = jax.random.fold_in(jax.random.key(seed), purpose)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))
