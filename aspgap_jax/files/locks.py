"""Who writes where: processes that would spoil each other's files are told of each other.

A folder that is written holds a hidden folder ``.running`` while it is, a file has one
beside it. In it every process that writes has a lock and a note of who it is::

    with locked(folder):                     # alone there
    with locked(folder, run="settings"):     # beside others of the same settings
        if (other := claim(part)) is None:   # one part of the folder
            ...
            release(part)

The operating system lets go of the locks of a process that dies, so that whatever it
leaves there is in nobody's way.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from aspgap_jax.errors import InputError

__all__ = ["Holder", "abandon", "claim", "guarded", "locked", "locking", "release"]

Rest = ParamSpec("Rest")
Result = TypeVar("Result")

FOLDER = ".running"
GUARD = "guard.lock"
# Guards are held for moments; a claim that ends while it is looked at is looked at again.
PATIENCE_S = 60.0
AGAIN = 20
AGREED = 3
PAUSE_S = 0.02


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock.

    Attributes:
        pid: its number.
        host: the machine it runs on.
        command: what it was started as.
        since: when it took the lock.
        run: what it has in common with those that may write beside it.
        team: the tasks of one job step; empty where there is none.
        path: the input that it works on.
    """

    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    command: str = field(
        default_factory=lambda: shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    )
    since: str = field(
        default_factory=lambda: datetime.now().astimezone().isoformat(" ", "seconds")
    )
    run: str = ""
    team: str = ""
    path: str = ""

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        return f"process {self.pid} on {self.host}, since {self.since} ({self.command})"


UNKNOWN = Holder(pid=0, host="", command="", since="")
# What this process holds: how often it has asked for a target, and its claims.
_targets: dict[Path, int] = {}
_claims: dict[Path, FileLock] = {}
_runs_here: set[FileLock] = set()


def abandon() -> None:
    """Remove the locks of this process, which ends."""
    for lock in [*_claims.values(), *_runs_here]:
        path = Path(lock.lock_file)
        for file in (path.with_suffix(".json"), path):
            file.unlink(missing_ok=True)
        if {left.name for left in path.parent.iterdir()} <= {GUARD}:
            (path.parent / GUARD).unlink(missing_ok=True)
            _tidy(path.parent)


@contextmanager
def locked(target: Path, run: str = "", *, beside: bool = False) -> Iterator[None]:
    """Hold a folder or a file that is to be written; it may be held already by this process.

    Args:
        target: a folder, which is made, or a file.
        run: others that give the same may hold a folder too; empty: nobody may.
        beside: of a file, and of a folder that appears as a whole: nothing is put into it.

    Returns:
        Nothing, for a ``with`` statement.

    Raises:
        InputError: another process holds it, which is named.
    """
    target = target.resolve()
    if _targets.get(target):
        _targets[target] += 1
        try:
            yield
        finally:
            _targets[target] -= 1
        return
    fresh = not target.exists()
    place = _place(target, beside)
    holder = Holder(run=run)
    name = f"run-{holder.host}-{holder.pid}"
    with _guarded(place):
        for found in _runs(place):
            if not (run and found.run == run):
                raise InputError(
                    f"{target}: is being written by {found}; wait for it, or choose another --out"
                )
        lock = _take(place / f"{name}.lock", holder)
    assert lock is not None
    _targets[target] = 1
    _runs_here.add(lock)
    try:
        yield
    finally:
        del _targets[target]
        _runs_here.discard(lock)
        for part in [part for part in _claims if part.parent == target]:
            release(part)
        with _guarded(place):
            _drop(lock)
            _runs(place)
        if fresh and place.parent == target:
            with suppress(OSError):
                # Only where nothing was written.
                target.rmdir()


