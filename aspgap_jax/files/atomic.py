"""Files that appear whole or not at all."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["abandon", "new_folder", "remove_stale", "replace_file", "unfinished", "write_text"]


# What this process is writing, under temporary names.
_unfinished: set[Path] = set()


def abandon() -> None:
    """Remove what is not finished: this process ends."""
    for path in list(_unfinished):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Note a temporary file or folder, which goes if the process ends in between.

    Args:
        path: of the file or folder.

    Yields:
        The same path.
    """
    _unfinished.add(path)
    try:
        yield path
    finally:
        _unfinished.discard(path)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success.

    After an exception, or a kill, ``path`` is what it was before. The temporary
    name keeps the suffix, because writers choose the format by it.

    Args:
        path: of the finished file; its folder is made where it is missing.

    Yields:
        The path to write to: an empty file that exists.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}", dir=path.parent
    )
    os.close(handle)
    temporary = Path(name)
    _unfinished.add(temporary)
    try:
        yield temporary
        # mkstemp makes the file private; a finished file follows the umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


def remove_stale(path: Path) -> None:
    """Remove what :func:`replace_file` left beside ``path`` in a process that was killed.

    Only for whoever alone writes ``path``: the file of a running process goes too.

    Args:
        path: of the finished file.
    """
    path = Path(path)
    start, end = f".{path.stem}.", f".tmp{path.suffix}"
    for stale in path.parent.glob(f"{glob.escape(start)}*{glob.escape(end)}"):
        # With a dot between, it belongs to a file with a longer name.
        if "." not in stale.name[len(start) : -len(end)]:
            stale.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically.

    Args:
        path: the file.
        text: all of it.
    """
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` on success.

    Args:
        path: the folder.
        overwrite: put it in the place of one that is there, which is removed once the new
            one is whole.

    Yields:
        An empty folder to fill.

    Raises:
        FileExistsError: ``path`` is a file, or a folder that is not empty and may not be
            overwritten.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_place(path, overwrite)
    with tempfile.TemporaryDirectory(
        prefix=f".{path.name}.", suffix=".tmp", dir=path.parent, ignore_cleanup_errors=True
    ) as name:
        folder, old = Path(name, "new"), Path(name, "old")
        with unfinished(Path(name)):
            folder.mkdir()
            yield folder
            umask = os.umask(0)
            os.umask(umask)
            folder.chmod(0o777 & ~umask)
        _check_place(path, overwrite)
        # No longer unfinished: what was there is inside for a moment.
        try:
            if path.exists():
                path.rename(old)
            folder.rename(path)
        except BaseException:
            # Stopped between the two: what was there comes back.
            if old.exists() and not path.exists():
                old.rename(path)
            raise


def _check_place(path: Path, overwrite: bool) -> None:
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not overwrite):
        raise FileExistsError(f"{path} exists already")
