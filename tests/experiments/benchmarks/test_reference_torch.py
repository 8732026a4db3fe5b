"""The PyTorch yardstick does the same work: the same terms, gradients and updates."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax import model
from aspgap_jax.config import Config, Loss, Optim
from aspgap_jax.preprocessing.scaling import RobustScaler, Scalers
from aspgap_jax.training import loss
from aspgap_jax.training.members import Member
from aspgap_jax.training.optimizer import make_optimizer
from aspgap_jax.training.recipe import hyper_of, recipe_of
from aspgap_jax.training.step import Batch, init_state, train_step
from support.experiments import load_experiment
from support.tiny import TINY

torch = pytest.importorskip("torch", reason='PyTorch is absent: pip install ".[benchmarks]"')

N_XP, N_PIXELS, N_STARS, N_LABELS = 9, 40, 24, 4
N_TRAIN = 700.0
CFG = replace(
    TINY,
    model=replace(TINY.model, hallucinator=(7, 9), apogee_decoder=(6, 5), dropout=0.0),
    loss=Loss(alpha_xp=0.7, alpha_apogee=0.2, l1=3.0, kl=50.0, variance_floor=0.02),
    optim=Optim(learning_rate=1e-3, weight_decay=0.01),
)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return load_experiment("benchmarks/reference_torch")


def shaken(variables: Any, seed: int) -> Any:
    """No parameter is zero, biases included: a mistake in any is to show."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape), jnp.float32), variables
    )


@pytest.fixture(scope="module")
def ours() -> tuple[model.Params, Any, Batch]:
    """Parameters, frozen decoder and a batch; some variances are below the floor."""
    key = jax.random.key(0)
    init = partial(model.init, key, CFG.model, n_xp=N_XP, n_pixels=N_PIXELS)
    init_decoder = partial(model.init_apogee_decoder, key, CFG.model, n_pixels=N_PIXELS)
    params = shaken(jax.eval_shape(init), 1)
    decoder = shaken(jax.eval_shape(init_decoder), 2)
    rng = np.random.default_rng(3)
    batch = Batch(
        xp=rng.normal(size=(N_STARS, N_XP)),
        xp_error=np.ones((N_STARS, N_XP)),
        labels=rng.normal(size=(N_STARS, N_LABELS)),
        label_error=rng.uniform(0.01, 0.1, (N_STARS, N_LABELS)),
        weight=np.ones(N_STARS),
    )
    return params, decoder, jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), batch)


def theirs(reference: ModuleType, ours: tuple, cfg: Config = CFG) -> tuple:
    params, decoder, batch = ours
    network = reference.AspGap(cfg.model, n_xp=N_XP, n_pixels=N_PIXELS)
    network.load_flax(**params._asdict(), apogee_decoder=decoder)
    tensors = (torch.tensor(np.array(x)) for x in (batch.xp, batch.labels, batch.label_error))
    return network, reference.Batch(*tensors)


def assert_same(params: model.Params, of_module: Any, network: Any, **tolerance: float) -> None:
    """Compare pytrees of the blocks with what ``of_module`` gives of each parameter."""
    for name, variables in params._asdict().items():
        linear = [m for m in getattr(network, name) if isinstance(m, torch.nn.Linear)]
        assert len(linear) == len(variables["params"])
        for n, module in enumerate(linear):
            dense = variables["params"][f"Dense_{n}"]
            where = f"{name}, layer {n}"
            kernel, bias = (of_module(p).numpy() for p in (module.weight, module.bias))
            np.testing.assert_allclose(kernel.T, dense["kernel"], err_msg=where, **tolerance)
            np.testing.assert_allclose(bias, dense["bias"], err_msg=where, **tolerance)


def test_terms_and_gradients_are_ours(reference: ModuleType, ours: tuple) -> None:
    params, decoder, batch = ours
    hyper = hyper_of(CFG)

    def objective(params: model.Params) -> tuple[jax.Array, loss.LossTerms]:
        outputs = model.apply(CFG.model, params, decoder, batch.xp)
        terms = loss.loss_terms(
            outputs,
            batch.labels,
            batch.label_error,
            batch.weight,
            params,
            jnp.float32(N_TRAIN),
            hyper,
            CFG.loss,
        )
        return loss.total(terms, hyper), terms

    (value, terms), gradient = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)
    network, stars = theirs(reference, ours)
    described = reference.Objective(CFG.loss, N_TRAIN)
    for name, term in described.terms(network, stars)._asdict().items():
        np.testing.assert_allclose(term.item(), getattr(terms, name), rtol=1e-5, err_msg=name)
    their_value = described(network, stars)
    np.testing.assert_allclose(their_value.item(), value, rtol=1e-5)
    their_value.backward()
    assert_same(gradient, lambda p: p.grad, network, rtol=1e-4, atol=1e-5)
    assert all(p.grad is None for p in network.apogee_decoder.parameters())


def test_updates_are_ours(reference: ModuleType, ours: tuple) -> None:
    params, decoder, batch = ours
    column = np.zeros(N_XP, np.float32), np.ones(N_XP, np.float32)
    one = jnp.ones(int(N_TRAIN))
    rows = jnp.arange(int(N_TRAIN))
    scaler = RobustScaler(*(jnp.asarray(x) for x in column))
    hyper, key = hyper_of(CFG), jax.random.key(5)
    member = Member(decoder, Scalers(scaler, scaler), rows, one, rows, one, hyper, key)
    recipe = recipe_of(CFG)
    state = jax.jit(partial(init_state, recipe=recipe))(member)._replace(params=params)
    optimizer = make_optimizer(CFG.optim, 10, CFG.optim.learning_rate)
    step = jax.jit(lambda state: train_step(state, batch, member, optimizer, recipe))

    network, stars = theirs(reference, ours)
    adam = reference.make_optimizer(network, CFG.optim)
    objective = reference.Objective(CFG.loss, N_TRAIN)
    for _ in range(3):
        state, summary = step(state)
        value = reference.train_step(network, adam, objective, stars)
        np.testing.assert_allclose(value.item(), summary.total, rtol=1e-4)
    # Three steps of 1e-3 each: a hundredth of that is the tolerance.
    assert_same(state.params, lambda p: p.detach(), network, rtol=0, atol=3e-5)
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), state.params, params)
    assert min(float(leaf) for leaf in jax.tree.leaves(moved)) > 1e-3


def test_dropout_is_on_in_training_and_never_in_the_frozen_decoder(
    reference: ModuleType, ours: tuple
) -> None:
    cfg = replace(CFG, model=replace(CFG.model, dropout=0.5))
    network, stars = theirs(reference, ours, cfg)
    network.train()
    first, second = network(stars.xp), network(stars.xp)
    assert not torch.equal(first[0], second[0])
    depth = torch.randn(5, N_PIXELS)
    assert torch.equal(network.apogee_decoder(depth), network.apogee_decoder(depth))
    network.eval()
    assert torch.equal(network(stars.xp)[0], network(stars.xp)[0])


def test_the_released_code_is_not_built(reference: ModuleType) -> None:
    with pytest.raises(ValueError, match="paper"):
        reference.Objective(Loss(apogee_branch="mse"), N_TRAIN)
