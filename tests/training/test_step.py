from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aspgap_jax import basis, model
from aspgap_jax.config import OptimForm
from aspgap_jax.training.optimizer import make_optimizer
from aspgap_jax.training.recipe import hyper_of, recipe_of
from aspgap_jax.training.step import make_batch, train_step
from support.small_training import CFG, assert_close, one, prepare

QUIET = recipe_of(
    replace(CFG, model=replace(CFG.model, dropout=0.0), train=replace(CFG.train, noise=0.0))
)
# One program each: as single operations they would take longer to compile.
batch_of = jax.jit(make_batch)


def test_padding_has_no_influence() -> None:
    stars, members, states = prepare()
    member, state = one(members, 0), one(states, 0)
    optimizer = make_optimizer(CFG.optim, 10, CFG.optim.learning_rate)
    rows, real = np.asarray(member.train), (np.arange(32) < 24).astype(np.float32)
    batch = batch_of(stars, member.scalers, rows[:24], np.ones(24, np.float32))
    padded = batch_of(stars, member.scalers, rows[:32], real)
    spoilt = np.where(real[:, None] > 0, padded.labels, 7.0).astype(np.float32)
    padded = padded._replace(labels=spoilt)
    step = jax.jit(lambda batch: train_step(state, batch, member, optimizer, QUIET))
    plain, one_step = step(batch)
    with_padding, padded_step = step(padded)
    np.testing.assert_allclose(one_step.total, padded_step.total, rtol=1e-5)
    assert_close(plain.params, with_padding.params, rtol=1e-4, atol=1e-5)


def test_missing_labels_are_no_nan_to_the_gradient_and_move_no_output() -> None:
    """Of a star without a label, and of a label that no star of the batch has."""
    stars, members, states = prepare()
    member, state = one(members, 0), one(states, 0)
    labels = np.array(stars.labels)
    labels[np.asarray(member.train[:8]), 1] = np.nan
    labels[:, 3] = np.nan
    gaps = stars._replace(labels=jnp.asarray(labels), measured=jnp.asarray(np.isfinite(labels)))
    batch = make_batch(gaps, member.scalers, member.train[:32], jnp.ones(32))
    assert np.isfinite(batch.labels).all()
    optimizer = optax.sgd(1.0)
    state = state._replace(opt_state=optimizer.init(state.params))
    quiet = replace(CFG, model=replace(CFG.model, dropout=0.0), loss=replace(CFG.loss, l1=0.0))
    member = member._replace(hyper=hyper_of(quiet))
    new, summary = jax.jit(
        lambda batch: train_step(state, batch, member, optimizer, recipe_of(quiet))
    )(batch)
    assert np.isfinite(summary.total)
    before, after = (s.params.xp_decoder["params"]["Dense_1"]["kernel"] for s in (state, new))
    moved = np.abs(np.asarray(after - before)).max(axis=0)
    # Mean and ln sigma of every label: those of the absent one stay where they are.
    assert (moved > 0).tolist() == [True, True, True, False] * 2


def test_penalties_reach_the_trainable_blocks_alone() -> None:
    """With Lambda_1 alone in the objective, SGD moves each parameter by its sign."""
    stars, members, states = prepare()
    member, state = one(members, 0), one(states, 0)
    optimizer = optax.sgd(1.0)
    state = state._replace(opt_state=optimizer.init(state.params))
    batch = batch_of(stars, member.scalers, np.asarray(member.train)[:32], np.ones(32, np.float32))
    n_stars = float(np.asarray(member.train_weight).sum())
    step = jax.jit(lambda member: train_step(state, batch, member, optimizer, QUIET)[0])
    hyper = hyper_of(CFG)
    with_l1, without = (
        step(member._replace(hyper=hyper._replace(l1=np.float32(l1)))).params for l1 in (0.5, 0.0)
    )
    shift = jax.tree.map(lambda a, b: np.asarray(b) - np.asarray(a), with_l1, without)
    expected = jax.tree.map(lambda p: 0.5 / n_stars * np.sign(np.asarray(p)), state.params)
    assert_close(shift, expected, atol=2e-6)


