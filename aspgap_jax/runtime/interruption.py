"""Being told to stop: Ctrl-C, and the SIGTERM of a cluster that takes its machine back.

At once where there is nothing to save; where there is, at the next good moment::

    with interruptible() as interruption:
        ...                               # either signal raises here
        with interruption.deferred():
            for ...:
                ...                       # a signal waits
                if interruption.requested:
                    save()
                    interruption.obey()   # and raises here

In a process of the command line (:func:`own_process`), "at once" does not raise but ends
the process: an exception may strike inside a callback of gzip, HDF5 or a compiler, and come
out as another one, or not at all. There, too, a thread sees to it that a signal is obeyed
although native code keeps Python's own handler from running.

This module is imported first of all: it imports next to nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

__all__ = [
    "CONTINUE",
    "INTERRUPTED",
    "RESUME_ME",
    "Interruption",
    "Preempted",
    "interruptible",
    "own_process",
]

BOTH = (signal.SIGINT, signal.SIGTERM)

RESUME_ME = 75
"""Exit status (EX_TEMPFAIL): stopped from outside; the same command goes on."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells count it."""

# How long native code may keep a signal waiting, and whoever tidies up after it.
NOTICE_S = 1.0
TIDY_S = 30.0

CONTINUE = "run the same command to continue"


class Preempted(SystemExit):
    """SIGTERM was obeyed. Where nobody catches it, the process exits with 75.

    Attributes:
        state: what is saved, in words.
        said: whether the user has been told.
    """

    def __init__(self, state: str = CONTINUE) -> None:
        super().__init__(RESUME_ME)
        self.state = state
        self.said = False


class Interruption:
    """What has been asked for, if anything.

    Attributes:
        requested: the signal that waits, or that is being obeyed; or ``None``.

    Args:
        alone: whether the process has no other purpose, and ends with what it does.
    """

    def __init__(self, alone: bool = False) -> None:
        self.requested: int | None = None
        self._alone = alone
        self._deferred = 0
        self._handled_at = -float("inf")
        self._words: Callable[[], str] = lambda: CONTINUE

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let signals wait, at most to the end of this; a second Ctrl-C does not.

        Of nested ones the outermost counts.
        """
        self._deferred += 1
        try:
            yield
        finally:
            self._deferred -= 1
        if self.requested is not None and not self._deferred:
            self.obey()

    @contextmanager
    def telling(self, words: Callable[[], str]) -> Iterator[None]:
        """Say this where a signal ends the process at once.

        Args:
            words: what is saved at that moment.
        """
        before, self._words = self._words, words
        try:
            yield
        finally:
            self._words = before

    def obey(self, state: str = CONTINUE) -> NoReturn:
        """Raise what the requested signal stands for.

        Args:
            state: what is saved, in words.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            Preempted: SIGTERM.
        """
        number = self.requested or signal.SIGINT
        if self._alone:
            late = threading.Timer(TIDY_S, _leave, (number, state))
            late.daemon = True
            late.start()
        if number == signal.SIGTERM:
            raise Preempted(state)
        raise KeyboardInterrupt(state)

    def install(self) -> dict[int, Any]:
        """Handle both signals; returns the handlers of before."""
        return {number: signal.signal(number, self._handle) for number in BOTH}

    def watch(self) -> None:
        """Obey although the main thread does not come to handle a signal (a thread; for ever)."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reading,), daemon=True).start()

    def _watch(self, reading: int) -> None:
        again = False
        while number := os.read(reading, 1)[0]:
            if number not in BOTH:
                continue
            came = time.monotonic()
            time.sleep(NOTICE_S)
            # This thread may have been told after the main thread was.
            handled = self._handled_at > came - NOTICE_S / 5
            if not handled and (not self._deferred or again):
                _leave(number, self._words())
            again = again or number == signal.SIGINT

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.requested == signal.SIGINT == number
        self._handled_at = time.monotonic()
        self.requested = number
        if self._deferred and not again:
            return
        if self._alone:
            _leave(number, self._words())
        self.obey()


def _leave(number: int, state: str = CONTINUE) -> NoReturn:
    """End this process now, whatever it is in the middle of."""
    with suppress(BaseException):
        if "multiprocessing" in sys.modules:
            for child in sys.modules["multiprocessing"].active_children():
                child.kill()
        # Loaded only where something was written.
        for name in ("aspgap_jax.files.atomic", "aspgap_jax.files.locks"):
            if name in sys.modules:
                sys.modules[name].abandon()
        sys.stdout.flush()
    with suppress(BaseException):
        word = "stopped" if number == signal.SIGTERM else "interrupted"
        # Not print: the signal may have come in the middle of one. The bar has no line end.
        end = "\n" if sys.stderr.isatty() else ""
        message = f"aspgap: {word}: {state}"
        os.write(2, f"{end}{message}\n".encode())
        # Loaded once the command line is read.
        if "aspgap_jax.runtime.output" in sys.modules:
            sys.modules["aspgap_jax.runtime.output"].to_log(message)
    os._exit(RESUME_ME if number == signal.SIGTERM else INTERRUPTED)


_process: Interruption | None = None


def own_process() -> Interruption:
    """Handle signals to the end of this process, which is one of the command line's.

    Returns:
        What has been asked of the process, for all that runs in it.
    """
    global _process
    _process = Interruption(alone=True)
    _process.install()
    _process.watch()
    return _process


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Handle SIGINT and SIGTERM; the handlers of before come back at the end.

    Python delivers signals to its main thread alone: elsewhere nothing is handled.

    Yields:
        What has been asked of the process; it says so between the steps of the work.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Interruption()
        return
    if _process is not None:
        # A library may have taken them.
        _process.install()
        yield _process
        return
    interruption = Interruption()
    before = interruption.install()
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            # None: it was not installed from Python, and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
