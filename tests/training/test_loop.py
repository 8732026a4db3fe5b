from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax import model
from aspgap_jax.preprocessing.device import Stars
from aspgap_jax.runtime.parallel import ONE_DEVICE
from aspgap_jax.training.loop import Diverged, epoch_of_all, fit
from aspgap_jax.training.members import Member
from aspgap_jax.training.optimizer import PLATEAU_MARGIN
from aspgap_jax.training.recipe import Recipe, recipe_of
from aspgap_jax.training.step import (
    EpochSummary,
    TrainState,
    make_batch,
    train_epoch,
    validation_loss,
)
from support.compilations import count_compilations
from support.small_training import (
    CFG,
    RECIPE,
    assert_close,
    copied,
    one,
    prepare,
    train,
    with_hyper,
)

OTHER = replace(
    CFG,
    loss=replace(CFG.loss, alpha_xp=0.9, alpha_apogee=0.0, l1=0.1, kl=3.0),
    optim=replace(CFG.optim, learning_rate=3e-3),
)
"""Differs in all that is traced."""


def test_training_learns_what_is_to_be_learnt() -> None:
    stars, members, states = prepare()
    _, history = train(states, stars, with_hyper(members, l1=0.0, kl=0.0))
    # The labels spread over 0.25 of their range: sigma must have become much smaller.
    assert (history[-1].valid_nll < history[0].valid_nll - 4.0).all()


def test_held_out_stars_have_every_term_of_the_objective() -> None:
    """Those of the log, against eq. 3 in NumPy; without dropout."""
    stars, members, states = prepare()
    states, history = train(states, stars, members, 1)
    m = 1
    member, params, found = one(members, m), one(states, m).params, one(history[0], m)
    batch = make_batch(stars, member.scalers, member.valid, member.valid_weight)
    outputs = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64),
        model.apply(RECIPE.model, params, member.decoder, batch.xp),
    )
    labels, error, weight = (
        np.asarray(part, np.float64) for part in (batch.labels, batch.label_error, batch.weight)
    )
    variance = np.exp(2 * outputs.log_sigma) + error**2
    squares = (labels - outputs.mean) ** 2 / variance
    alpha = float(member.hyper.alpha_xp), float(member.hyper.alpha_apogee)
    nll = np.average(0.5 * (alpha[0] * squares + np.log(variance)).sum(axis=1), weights=weight)
    other = (labels - outputs.apogee_mean) ** 2 / variance
    branch = np.average(0.5 * alpha[1] * other.sum(axis=1), weights=weight)
    n_stars = float(member.train_weight.sum())
    l1 = sum(float(np.abs(leaf).sum()) for leaf in jax.tree.leaves(params)) / n_stars
    expected = {"nll": nll, "branch": branch, "l1": l1}
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found.valid, name), value, rtol=1e-4)
    penalties = float(member.hyper.l1) * l1 + float(member.hyper.kl) * float(found.valid.kl)
    np.testing.assert_allclose(found.valid_total, nll + branch + penalties, rtol=1e-4)


def test_folds_together_equal_folds_trained_one_by_one() -> None:
    """By ``lax.map``, as on a CPU, and by ``vmap``, as on a GPU."""
    stars, members, states = prepare()

    def epoch(job: tuple[TrainState, Member]) -> TrainState:
        return train_epoch(job[0], stars, job[1], RECIPE)[0]

    together = train(copied(states), stars, members, 2)[0]
    mapped, alone = jax.jit(jax.vmap(epoch)), jax.jit(epoch)
    vmapped = mapped((mapped((states, members)), members))
    for m in range(2):
        member = one(members, m)
        state = alone((alone((one(states, m), member)), member))
        assert int(state.step) == 24
        assert_close(one(together, m), state, rtol=1e-4, atol=2e-5)
        assert_close(one(vmapped, m), state, rtol=1e-4, atol=2e-5)


