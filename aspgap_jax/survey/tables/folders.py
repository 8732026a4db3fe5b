"""The tables in a folder: downloads, partitioned Parquet, HATS catalogues."""

from __future__ import annotations

from pathlib import Path

from aspgap_jax.errors import InputError
from aspgap_jax.survey.folders import find_files
from aspgap_jax.survey.tables.remarks import Remarks

__all__ = ["table_files"]


def table_files(path: Path, remarks: Remarks) -> list[Path]:
    """The files of tables that a path stands for: see :mod:`aspgap_jax.survey.folders`.

    Args:
        path: file or folder.
        remarks: told of the files that are left out.

    Returns:
        In the order of their names.

    Raises:
        InputError: there is none.
    """
    found = find_files([path])
    for remark in found.remarks:
        remarks.say(remark)
    if found.files == (path,) and path.is_dir():
        raise InputError(f"{path}: no such file: the folder holds no tables; pass tables of stars")
    return list(found.files)
