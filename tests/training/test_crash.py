"""`aspgap train` in processes of its own: killed, told to stop, and two at a time."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax.prediction.bundle import load_bundle, load_networks, save_bundle
from aspgap_jax.runtime.interruption import RESUME_ME
from aspgap_jax.training.log import read_log
from support.experiments import load_experiment


@pytest.fixture(scope="module")
def crash() -> ModuleType:
    return load_experiment("studies/crash_study")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crash")


@pytest.fixture(scope="module")
def options(crash: ModuleType, folder: Path) -> list[str]:
    return crash.make_inputs(folder)


@pytest.fixture(scope="module")
def whole(crash: ModuleType, folder: Path, options: list[str]) -> Path:
    """A run without interruption."""
    crash.finish("train", folder / "whole", options)
    return folder / "whole"


def wait_for_an_epoch(crash: ModuleType, out: Path, *running: subprocess.Popen[str]) -> None:
    began, known = time.monotonic(), len(read_log(out / "log.jsonl"))
    while len(read_log(out / "log.jsonl")) == known:
        if any(process.poll() is not None for process in running):
            pytest.fail("ended before an epoch: " + running[0].communicate()[0])
        assert time.monotonic() - began < crash.LIMIT_SECONDS
        time.sleep(0.005)


def test_a_run_that_is_killed_and_told_to_stop_ends_with_the_same_parameters(
    crash: ModuleType, whole: Path, folder: Path, options: list[str]
) -> None:
    out, tally = folder / "killed", crash.Tally()
    # During the second save of pre-training; then at a random moment.
    crash.kill_once("train", out, options, after=None, saves=1, tally=tally)
    assert tally == crash.Tally(kills=1, in_save=1)
    moment = np.random.default_rng().uniform(0.0, 4.0)
    crash.kill_once("train", out, options, after=moment, saves=0, tally=tally)
    assert not (out / "bundle").exists()

    process = crash.start("train", out, options)
    wait_for_an_epoch(crash, out, process)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=crash.LIMIT_SECONDS)
    assert process.returncode == RESUME_ME == os.EX_TEMPFAIL, printed
    saved = int(re.search(r"stopped: epoch (\d+) is saved", printed)[1])
    assert (out / "checkpoints" / "training" / str(saved)).is_dir()
    assert printed.rstrip().endswith("run the same command to continue")

    printed = crash.finish("train", out, options)
    assert f"resumed after epoch {saved}" in printed
    assert crash.differences(whole, out) == []
    epochs = [line["epoch"] for line in read_log(out / "log.jsonl")]
    assert epochs == list(range(1, crash.CFG.train.epochs + 1))


def test_the_comparison_finds_a_difference(crash: ModuleType, whole: Path, folder: Path) -> None:
    other = folder / "other"
    shutil.copytree(whole, other)
    assert crash.differences(whole, other) == []
    log = (whole / "log.jsonl").read_text()
    (other / "log.jsonl").write_text(log.replace("1", "2", 1))
    (bundle, info), (networks, _) = load_bundle(whole), load_networks(whole)
    leaf = networks.scalers.xp.centre
    moved = networks._replace(
        scalers=networks.scalers._replace(
            xp=networks.scalers.xp._replace(centre=jnp.nextafter(leaf, jnp.inf))
        )
    )
    save_bundle(other / "bundle", bundle, info, moved)
    assert crash.differences(whole, other) == ["['networks'].scalers.xp.centre", "log.jsonl"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_both(crash: ModuleType, out: Path, options: list[str]) -> list[subprocess.Popen[str]]:
    several = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", "2", "--process-id"]
    return [crash.start("train", out, [*options, *several, str(i)]) for i in range(2)]


def test_two_processes_train_what_one_does(
    crash: ModuleType, whole: Path, folder: Path, options: list[str]
) -> None:
    # All devices of both processes share every batch.
    position = options.index("--devices")
    shared = options[:position] + options[position + 2 :]
    out = folder / "two"

    # Told to stop, one of them is enough: both stop, and want to be resumed.
    both = start_both(crash, out, shared)
    wait_for_an_epoch(crash, out, *both)
    both[1].send_signal(signal.SIGTERM)
    printed = [process.communicate(timeout=crash.LIMIT_SECONDS)[0] for process in both]
    assert [process.returncode for process in both] == [RESUME_ME] * 2, printed
    saved = int(re.search(r"stopped: epoch (\d+) is saved", printed[0])[1])

    both = start_both(crash, out, shared)
    printed = [process.communicate(timeout=crash.LIMIT_SECONDS)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert f"resumed after epoch {saved}" in printed[0]
    assert "wrote" in printed[0]
    assert "wrote" not in printed[1], "one of them speaks"
    assert not (out / "checkpoints").exists()
    one, two = (load_networks(path)[0] for path in (whole, out))
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
        # Not one by one: Adam makes much of the rounding of a gradient that is near zero.
        assert np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(b)
