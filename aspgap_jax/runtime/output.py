"""Standard output whose reader may go: ``aspgap predict ... | head -1``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["to_a_reader_that_may_go"]


class _Patient:
    """A stream that drops what it is given once nobody reads it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        # Also what waits in the buffer, so that Python is not caught by it at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


@contextmanager
def to_a_reader_that_may_go() -> Iterator[None]:
    """While inside, what is printed to a closed pipe is dropped, and the work goes on."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = patient = tuple(_Patient(stream) for stream in streams)
    try:
        yield
    finally:
        for stream in patient:
            stream.flush()
        sys.stdout, sys.stderr = streams
