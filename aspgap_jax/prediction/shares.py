"""Which of the files that it is given a process predicts, where several are at work.

All of them, unless it is told otherwise: whoever gives one file a task has shared them out
already. ``--shard i/n`` and ``--shard slurm`` (the tasks of an array, of a step, or both)
take every n-th file. The tasks of one job step that write into one folder need not be
told: each takes the next file that no other has taken, so that a list that all of them got
is done once, and lists of their own are done as they are.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import jax

from aspgap_jax.errors import InputError

__all__ = ["Share", "share_of_process"]

STEP = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")


class Share(NamedTuple):
    """What a process predicts.

    Attributes:
        task: which process it is, from 1.
        tasks: of how many.
        team: what the tasks of one job step have in common. Empty: the files i, i + n,
            i + 2n, ... are this process's. Else all are, as far as no other has them.
    """

    task: int = 1
    tasks: int = 1
    team: str = ""


def share_of_process(asked: str | None) -> Share:
    """The share of this process.

    Args:
        asked: ``i/n``; ``slurm``: by the number of this task in its array and its step;
            ``None``: by ``jax.distributed`` where that runs, and without sharing out else.

    Returns:
        The number of this share and of all.

    Raises:
        InputError: ``asked`` is no share, or Slurm does not say which it is.
    """
    if asked == "slurm":
        return _of_slurm()
    if asked is not None:
        first, slash, last = asked.partition("/")
        if not (slash and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
            raise InputError(
                f"--shard {asked}: write i/n with 1 <= i <= n, as in --shard 2/8, or slurm"
            )
        return Share(int(first), int(last))
    if jax.distributed.is_initialized():
        return Share(jax.process_index() + 1, jax.process_count())
    task, tasks = _task_of_step()
    if tasks > 1:
        return Share(task + 1, tasks, ".".join(os.environ[name] for name in STEP[:2]))
    return Share()


def _task_of_step() -> tuple[int, int]:
    """Number of this task and of all tasks; the batch script itself is no task among several."""
    if all(name in os.environ for name in STEP):
        return int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
    return 0, 1


def _of_slurm() -> Share:
    task, tasks = _task_of_step()
    names = os.environ
    if "SLURM_ARRAY_TASK_ID" not in names:
        if tasks == 1:
            raise InputError(
                "--shard slurm: this is no task of a Slurm array, nor one of several of a step; "
                "start it with sbatch --array=1-N or srun --ntasks=N, or give --shard i/n"
            )
        return Share(task + 1, tasks)
    count = int(names["SLURM_ARRAY_TASK_COUNT"])
    low, high = int(names["SLURM_ARRAY_TASK_MIN"]), int(names["SLURM_ARRAY_TASK_MAX"])
    step = (high - low) // (count - 1) if count > 1 else 1
    index, rest = divmod(int(names["SLURM_ARRAY_TASK_ID"]) - low, step)
    if rest or low + (count - 1) * step != high:
        raise InputError(
            f"--shard slurm: the numbers of this array's {count} tasks are not evenly spaced, so "
            f"that none knows its place; submit --array=1-{count}"
        )
    return Share(index * tasks + task + 1, count * tasks)
