"""A lock as another process would hold it, without that process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from aspgap_jax.files.locks import Holder, guarded


@contextmanager
def held_by_another(part: Path, holder: Holder) -> Iterator[None]:
    """Hold a part, or a lock given by its path in a folder of locks."""
    path = part.parent / ".running" / f"part-{part.name}"
    if part.parent.name.endswith(".running"):
        path = part
    path.parent.mkdir(parents=True, exist_ok=True)
    note, lock = path.with_name(f"{path.name}.json"), path.with_name(f"{path.name}.lock")
    note.write_text(json.dumps(asdict(holder)))
    with FileLock(lock, is_singleton=False):
        yield
    note.unlink()
    lock.unlink()
    # As the last process to leave does.
    if path.parent.name == ".running":
        with guarded(path.parents[1]):
            pass
