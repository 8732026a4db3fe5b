"""The benchmark of training counts multiplications as they are."""

from __future__ import annotations

import time
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from types import ModuleType

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from aspgap_jax import model
from aspgap_jax.config import Model, Training
from support.experiments import load_experiment
from support.made_up import made_up_stars
from support.tiny import TINY

N_XP, N_PIXELS, BATCH = 24, 50, 32
# The counts by hand below are of these widths.
SIZES = Model(
    encoder=(20, 12), latent=10, hallucinator=(9, 14), xp_decoder=(11,), apogee_decoder=(7, 5)
)
CFG = replace(TINY, model=SIZES, train=Training(epochs=1, batch_size=BATCH))


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_experiment("benchmarks/training")


def test_matmuls_of_a_trace(benchmark: ModuleType) -> None:
    def loop(x: jax.Array, y: jax.Array) -> jax.Array:
        def body(carry: jax.Array, _: None) -> tuple[jax.Array, None]:
            return carry @ y, None

        carry, _ = lax.scan(body, x, length=3)
        return jax.jit(jnp.einsum, static_argnums=0)("bij,bkj->bik", carry[None], carry[None])

    jaxpr = jax.make_jaxpr(loop)(jnp.ones((5, 4)), jnp.ones((4, 4))).jaxpr
    found: Counter = Counter()
    for shape, times in benchmark.matmuls(jaxpr):
        found[shape] += times
    assert found == {(1, 5, 4, 4): 3, (1, 5, 4, 5): 1}


def test_a_step_does_what_the_layers_need(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "N_PIXELS", N_PIXELS)
    job = benchmark.make_job(made_up_stars(800, n_xp=N_XP), CFG, 2 * BATCH)
    assert job.members.train.shape == (1, 2 * BATCH)
    # By hand: encoder 24-20-12-10, XP decoder 10-11-8, hallucinator 10-9-14-50, each
    # three times, less the gradient for the spectra; decoder 50-7-5-4, twice.
    trained = 24 * 20 + 20 * 12 + 12 * 10 + 10 * 11 + 11 * 8 + 10 * 9 + 9 * 14 + 14 * 50
    expected = BATCH * (3 * trained - 24 * 20 + 2 * (50 * 7 + 7 * 5 + 5 * 4))
    assert benchmark.spelled_out(SIZES, N_XP, BATCH) == expected

    def done() -> int:
        # Weighted sums over stars are matmuls too, with a vector: they are no layer's.
        return sum(
            shape.count * times
            for shape, times in benchmark.step_matmuls(job).items()
            if min(shape.m, shape.k, shape.n) > 1
        )

    monkeypatch.setattr(model, "merging_pays", lambda *_, **__: False)
    assert done() == expected
    monkeypatch.setattr(model, "merging_pays", lambda *_, **__: True)
    # 14-50-7 becomes 14-7, with the weights merged: once forward, once backward.
    spelled = BATCH * (3 * 14 * 50 + 2 * 50 * 7)
    merged = BATCH * 3 * 14 * 7 + 2 * 14 * 50 * 7
    assert done() == expected - spelled + merged


def test_the_full_configuration_is_timed_in_both_precisions(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, but small, and with epochs that do nothing but last."""
    trained = []

    def repeat(job: object) -> object:
        trained.append(job)
        return lambda: time.sleep(0.01)

    monkeypatch.setattr(benchmark, "repeat", repeat)
    monkeypatch.setattr(model, "merging_pays", lambda *_, **__: False)
    monkeypatch.setattr(benchmark, "N_PIXELS", N_PIXELS)
    monkeypatch.setattr(benchmark, "PAPER_STARS", 3 * BATCH)
    monkeypatch.setitem(benchmark.PRESETS, "paper", CFG)
    options = Namespace(gpu_epochs=1, rounds=1, profile=None)
    found = benchmark.paper_on_gpu(made_up_stars(800, n_xp=N_XP), options)
    assert set(found) == {"float32", "bfloat16"}
    assert [job.cfg.model.compute for job in trained] == ["float32", "bfloat16"]
    assert [job.members.train.shape for job in trained] == [(1, 3 * BATCH)] * 2
    for values in found.values():
        # 1000 epochs of 10 ms each, or a little more; every epoch has three steps.
        seconds = values["minutes_of_1000_epochs"] * 60 / 1000
        assert 0.01 <= seconds < 1.0
        operations = values["tflops_done"] * 1e12 * seconds
        needed = 3 * 2 * benchmark.spelled_out(SIZES, N_XP, BATCH)
        # The weighted sums come on top.
        assert operations == pytest.approx(needed, rel=0.01)
        assert values["of_matmul_rate"] > 0


def test_bare_matmuls_are_those_that_count(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple] = []

    def noted(left: jax.Array, right: jax.Array) -> jax.Array:
        done.append((left.shape, right.shape, left.dtype.name))
        return left @ right

    monkeypatch.setattr(benchmark.jax, "jit", lambda _: noted)
    shapes = {(1, 30, 20, 10): 2, (3, 5, 20, 10): 1, (1, 2, 2, 2): 1}
    found = Counter({benchmark.Shape(*shape): times for shape, times in shapes.items()})
    run = benchmark.bare_matmuls(found, jnp.bfloat16)
    done.clear()
    run()
    large, stacked = ((30, 20), (20, 10), "bfloat16"), ((3, 5, 20), (3, 20, 10), "bfloat16")
    assert done == [large, large, stacked]


def test_programs_take_turns(benchmark: ModuleType) -> None:
    order: list[str] = []
    programs = {name: (lambda name=name: order.append(name)) for name in "ab"}
    seconds = benchmark.take_turns(programs, 3)
    assert order == list("ababab")
    assert set(seconds) == {"a", "b"}


def test_the_paper_s_sizes(benchmark: ModuleType) -> None:
    """4e16 operations for 111,000 stars and 1000 epochs, as the project states them."""
    sizes = benchmark.PRESETS["paper"].model
    operations = 2 * benchmark.spelled_out(sizes, 110, 111_000) * 1000
    assert 3.5e16 < operations < 4.5e16
