"""Which files a process takes: those it is given, unless it is told to share."""

from __future__ import annotations

import jax
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.prediction.shares import Share, share_of_process

ARRAY = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN")
STEP = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")


@pytest.fixture(autouse=True)
def outside_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ARRAY, *STEP, "SLURM_ARRAY_TASK_MAX"):
        monkeypatch.delenv(name, raising=False)


def in_array(monkeypatch: pytest.MonkeyPatch, task: int, ids: list[int]) -> None:
    values = (task, len(ids), min(ids))
    for name, value in zip(ARRAY, values, strict=True):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("SLURM_ARRAY_TASK_MAX", str(max(ids)))


def in_step(monkeypatch: pytest.MonkeyPatch, task: int, tasks: int) -> None:
    for name, value in zip(STEP, (4711, 0, task, tasks), strict=True):
        monkeypatch.setenv(name, str(value))


def test_who_is_not_told_to_share_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share_of_process(None) == Share(1, 1)
    assert share_of_process("3/8") == Share(3, 8)
    # A task of an array may have been given its own file.
    in_array(monkeypatch, 2, [1, 2])
    assert share_of_process(None) == Share(1, 1)
    # The batch script itself is no task of a step.
    in_step(monkeypatch, 0, 1)
    assert share_of_process(None) == Share(1, 1)


def test_tasks_of_one_step_are_a_team(monkeypatch: pytest.MonkeyPatch) -> None:
    in_step(monkeypatch, 1, 4)
    assert share_of_process(None) == Share(2, 4, "4711.0")
    assert share_of_process("slurm") == Share(2, 4)


def test_jax_distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert share_of_process(None) == Share(2, 2)


@pytest.mark.parametrize("ids", [[1, 2, 3], [10, 12, 14, 16, 18], [7], [3, 8]])
def test_an_array_shares_when_told_to(ids: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for task in ids:
        in_array(monkeypatch, task, ids)
        shares.append(share_of_process("slurm"))
    assert shares == [Share(n + 1, len(ids)) for n in range(len(ids))]


def test_an_array_of_steps_shares_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for array in (1, 2):
        for task in (0, 1, 2):
            in_array(monkeypatch, array, [1, 2])
            in_step(monkeypatch, task, 3)
            shares.append(share_of_process("slurm"))
    assert shares == [Share(n, 6) for n in range(1, 7)]


def test_what_is_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("0/3", "4/3", "2", "a/b"):
        with pytest.raises(InputError, match=f"--shard {wrong}"):
            share_of_process(wrong)
    with pytest.raises(InputError, match="no task of a Slurm array"):
        share_of_process("slurm")
    # The task that is out of line says so; the shares of the others do not overlap.
    in_array(monkeypatch, 2, [1, 2, 5])
    with pytest.raises(InputError, match="not evenly spaced"):
        share_of_process("slurm")
