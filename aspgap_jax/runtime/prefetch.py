"""Work ahead: a background thread makes what the foreground will want next."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

__all__ = ["prefetch"]

T = TypeVar("T")
POLL_SECONDS = 0.1
"""How long either side takes to notice that the other one is gone."""


def prefetch(items: Iterable[T], *, ahead: int = 1) -> Generator[T, None, None]:
    """The same items in the same order, made by a background thread.

    An exception of ``items`` is raised here, where its item would have come. The
    thread ends with this iterator, also where that is closed early.

    Args:
        items: iterated in the thread.
        ahead: items that may wait to be taken. With the one in the making and the
            one in use, ``ahead + 2`` are alive at most.

    Returns:
        An iterator.

    Raises:
        Exception: whatever ``items`` raises.
    """
    queue: Queue[tuple[T | None, BaseException | None, bool]] = Queue(maxsize=ahead)
    closed = Event()

    def put(item: T | None, error: BaseException | None = None, last: bool = False) -> None:
        while not closed.is_set():
            try:
                return queue.put((item, error, last), timeout=POLL_SECONDS)
            except Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if closed.is_set():
                    return
            put(None, last=True)
        except BaseException as error:  # raised again in the foreground
            put(None, error)

    thread = Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error, last = queue.get(timeout=POLL_SECONDS)
            except Empty:
                # A poll, so that Ctrl-C is not kept waiting.
                continue
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()
