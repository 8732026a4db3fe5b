"""Where the command ``aspgap`` starts: ready for a signal before anything else is imported."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; see :func:`aspgap_jax.cli.main` for the exit status.

    A signal gives 130 (Ctrl-C) or 75 (SIGTERM), whatever it made of the exception on its
    way; before the first and after the last line of this, the process dies of it.

    Returns:
        The exit status.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    from aspgap_jax.runtime.interruption import INTERRUPTED, RESUME_ME, Preempted, own_process

    process = own_process()
    status: int = 0
    try:
        from aspgap_jax.cli import main as run

        status = run()
    except Preempted as stop:
        if not stop.said:
            print(f"aspgap: stopped: {stop.state}", file=sys.stderr)
    except SystemExit:
        # Not of ours: --help, or a library.
        if process.requested is None:
            raise
    except BaseException:
        if process.requested is None:
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
    if process.requested is not None:
        return RESUME_ME if process.requested == signal.SIGTERM else INTERRUPTED
    return status
