"""NumPy's ``.npz`` files, read whole or refused in one line; nothing in them is unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.files.access import unreadable

__all__ = ["read_npz"]


def read_npz(path: Path, names: Sequence[str], *, kind: str, cure: str) -> dict[str, np.ndarray]:
    """The named arrays of a file, in the order of their names.

    Args:
        path: the file.
        names: of the arrays.
        kind: what the file should be, for the message.
        cure: what to do when it is not.

    Returns:
        By name.

    Raises:
        InputError: the file cannot be read, or lacks an array.
    """
    try:
        # NumPy leaves a file open that turns out to be no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in names}
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        missing = str(error).strip("'\"") if isinstance(error, KeyError) else ""
        raise InputError(
            f"{path}: no {kind} ({missing or unreadable(path, error)}): {cure}"
        ) from error
