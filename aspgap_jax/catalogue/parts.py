"""The output of a prediction: one Parquet part an input file, and the account of it.

A part appears whole or not at all and carries its record, so the same command
continues a run that stopped, for whatever reason. The record tells the input by path
and content (:mod:`aspgap_jax.files.identity`). Every process writes a manifest
of its own; :func:`read_manifest` merges them. For each file and in total::

    read = predicted + failed        failed = unpredicted + damaged

where the unpredicted stars are in the part, with NaN labels and the flags that say
why, and the damaged rows could not be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException

from aspgap_jax.errors import InputError
from aspgap_jax.files.access import unreadable
from aspgap_jax.files.atomic import write_text
from aspgap_jax.files.locks import guarded
from aspgap_jax.files.records import Account, InputRecord
from aspgap_jax.survey.folders import Found, find_files, without_spectra

__all__ = [
    "COUNTS",
    "PARTS",
    "PartRecord",
    "Predicted",
    "check_version",
    "find_parts",
    "manifest_name",
    "read_manifest",
    "read_part",
    "read_part_record",
    "write_manifest",
]

FORMAT = "aspgap predictions manifest"
FORMAT_VERSION = 3
RECORD = "aspgap.record"
MANIFESTS = "manifest*.json"
PARTS = ".parquet"
"""Suffix of a part."""

STATUSES = ("done", "skipped", "failed", "left", "shared", "foreign")
COUNTS = (
    *("read", "predicted", "flagged", "no_g", "g_mismatch"),
    *("failed", "unpredicted", "damaged"),
)


@dataclass(frozen=True)
class PartRecord(InputRecord):
    """What became of one input file.

    Attributes:
        settings: what the labels depend on besides the file.
        read: rows of the file, as far as it could be read.
        predicted: rows with labels.
        flagged: rows with labels of which at least one flag is set.
        no_g: rows whose G was synthesised from the spectrum.
        g_mismatch: rows whose G is not that of the spectrum.
        unpredicted: rows of the part without labels.
        reasons: of the rows without labels, how many have each of the flags that say why.
        damaged: rows that are not in the part; all of them if the file failed.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    read: int = 0
    predicted: int = 0
    flagged: int = 0
    no_g: int = 0
    g_mismatch: int = 0
    unpredicted: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    damaged: int = 0

    @property
    def failed(self) -> int:
        """Rows without labels."""
        return self.unpredicted + self.damaged

    @property
    def barren(self) -> bool:
        """Whether there are rows in the part, and none of them got labels."""
        return bool(self.unpredicted) and not self.predicted

    @property
    def why_not(self) -> str:
        """How many rows of the part have no labels, and why; empty if all have some."""
        if not self.unpredicted:
            return ""
        rows = f"{self.unpredicted:,} of {self.predicted + self.unpredicted:,} rows"
        why = ", ".join(f"{count:,} {flag}" for flag, count in self.reasons.items())
        return f"{rows} got no labels ({why})" + (
            ": is this a table of XP spectra?" if self.barren else ""
        )

    def to_json(self) -> str:
        """For the metadata of the part."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Predicted(Account[PartRecord]):
    """The account of a prediction; ``str`` gives what a user wants to read.

    Attributes:
        manifest: the file that holds all of this; ``None`` when merged from several.
    """

    manifest: Path | None = None

    @property
    def complete(self) -> bool:
        """Whether no file failed, got no labels at all or was left to a stranger, and no row
        was damaged."""
        return (
            not self.with_status("failed", "left")
            and not self.total("damaged")
            and not any(record.barren for record in self.files)
        )

    def __str__(self) -> str:
        counts = {s: len(self.with_status(s)) for s in STATUSES}
        lines = [
            f"{len(self.files) - counts['foreign']} files: {counts['done']} predicted, "
            f"{counts['skipped']} complete before, {counts['failed']} failed"
            + (f", {counts['left']} left to other processes" if counts["left"] else "")
            + (f", {counts['shared']} with other tasks of this step" if counts["shared"] else ""),
            f"{self.total('read'):,} rows read: {self.total('predicted'):,} predicted "
            f"({self.total('flagged'):,} of them flagged), {self.total('failed'):,} failed "
            f"({self.total('unpredicted'):,} without labels, {self.total('damaged'):,} damaged)",
        ]
        magnitudes = {
            "synthesised from the spectrum (NO_G)": self.total("no_g"),
            "not that of the spectrum (G_MISMATCH)": self.total("g_mismatch"),
        }
        if any(magnitudes.values()):
            counts_of_g = (f"{count:,} {what}" for what, count in magnitudes.items() if count)
            lines.append(f"G of stars: {', '.join(counts_of_g)}")
        lines += [
            problem if record.status in ("failed", "left") else f"{record.file}, {problem}"
            for record in self.files
            for problem in record.problems
            if record.status != "foreign"
        ]
        lines += without_spectra([record.file for record in self.with_status("foreign")])
        lines += [f"{record.file}: {record.why_not}" for record in self.files if record.why_not]
        lines += [f"{record.file}: {note}" for record in self.files for note in record.notes]
        if self.manifest is not None:
            lines.append(f"manifest: {self.manifest}")
        return "\n".join(lines)


def read_part_record(path: Path) -> PartRecord | None:
    """The record that a part carries; ``None`` where there is no such part.

    Args:
        path: the Parquet file.

    Returns:
        What it says of the file of spectra that it was made from.
    """
    try:
        metadata = pq.read_metadata(path).metadata or {}
        values = json.loads(metadata[RECORD.encode()])
        return _record(values)
    except (OSError, KeyError, ValueError, TypeError, ArrowException):
        return None


def read_part(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of a part, so many at a time.

    Args:
        path: the Parquet file.
        rows: of a batch, at most.

    Yields:
        Batches with all columns, in the order of the file.

    Raises:
        InputError: it is damaged.
    """
    try:
        with pq.ParquetFile(path) as part:
            yield from part.iter_batches(rows)
    except (OSError, ArrowException) as error:
        raise InputError(
            f"{path}: {unreadable(path, error)}; remove it and predict its file again"
        ) from error


