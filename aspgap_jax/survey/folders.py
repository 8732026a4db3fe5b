"""Which files an argument of the command line stands for: one rule for all commands.

A file stands for itself, a pattern (``xp/*.csv.gz``) for the files that match it, and a
folder for the files in it, in any depth and in the order of their paths. In a folder some
do not count, and are named and counted instead: foreign files, by their endings, and tables
that turn out to have nothing of what is wanted; hidden ones (a dot or an underscore in
front); and what aspgap itself has written there and cannot read as input (predictions,
catalogues, runs, bundles). Of a HATS catalogue the data count,
of a collection of such its primary table.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py

from aspgap_jax.errors import InputError

__all__ = ["DATA_SUFFIXES", "Found", "find_files", "without_spectra"]

DATA_SUFFIXES = frozenset(
    {
        *("", ".csv", ".tsv", ".txt", ".dat", ".ecsv", ".fits", ".fit", ".fts"),
        *(".xml", ".vot", ".votable", ".parquet", ".pq", ".parq", ".feather", ".arrow", ".ipc"),
        *(".h5", ".hdf5", ".hdf", ".zip"),
    }
)
"""Endings of what may be a table; a file without one is told by its content."""

# What tells of the other files, and is read with them or not needed.
COMPANION = re.compile(r"manifest.*\.json|_MD5SUM\.txt|_(common_)?metadata|_SUCCESS")
PACKED = frozenset({".gz", ".bz2", ".xz", ".zst"})
# Stores hold spectra, and are read.
STORES = ("aspgap XP store", "aspgap training store")
PREDICTION = b"aspgap.record"
HATS = frozenset({"hats.properties", "properties"})
COLLECTION = "collection.properties"
PRIMARY = "hats_primary_table_url"
SHOWN = 3


class Found(NamedTuple):
    """Files, and what lies beside them.

    Attributes:
        files: in order, none twice.
        inside: those that a folder or a pattern stood for, and nobody named.
        remarks: what was left out, a line a folder.
    """

    files: tuple[Path, ...]
    inside: frozenset[Path]
    remarks: tuple[str, ...]


def find_files(
    given: Sequence[str | Path],
    *,
    wanted: Callable[[Path], bool] | None = None,
    what: str = "tables",
) -> Found:
    """The files that paths, patterns and folders stand for.

    A path that does not exist, a pattern without a match and a folder without a wanted
    file stand for themselves: whoever reads them says what is wrong.

    Args:
        given: as on the command line.
        wanted: which files of a folder count; by default those with an ending of
            :data:`DATA_SUFFIXES` that aspgap has not written as output.
        what: how the others differ, for the remark.

    Returns:
        The files in the order given, and what was left out.

    Raises:
        InputError: a folder cannot be listed.
    """
    files: dict[Path, Path] = {}
    inside: set[Path] = set()
    remarks: list[str] = []
    repeated = 0
    for each in given:
        named = [Path(each)]
        if not named[0].exists() and glob.has_magic(str(each)):
            # Path.glob takes no pattern that begins with /.
            matched = sorted(Path(p) for p in glob.glob(str(each), recursive=True))  # noqa: PTH207
            if "**" in str(each):
                # What is in the folders has matched too.
                matched = [p for p in matched if not p.is_dir()]
            named = matched or named
        for path in named:
            found = [path]
            if path.is_dir():
                found, remark = _in_folder(path, wanted, what)
                remarks += [remark] if remark else []
            if found != [Path(each)]:
                inside |= set(found)
            for file in found:
                repeated += files.setdefault(file.resolve(), file) is not file
    if repeated:
        remarks.append(f"{repeated:,} files were given more than once and are taken once")
    return Found(tuple(files.values()), frozenset(inside), tuple(remarks))


def without_spectra(files: Sequence[str | Path]) -> tuple[str, ...]:
    """The remark on tables of folders and patterns that have nothing of XP spectra.

    Args:
        files: such tables.

    Returns:
        One line, or none where there are none.
    """
    if not files:
        return ()
    shown = ", ".join(str(file) for file in files[:SHOWN]) + (", ..." if files[SHOWN:] else "")
    return (f"left out: no XP spectra: {shown} ({len(files):,})",)


def _in_folder(
    folder: Path, wanted: Callable[[Path], bool] | None, what: str
) -> tuple[list[Path], str]:
    files, foreign, ours = [], [], []
    hidden = 0
    runs_too = wanted is not None
    for file in [folder] if not runs_too and _is_run(folder) else _walk(folder, runs_too):
        if COMPANION.fullmatch(file.name):
            continue
        if file != folder and file.name[0] in "._":
            hidden += 1
        elif file.is_dir() or (wanted is None and _is_output(file)):
            ours.append(file)
        elif wanted(file) if wanted else _may_be_table(file):
            files.append(file)
        else:
            foreign.append(file)
    left_out = [
        f"{which}: {_names(some, folder)} ({len(some):,})"
        for which, some in ((f"no {what}", foreign), ("written by aspgap", ours))
        if some
    ]
    left_out += [f"hidden: {hidden:,}"] if hidden else []
    remark = f"{folder}: left out: {'; '.join(left_out)}" if left_out else ""
    return files or [folder], remark


def _names(files: Sequence[Path], folder: Path) -> str:
    # Of a HATS collection the files may lie beside the folder.
    shown = ", ".join(os.path.relpath(file, folder) for file in files[:SHOWN])
    return shown + (", ..." if len(files) > SHOWN else "")


def _walk(
    folder: Path, runs_too: bool, seen: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[Path]:
    """The files below a folder in the order of their paths; a folder that does not count as one."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be listed ({error.strerror}); make it readable, or name the files"
        ) from None
    here = (status.st_dev, status.st_ino)
    if here in seen:
        # A link that leads back up.
        return
    if data := _hats_data(folder, [entry.name for entry in entries]):
        yield from _walk(data, runs_too, seen | {here})
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir() and path.name[0] not in "._" and (runs_too or not _is_run(path)):
            yield from _walk(path, runs_too, seen | {here})
        elif entry.is_dir() or entry.is_file() or entry.is_symlink():
            yield path


