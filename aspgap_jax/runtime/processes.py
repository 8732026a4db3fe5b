"""Several processes that train one model: process 0 reads and writes for all.

With one process everything here is a plain call. The folder of a run lies on a
file system that all processes see.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from aspgap_jax.errors import InputError
from aspgap_jax.files import orbax
from aspgap_jax.runtime import parallel
from aspgap_jax.runtime.interruption import Interruption, Preempted

__all__ = ["agree", "announce", "by_main", "from_main"]

# Names of waits must not come again. All processes come to the same ones.
CALLS = itertools.count()

T = TypeVar("T")
Tree = TypeVar("Tree")


def announce(text: str) -> None:
    """Print, once.

    Args:
        text: a line; process 0 prints it.
    """
    if parallel.is_main():
        print(text, flush=True)


def by_main(work: Callable[[], T]) -> T | None:
    """What process 0 makes; the others wait for it, hours if need be, and get ``None``.

    Args:
        work: done by process 0 alone.

    Returns:
        What ``work`` returns, in process 0; ``None`` in the others.

    Raises:
        BaseException: that of ``work``; in the other processes one that ends them too.
    """
    if jax.process_count() == 1:
        return work()
    made, error = None, None
    if parallel.is_main():
        try:
            made = work()
        except BaseException as raised:  # raised again below
            error = raised
    orbax.wait_for_others(f"by main {next(CALLS)}")
    failed, stopped = (bool(f) for f in _broadcast(np.array([error is not None, _stops(error)])))
    if error is not None:
        raise error
    if stopped:
        raise Preempted
    if failed:
        raise InputError("process 0 cannot go on: see its message")
    return made


def _stops(error: BaseException | None) -> bool:
    return isinstance(error, SystemExit | KeyboardInterrupt)


def from_main(tree: Tree, template: Tree) -> Tree:
    """A pytree of arrays as process 0 has it, in host memory; typed keys stay keys.

    Args:
        tree: of process 0; the others may give anything.
        template: the same shapes and dtypes, in every process.

    Returns:
        The same in every process.
    """
    if jax.process_count() == 1:
        return tree
    host = orbax.to_host(tree if parallel.is_main() else template)
    shared: Tree = orbax.from_host(_broadcast(host), template)
    return shared


def _broadcast(tree: Any) -> Any:
    return multihost_utils.broadcast_one_to_all(tree)


def agree(interruption: Interruption) -> bool:
    """Let a signal that has reached one process have reached all.

    Args:
        interruption: of this process; it takes over the others' signal.

    Returns:
        whether all stop now. A signal that comes while they agree is for the next
        time: a process that stopped for it alone would leave the others waiting.
    """
    if jax.process_count() == 1:
        return interruption.requested is not None
    requested = np.int32(interruption.requested or 0)
    everyone = np.asarray(multihost_utils.process_allgather(requested))
    if not everyone.any():
        return False
    interruption.requested = signal.SIGTERM if (everyone == signal.SIGTERM).any() else signal.SIGINT
    return True
