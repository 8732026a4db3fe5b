from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from aspgap_jax.runtime.prefetch import prefetch


def count_threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_same_items_in_the_same_order_and_no_thread_is_left() -> None:
    assert list(prefetch(range(50), ahead=3)) == list(range(50))
    assert list(prefetch([])) == []
    assert count_threads() == 0


def test_works_ahead_as_far_as_allowed() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(10):
            made.append(i)
            yield i

    ahead = prefetch(items(), ahead=2)
    assert next(ahead) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    # In use: 0; waiting: 1 and 2; in the making, and not to be put yet: 3.
    assert made == [0, 1, 2, 3]
    ahead.close()
    assert count_threads() == 0


def test_an_error_comes_where_its_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    ahead = prefetch(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="disk is gone"):
        next(ahead)
    assert count_threads() == 0