def test_a_grid_is_one_compilation_and_each_of_its_trainings_is_its_own() -> None:
    """Other weights, penalties and learning rates for the same folds: one program."""
    base, other = (0.6, 0.4, 0.01, 20.0, 0.0, 1e-2), (0.9, 0.0, 0.1, 3.0, 0.0, 3e-3)
    stars, members, states = prepare(hypers=(base, other))
    assert members.train.shape[0] == 2 * 2
    assert_close(one(states, 1).params, one(states, 3).params, rtol=0, atol=0)
    compiled = epoch_of_all(RECIPE, ONE_DEVICE)
    before = compiled._cache_size()
    grid, _ = train(states, stars, members, 2)
    # Other values, the same size: the same program.
    stars, members, states = prepare(hypers=(other, base))
    swapped, _ = train(states, stars, members, 2)
    assert compiled._cache_size() <= before + 1
    assert_close(one(grid, 3).params, one(swapped, 1).params, rtol=0, atol=0)
    assert not np.allclose(
        one(grid, 3).params.xp_decoder["params"]["Dense_1"]["bias"],
        one(grid, 1).params.xp_decoder["params"]["Dense_1"]["bias"],
        atol=1e-3,
    )
    # Alone, from the config: fold 1 of the other hyperparameters.
    stars, members, states = prepare(OTHER)
    alone, _ = train(states, stars, members, 2)
    assert_close(one(alone, 1).params, one(grid, 3).params, rtol=1e-5, atol=1e-6)


def test_runs_that_differ_in_weights_rate_and_seed_run_the_same_programs() -> None:
    """The config's way to a training: nothing that is traced is compiled in."""
    assert recipe_of(OTHER) == RECIPE
    stars, members, _ = prepare()
    _, others, _ = prepare(OTHER)

    def begin(members: Member) -> None:
        def stop(epoch: int, states: TrainState, summary: EpochSummary) -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError):
            fit(stars, members, recipe_of(OTHER), after_epoch=stop)

    begin(members)
    assert count_compilations(lambda: begin(others)) == 0
    assert count_compilations(lambda: jax.jit(lambda x: x + 1)(1.0)) == 1, "they are counted"


def test_interrupted_training_goes_on_bit_for_bit() -> None:
    stars, members, states = prepare()
    whole, _ = train(states, stars, members, 5)
    _, _, states = prepare()
    half, _ = train(states, stars, members, 2)
    resumed, _ = train(half, stars, members, 3)
    assert_close(whole, resumed, rtol=0, atol=0)


def test_best_parameters_are_kept_and_a_stale_training_stands_still() -> None:
    """Member 0 does not learn: it stops after its patience, and member 1 goes on."""
    stars, members, states = prepare()
    rate = members.hyper.learning_rate.at[0].set(0.0)
    members = members._replace(hyper=members.hyper._replace(learning_rate=rate))
    start = copied(one(states, 0).params)
    states, history = train(states, stars, members)
    losses = np.array([h.valid_nll for h in history])
    stopped = np.array([h.stopped for h in history])
    # The first epoch is the best; patience epochs later it stops.
    assert int(states.epoch[0]) == 1 + CFG.train.patience
    np.testing.assert_array_equal(stopped[:, 0], np.arange(len(history)) > CFG.train.patience)
    assert_close(one(states, 0).params, start, rtol=0, atol=0)
    assert np.isnan([history[-1].total[0], history[-1].valid_total[0]]).all()
    assert not np.isnan(history[-1].total[1])
    running = losses[~stopped[:, 1], 1]
    assert int(states.epoch[1]) == len(running) > 1 + CFG.train.patience
    np.testing.assert_array_equal(states.best_loss[1], running.min())
    assert int(states.stale[1]) == len(running) - 1 - running.argmin()
    member = one(members, 1)
    batch = make_batch(stars, member.scalers, member.valid, member.valid_weight)
    again = validation_loss(one(states.best_params, 1), batch, RECIPE)
    np.testing.assert_allclose(again, running.min(), rtol=1e-5)


