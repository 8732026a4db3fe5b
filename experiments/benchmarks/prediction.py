"""Speed of prediction: the networks against other frameworks, and `aspgap predict` as a whole.

Networks: encoder and XP decoder of the paper's sizes (3.4 million weights) with random
weights, coefficients in, means and log-sigmas out; float32 and bfloat16; PyTorch
(eager, and compiled with frozen weights), ONNX Runtime and JAX take turns at each batch
size, and each figure is the median of the rounds at the size that suits the framework
best. The matmul rate is that of the largest layer alone: products of [batch, 1024] with
[1024, 1024] in JAX, whichever batch size gives most.

As a whole: `aspgap predict` in a process of its own, from an XP store to a Parquet
catalogue with labels, uncertainties, S/N and flags. The spectra are synthetic repeats of
real ones: the two real stars of the shared data, every coefficient and error perturbed
by 5%. The bundle is of the paper's sizes, one member, for coefficients, with random
weights (speed does not depend on them); no second path, no propagation of errors. The
store is a million different stars, 65,536 a file as in Gaia's bulk files; for more, the
files are linked again under other names, so beyond a million stars they come from the
page cache. The rate is that between the end of the first part and the end of the last:
start and compilation, once a run, are printed apart.

Run: python experiments/benchmarks/prediction.py --stars 10000000 --json prediction.json
Expect on two cores: float32 ahead of the others, 90% of the matmul rate, 85% of the
forward rate end to end, below 2 GB; about eight minutes. JAX is measured as `aspgap predict`
runs the networks, the layers around the latents made one (aspgap_jax.model.absorb),
and with those layers apart, as the others run them.
bfloat16: XLA's CPU code converts to float32 and back, so JAX gains nothing from it;
PyTorch gains on CPUs with AMX or AVX512-BF16 instructions (oneDNN), as printed.
Needs `pip install ".[benchmarks]"` and the shared data (ASPGAP_SHARED).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels, model
from aspgap_jax.config import PAPER, PAPER_MODEL
from aspgap_jax.prediction.assess import assess
from aspgap_jax.prediction.bundle import BundleInfo, Networks, save_bundle
from aspgap_jax.preprocessing.folds import Assignment
from aspgap_jax.preprocessing.scaling import (
    LABEL_RANGE,
    SPECTRUM_RANGE,
    Scalers,
    fit_scaler,
    normalise,
)
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.xp import XPChunk, read_xp
from aspgap_jax.survey.xp.store import write_store

SHARED = Path(os.environ.get("ASPGAP_SHARED", Path(__file__).resolve().parents[3] / "shared"))
N_XP = 110
BATCHES = (1024, 2048, 4096)
FILE_STARS = 65_536
DIFFERENT_FILES = 16
ALL_SPECTRA = 219_197_643
# The blocks that prediction leaves out are small: they would only take memory.
SIZES = replace(PAPER_MODEL, hallucinator=(8,), apogee_decoder=(8,))
WIDTHS = (
    N_XP, *SIZES.encoder, SIZES.latent, *SIZES.xp_decoder, 2 * len(labels.LABELS)
)  # fmt: skip
ABSORBED_WIDTHS = (*WIDTHS[: len(SIZES.encoder) + 1], *WIDTHS[len(SIZES.encoder) + 2 :])

ABSORBED = ("JAX", "JAX bfloat16")
"""Those that run with the layers around the latents as one."""


def flop(widths: tuple[int, ...]) -> int:
    """Operations a star."""
    return 2 * sum(a * b for a, b in itertools.pairwise(widths))


Forward = Callable[[int], Callable[[], object]]
"""From a batch size to a call that predicts one batch and waits for the result."""


def layers(params: model.Params) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels and biases of both blocks, in order."""
    found = []
    for block in (params.encoder, params.xp_decoder):
        dense = block["params"]
        for n in range(len(dense)):
            layer = dense[f"Dense_{n}"]
            found.append((np.array(layer["kernel"]), np.array(layer["bias"])))
    return found


