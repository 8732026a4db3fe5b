"""Speed of training: against PyTorch, of two folds at once, and against bare matmuls.

All in one run, in rounds in which the programs take turns; every figure is a
median. Both frameworks train the preset `paper` in float32 on the same batches of
real stars (the sample; its spectra have 343 values), with dropout, the whole loss
and Adam. PyTorch is experiments/benchmarks/reference_torch.py, eager and through
torch.compile, with its fused Adam and spectra that were scaled beforehand; ours
gathers, scales and validates (on a few stars) as in every run. The APOGEE decoders
hold random numbers: no time depends on them.

Run: python experiments/benchmarks/training.py --json training.json
Expect, on two quiet cores: a step of 2 to 3 s at --batch 2048, more than 1.5 times
PyTorch's steps a second, two folds at once in at most 1.1 times the time of one after
the other, a first step within 20 s; some 5 minutes and 6 GB in all. The larger the
batch, the more merging saves (see below): the default lies between 1024 stars, where
it saves a quarter of the multiplications, and the preset's 16,384, where it saves
five eighths, but a step of PyTorch's takes most of a minute.

Two counts of multiplications are told apart: those the network spelled out needs, and
those done, read off the traced step. They differ where the hallucinator's last layer
and the decoder's first are merged (aspgap_jax.model.merge). `of_matmul_rate` is of
those done: the time that they take as bare matmuls of the same shapes, one after
the other, over the time of the step.

On a GPU it also times the full configuration (111,000 stars, 1000 epochs,
extrapolated from --gpu-epochs) in float32 and bfloat16 and writes a profile for each
(--profile DIR, to be opened in Perfetto or TensorBoard); elsewhere it says that this
is skipped. With --profile, the profile of an epoch of the steps above is written on
any device.
Needs `pip install ".[sample,benchmarks]"`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

# PyTorch must find room beside JAX on a GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from aspgap_jax import model
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.config import PRESETS, Config
from aspgap_jax.config import Model as Sizes
from aspgap_jax.files.atomic import write_text
from aspgap_jax.labels import LABELS
from aspgap_jax.preprocessing import folds
from aspgap_jax.preprocessing.device import Stars, to_device
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.runtime import parallel
from aspgap_jax.training import loop, step
from aspgap_jax.training.members import Member, fit_scalers, make_members
from aspgap_jax.training.optimizer import make_optimizer, steps_per_epoch
from aspgap_jax.training.pretraining import Pretrained
from aspgap_jax.training.recipe import recipe_of
from aspgap_jax.training.run import load_stars
from aspgap_jax.training.step import TrainState, make_batch

PAPER_STARS = 111_000
PAPER_EPOCHS = 1000
VALIDATED = 32
"""Stars that ours validates on after its steps: as good as none."""


class Job(NamedTuple):
    """A training that is ready for its first step, of one or more members."""

    stars: Stars
    members: Member
    cfg: Config

    def states(self) -> TrainState:
        return loop.init_states(self.members, recipe_of(self.cfg))

    def epoch(self, states: TrainState) -> TrainState:
        """One epoch of the training loop, waited for."""
        train_all = loop.epoch_of_all(recipe_of(self.cfg), parallel.ONE_DEVICE)
        states, _ = train_all(states, self.stars, self.members)
        return jax.block_until_ready(states)

    def only(self, m: int) -> Job:
        return self._replace(members=jax.tree.map(lambda leaf: leaf[m : m + 1], self.members))


def make_job(sample: TrainingSet, cfg: Config, n_rows: int | None = None) -> Job:
    """A job on the folds of the sample; with ``n_rows``, on the first fold alone.

    Then its training rows are repeated or cut to that number, and hardly any are
    validated.
    """
    splits = folds.all_splits(cfg, folds=True)
    rows = folds.split_rows(sample, cfg, splits)
    if n_rows is not None:
        rows = (rows[0]._replace(train=np.resize(rows[0].train, n_rows)),)
        rows = (rows[0]._replace(valid=rows[0].valid[:VALIDATED]),)
    device = to_device(sample, cfg.data.magnitude_exponent)
    scalers = fit_scalers(device, rows, cfg.data)
    init = functools.partial(model.init_apogee_decoder, cfg=cfg.model, n_pixels=N_PIXELS)
    decoders = jax.jit(jax.vmap(init))(jax.random.split(jax.random.key(0), len(rows)))
    nothing = jnp.zeros(len(rows))
    members = make_members(rows, scalers, Pretrained(decoders, nothing, nothing), cfg)
    return Job(device, members, cfg)


class Shape(NamedTuple):
    """A matmul ``[m, k] @ [k, n]``, as often as the leading axis has rows."""

    many: int
    m: int
    k: int
    n: int

    @property
    def count(self) -> int:
        return self.many * self.m * self.k * self.n


def matmuls(jaxpr: Jaxpr, times: int = 1) -> Iterator[tuple[Shape, int]]:
    """Every matmul in a traced function, and how often it is done."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contract, _), (together, _) = equation.params["dimension_numbers"]
            left, right = (np.array(v.aval.shape, np.int64) for v in equation.invars)
            k = int(left[list(contract)].prod())
            many = int(left[list(together)].prod())
            m, n = int(left.prod()) // (k * many), int(right.prod()) // (k * many)
            yield Shape(many, m, k, n), times
        inner = times * equation.params.get("length", 1)
        for value in equation.params.values():
            for item in value if isinstance(value, tuple | list) else (value,):
                if isinstance(item, ClosedJaxpr | Jaxpr):
                    yield from matmuls(getattr(item, "jaxpr", item), inner)


