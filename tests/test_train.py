from __future__ import annotations

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aspgap_jax import crossval, model, train
from aspgap_jax.config import Config, Data, Loss, Model, Optim, Pretrain, Train
from aspgap_jax.stars import Stars, to_device
from made_up import made_up_stars

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
    optim=Optim(learning_rate=1e-2),
    data=Data(magnitude_exponent=0.4),
    train=Train(epochs=12, batch_size=32, patience=5, noise=1.0),
    pretrain=Pretrain(n_spectra=64, epochs=3, batch_size=16),
)
N_PIXELS = 30


@cache
def made_once(cfg: Config) -> tuple[Stars, train.Member]:
    """Device arrays and members of a small training on made-up stars."""
    stars = made_up_stars()
    splits = crossval.all_splits(cfg, folds=True)
    rows = crossval.split_rows(stars, cfg, splits)
    device = to_device(stars, cfg.data.magnitude_exponent)
    scalers = crossval.fit_scalers(device, rows)
    at = crossval.emulation_labels(stars, rows, cfg)
    scaled = (at - at.mean(axis=1, keepdims=True)) / at.std(axis=1, keepdims=True)
    mixture = np.random.default_rng(5).normal(size=(at.shape[-1], N_PIXELS))
    spectra = 0.9 + 0.03 * np.tanh(scaled @ mixture)
    pretrained = crossval.pretrain(spectra, at, scalers, cfg)
    return device, crossval.make_members(rows, scalers, pretrained, cfg.cv.seeds)


def prepare(cfg: Config = CFG) -> tuple[Stars, train.Member, train.TrainState]:
    """The same with fresh states, which are donated when trained."""
    device, members = made_once(replace(CFG, cv=cfg.cv))
    n_xp = device.xp.shape[1]
    return device, members, crossval.init_states(cfg, members, n_xp=n_xp, n_pixels=N_PIXELS)


def one(tree: object, m: int) -> object:
    return jax.tree.map(lambda leaf: leaf[m], tree)


def assert_close(a: object, b: object, **tolerance: float) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(x, y, **tolerance)


def run(states: train.TrainState, stars: Stars, members: train.Member, cfg: Config):
    history = []
    states = crossval.fit(
        states, stars, members, cfg, after_epoch=lambda _, summary: history.append(summary)
    )
    return states, history


def test_training_learns_what_is_to_be_learnt() -> None:
    cfg = replace(CFG, loss=Loss(), train=Train(epochs=60, batch_size=32, patience=60))
    stars, members, states = prepare(cfg)
    states, history = run(states, stars, members, cfg)
    first, last = history[0].valid_nll, history[-1].valid_nll
    # The labels spread over 0.25 of their range: sigma must have become much smaller.
    assert (last < first - 4.0).all()


def test_vmapped_folds_equal_folds_trained_one_by_one() -> None:
    stars, members, states = prepare()
    copies = jax.tree.map(jnp.copy, states)
    together, _ = run(states, stars, members, CFG)
    step = jax.jit(lambda state, member: train.train_epoch(state, stars, member, CFG))
    for m in range(2):
        state = one(copies, m)
        for _ in range(CFG.train.epochs):
            state, _ = step(state, one(members, m))
        assert int(state.step) > 30
        assert_close(one(together, m), state, rtol=2e-4, atol=2e-5)


def test_interrupted_training_goes_on_bit_for_bit() -> None:
    stars, members, states = prepare()
    whole, _ = run(states, stars, members, CFG)

    class Interrupt(Exception):
        pass

    kept: list[train.TrainState] = []

    def interrupt(states: train.TrainState, summary: train.EpochSummary) -> None:
        if int(states.epoch.max()) == 5:
            kept.append(jax.tree.map(jnp.copy, states))
            raise Interrupt

    _, _, states = prepare()
    with pytest.raises(Interrupt):
        crossval.fit(states, stars, members, CFG, after_epoch=interrupt)
    resumed, _ = run(kept[0], stars, members, CFG)
    assert_close(whole, resumed, rtol=0, atol=0)


def test_best_parameters_are_kept_and_a_stale_training_stands_still() -> None:
    cfg = replace(CFG, train=replace(CFG.train, patience=2, epochs=80), optim=Optim(0.05))
    stars, members, states = prepare(cfg)
    states, history = run(states, stars, members, cfg)
    assert len(history) < 80
    losses = np.array([h.valid_nll for h in history])
    for m in range(2):
        running = losses[~np.array([h.stopped[m] for h in history]), m]
        np.testing.assert_array_equal(states.best_loss[m], running.min())
        # Patience 2: the two last epochs before the stop were no better.
        assert running.argmin() == len(running) - 3
        member = one(members, m)
        batch = train.make_batch(stars, member.scalers, member.valid, member.valid_weight)
        again = train.validation_loss(one(states.best_params, m), batch, cfg)
        np.testing.assert_allclose(again, running.min(), rtol=1e-5)


