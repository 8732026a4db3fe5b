"""The output of a prediction: one Parquet part an input file, and the account of it.

A part appears whole or not at all and carries its record, so the same command
continues a run that stopped, for whatever reason. Every process writes a manifest
of its own; :func:`read_manifest` merges them. For each file and in total::

    read = predicted + failed        failed = unpredicted + damaged

where the unpredicted stars are in the part, with NaN labels and the flags that say
why, and the damaged rows could not be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyarrow import ArrowException

from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text

__all__ = [
    "COUNTS",
    "PartRecord",
    "Predicted",
    "manifest_name",
    "part_name",
    "read_manifest",
    "read_part_record",
    "write_manifest",
]

FORMAT = "aspgap predictions manifest"
FORMAT_VERSION = 1
RECORD = "aspgap.record"
MANIFESTS = "manifest*.json"
COUNTS = ("read", "predicted", "flagged", "failed", "unpredicted", "damaged")


@dataclass(frozen=True)
class PartRecord:
    """What became of one input file.

    Attributes:
        file: its path.
        part: name of its part.
        status: ``done``, ``skipped`` (its part was complete) or ``failed``.
        size: bytes of the file.
        modified: when it was last modified, ns.
        settings: what the labels depend on besides the file.
        read: rows of the file, as far as it could be read.
        predicted: rows with labels.
        flagged: rows with labels of which at least one flag is set.
        unpredicted: rows of the part without labels.
        damaged: rows that are not in the part; all of them if the file failed.
        problems: why the file failed, or the first damaged rows.
    """

    file: str
    part: str
    status: str
    size: int = 0
    modified: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    read: int = 0
    predicted: int = 0
    flagged: int = 0
    unpredicted: int = 0
    damaged: int = 0
    problems: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Rows without labels."""
        return self.unpredicted + self.damaged

    def to_json(self) -> str:
        """For the metadata of the part."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Predicted:
    """The account of a prediction; ``str`` gives what a user wants to read.

    Attributes:
        files: one record a file.
        manifest: the file that holds all of this; ``None`` when merged from several.
    """

    files: tuple[PartRecord, ...]
    manifest: Path | None = None

    def total(self, name: str) -> int:
        """Sum of a count over all files."""
        return int(sum(getattr(record, name) for record in self.files))

    def with_status(self, status: str) -> tuple[PartRecord, ...]:
        """The files that are ``done``, ``skipped`` or ``failed``."""
        return tuple(record for record in self.files if record.status == status)

    @property
    def complete(self) -> bool:
        """Whether no file failed and no row was damaged."""
        return not self.with_status("failed") and not self.total("damaged")

    def __str__(self) -> str:
        counts = {s: len(self.with_status(s)) for s in ("done", "skipped", "failed")}
        lines = [
            f"{len(self.files)} files: {counts['done']} predicted, {counts['skipped']} complete "
            f"before, {counts['failed']} failed",
            f"{self.total('read'):,} rows read: {self.total('predicted'):,} predicted "
            f"({self.total('flagged'):,} of them flagged), {self.total('failed'):,} failed "
            f"({self.total('unpredicted'):,} without labels, {self.total('damaged'):,} damaged)",
        ]
        lines += [
            problem if record.status == "failed" else f"{record.file}, {problem}"
            for record in self.files
            for problem in record.problems
        ]
        if self.manifest is not None:
            lines.append(f"manifest: {self.manifest}")
        return "\n".join(lines)


def part_name(name: str) -> str:
    """The whole name of the input, so that ``a.csv`` and ``a.fits`` do not share a part."""
    return f"{name}.parquet"


def read_part_record(path: Path) -> PartRecord | None:
    """The record that a part carries; ``None`` where there is no such part."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        values = json.loads(metadata[RECORD.encode()])
        return _record(values)
    except (OSError, KeyError, ValueError, TypeError, ArrowException):
        return None


def _record(values: dict[str, Any]) -> PartRecord:
    known = {f.name for f in fields(PartRecord)}
    if set(values) - known - {"failed"}:
        raise ValueError("a record of another version")
    kept = {name: value for name, value in values.items() if name in known}
    return PartRecord(**kept | {"problems": tuple(values["problems"])})


def manifest_name(shard: tuple[int, int]) -> str:
    """Name of the manifest of shard ``i`` of ``n``."""
    return "manifest.json" if shard[1] == 1 else f"manifest-{shard[0]}-of-{shard[1]}.json"


def write_manifest(out: Path, records: Sequence[PartRecord], shard: tuple[int, int]) -> Predicted:
    """Write the manifest of one process, atomically.

    Args:
        out: folder of the predictions.
        records: of the files that this process had to do.
        shard: number of the process, from 1, and how many there are.

    Returns:
        Their sums.
    """
    summary = Predicted(tuple(records), out / manifest_name(shard))
    values = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "shard": list(shard),
        "totals": {name: summary.total(name) for name in COUNTS}
        | {f"files_{s}": len(summary.with_status(s)) for s in ("done", "skipped", "failed")},
        "files": [asdict(record) | {"failed": record.failed} for record in records],
    }
    write_text(out / manifest_name(shard), json.dumps(values, indent=1) + "\n")
    return summary


def read_manifest(out: Path) -> Predicted:
    """The account of a folder of parts, merged from its manifests and its parts.

    What a part says of itself counts; a file that failed in one process and was
    predicted in another is predicted.

    Raises:
        InputError: there is no manifest, or one that cannot be read.
    """
    records: dict[str, PartRecord] = {}
    for path in sorted(out.glob(MANIFESTS)):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if (values["format"], values["format_version"]) != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"format is {values['format']!r}")
            records |= {r.part: r for r in map(_record, values["files"]) if r.part not in records}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: no readable manifest ({error}); run `aspgap predict` again"
            ) from error
    records |= {record.part: record for record in _on_disk(out)}
    if not records:
        raise InputError(f"{out}: no predictions there; make them with `aspgap predict`")
    return Predicted(tuple(records[part] for part in sorted(records)))


def _on_disk(out: Path) -> Iterable[PartRecord]:
    for path in sorted(out.glob("*.parquet")):
        record = read_part_record(path)
        if record is not None:
            yield record
