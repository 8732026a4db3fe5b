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
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["CONTINUE", "RESUME_ME", "Interruption", "Preempted", "interruptible"]

RESUME_ME = 75
"""Exit status (EX_TEMPFAIL): stopped from outside; the same command goes on."""


CONTINUE = "run the same command to continue"


class Preempted(SystemExit):
    """SIGTERM was obeyed. Where nobody catches it, the process exits with 75.

    Attributes:
        state: what is saved, in words.
    """

    def __init__(self, state: str = CONTINUE) -> None:
        super().__init__(RESUME_ME)
        self.state = state


class Interruption:
    """What has been asked for, if anything.

    Attributes:
        requested: the signal that waits, or ``None``.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._deferred = 0

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

    def obey(self, state: str = CONTINUE) -> NoReturn:
        """Raise what the requested signal stands for.

        Args:
            state: what is saved, in words.
        """
        if self.requested == signal.SIGTERM:
            raise Preempted(state)
        raise KeyboardInterrupt(state)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.requested == signal.SIGINT == number
        self.requested = number
        if not self._deferred or again:
            self.obey()


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Handle SIGINT and SIGTERM; the handlers of before come back at the end.

    Python delivers signals to its main thread alone: elsewhere nothing is handled.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {
        number: signal.signal(number, interruption._handle)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            # None: it was not installed from Python, and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