def _record(values: dict[str, Any]) -> PartRecord:
    known = {f.name for f in fields(PartRecord)}
    if set(values) - {"failed"} != known:
        raise ValueError("a record of another version")
    texts = {name: tuple(values[name]) for name in ("problems", "notes")}
    return PartRecord(**{name: values[name] for name in known} | texts)


def manifest_name(share: tuple[int, int]) -> str:
    """Name of the manifest of share ``i`` of ``n``.

    Args:
        share: ``(i, n)``, ``i`` from 1.

    Returns:
        The name without a folder; that of the only share has no numbers.
    """
    return "manifest.json" if share[1] == 1 else f"manifest-{share[0]}-of-{share[1]}.json"


def write_manifest(
    out: Path,
    records: Sequence[PartRecord],
    share: tuple[int, int],
    remarks: Sequence[str] = (),
) -> Predicted:
    """Write the manifest of one process, atomically, keeping what it says of other files.

    Args:
        out: folder of the parts.
        records: of the files of this process.
        share: which it is, of how many.
        remarks: what was left out of folders and tables.

    Returns:
        The sums of all that it has.
    """
    path = out / manifest_name(share)
    summary = Predicted(tuple(records), path)
    with guarded(out):
        known = {record.path for record in records}
        earlier = _read_one(path) if path.exists() else []
        others = [record for record in earlier if record.path not in known]
        # Whoever predicts the others lists them.
        listed = Predicted((*others, *summary.with_status("done", "skipped", "failed")))
        values = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "shard": list(share),
            "totals": {name: listed.total(name) for name in COUNTS}
            | {f"files_{s}": len(listed.with_status(s)) for s in STATUSES[:3]},
            "remarks": list(remarks),
            "files": [asdict(record) | {"failed": record.failed} for record in listed.files],
        }
        write_text(path, json.dumps(values, indent=1) + "\n")
    return summary


def check_version(out: Path) -> None:
    """See whether a folder can take further predictions.

    Args:
        out: the folder.

    Raises:
        InputError: it holds those of another version of aspgap.
    """
    for path in sorted(out.glob(MANIFESTS)):
        _read_one(path)


def _read_one(path: Path) -> list[PartRecord]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if (values["format"], values["format_version"]) != (FORMAT, FORMAT_VERSION):
            raise ValueError("it is of another version of aspgap")
        return [_record(record) for record in values["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no readable manifest ({error}); predict into another folder"
        ) from error


def read_manifest(out: Path) -> Predicted:
    """The account of a folder of parts, merged from its manifests and its parts.

    What a part says of itself counts; a file that failed in one process and was
    predicted in another is predicted.

    Args:
        out: the folder.

    Returns:
        A record for every file of spectra, sorted by part.

    Raises:
        InputError: there is no manifest, or one that cannot be read.
    """
    listed = [record for path in sorted(out.glob(MANIFESTS)) for record in _read_one(path)]
    # Later ones of a part give way to the first, and all of them to the part.
    parts = {record.part: record for record in reversed(listed) if record.status != "failed"}
    parts |= {record.part: record for record in _on_disk(out)}
    known = {record.path for record in parts.values()}
    failed = {record.path: record for record in listed if record.path not in known}
    found = [*parts.values(), *(r for r in failed.values() if r.status == "failed")]
    if not found:
        raise InputError(f"{out}: no predictions there; make them with `aspgap predict`")
    return Predicted(tuple(sorted(found, key=lambda record: (record.part, record.path))))


def find_parts(given: Sequence[Path]) -> Found:
    """The parts in folders, in any depth, and parts that are given themselves.

    Args:
        given: folders and Parquet files.

    Returns:
        The parts, and what was passed over in folders.

    Raises:
        InputError: a folder has none, or a file is none.
    """
    found = find_files(given, wanted=_is_part, what="parts of a prediction")
    for file in found.files:
        if file.is_dir():
            raise InputError(f"{file}: no predictions there; make them with `aspgap predict`")
        if not file.exists():
            raise InputError(f"{file}: no such file or folder; pass what `aspgap predict` wrote")
        if file not in found.inside and not _is_part(file):
            raise InputError(
                f"{file}: no part of a prediction of this version; pass what `aspgap predict` wrote"
            )
    return found


def _is_part(file: Path) -> bool:
    return file.suffix == PARTS and read_part_record(file) is not None


def _on_disk(out: Path) -> Iterable[PartRecord]:
    for path in sorted(out.glob("*.parquet")):
        record = read_part_record(path)
        if record is not None:
            yield record