def spectra(batch: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, N_XP)).astype(np.float32)


def jax_forward(params: model.Params, compute: str, *, apart: bool = False) -> Forward:
    """As `aspgap predict` runs them: the layers around the latents are one."""
    cfg = replace(SIZES, compute=compute)
    blocks = params if apart else model.absorb(params, apogee_decoder())

    @jax.jit
    def forward(blocks: model.Params | model.Absorbed, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        if isinstance(blocks, model.Params):
            return model.decode_xp(cfg, blocks, model.encode(cfg, blocks, x))
        return model.decode_xp(cfg, blocks, model.encode_hidden(cfg, blocks, x))

    def prepare(batch: int) -> Callable[[], object]:
        x = jnp.asarray(spectra(batch))
        return lambda: jax.block_until_ready(forward(blocks, x))

    return prepare


def apogee_decoder() -> model.Variables:
    """Small, and not run."""
    return model.init_apogee_decoder(jax.random.key(1), SIZES, n_pixels=8)


def torch_forward(params: model.Params, *, compiled: bool, half: bool) -> Forward:
    import torch

    torch.set_grad_enabled(False)
    modules: list[torch.nn.Module] = []
    stack = layers(params)
    # The latents themselves and the outputs have no activation after them.
    linear = {len(SIZES.encoder), len(stack) - 1}
    for n, (kernel, bias) in enumerate(stack):
        layer = torch.nn.Linear(*kernel.shape)
        layer.weight.data = torch.from_numpy(kernel.T.copy())
        layer.bias.data = torch.from_numpy(bias)
        modules += [layer] if n in linear else [layer, torch.nn.LeakyReLU(0.01)]
    network = torch.nn.Sequential(*modules).eval()
    if half:
        network = network.bfloat16()
    run = torch.compile(network) if compiled else network

    def prepare(batch: int) -> Callable[[], object]:
        x = torch.from_numpy(spectra(batch))
        x = x.bfloat16() if half else x
        return lambda: run(x)

    return prepare


def onnx_forward(params: model.Params) -> Forward:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    stack = layers(params)
    nodes, weights, value = [], [], "x"
    for n, (kernel, bias) in enumerate(stack):
        weights += [
            numpy_helper.from_array(kernel, f"w{n}"),
            numpy_helper.from_array(bias, f"b{n}"),
        ]
        nodes.append(helper.make_node("Gemm", [value, f"w{n}", f"b{n}"], [f"g{n}"]))
        value = f"g{n}"
        if n not in (len(SIZES.encoder), len(stack) - 1):
            nodes.append(helper.make_node("LeakyRelu", [value], [f"a{n}"], alpha=0.01))
            value = f"a{n}"
    graph = helper.make_graph(
        nodes,
        "predict",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["star", N_XP])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["star", WIDTHS[-1]])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )

    def prepare(batch: int) -> Callable[[], object]:
        x = spectra(batch)
        return lambda: session.run(None, {"x": x})

    return prepare


def matmul(batch: int) -> Callable[[], object]:
    """The largest layer alone."""
    a = jnp.asarray(np.random.default_rng(0).normal(size=(batch, 1024)), jnp.float32)
    b = jnp.asarray(np.random.default_rng(1).normal(size=(1024, 1024)), jnp.float32)
    product = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(product(a, b))


def rates(forwards: dict[str, Forward], rounds: int, seconds: float) -> dict[str, float]:
    """Stars per second at the best batch size, medians of rounds that take turns."""
    calls = {(name, n): make(n) for name, make in forwards.items() for n in BATCHES}
    for call in calls.values():
        call()
    found: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for (name, batch), call in calls.items():
            count, start = 0, time.perf_counter()
            while (passed := time.perf_counter() - start) < seconds or not count:
                call()
                count += 1
            found[name, batch].append(count * batch / passed)
    return {
        name: max(statistics.median(found[name, batch]) for batch in BATCHES) for name in forwards
    }


