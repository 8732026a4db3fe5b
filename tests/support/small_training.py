"""A small training on made-up stars, for the tests of all that trains."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import model
from aspgap_jax.config import Config, Data, Loss, Model, Optim, Train
from aspgap_jax.preprocessing import folds
from aspgap_jax.preprocessing.device import Stars, to_device
from aspgap_jax.runtime import parallel
from aspgap_jax.runtime.parallel import Layout
from aspgap_jax.training import members as crossval
from aspgap_jax.training import step as train
from aspgap_jax.training.loss import Hyper
from aspgap_jax.training.pretraining import Pretrained
from support.made_up import made_up_stars

CFG = Config(
    model=Model(
        encoder=(16,),
        latent=8,
        hallucinator=(8,),
        xp_decoder=(8,),
        apogee_decoder=(6,),
        dropout=0.1,
    ),
    loss=Loss(l1=0.01, kl=20.0),
    optim=Optim(learning_rate=1e-2, schedule="plateau", plateau_factor=0.3, plateau_patience=2),
    data=Data(magnitude_exponent=0.4),
    train=Train(epochs=40, batch_size=30, patience=8, noise=1.0),
)
"""Every term of the loss is on, and so are dropout and noise. One config, so that the
tests share one compiled program; they differ in what is traced."""

N_PIXELS = 30


@cache
def _made(cfg: Config) -> tuple[Stars, tuple, object, Pretrained]:
    stars = made_up_stars()
    rows = folds.split_rows(stars, cfg, folds.all_splits(cfg, folds=True))
    device = to_device(stars, cfg.data.magnitude_exponent)
    scalers = crossval.fit_scalers(device, rows, cfg.data)
    # An arbitrary instrument: nothing here depends on what the decoder has learnt.
    decoders = jax.vmap(lambda key: model.init_apogee_decoder(key, cfg.model, n_pixels=N_PIXELS))(
        jax.random.split(jax.random.key(7), len(rows))
    )
    nothing = jnp.zeros(0)
    return device, rows, scalers, Pretrained(decoders, nothing, nothing)


@cache
def _started(
    cfg: Config, hypers: tuple[tuple[float, ...], ...]
) -> tuple[train.Member, train.TrainState]:
    device, *rest = _made(replace(CFG, cv=cfg.cv))
    traced = [Hyper(*(jnp.float32(value) for value in values)) for values in hypers]
    members = crossval.make_members(*rest, cfg, traced)
    n_xp = device.xp.shape[1]
    return members, crossval.init_states(cfg, members, n_xp=n_xp, n_pixels=N_PIXELS)


EPOCHS = 2
"""Of 12 steps each: 24 steps of 30 stars, which four devices cannot share evenly."""


def prepare(
    cfg: Config = CFG, hypers: tuple[tuple[float, ...], ...] = ()
) -> tuple[Stars, train.Member, train.TrainState]:
    """Device arrays, members, and fresh states, which are donated when trained."""
    members, states = _started(cfg, hypers)
    return _made(replace(CFG, cv=cfg.cv))[0], members, jax.tree.map(jnp.copy, states)


def with_hyper(members: train.Member, **values: float) -> train.Member:
    """Members with other traced settings."""
    hyper = members.hyper
    changed = {name: jnp.full_like(hyper.l1, value) for name, value in values.items()}
    return members._replace(hyper=hyper._replace(**changed))


def run(
    states: train.TrainState, stars: Stars, members: train.Member, cfg: Config
) -> tuple[train.TrainState, list[train.EpochSummary]]:
    """Train to the end; every epoch's diagnostics beside the result."""
    history: list[train.EpochSummary] = []
    states = crossval.fit(
        states, stars, members, cfg, after_epoch=lambda _, summary: history.append(summary)
    )
    return states, history


def one(tree: object, m: int) -> object:
    """The m-th of a stack."""
    return jax.tree.map(lambda leaf: leaf[m], tree)


def numbers(leaf: object) -> np.ndarray:
    """A leaf as numbers, typed keys too."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


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


def trained(layout: Layout, cfg: Config = CFG) -> train.TrainState:
    """Parameters after 24 steps on a layout: one copy."""
    stars, members, states = prepare(cfg)
    states, stars, members = parallel.replicate(layout, (states, stars, members))
    for _ in range(EPOCHS):
        states, _ = crossval.train_epochs(states, stars, members, cfg, layout)
    return parallel.one_copy(layout, states)


def flat(states: train.TrainState) -> np.ndarray:
    """Parameters and the best validation losses as one vector."""
    leaves = jax.tree.leaves((states.params, states.best_loss))
    return np.concatenate([np.ravel(leaf) for leaf in leaves])
