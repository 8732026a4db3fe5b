"""Whether paths can be read and written, found out before the work begins, in plain words."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from aspgap_jax.errors import InputError

__all__ = ["check_file", "check_files", "check_new", "check_writable", "reason", "unreadable"]


def reason(error: OSError) -> str:
    """An error of the system in its own words, without those of libraries between.

    Args:
        error: as the system or a library raised it.

    Returns:
        Its words, after the name of the file where it has one.
    """
    if error.errno is None:
        return str(error)
    words = os.strerror(error.errno)
    return f"{error.filename}: {words}" if error.filename else words


def unreadable(path: Path, error: Exception | None = None) -> str:
    """Why a file cannot be read, in plain words; empty if nothing is wrong.

    Args:
        path: the file.
        error: what a library threw at it. Where the file itself is readable, what is in it
            is not what that library reads.

    Returns:
        The words that come after the file's name, or nothing.
    """
    if not path.exists():
        return "no such file"
    if path.is_dir():
        return "is a folder, not a file"
    if not os.access(path, os.R_OK):
        return "may not be read: permission denied"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return "damaged, or of another format" if error is not None else ""


def check_file(path: Path, cure: str = "") -> None:
    """Refuse a file that cannot be read.

    Args:
        path: of the file.
        cure: what to do about it.

    Raises:
        InputError: there is no such file, it is a folder, or reading it is not allowed.
    """
    if what := unreadable(path):
        raise InputError(f"{path}: {what}" + (f"; {cure}" if cure else ""))


def check_files(paths: Iterable[Path], option: str, *, folders: bool = False) -> None:
    """Refuse what an option names and cannot be read.

    Args:
        paths: files.
        option: that names them, such as ``--gaia``.
        folders: whether folders will do too.

    Raises:
        InputError: see :func:`check_file`.
    """
    for path in paths:
        if not (folders and path.is_dir()):
            try:
                check_file(path)
            except InputError as error:
                raise InputError(f"{option} {error}") from None


def check_writable(folder: Path, option: str = "--out") -> None:
    """Refuse a folder that cannot be made, or written into.

    Args:
        folder: which need not exist.
        option: what named it, for the message.

    Raises:
        InputError: a file is in its place or above it, or writing is not allowed.
    """
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise InputError(f"{option} {folder}: {there} is a file, not a folder; choose another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            f"{option} {folder}: {there} may not be written (permission denied); choose another"
        )


def check_new(path: Path, *, overwrite: bool, option: str = "--out", folder: bool = False) -> None:
    """Refuse to write over what exists, where it is not asked for.

    Args:
        path: what will be written.
        overwrite: whether it may replace what is there.
        option: that names it.
        folder: whether it will be a folder.

    Raises:
        InputError: it exists; is a folder where a file belongs, or the reverse; or cannot
            be written.
    """
    check_writable(path.parent, option)
    if not path.exists() or (folder and path.is_dir() and not any(path.iterdir())):
        return
    if path.is_dir() != folder:
        kind, wanted = ("a folder", "a file") if path.is_dir() else ("a file", "a folder")
        raise InputError(f"{option} {path}: is {kind}, where {wanted} belongs; choose another")
    if not overwrite:
        raise InputError(
            f"{option} {path}: exists already; choose another, or replace it with --overwrite"
        )