def perturbed(rng: np.random.Generator, stars: int) -> XPChunk:
    """Synthetic repeats of the two real stars."""
    (real,) = read_xp(SHARED / "data/xp_formats/XP_CONTINUOUS_RAW.ecsv")
    rows = real[np.arange(stars) % len(real)]
    noise = 1 + 0.05 * rng.standard_normal((2, stars, N_XP), np.float32)
    return replace(
        rows,
        source_id=rng.integers(0, 12 * 4**12, stars) << 35,
        coefficients=rows.coefficients * noise[0],
        errors=rows.errors * np.abs(noise[1]),
    )


def write_spectra(folder: Path, stars: int) -> None:
    """An XP store, its first million stars different from each other."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    files = -(-stars // FILE_STARS)
    for n in range(files):
        path = folder / f"part_{n:05d}.h5"
        left = min(FILE_STARS, stars - n * FILE_STARS)
        if n < DIFFERENT_FILES or left < FILE_STARS:
            with write_store(path) as store:
                for start in range(0, left, 8192):
                    store.append(perturbed(rng, min(8192, left - start)))
        else:
            path.hardlink_to(folder / f"part_{n % DIFFERENT_FILES:05d}.h5")


def write_bundle(folder: Path, params: model.Params) -> None:
    """Random weights; what surrounds them is fitted to synthetic repeats and random labels."""
    rng = np.random.default_rng(0)
    chunk = perturbed(rng, 2000)
    low, high = np.array([label.limits for label in labels.LABELS]).T
    g_mag = np.full(len(chunk), 15.0, np.float32)
    stars = TrainingSet(
        source_id=chunk.source_id,
        xp=chunk.coefficients.astype(np.float32),
        xp_error=chunk.errors.astype(np.float32),
        g_mag=g_mag,
        labels=rng.uniform(low, high, (len(chunk), len(low))).astype(np.float32),
        label_error=np.full((len(chunk), len(low)), 0.01, np.float32),
        representation="continuous",
        release=chunk.release,
    )
    cfg = replace(PAPER, model=SIZES)
    normalised = normalise(stars.xp, g_mag, cfg.data.magnitude_exponent)
    scalers = Scalers(fit_scaler(normalised, SPECTRUM_RANGE), fit_scaler(stars.labels, LABEL_RANGE))
    networks = jax.tree.map(
        lambda leaf: jnp.asarray(leaf)[None], Networks(params, apogee_decoder(), scalers)
    )
    bundle = assess(networks, stars, np.ones((1, len(chunk)), bool), cfg)
    info = BundleInfo(
        config=cfg,
        representation="continuous",
        n_xp=N_XP,
        n_coefficients=0,
        release=chunk.release,
        n_parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        label_names=labels.names(),
        members=(Assignment(0, -1, 0),),
        apogee_spectra="none: random weights",
    )
    save_bundle(folder, bundle, info)


PREDICT = """
import sys
from pathlib import Path
from aspgap_jax.cli import main
status = main(sys.argv[1:])
print("peak", int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024)
sys.exit(status)
"""


def end_to_end(folder: Path, stars: int, batch: int, compute: str) -> dict[str, float]:
    """`aspgap predict` on a store: rates, and the most memory of its process."""
    out = folder / f"labels_{compute}"
    options = ["--bundle", str(folder / "bundle"), "--no-second-path", "--show", "0"]
    command = ["predict", str(folder / "store"), "--out", str(out), "--compute", compute, *options]
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, *command, "--batch-size", str(batch)],
        check=True,
        capture_output=True,
        text=True,
    )
    whole = time.time() - start
    parts = sorted(path.stat().st_mtime for path in out.glob("*.parquet"))
    totals = json.loads((out / "manifest.json").read_text())["totals"]
    if totals["predicted"] != stars:
        raise SystemExit(f"{totals['predicted']} of {stars} stars predicted")
    # So many parts are a million stars, or half of all there are.
    million = min(-(-1_000_000 // FILE_STARS), (len(parts) - 1) // 2)
    first, last = parts[million] - parts[0], parts[-2] - parts[-2 - million]
    return {
        "rate": (len(parts) - 2) * FILE_STARS / (parts[-2] - parts[0]),
        "last_over_first": first / last,
        "start": parts[0] - start,
        "whole": whole,
        "peak_mb": float(done.stdout.rpartition("peak")[2]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of prediction.")
    parser.add_argument("--stars", type=int, default=10_000_000, help="stars of the long run")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one turn")
    parser.add_argument("--batch", type=int, default=2048, help="stars a batch of the long run")
    parser.add_argument("--scratch", type=Path, help="where the store goes: 1 GB and the labels")
    parser.add_argument("--json", type=Path, help="write the ratios here")
    options = parser.parse_args()
    if options.stars < 4 * FILE_STARS:
        parser.error(f"--stars must be at least {4 * FILE_STARS}, to have a beginning and an end")
    # The frameworks compared are noisy about their own future.
    warnings.simplefilter("ignore")
    os.environ["TORCHINDUCTOR_FREEZING"] = "1"
    params = model.init(jax.random.key(0), SIZES, n_xp=N_XP, n_pixels=8)
    forwards: dict[str, Forward] = {
        "JAX": jax_forward(params, "float32"),
        "JAX, layers apart": jax_forward(params, "float32", apart=True),
        "PyTorch eager": torch_forward(params, compiled=False, half=False),
        "PyTorch compiled": torch_forward(params, compiled=True, half=False),
        "ONNX Runtime": onnx_forward(params),
        "matmul": matmul,
        "JAX bfloat16": jax_forward(params, "bfloat16"),
        "PyTorch bfloat16": torch_forward(params, compiled=True, half=True),
    }
    reference = np.concatenate(forwards["JAX, layers apart"](1024)(), axis=1)
    absorbed = np.concatenate(forwards["JAX"](1024)(), axis=1)
    np.testing.assert_allclose(absorbed, reference, rtol=1e-3, atol=1e-4)
    for name in ("PyTorch eager", "PyTorch compiled", "ONNX Runtime"):
        other = np.asarray(forwards[name](1024)()).reshape(reference.shape)
        np.testing.assert_allclose(other, reference, rtol=1e-3, atol=1e-4, err_msg=name)
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = Path(name)
        write_bundle(folder / "bundle", params)
        write_spectra(folder / "store", options.stars)
        found = rates(forwards, options.rounds, options.seconds)
        whole = end_to_end(folder, options.stars, options.batch, "float32")
        # The machine may have become slower: the networks again, and the mean of both.
        after = rates({"JAX": forwards["JAX"]}, options.rounds, options.seconds)["JAX"]
    product = found.pop("matmul") * 2 * 1024 * 1024
    for framework, rate in found.items():
        done = flop(ABSORBED_WIDTHS if framework in ABSORBED else WIDTHS)
        print(f"{framework:18s} {rate:9,.0f} stars/s  {rate * done / 1e9:6.1f} GFLOP/s")
    print(f"{'matmul alone':18s} {'':9s}          {product / 1e9:6.1f} GFLOP/s")
    print(
        f"{'aspgap predict':18s} {whole['rate']:9,.0f} stars/s; first part after "
        f"{whole['start']:.0f} s, all {options.stars:,} stars after {whole['whole']:.0f} s"
    )
    ours = found["JAX"]
    result = {
        "vs_torch_eager": ours / found["PyTorch eager"],
        "vs_torch_compile": ours / found["PyTorch compiled"],
        "vs_onnxruntime": ours / found["ONNX Runtime"],
        "of_matmul_rate": ours * flop(ABSORBED_WIDTHS) / product,
        "end_to_end_of_forward": whole["rate"] / (0.5 * (ours + after)),
        "last_over_first_million": whole["last_over_first"],
        "peak_mb": whole["peak_mb"],
        "hours_for_219m": ALL_SPECTRA / whole["rate"] / 3600,
    }
    print(json.dumps(result))
    if options.json:
        options.json.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
