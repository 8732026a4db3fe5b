"""Kill a training again and again: does it end with the same parameters?

Run: python experiments/studies/crash_study.py --kills 40
Makes a small training store of stars that do not exist, trains on it once without
interruption, and then again with `kill -9`: at random moments, and in turn as soon
as a checkpoint is being written. The same command goes on after every kill. Takes
half a minute and some 8 s a kill on two cores. Expect "bitwise equal", and a third or
more of the kills during a save. Exit status 1 where the parameters or the log differ.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro

from aspgap_jax import config, labels
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.config import Config, Data, Loss, Model, Pretrain, Training
from aspgap_jax.files.atomic import write_text
from aspgap_jax.prediction.bundle import load_bundle, load_networks
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.store import write_training_store

CFG = Config(
    model=Model(
        encoder=(32,),
        latent=16,
        hallucinator=(64,),
        xp_decoder=(16,),
        apogee_decoder=(64,),
        dropout=0.1,
    ),
    loss=Loss(l1=0.01, kl=20.0),
    data=Data(magnitude_exponent=0.4),
    train=Training(epochs=8, batch_size=64, patience=8, noise=1.0),
    pretrain=Pretrain(n_spectra=200, epochs=4, batch_size=32),
)
UNFINISHED = "*orbax-checkpoint-tmp*"
"""What Orbax calls a checkpoint that is being written."""
LIMIT_SECONDS = 300.0
COMMAND_LINE = "import sys; from aspgap_jax.cli import main; sys.exit(main())"


class MadeUpSpectra:
    """Spectra that depend on the labels, a block at a time, for the store."""

    def __init__(self, scaled: np.ndarray) -> None:
        self._scaled = scaled

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        mixture = np.random.default_rng(7).normal(size=(self._scaled.shape[1], N_PIXELS))
        for start in range(0, len(self._scaled), 64):
            flux = 0.9 + 0.03 * np.tanh(self._scaled[start : start + 64] @ mixture)
            yield flux.astype(np.float32), np.full_like(flux, 0.01, np.float32)

    def record(self) -> Mapping[str, Any]:
        return {"made up": True}


def make_inputs(folder: Path, n_stars: int = 400, n_xp: int = 24) -> list[str]:
    """A store of made-up stars and a config; the options that train on them."""
    rng = np.random.default_rng(0)
    low, high = np.array([label.limits for label in labels.LABELS]).T
    scaled = rng.uniform(0.1, 0.9, (n_stars, len(labels.LABELS)))
    flux = 1e-16 * (1.0 + 0.2 * np.tanh(scaled @ rng.normal(size=(len(labels.LABELS), n_xp))))
    stars = TrainingSet(
        source_id=np.arange(1, n_stars + 1) * 2**40,
        xp=flux.astype(np.float32),
        xp_error=(0.01 * flux).astype(np.float32),
        g_mag=np.full(n_stars, 15.0, np.float32),
        labels=(low + scaled * (high - low)).astype(np.float32),
        label_error=np.tile(0.005 * (high - low), (n_stars, 1)).astype(np.float32),
        representation="sampled",
        columns={"snr": np.full(n_stars, 100.0, np.float32)},
    )
    write_training_store(folder / "made_up.h5", stars, spectra=MadeUpSpectra(scaled))
    (folder / "settings.json").write_text(config.to_json(CFG))
    return [
        *("--data", str(folder / "made_up.h5"), "--select", "usable"),
        *("--config", str(folder / "settings.json")),
        *("--devices", "1", "--checkpoint-seconds", "0", "--device-bytes", "0"),
    ]


def start(command: str, out: Path, options: list[str]) -> subprocess.Popen[str]:
    """The command line in a process of its own, on one emulated device."""
    arguments = [sys.executable, "-c", COMMAND_LINE, command, "--out", str(out), *options]
    # Every process compiles the same: let them share it.
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(out.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    return subprocess.Popen(
        arguments,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"} | cache,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(command: str, out: Path, options: list[str]) -> str:
    """Run the command to its end; what it printed.

    Raises:
        RuntimeError: it failed.
    """
    process = start(command, out, options)
    printed, _ = process.communicate(timeout=LIMIT_SECONDS)
    if process.returncode:
        raise RuntimeError(f"status {process.returncode}: {printed}")
    return printed


@dataclass
class Tally:
    """How the kills fell.

    Attributes:
        kills: processes killed.
        in_save: of those, while a checkpoint was being written.
        finished: processes that ended before their kill.
    """

    kills: int = 0
    in_save: int = 0
    finished: int = 0


def unfinished(out: Path) -> set[Path]:
    """Checkpoints that are being written, or were when their process was killed."""
    return set(out.glob(f"checkpoints/*/{UNFINISHED}"))


def kill_once(
    command: str, out: Path, options: list[str], *, after: float | None, saves: int, tally: Tally
) -> None:
    """Start the command and kill it.

    Args:
        command: `train` or `crossval`.
        out: folder of the run.
        options: the others.
        after: seconds until the kill; ``None`` to kill during a save.
        saves: in that case, saves that are let pass.
        tally: counts.
    """
    known = unfinished(out)
    process = start(command, out, options)
    began = time.monotonic()
    seen: set[Path] = set()
    while process.poll() is None and time.monotonic() - began < LIMIT_SECONDS:
        if after is not None:
            if time.monotonic() - began >= after:
                break
            time.sleep(0.005)
            continue
        seen |= unfinished(out) - known
        if len(seen) > saves:
            break
    if process.poll() is not None:
        tally.finished += 1
    else:
        process.send_signal(signal.SIGKILL)
        process.wait()
        tally.kills += 1
        tally.in_save += bool(unfinished(out) - known)
    process.communicate()


def differences(a: Path, b: Path) -> list[str]:
    """What differs between two finished runs, bit by bit; nothing if all is equal."""
    one, other = ({"bundle": load_bundle(c)[0], "networks": load_networks(c)[0]} for c in (a, b))
    found = [
        jax.tree_util.keystr(path)
        for (path, x), y in zip(
            jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True
        )
        if not np.array_equal(x, y, equal_nan=True)
    ]
    if (a / "log.jsonl").read_bytes() != (b / "log.jsonl").read_bytes():
        found.append("log.jsonl")
    return found


def run(folder: Path, command: str, kills: int, seed: int) -> tuple[Tally, list[str]]:
    """Train without and with kills; how these fell, and what differs in the end."""
    options = make_inputs(folder)
    # Twice: the first compiles.
    finish(command, folder / "first", options)
    began = time.monotonic()
    finish(command, folder / "whole", options)
    seconds = time.monotonic() - began
    rng, tally, out = np.random.default_rng(seed), Tally(), folder / "killed"
    for i in range(kills):
        after = rng.uniform(0.0, seconds) if i % 2 else None
        saves = int(rng.integers(0, 3))
        kill_once(command, out, options, after=after, saves=saves, tally=tally)
        print(f"{i + 1}/{kills}: {tally}", file=sys.stderr)
        if (out / "bundle" / "bundle.json").is_file():
            # It has come to its end: the other kills fall on another run.
            found = differences(folder / "whole", out)
            if found:
                return tally, found
            out = folder / f"killed_{i}"
    finish(command, out, options)
    return tally, differences(folder / "whole", out)


@dataclass(frozen=True)
class Study:
    """Kill a training again and again: does it end with the same parameters?"""

    kills: int = 20
    """How often; every other time during a save."""
    command: Literal["train", "crossval"] = "train"
    """What is killed."""
    seed: int = 0
    """Of the moments."""
    json: Path | None = None
    """Write the numbers there."""


def main(study: Study) -> int:
    """Run the study and print what came out."""
    with tempfile.TemporaryDirectory(prefix="aspgap-crash-") as folder:
        tally, found = run(Path(folder), study.command, study.kills, study.seed)
    print(
        f"{tally.kills} kills, {tally.in_save} of them during a save, "
        f"{tally.finished} runs ended before their kill: "
        + (f"DIFFERENT: {', '.join(found)}" if found else "bitwise equal")
    )
    if study.json:
        write_text(study.json, json.dumps(vars(tally) | {"different": found}, indent=2) + "\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Study)))
