"""The log of a training: JSON lines, one an epoch and member."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from aspgap_jax.files.atomic import write_text

__all__ = ["open_log", "read_log"]

Line = Mapping[str, float | int]


def read_log(path: Path) -> list[Line]:
    """Lines of a log; one that a kill cut short is left out."""
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
    """
    kept = [line for line in read_log(path) if line["epoch"] <= epoch]
    write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    with path.open("a", encoding="utf-8") as file:

        def write(lines: Sequence[Line]) -> None:
            file.writelines(json.dumps(line) + "\n" for line in lines)
            file.flush()

        yield write
