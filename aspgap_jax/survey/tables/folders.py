"""The tables in a folder: downloads, partitioned Parquet, HATS catalogues."""

from __future__ import annotations

from pathlib import Path

from aspgap_jax.errors import InputError
from aspgap_jax.survey.tables.remarks import Remarks

__all__ = ["table_files"]

SUFFIXES = frozenset(
    {
        *(".csv", ".tsv", ".txt", ".dat", ".ecsv", ".fits", ".fit", ".fts"),
        *(".xml", ".vot", ".votable", ".parquet", ".pq", ".parq", ".feather", ".arrow", ".ipc"),
        *(".h5", ".hdf5", ".hdf", ".gz"),
    }
)
HATS = ("hats.properties", "properties")
COLLECTION = "collection.properties"
PRIMARY = "hats_primary_table_url"
SHOWN = 3


def table_files(path: Path, remarks: Remarks) -> list[Path]:
    """The files of tables that a path stands for.

    A file stands for itself. A folder stands for the tables in it, in any depth and in the
    order of their names: ``region=12/part-0.parquet`` as well as downloads. Of a HATS
    catalogue only the data count, of a collection of such only its primary table, not the
    margins, which repeat its rows. Names with a dot or an underscore in front do not count.

    Args:
        path: file or folder.
        remarks: told of the files that are no tables.

    Returns:
        In the order of their names.

    Raises:
        InputError: there is none.
    """
    if not path.is_dir():
        return [path]
    if (path / COLLECTION).is_file():
        return table_files(path / _primary(path / COLLECTION), remarks)
    if any((path / name).is_file() for name in HATS) and (path / "dataset").is_dir():
        files = [file for file in _visible(path / "dataset") if file.suffix == ".parquet"]
    else:
        inside = _visible(path)
        files = [file for file in inside if file.suffix.lower() in SUFFIXES]
        foreign = [file for file in inside if file not in files and file.suffix != ".json"]
        if foreign:
            shown = ", ".join(str(file.relative_to(path)) for file in foreign[:SHOWN])
            remarks.say(
                f"{path}: {len(foreign):,} files that are no tables are left out: {shown}"
                + (", ..." if len(foreign) > SHOWN else "")
            )
    if not files:
        raise InputError(f"{path}: no such file: the folder holds no tables; pass tables of stars")
    return files


def _primary(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    if PRIMARY not in pairs:
        raise InputError(f"{file}: names no {PRIMARY}; pass the folder of the catalogue in it")
    return pairs[PRIMARY].strip()


def _visible(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not any(part[0] in "._" for part in file.relative_to(folder).parts)
    )
