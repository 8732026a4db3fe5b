"""Counts what JAX compiles."""

from __future__ import annotations

from collections.abc import Callable

from jax import monitoring

COMPILED = "/jax/core/compile/backend_compile_duration"


def count_compilations(work: Callable[[], object]) -> int:
    """How many programs are compiled while ``work`` is done."""
    seen: list[float] = []

    def listen(event: str, seconds: float, **_: object) -> None:
        if event == COMPILED:
            seen.append(seconds)

    monitoring.register_event_duration_secs_listener(listen)
    try:
        work()
    finally:
        monitoring.unregister_event_duration_listener(listen)
    return len(seen)