def _hats_data(folder: Path, names: Sequence[str]) -> Path | None:
    """Where the data of a HATS catalogue lie: of a collection, those of its primary table.

    The others, its margins, repeat rows.
    """
    if COLLECTION in names:
        for line in (folder / COLLECTION).read_text("utf-8", "replace").splitlines():
            name, equals, value = line.partition("=")
            if equals and name.strip() == PRIMARY:
                return folder / value.strip()
        raise InputError(f"{folder / COLLECTION}: names no {PRIMARY}; pass the catalogue in it")
    return folder / "dataset" if "dataset" in names and HATS.intersection(names) else None


def _may_be_table(file: Path) -> bool:
    # GaiaXPy writes the grid of spectra.csv into spectra_sampling.csv: its reader finds it.
    return _suffix(file) in DATA_SUFFIXES and not file.name.endswith("_sampling.csv")


def _suffix(file: Path) -> str:
    name = file.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix


def _is_run(folder: Path) -> bool:
    """Whether a folder is a bundle, or that of a training run."""
    return (folder / "bundle.json").is_file() or (
        (folder / "config.json").is_file()
        and any((folder / name).exists() for name in ("log.jsonl", "checkpoints", "bundle"))
    )


def _is_output(file: Path) -> bool:
    """Whether aspgap has written a file, and not as a store of spectra."""
    try:
        match file.suffix.lower():
            case ".parquet":
                return PREDICTION in _footer(file)
            case ".h5" | ".hdf5":
                return _hdf5_format(file).startswith("aspgap") and _hdf5_format(file) not in STORES
    except OSError:
        # It cannot be read: for its reader to say.
        pass
    return False


def _footer(file: Path) -> bytes:
    """The metadata of a Parquet file; reading them costs no import of Arrow."""
    with file.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(end - 8, 0))
        length = int.from_bytes(stream.read(4), "little")
        stream.seek(max(end - 8 - length, 0))
        return stream.read(length)


def _hdf5_format(file: Path) -> str:
    if not h5py.is_hdf5(file):
        return ""
    with h5py.File(file, "r") as opened:
        return str(opened.attrs.get("format", ""))