def test_plateau_lowers_the_learning_rate_after_epochs_without_a_better_loss() -> None:
    """The scale after every epoch, against a count of stale epochs in Python."""
    stars, members, states = prepare()
    losses, scales = [], []
    m = 0

    def after_epoch(epoch: int, states: TrainState, summary: EpochSummary) -> None:
        if not summary.stopped[m]:
            losses.append(summary.valid_nll[m])
            scales.append(np.asarray(states.plateau.scale)[m])

    fast = with_hyper(members, learning_rate=0.05)
    fit(stars, fast, RECIPE, start=states, after_epoch=after_epoch)
    best, stale, scale, expected = np.inf, 0, 1.0, []
    for loss in losses:
        better = loss < best - PLATEAU_MARGIN
        best, stale = (loss, 0) if better else (best, stale + 1)
        if stale == CFG.optim.plateau_patience:
            scale, stale = CFG.optim.plateau_factor * scale, 0
        expected.append(scale)
    assert expected[-1] < 0.5
    np.testing.assert_allclose(scales, expected, rtol=1e-5)


def test_the_plateau_reaches_the_step() -> None:
    """A learning rate lowered to nothing moves nothing."""
    stars, members, states = prepare()
    before = copied(states.params)
    lowered = states.plateau._replace(scale=states.plateau.scale.at[0].set(0.0))
    states, _ = train(states._replace(plateau=lowered), stars, members, 1)
    assert_close(one(states, 0).params, one(before, 0), rtol=0, atol=0)
    moved = jnp.abs(one(states, 1).params.encoder["params"]["Dense_0"]["bias"])
    assert float(moved.min()) > 0


def diverge(states: TrainState, stars: Stars, members: Member, recipe: Recipe = RECIPE) -> Diverged:
    with pytest.raises(Diverged) as caught:
        fit(stars, members, recipe, start=states)
    return caught.value


def test_divergence_keeps_the_state_from_before_its_epoch() -> None:
    stars, members, states = prepare()
    good, _ = train(states, stars, members, 2)
    before = copied(good)
    # All terms stay finite and their weighted sum does not: the gradient is named.
    kl = members.hyper.kl.at[0].set(jnp.nan)
    error = diverge(good, stars, members._replace(hyper=members.hyper._replace(kl=kl)))
    assert error.epoch == 3
    assert str(error).startswith("epoch 3: gradient (member 0) not finite")
    assert "lower --optim.learning-rate" in str(error)
    assert "\n" not in str(error)
    assert_close(one(error.states, 0), one(before, 0), rtol=0, atol=0)
    assert int(error.states.epoch[1]) == 3


@pytest.mark.parametrize("named", ["nll", "l1", "validation", "parameters"])
def test_the_first_thing_that_is_not_finite_is_named(named: str) -> None:
    stars, members, states = prepare()
    recipe = RECIPE
    if named == "nll":
        stars = stars._replace(labels=stars.labels.at[members.train[0, 0]].set(jnp.inf))
    elif named == "l1":
        # The hallucinator alone: its labels are finite, the sum of its parameters is not.
        hidden = states.params.hallucinator["params"]["Dense_1"]
        hidden["kernel"] = hidden["kernel"].at[0].set(0.0)
        hidden["bias"] = hidden["bias"].at[0].set(3e38)
        members = members._replace(
            decoder=jax.tree.map(lambda leaf: leaf.at[0].set(0.0), members.decoder)
        )
    elif named == "validation":
        stars = stars._replace(labels=stars.labels.at[members.valid[0, 0]].set(jnp.nan))
        # A star that stops fold 0 may train fold 1.
        members, states = one((members, states), [0, 0])
    else:
        # One step: its gradient is finite, its result is not.
        members = with_hyper(members, learning_rate=jnp.inf)
        members = members._replace(
            train=members.train[:, :30], train_weight=members.train_weight[:, :30]
        )
        # Another program: a small one.
        recipe = replace(
            recipe,
            model=replace(recipe.model, dropout=0.0),
            train=replace(recipe.train, noise=0.0),
        )
    assert str(diverge(states, stars, members, recipe)).startswith(f"epoch 1: {named} (member 0)")