def locking(
    function: Callable[Concatenate[Path, Rest], Result],
) -> Callable[Concatenate[Path, Rest], Result]:
    """Hold the folder that is the first argument of a function, if it exists, while it runs.

    Args:
        function: its first argument is a folder.

    Returns:
        The same function, refused while another process holds the folder.
    """

    @wraps(function)
    def held(folder: Path, /, *rest: Rest.args, **options: Rest.kwargs) -> Result:
        with locked(folder) if folder.is_dir() else nullcontext():
            return function(folder, *rest, **options)

    return held


def claim(part: Path, holder: Holder | None = None) -> Holder | None:
    """Take a part of a folder for this process, until it gives it back or ends.

    Args:
        part: the file that will be written.
        holder: what others are told; by default this process.

    Returns:
        the other process that has it; ``None``: it is ours.
    """
    part = part.resolve()
    if part in _claims:
        return None
    place = part.parent / FOLDER
    path = place / f"part-{part.name}.lock"
    seen: list[Holder] = []
    for _ in range(AGAIN):
        place.mkdir(parents=True, exist_ok=True)
        lock = _take(path, holder or Holder())
        if lock is not None:
            _claims[part] = lock
            return None
        seen.append(_noted(path) or UNKNOWN)
        # It may just be given back, just be taken, or be looked at.
        if seen[-1].pid and seen[-AGREED:] == [seen[-1]] * AGREED:
            break
        time.sleep(PAUSE_S)
    return seen[-1]


def release(part: Path) -> None:
    """Give a claimed part back.

    Args:
        part: of :func:`claim`; nothing happens to one that is not held.
    """
    lock = _claims.pop(part.resolve(), None)
    if lock is not None:
        _drop(lock)
        _tidy(part.resolve().parent / FOLDER)


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Be alone in a folder for a moment, as to read and write a manifest; others wait.

    Args:
        folder: which exists.
    """
    with _guarded(_place(folder.resolve())):
        yield


@contextmanager
def _guarded(place: Path) -> Iterator[None]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        place.mkdir(parents=True, exist_ok=True)
        guard = FileLock(place / GUARD, thread_local=False)
        try:
            guard.acquire(timeout=PATIENCE_S)
            break
        except FileNotFoundError:
            # Tidied away by the last one to leave.
            if time.monotonic() > deadline:
                raise
        except Timeout:
            raise InputError(
                f"{place}: another process has held it for {PATIENCE_S:.0f} s; if there is none, "
                f"delete that folder"
            ) from None
    try:
        yield
    finally:
        if {path.name for path in place.iterdir()} <= {GUARD}:
            (place / GUARD).unlink(missing_ok=True)
        guard.release()
        _tidy(place)


def _place(target: Path, beside: bool = False) -> Path:
    return target.parent / f".{target.name}{FOLDER}" if beside else target / FOLDER


def _take(path: Path, holder: Holder) -> FileLock | None:
    """The lock of a path, with a note of its holder; ``None``: another process has it."""
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except (Timeout, FileNotFoundError):
        return None
    path.with_suffix(".json").write_text(json.dumps(asdict(holder)), encoding="utf-8")
    return lock


def _drop(lock: FileLock) -> None:
    path = Path(lock.lock_file)
    # While it is held: nobody else can have taken the name.
    path.with_suffix(".json").unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    lock.release()


def _runs(place: Path) -> list[Holder]:
    """Who writes here; what dead processes have left is removed."""
    for part in place.glob("part-*.lock"):
        _holder(part)
    found = [_holder(path) for path in sorted(place.glob("run-*.lock"))]
    return [holder for holder in found if holder is not None]


def _holder(path: Path) -> Holder | None:
    """Who holds a lock; ``None``, and no trace of it, where nobody does."""
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except (Timeout, PermissionError):
        return _noted(path) or UNKNOWN
    _drop(lock)
    return None


def _noted(path: Path) -> Holder | None:
    try:
        values = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return Holder(**values)
    except (OSError, ValueError, TypeError):
        return None


def _tidy(place: Path) -> None:
    with suppress(OSError):
        # Only when it is empty.
        place.rmdir()
