"""The log of a training: JSON lines, one an epoch and member."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from aspgap_jax.files.atomic import write_text
from aspgap_jax.preprocessing.folds import Assignment
from aspgap_jax.training.step import EpochSummary

__all__ = ["Line", "open_log", "read_log", "records"]

Line = Mapping[str, float | int]
"""Diagnostics of a member's epoch, by name."""


def read_log(path: Path) -> list[Line]:
    """Lines of a log; one that a kill cut short is left out.

    Args:
        path: of the log; none there is an empty one.

    Returns:
        A mapping a line, in the order of the file.
    """
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(text))
    return lines


@contextmanager
def open_log(path: Path, epoch: int) -> Iterator[Callable[[Sequence[Line]], None]]:
    """A function that appends lines to a log and flushes them.

    Args:
        path: the log, made where it is missing.
        epoch: lines of later epochs are taken out: they will be written again.

    Yields:
        The function, until the end of the block.
    """
    kept = [line for line in read_log(path) if line["epoch"] <= epoch]
    write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    with path.open("a", encoding="utf-8") as file:

        def write(lines: Sequence[Line]) -> None:
            file.writelines(json.dumps(line) + "\n" for line in lines)
            file.flush()

        yield write


def records(epoch: int, summary: EpochSummary, names: Sequence[Assignment]) -> list[Line]:
    """Lines of the log: one for every member that is still training.

    Args:
        epoch: its number, from 1.
        summary: of all members, in host memory ``[member]``.
        names: of the members.

    Returns:
        Mappings that JSON takes, with the terms of the loss as ``train_NAME`` and
        ``valid_NAME``.
    """
    return [
        {
            "epoch": epoch,
            "member": m,
            **name._asdict(),
            "train_total": float(summary.total[m]),
            **{f"train_{term}": float(v[m]) for term, v in summary.terms._asdict().items()},
            "train_gradient_norm": float(summary.gradient_norm[m]),
            "valid_total": float(summary.valid_total[m]),
            **{f"valid_{term}": float(v[m]) for term, v in summary.valid._asdict().items()},
            # The one that decides when to stop: with alpha_1 = 1, whatever the objective has.
            "valid_nll": float(summary.valid_nll[m]),
        }
        for m, name in enumerate(names)
        if not summary.stopped[m]
    ]
