"""What is printed: to whom, how much of it, and where a copy is kept.

Standard output may have a reader that goes (``aspgap predict ... | head -1``). Results go to
it; errors and remarks go to standard error. Remarks (:func:`remark`) are left out where only
errors are wanted, details (:func:`detail`) are shown where they are asked for. A log gets all of
it, line by line, with the time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aspgap_jax.errors import InputError

__all__ = ["Printed", "detail", "remark", "to_a_reader_that_may_go", "to_log"]


class _Log:
    """A file that lines are appended to, each with the time and the process.

    Lines of several processes do not run into each other: each is one write to the file's end.
    """

    def __init__(self, path: Path) -> None:
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            if not path.parent.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, how, 0o666)
        except OSError as error:
            raise InputError(f"--log {path}: {error.strerror}") from None

    def line(self, text: str) -> None:
        # Of a progress bar, what it was at last.
        text = text.rpartition("\r")[2].rstrip()
        if text:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            os.write(self._file, f"{now} [{os.getpid()}] {text}\n".encode())

    def close(self) -> None:
        os.close(self._file)


class _Stream:
    """A stream that drops what it is given once nobody reads it, and lets a log read along."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._begun = ""
        self.log: _Log | None = None
        self.shown = True
        self.bars = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        """Whether somebody looks: else there are no progress bars."""
        return self.shown and self.bars and bool(self._stream.isatty())

    def write(self, text: str) -> int:
        return self.pass_on(text, self.shown)

    def pass_on(self, text: str, shown: bool) -> int:
        """Write text, or leave it to the log alone."""
        if self.log is not None:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                self.log.line(line)
        if shown:
            try:
                self._stream.write(text)
            except BrokenPipeError:
                self._drop()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def end(self) -> None:
        """Pass on what is left."""
        if self.log is not None:
            self.log.line(self._begun)
        self._begun = ""
        self.flush()

    def _drop(self) -> None:
        # Also what waits in the buffer, so that Python is not caught by it at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class Printed:
    """How much is printed, and where a copy is kept."""

    def __init__(self, stdout: Any, stderr: Any) -> None:
        self.stdout, self.stderr = _Stream(stdout), _Stream(stderr)
        self.quiet = self.verbose = False

    def choose(self, *, log: Path | None, quiet: bool, verbose: bool) -> None:
        """From now on.

        Args:
            log: file that everything is appended to.
            quiet: show errors alone.
            verbose: show details too.

        Raises:
            InputError: the log cannot be written.
        """
        if log is not None:
            self.stdout.log = self.stderr.log = _Log(log)
        self.quiet, self.verbose = quiet, verbose
        self.stdout.shown = self.stderr.bars = not quiet

    def end(self) -> None:
        """Pass on what is left."""
        for stream in (self.stdout, self.stderr):
            stream.end()
        if self.stderr.log is not None:
            self.stderr.log.close()


_now: list[Printed] = []
"""What is printed through; empty outside the command line."""


def remark(text: str) -> None:
    """Print to stderr what is no error: not where errors alone are wanted.

    Args:
        text: one line or more, without the line break at the end.
    """
    if _now:
        _now[-1].stderr.pass_on(f"{text}\n", not _now[-1].quiet)
    else:
        print(text, file=sys.stderr)


def detail(text: str) -> None:
    """Print to stderr where details are wanted; a log gets it always.

    Args:
        text: one line or more, without the line break at the end.
    """
    if _now:
        _now[-1].stderr.pass_on(f"{text}\n", _now[-1].verbose)


def to_log(text: str) -> None:
    """Leave to the log what is printed by other means; also from a handler of signals.

    Args:
        text: one line or more.
    """
    if _now and (log := _now[-1].stderr.log) is not None:
        for line in text.splitlines():
            log.line(line)


@contextmanager
def to_a_reader_that_may_go() -> Iterator[Printed]:
    """While inside, what is printed to a closed pipe is dropped, and the work goes on.

    Yields:
        How much is printed; it may be told to print more, less, or to a log too.
    """
    streams = sys.stdout, sys.stderr
    printed = Printed(*streams)
    sys.stdout, sys.stderr = printed.stdout, printed.stderr
    _now.append(printed)
    try:
        yield printed
    finally:
        _now.pop()
        printed.end()
        sys.stdout, sys.stderr = streams