def test_a_basis_is_out_of_reach_of_training_and_the_prior_pulls_the_components() -> None:
    """With the prior alone in the objective, |z| shrinks; frozen parts are no parameters."""
    stars, members, states = prepare()
    cfg = replace(CFG, train=replace(CFG.train, noise=0.0), model=replace(CFG.model, dropout=0.0))
    member = one(members, 0)
    rng = np.random.default_rng(0)
    mean, vectors = rng.normal(size=30), rng.normal(size=(3, 30))
    frozen = basis.with_basis(member.decoder, *map(jnp.float32, (mean, vectors)))
    nothing = jnp.zeros(())
    hyper = hyper_of(cfg)._replace(alpha_apogee=nothing, l1=nothing, kl=nothing)
    member = member._replace(decoder=frozen, hyper=hyper._replace(prior=jnp.float32(1.0)))
    params = model.init(jax.random.key(0), cfg.model, n_xp=24, n_pixels=basis.width(frozen))
    # What the XP decoder asks for moves nothing in the hallucinator.
    optimizer = optax.sgd(0.02)
    state = one(states, 0)._replace(params=params, opt_state=optimizer.init(params))
    batch = make_batch(stars, member.scalers, member.train[:32], jnp.ones(32))
    step = jax.jit(lambda state: train_step(state, batch, member, optimizer, recipe_of(cfg)))
    after, summary = step(state)
    z = model.hallucinator(cfg.model, 3).apply(
        params.hallucinator, model.encode(cfg.model, params, batch.xp)
    )
    expected = 0.5 * np.square(np.asarray(z)).sum(axis=1).mean()
    np.testing.assert_allclose(summary.terms.prior, expected, rtol=1e-5)
    moved = after._replace(params=params._replace(hallucinator=after.params.hallucinator))
    assert float(step(moved)[1].terms.prior) < 0.95 * expected
    assert jax.tree.structure(after.params) == jax.tree.structure(params)


def test_the_hallucinator_learns_through_the_frozen_decoder() -> None:
    stars, members, states = prepare()
    member, state = one(members, 0), one(states, 0)
    batch = batch_of(stars, member.scalers, np.asarray(member.train)[:32], np.ones(32, np.float32))

    def branch(params: model.Params) -> jax.Array:
        outputs = model.apply(CFG.model, params, member.decoder, batch.xp)
        return jnp.square(outputs.apogee_mean - batch.labels).mean()

    gradient = jax.device_get(jax.jit(jax.grad(branch))(state.params))
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient.hallucinator)) > 0
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient.encoder)) > 0
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient.xp_decoder)) == 0


def test_optimiser_clips_before_it_updates_and_decays_as_pytorch() -> None:
    params = {"w": jnp.array([2.0, -4.0])}
    huge = {"w": jnp.array([3e3, -4e3])}
    clipped = make_optimizer(OptimForm(clip_norm=5.0), 10, 1.0)
    state = clipped.init(params)
    _, state = clipped.update(huge, state, params)
    moment = next(s for s in jax.tree.leaves(state) if s.shape == (2,))
    # First moment: 0.1 x the gradient, which has norm 5 and not 5,000.
    np.testing.assert_allclose(moment, [0.3, -0.4], rtol=1e-5)
    decayed = make_optimizer(OptimForm(weight_decay=0.5), 10, 1.0)
    _, state = decayed.update({"w": jnp.zeros(2)}, decayed.init(params), params)
    moment = next(s for s in jax.tree.leaves(state) if s.shape == (2,))
    np.testing.assert_allclose(moment, [0.1, -0.2], rtol=1e-5)


def test_decoupled_decay_shrinks_parameters_beside_the_update() -> None:
    params = {"w": jnp.array([2.0, -4.0])}
    optimizer = make_optimizer(OptimForm(weight_decay=0.5, decoupled=True), 10, 0.1)
    updates, _ = optimizer.update({"w": jnp.zeros(2)}, optimizer.init(params), params)
    # Loshchilov & Hutter (2019): the learning rate times the decay times the parameter.
    np.testing.assert_allclose(updates["w"], [-0.1, 0.2], rtol=1e-6)


def test_cosine_schedule_ends_at_zero() -> None:
    optimizer = make_optimizer(OptimForm(schedule="cosine"), 4, 0.1)
    params = {"w": jnp.array([0.0])}
    state = optimizer.init(params)
    steps = []
    for _ in range(5):
        updates, state = optimizer.update({"w": jnp.array([1.0])}, state, params)
        steps.append(float(-updates["w"][0]))
    np.testing.assert_allclose(
        steps, 0.05 * (1 + np.cos(np.pi * np.arange(5) / 4)), rtol=1e-3, atol=1e-6
    )