def step_matmuls(job: Job) -> Counter[Shape]:
    """The matmuls of one training step of the first member, read off its trace."""
    cfg = job.cfg
    recipe = recipe_of(cfg)
    optimizer = make_optimizer(recipe.optim, cfg.train.epochs, cfg.optim.learning_rate)
    rows = slice(0, cfg.train.batch_size)

    def one_step(states: TrainState, members: Member) -> Any:
        state, member = jax.tree.map(lambda leaf: leaf[0], (states, members))
        weight = member.train_weight[rows]
        batch = make_batch(job.stars, member.scalers, member.train[rows], weight)
        return step.train_step(state, batch, member, optimizer, recipe)

    found: Counter[Shape] = Counter()
    traced = jax.make_jaxpr(one_step)(jax.eval_shape(job.states), job.members)
    for shape, times in matmuls(traced.jaxpr):
        found[shape] += times
    return found


def spelled_out(cfg: Sizes, n_xp: int, batch: int) -> int:
    """Multiplications of a step with every layer of Fig. 3, forward and backward.

    A layer of a trainable block costs its product forward, and twice as much
    backward: for its weights and for its input, which the first layer of the
    encoder has no need of. The frozen decoder has no need of its weights'.
    """

    def products(*widths: int) -> list[int]:
        return [a * b for a, b in pairwise(widths)]

    encoder = products(n_xp, *cfg.encoder, cfg.latent)
    trained = [
        *encoder,
        *products(cfg.latent, *cfg.xp_decoder, 2 * len(LABELS)),
        *products(cfg.latent, *cfg.hallucinator, N_PIXELS),
    ]
    frozen = products(N_PIXELS, *cfg.apogee_decoder, len(LABELS))
    return batch * (3 * sum(trained) - encoder[0] + 2 * sum(frozen))


def bare_matmuls(shapes: Counter[Shape], dtype: Any) -> Callable[[], None]:
    """A program: these matmuls alone, one after the other.

    Those that make up less than a thousandth of the work are left out.
    """
    work = sum(shape.count * times for shape, times in shapes.items())
    multiply = jax.jit(jnp.matmul)
    jobs = []
    for shape, times in shapes.items():
        if shape.count * times < 1e-3 * work:
            continue
        left = jnp.ones((shape.many, shape.m, shape.k), dtype)
        right = jnp.ones((shape.many, shape.k, shape.n), dtype)
        jobs.append((left, right, times) if shape.many > 1 else (left[0], right[0], times))

    def run() -> None:
        for left, right, times in jobs:
            for _ in range(times):
                jax.block_until_ready(multiply(left, right))

    run()
    return run


