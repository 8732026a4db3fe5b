"""The sbatch files parse, call commands and options that exist, and requeue on 75."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from aspgap_jax import cli
from aspgap_jax.commands import prediction, training
from aspgap_jax.prediction.shares import share_of_process
from aspgap_jax.runtime.interruption import RESUME_ME
from support import ROOT

FOLDER = ROOT / "experiments" / "slurm"
FILES = sorted(FOLDER.glob("*.sbatch"))
TRAINING = ("single_gpu", "multi_gpu", "multi_node")

# Of the manual page of sbatch: the options used here, and what their values look like.
OPTIONS = {
    "array": r"\d+-\d+",
    "cpus-per-task": r"\d+",
    "gpu-bind": r"none",
    "gpus-per-node": r"\d+",
    "job-name": r"[\w-]+",
    "mem": r"\d+[KMGT]",
    "nodes": r"\d+",
    "ntasks": r"\d+",
    "ntasks-per-node": r"\d+",
    "open-mode": r"append|truncate",
    "output": r"[\w%.-]+",
    "requeue": None,
    "signal": r"(B:)?(TERM|USR1|INT)@\d+",
    "time": r"\d\d:\d\d:\d\d",
}

# Task 3 of an array of 16.
ARRAY = {
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_ARRAY_TASK_COUNT": "16",
    "SLURM_ARRAY_TASK_MIN": "1",
    "SLURM_ARRAY_TASK_MAX": "16",
}

# srun takes its options off, and runs the rest once a task; the others note what they are told.
STUBS = {
    "srun": 'while [[ $1 == --* ]]; do shift; done\nexec "$@"',
    "aspgap": 'printf "%s\\0" "$@" >> "$CALLS/aspgap"\nexit "$STATUS"',
    "scontrol": 'echo "$@" >> "$CALLS/scontrol"',
}


def options(path: Path) -> dict[str, str | None]:
    found = {}
    for line in path.read_text().splitlines():
        if line.startswith("#SBATCH"):
            name, equals, value = line.removeprefix("#SBATCH ").removeprefix("--").partition("=")
            found[name] = value if equals else None
    return found


def run(path: Path, folder: Path, status: int = 0) -> tuple[int, list[str], list[str]]:
    """Run a file with stubs; its exit status, aspgap's arguments, and scontrol's calls."""
    tools, calls = folder / "tools", folder / f"calls-{status}"
    tools.mkdir(exist_ok=True)
    calls.mkdir()
    for name, text in STUBS.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "STATUS": str(status),
        "SLURM_JOB_ID": "4711",
        **ARRAY,
    }
    done = subprocess.run(["bash", str(path)], env=environment, check=False, capture_output=True)
    assert not done.stderr
    told = (calls / "aspgap").read_text().split("\0")[:-1]
    requeued = calls / "scontrol"
    return done.returncode, told, requeued.read_text().splitlines() if requeued.exists() else []


def parse(arguments: list[str]) -> object:
    return cli.parse(arguments)


def test_there_is_a_file_for_every_use() -> None:
    assert {path.stem for path in FILES} == {*TRAINING, "predict_shards"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_parse(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text()
    assert text.startswith("#!/bin/bash\n# ")
    # Slurm reads no option after the first command.
    body = re.search(r"^[^#\n]", text, re.MULTILINE)
    assert body is not None
    assert text.rfind("#SBATCH") < body.start()
    for name, value in options(path).items():
        pattern = OPTIONS[name]
        if pattern is None:
            assert value is None, name
        else:
            assert re.fullmatch(pattern, value or ""), f"{name}={value}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_calls_and_comments_name_commands_and_options_that_exist(
    path: Path, tmp_path: Path
) -> None:
    _, told, _ = run(path, tmp_path)
    parse(told)
    for example in re.findall(r"^#   aspgap (.*)$", path.read_text(), re.MULTILINE):
        parse(shlex.split(example))
    for example in re.findall(r"^#   .*\bsbatch .*?(experiments/slurm/\S+)$", path.read_text()):
        assert (FOLDER.parents[1] / example).is_file()


@pytest.mark.parametrize("name", TRAINING)
def test_training_goes_back_into_the_queue_when_it_says_so(name: str, tmp_path: Path) -> None:
    path = FOLDER / f"{name}.sbatch"
    given = options(path)
    # The signal comes in time, to the steps and not to the shell; the log is kept.
    assert given["signal"] == "TERM@120"
    assert "requeue" in given
    assert given["open-mode"] == "append"
    status, told, requeued = run(path, tmp_path, status=RESUME_ME)
    assert (status, requeued) == (RESUME_ME, ["requeue 4711"])
    for other in (0, 2, 130):
        status, _, requeued = run(path, tmp_path, status=other)
        assert (status, requeued) == (other, [])
    command = parse(told)
    assert isinstance(command, training.Train)
    # Slurm tells the tasks of each other.
    assert command.execution.coordinator is None


def test_tasks_and_gpus_fit_together() -> None:
    """One process for a host's GPUs, or one task a GPU, each of which sees all of them."""
    single, several, nodes = (options(FOLDER / f"{name}.sbatch") for name in TRAINING)
    assert (single["ntasks"], single["gpus-per-node"]) == ("1", "1")
    assert several["ntasks"] == "1"
    assert int(several["gpus-per-node"] or 0) > 1
    assert int(nodes["nodes"] or 0) > 1
    assert nodes["ntasks-per-node"] == nodes["gpus-per-node"]
    assert nodes["gpu-bind"] == "none"


def test_an_array_of_jobs_predicts_every_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = FOLDER / "predict_shards.sbatch"
    first, last = (options(path)["array"] or "").split("-")
    _, told, _ = run(path, tmp_path)
    command = parse(told)
    assert isinstance(command, prediction.Predict)
    # The released bundle, unless one is named.
    assert command.bundle is None
    for name, value in ARRAY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    share = share_of_process(command.shard)
    assert f"{share.task}/{share.tasks}" == f"3/{last}"
    assert first == "1"