def test_padding_has_no_influence() -> None:
    stars, members, states = prepare()
    member, state = one(members, 0), one(states, 0)
    cfg = replace(CFG, model=replace(CFG.model, dropout=0.0), train=replace(CFG.train, noise=0.0))
    optimizer = train.make_optimizer(cfg.optim, 10)
    batch = train.make_batch(stars, member.scalers, member.train[:24], jnp.ones(24))
    padded = train.make_batch(
        stars, member.scalers, member.train[:32], (jnp.arange(32) < 24).astype(jnp.float32)
    )
    padded = padded._replace(labels=jnp.where(padded.weight[:, None] > 0, padded.labels, 7.0))
    step = jax.jit(lambda batch: train.train_step(state, batch, member, optimizer, cfg))
    plain, (value, _) = step(batch)
    with_padding, (value_padded, _) = step(padded)
    np.testing.assert_allclose(value, value_padded, rtol=1e-5)
    assert_close(plain.params, with_padding.params, rtol=1e-4, atol=1e-5)


def test_four_devices_take_the_step_of_one() -> None:
    """With plain gradient descent: Adam would hide a gradient too large by a factor."""
    stars, members, states = prepare()
    member, state = one(members, 0), one(states, 0)
    cfg = replace(CFG, model=replace(CFG.model, dropout=0.0), train=replace(CFG.train, noise=0.0))
    optimizer = optax.sgd(0.01)
    state = state._replace(opt_state=optimizer.init(state.params))
    weight = (jnp.arange(32) != 5).astype(jnp.float32)
    batch = train.make_batch(stars, member.scalers, member.train[:32], weight)
    single, (value, terms) = train.train_step(state, batch, member, optimizer, cfg)

    shards = jax.tree.map(lambda x: x.reshape(4, 8, *x.shape[1:]), batch)
    step = jax.pmap(
        lambda shard: train.train_step(state, shard, member, optimizer, cfg, "device"),
        axis_name="device",
    )
    many, (values, many_terms) = step(shards)
    np.testing.assert_allclose(values, np.full(4, value), rtol=1e-5)
    np.testing.assert_allclose(many_terms.kl, np.full(4, terms.kl), rtol=1e-4)
    for d in range(4):
        assert_close(single.params, one(many.params, d), rtol=1e-4, atol=1e-6)


def test_penalties_reach_the_trainable_blocks_alone() -> None:
    """With Lambda_1 alone in the objective, SGD moves each parameter by its sign."""
    stars, members, states = prepare()
    member, state = one(members, 0), one(states, 0)
    optimizer = optax.sgd(1.0)
    state = state._replace(opt_state=optimizer.init(state.params))
    batch = train.make_batch(stars, member.scalers, member.train[:32], jnp.ones(32))
    quiet = replace(CFG, model=replace(CFG.model, dropout=0.0), train=replace(CFG.train, noise=0.0))
    n_stars = float(member.train_weight.sum())
    with_l1, without = (
        train.train_step(state, batch, member, optimizer, replace(quiet, loss=Loss(l1=l1)))[
            0
        ].params
        for l1 in (0.5, 0.0)
    )
    shift = jax.tree.map(lambda a, b: b - a, with_l1, without)
    expected = jax.tree.map(lambda p: 0.5 / n_stars * jnp.sign(p), state.params)
    assert_close(shift, expected, atol=2e-6)


def test_the_hallucinator_learns_through_the_frozen_decoder() -> None:
    stars, members, states = prepare()
    member, state = one(members, 0), one(states, 0)
    batch = train.make_batch(stars, member.scalers, member.train[:32], jnp.ones(32))

    def branch(params: model.Params) -> jax.Array:
        outputs = model.apply(CFG.model, params, member.decoder, batch.xp)
        return jnp.square(outputs.apogee_mean - batch.labels).mean()

    gradient = jax.grad(branch)(state.params)
    assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(gradient.hallucinator)) > 0
    assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(gradient.encoder)) > 0
    assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(gradient.xp_decoder)) == 0


def test_optimiser_clips_before_it_updates_and_decays_as_pytorch() -> None:
    params = {"w": jnp.array([2.0, -4.0])}
    huge = {"w": jnp.array([3e3, -4e3])}
    clipped = train.make_optimizer(Optim(learning_rate=1.0, clip_norm=5.0), 10)
    state = clipped.init(params)
    _, state = clipped.update(huge, state, params)
    moment = next(s for s in jax.tree.leaves(state) if s.shape == (2,))
    # First moment: 0.1 x the gradient, which has norm 5 and not 5,000.
    np.testing.assert_allclose(moment, [0.3, -0.4], rtol=1e-5)
    decayed = train.make_optimizer(Optim(learning_rate=1.0, weight_decay=0.5), 10)
    _, state = decayed.update({"w": jnp.zeros(2)}, decayed.init(params), params)
    moment = next(s for s in jax.tree.leaves(state) if s.shape == (2,))
    np.testing.assert_allclose(moment, [0.1, -0.2], rtol=1e-5)


def test_cosine_schedule_ends_at_zero() -> None:
    optimizer = train.make_optimizer(Optim(learning_rate=0.1, schedule="cosine"), 4)
    params = {"w": jnp.array([0.0])}
    state = optimizer.init(params)
    steps = []
    for _ in range(5):
        updates, state = optimizer.update({"w": jnp.array([1.0])}, state, params)
        steps.append(float(-updates["w"][0]))
    np.testing.assert_allclose(
        steps, 0.05 * (1 + np.cos(np.pi * np.arange(5) / 4)), rtol=1e-3, atol=1e-6
    )


def test_a_term_that_is_not_finite_is_named() -> None:
    stars, members, states = prepare()
    states = states._replace(params=jax.tree.map(lambda p: p * 1e20, states.params))
    with pytest.raises(crossval.InputError, match=r"epoch 1: .*l1.*learning-rate"):
        run(states, stars, members, CFG)