def take_turns(programs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of wall time of each program, the median of rounds in which they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, run in programs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def repeat(job: Job) -> Callable[[], None]:
    """A program: one more epoch of a job, whose first is done here."""
    states = [job.epoch(job.states())]

    def run() -> None:
        states.append(job.epoch(states.pop()))

    return run


def torch_programs(job: Job, steps: int) -> dict[str, Callable[[], None]]:
    """Programs of as many steps of the reference, on the same stars in the same scaling."""
    import reference_torch as reference
    import torch

    on_gpu = jax.default_backend() == "gpu"
    if on_gpu and not torch.cuda.is_available():
        print("PyTorch is not compared: JAX runs on a GPU, which this PyTorch cannot use")
        return {}
    device = "cuda" if on_gpu else "cpu"
    if on_gpu:
        torch.set_float32_matmul_precision("high")  # TensorFloat-32, as JAX by default
    member = jax.tree.map(lambda leaf: leaf[0], job.members)
    scaled = make_batch(job.stars, member.scalers, member.train, member.train_weight)
    xp, truth, error = (
        torch.tensor(np.array(x), device=device)
        for x in (scaled.xp, scaled.labels, scaled.label_error)
    )
    batch_size = job.cfg.train.batch_size

    def program(compiled: bool) -> Callable[[], None]:
        n_xp = job.stars.xp.shape[1]
        network = reference.AspGap(job.cfg.model, n_xp=n_xp, n_pixels=N_PIXELS).to(device)
        network.load_flax(apogee_decoder=member.decoder)
        optimizer = reference.make_optimizer(network, job.cfg.optim)
        objective = reference.Objective(job.cfg.loss, float(member.train_weight.sum()))
        call = torch.compile(objective) if compiled else objective

        def run() -> None:
            for rows in torch.randperm(len(xp), device=device).split(batch_size)[:steps]:
                batch = reference.Batch(xp[rows], truth[rows], error[rows])
                value = reference.train_step(network, optimizer, call, batch)
            value.item()  # waits

        run()
        return run

    return {"PyTorch eager": program(False), "torch.compile": program(True)}


def paper_on_gpu(sample: TrainingSet, options: argparse.Namespace) -> dict[str, Any]:
    """The full configuration: minutes of 1000 epochs, and the share of the matmul rate."""
    found: dict[str, Any] = {}
    for dtype in ("float32", "bfloat16"):
        cfg = PRESETS["paper"]
        cfg = replace(cfg, model=replace(cfg.model, compute=dtype))
        job = make_job(sample, cfg, PAPER_STARS)
        run = repeat(job)
        shapes = step_matmuls(job)
        work = sum(shape.count * times for shape, times in shapes.items())
        programs = {"epoch": run, "matmuls": bare_matmuls(shapes, jnp.dtype(dtype))}
        seconds, bare = take_turns(programs, options.gpu_epochs).values()
        n_steps = steps_per_epoch(PAPER_STARS, cfg.train.batch_size)
        found[dtype] = {
            "minutes_of_1000_epochs": seconds * PAPER_EPOCHS / 60,
            "tflops_done": 2e-12 * work * n_steps / seconds,
            "of_matmul_rate": bare * n_steps / seconds,
        }
        if options.profile:
            profile(run, options.profile / f"paper_{dtype}")
        print(f"paper, {dtype}: {json.dumps(found[dtype])}")
    return found


def profile(run: Callable[[], None], folder: Path) -> None:
    """Write JAX's profile of one call."""
    with jax.profiler.trace(str(folder), create_perfetto_trace=True):
        run()
    print(f"wrote the profile {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of training.")
    parser.add_argument("--batch", type=int, default=2048, help="stars a step of preset paper")
    parser.add_argument("--steps", type=int, default=2, help="steps of a program's turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every program")
    parser.add_argument("--gpu-epochs", type=int, default=10, help="epochs timed on a GPU")
    parser.add_argument("--profile", type=Path, help="folder for profiles of our steps")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    sample = load_stars("sample", "giants")
    paper = PRESETS["paper"]
    paper = replace(paper, train=replace(paper.train, batch_size=options.batch))

    # Before anything else of a training is compiled.
    job = make_job(sample, paper, options.batch)
    start = time.perf_counter()
    job.epoch(job.states())
    first_step = time.perf_counter() - start
    print(f"first step, from initialisation and compilation on: {first_step:.1f} s")

    job = make_job(sample, paper, options.batch * options.steps)
    ours = repeat(job)
    shapes = step_matmuls(job)
    matmuls_alone = bare_matmuls(shapes, jnp.float32)
    programs = {
        "this package": ours,
        **torch_programs(job, options.steps),
        "matmuls": lambda: [matmuls_alone() for _ in range(options.steps)],
    }
    seconds = {
        name: value / options.steps for name, value in take_turns(programs, options.rounds).items()
    }
    bare = seconds.pop("matmuls")
    for name, value in seconds.items():
        print(f"{name:14s} {value:7.3f} s a step of {options.batch} stars, {1 / value:.3f} steps/s")
    if options.profile:
        profile(ours, options.profile / "steps")

    done = sum(shape.count * times for shape, times in shapes.items())
    needed = spelled_out(paper.model, job.stars.xp.shape[1], options.batch)
    step = seconds["this package"]
    print(
        f"multiplications of a step: {needed / 1e9:.0f} G spelled out, {done / 1e9:.0f} G done; "
        f"as bare matmuls {bare:.3f} s ({2e-9 * done / bare:.0f} GFLOP/s), "
        f"{bare / step:.2f} of the step"
    )

    compact = replace(PRESETS["compact"], cv=replace(PRESETS["compact"].cv, seeds=1))
    both = make_job(sample, compact)
    one, other = repeat(both.only(0)), repeat(both.only(1))
    folds = take_turns(
        {"two at once": repeat(both), "in sequence": lambda: (one(), other())}, 4 * options.rounds
    )
    print("two folds of compact, s an epoch: " + json.dumps(folds))

    def times_as_fast(name: str) -> float | None:
        return seconds[name] / step if name in seconds else None

    result: dict[str, Any] = {
        "vs_torch_eager": times_as_fast("PyTorch eager"),
        "vs_torch_compile": times_as_fast("torch.compile"),
        "two_folds_vs_sequential": folds["two at once"] / folds["in sequence"],
        "first_step_s": first_step,
        "of_matmul_rate": bare / step,
        "detail": {
            "device": jax.devices()[0].device_kind,
            "batch": options.batch,
            "seconds_a_step": seconds,
            "multiplications_spelled_out": needed,
            "multiplications_done": done,
            "matmul_gflops": 2e-9 * done / bare,
            "spelled_out_gflops": 2e-9 * needed / step,
            "two_folds_seconds": folds,
        },
    }
    if jax.default_backend() == "gpu":
        result["detail"]["paper_on_gpu"] = paper_on_gpu(sample, options)
    else:
        print("skipped, for want of a GPU: the full paper configuration")
    print(json.dumps(result))
    if options.json:
        write_text(options.json, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
