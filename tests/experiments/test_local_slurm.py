"""The batch files on a real Slurm of one node: shares, several tasks, requeue and resume."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aspgap_jax.catalogue.parts import read_manifest
from aspgap_jax.prediction.bundle import save_bundle
from aspgap_jax.training.log import read_log
from support import ROOT
from support.bundles import flat_star, gaia_bundle
from support.experiments import load_experiment
from support.xp_files import write_bulk

local_slurm = load_experiment("slurm/local_slurm")
pytestmark = pytest.mark.skipif(
    bool(local_slurm.missing()),
    reason=f"no Slurm here: {', '.join(local_slurm.missing())} (apt-get install slurm-wlm munge)",
)
FOLDER = ROOT / "experiments" / "slurm"
LIMIT_S = 300
QUICK = ("--batch-size", "8", "--no-second-path")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of a Slurm that runs, with `aspgap` as it is here, and one CPU device a process."""
    tools = tmp_path_factory.mktemp("tools")
    (tools / "aspgap").write_text(f'#!/bin/sh\nexec {sys.executable} -m aspgap_jax "$@"\n')
    (tools / "aspgap").chmod(0o755)
    with local_slurm.running() as found:
        yield found | {
            "PATH": f"{tools}:{found['PATH']}",
            "JAX_NUM_CPU_DEVICES": "1",
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(tools / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }


def run(command: list[str], folder: Path, environment: dict[str, str], **given: object) -> str:
    """Run a command of Slurm; what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment | {name: str(value) for name, value in given.items()},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    logs = "\n".join(log.read_text() for log in sorted(folder.glob("*.log")))
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{logs}"
    return done.stdout


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of five stars, and a bundle beside them."""
    folder = tmp_path_factory.mktemp("inputs")
    save_bundle(folder / "bundle", *gaia_bundle())
    for number in (1, 2, 3):
        rows = [flat_star(100 * number + star) for star in range(1, 6)]
        (folder / "xp").mkdir(exist_ok=True)
        write_bulk(folder / "xp" / f"{number}.csv.gz", rows)
    return folder


def test_an_array_predicts_each_file_once(
    environment: dict[str, str], inputs: Path, tmp_path: Path
) -> None:
    sbatch = ["sbatch", "--wait", "--array=3-5:2", str(FOLDER / "predict_shards.sbatch")]
    given = {"FILES": inputs / "xp", "BUNDLE": inputs / "bundle", "OUT": "labels"}
    run([*sbatch, *QUICK], tmp_path, environment, **given)
    logs = sorted(log.read_text() for log in tmp_path.glob("*.log"))
    assert [re.search(r"share . of .", log)[0] for log in logs] == ["share 1 of 2", "share 2 of 2"]
    assert [re.search(r"(\d) files: (\d) predicted", log).groups() for log in logs] == [
        ("2", "2"),
        ("1", "1"),
    ]
    done = read_manifest(tmp_path / "labels")
    assert [record.status for record in done.files] == ["done"] * 3
    assert done.total("predicted") == 15


def test_tasks_of_one_step_share_a_list_and_do_what_is_theirs_alone(
    environment: dict[str, str], inputs: Path, tmp_path: Path
) -> None:
    options = f"--bundle {inputs / 'bundle'} --show 0 {' '.join(QUICK)}"
    srun = ["srun", "--ntasks=2", "--output=%t.log", "bash", "-c"]
    run([*srun, f"aspgap predict {inputs / 'xp'} --out same {options}"], tmp_path, environment)
    logs = [(tmp_path / f"{task}.log").read_text() for task in (0, 1)]
    assert sum(int(re.search(r"(\d) predicted", log)[1]) for log in logs) == 3
    assert read_manifest(tmp_path / "same").total("predicted") == 15
    # Each task was given its own file.
    own = f"aspgap predict {inputs / 'xp'}/$((SLURM_PROCID + 1)).csv.gz --out own {options}"
    run([*srun, own], tmp_path, environment)
    assert [record.part for record in read_manifest(tmp_path / "own").files] == [
        "1.csv.gz.parquet",
        "2.csv.gz.parquet",
    ]


def test_two_tasks_train_are_requeued_after_sigterm_and_resume(
    environment: dict[str, str], tmp_path: Path
) -> None:
    made = load_experiment("studies/crash_study").make_inputs(tmp_path)
    settings = made[made.index("--config") + 1]
    one_node = ["--nodes=1", "--ntasks-per-node=2", "--gpus-per-node=2"]
    sbatch = ["sbatch", "--parsable", *one_node, str(FOLDER / "multi_node.sbatch")]
    options = ["--select", "usable", "--config", settings, "--train.epochs", "150"]
    given = {"PRESET": "", "DATA": made[1], "OUT": "run"}
    job = run([*sbatch, *options], tmp_path, environment, **given).strip()
    deadline = time.monotonic() + LIMIT_S
    log = tmp_path / f"aspgap-{job}.log"

    def wait(what: str, ready: bool) -> None:
        assert time.monotonic() < deadline, f"{what}: {log.read_text()}"
        if not ready:
            time.sleep(0.1)

    while not (epochs := len(read_log(tmp_path / "run/log.jsonl"))):
        wait("no epoch", bool(epochs))
    run(["scancel", "--signal=TERM", job], tmp_path, environment)
    while not (done := (tmp_path / "run/bundle/bundle.json").exists()):
        wait("no bundle", done)
    said = log.read_text()
    saved = re.search(r"stopped: epoch (\d+) is saved", said)
    assert saved is not None, said
    assert f"resumed after epoch {saved[1]}" in said
    epochs = [line["epoch"] for line in read_log(tmp_path / "run/log.jsonl")]
    assert sorted(set(epochs)) == list(range(1, max(epochs) + 1))
