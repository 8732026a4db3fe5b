"""HDF5 files of this package: opened only where they are what they should be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.files.access import unreadable
from aspgap_jax.labels import LABELS, LabelSet, from_values, names, to_values

__all__ = ["open_store", "read_columns", "read_labels", "write_columns", "write_labels"]

INTERNAL = re.compile(r"[\"']?(Unable to|Can't|Could not|Unspecified)")
"""How messages of HDF5 begin."""


@contextmanager
def open_store(path: Path, kind: str, version: int, *, cure: str) -> Iterator[h5py.File]:
    """Open an HDF5 file of this package for reading.

    Args:
        path: the file.
        kind: what its attribute ``format`` must say.
        version: what its attribute ``format_version`` must say.
        cure: the command that writes such a file, for the message.

    Returns:
        The open file, for a ``with`` statement.

    Raises:
        InputError: the file is absent, not HDF5 or damaged, also where that shows only in
            the body of the ``with`` statement; it is of another kind or version.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"{path}: no readable HDF5 file ({unreadable(Path(path), error)}); make one with {cure}"
        ) from error
    with file:
        try:
            _check(file, path, kind, version, cure)
            yield file
        except (OSError, KeyError, RuntimeError) as error:
            # HDF5 has many words for what is damaged, and none for the user.
            if not INTERNAL.match(str(error)):
                raise
            raise InputError(
                f"{path}: damaged or incomplete; write it again with {cure}"
            ) from error


def _check(file: h5py.File, path: Path, kind: str, version: int, cure: str) -> None:
    if file.attrs.get("format") != kind:
        raise InputError(f"{path}: not an {kind} file; make one with {cure}")
    if (found := file.attrs["format_version"]) != version:
        raise InputError(
            f"{path}: {kind} of version {found}, this release reads version {version}; "
            f"write it again with {cure}"
        )
    stated = tuple(file.attrs["label_names"])
    if "label_table" not in file.attrs and stated != names():
        raise InputError(
            f"{path}: has the labels {', '.join(stated)} and does not say what they are; "
            f"write it again with {cure}"
        )


def write_labels(file: h5py.File, table: LabelSet) -> None:
    """State what the label axis of a store means.

    Args:
        file: open for writing.
        table: its labels; all of them are described where they are not the paper's.
    """
    file.attrs["label_names"] = list(names(table))
    if table != LABELS:
        file.attrs["label_table"] = json.dumps(to_values(table))


def read_labels(file: h5py.File) -> LabelSet:
    """What the label axis of a store means.

    Args:
        file: an open store.

    Returns:
        Its labels.
    """
    stated = file.attrs.get("label_table")
    return LABELS if stated is None else from_values(json.loads(stated))


def write_columns(
    file: h5py.File, columns: Mapping[str, np.ndarray], units: Mapping[str, str] | None = None
) -> None:
    """Write per-star columns to the group ``columns``; text becomes ASCII bytes.

    Args:
        file: open for writing.
        columns: by name, ``[star, ...]``.
        units: by name, as far as a column has one.
    """
    for name, values in columns.items():
        # HDF5 has no fixed-length UTF-32.
        file[f"columns/{name}"] = values.astype(bytes) if values.dtype.kind == "U" else values
        if units and name in units:
            file[f"columns/{name}"].attrs["unit"] = units[name]


def read_columns(file: h5py.File) -> dict[str, np.ndarray]:
    """The per-star columns of a store; none where the group is absent.

    Args:
        file: an open store.

    Returns:
        Arrays by name, in the order of the file's rows.
    """
    return {name: data[()] for name, data in file.get("columns", {}).items()}
