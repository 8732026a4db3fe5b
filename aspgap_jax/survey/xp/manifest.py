"""What an ingest did: the record of each file, their sum, and ``manifest.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from aspgap_jax.files.atomic import write_text
from aspgap_jax.files.locks import guarded
from aspgap_jax.files.records import Account, InputRecord
from aspgap_jax.survey.folders import without_spectra
from aspgap_jax.survey.xp.store import read_ids

__all__ = ["COUNTS", "MANIFEST", "FileRecord", "Ingested", "repeated_ids", "write_manifest"]

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileRecord(InputRecord):
    """What became of one input file.

    Attributes:
        md5: its checksum where ``_MD5SUM.txt`` lists the file, else empty.
        rows: rows of the file; 0 if it failed.
        stored: rows in the part.
        bad: damaged rows, left out.
        duplicates: rows that repeat a source id of the file, left out.
        without_bp: stored rows that have no BP spectrum.
        without_rp: stored rows that have no RP spectrum.
        masked: values (coefficients or fluxes) of stored bands that are not finite.
        release: Gaia release given by the user; empty: as the file says.
    """

    md5: str = ""
    rows: int = 0
    stored: int = 0
    bad: int = 0
    duplicates: int = 0
    without_bp: int = 0
    without_rp: int = 0
    masked: int = 0
    release: str = ""


STATUSES = ("done", "skipped", "failed", "left", "foreign")
COUNTS = ("rows", "stored", "bad", "duplicates", "without_bp", "without_rp", "masked")


@dataclass(frozen=True)
class Ingested(Account[FileRecord]):
    """The result of :func:`ingest`; ``str`` gives what a user wants to read.

    Attributes:
        repeated: source ids that stand in more than one part; they are kept.
        manifest: the file that holds all of this.
        remarks: what was left out of the folders that were given, one line each.
    """

    repeated: int
    manifest: Path
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = {status: len(self.with_status(status)) for status in STATUSES}
        lines = [
            f"{len(self.files) - counts['foreign']} files: {counts['done']} ingested, "
            f"{counts['skipped']} complete before, {counts['failed']} failed"
            + (f", {counts['left']} left to other processes" if counts["left"] else ""),
            f"{self.total('rows')} rows: {self.total('stored')} stored, {self.total('bad')} "
            f"damaged, {self.total('duplicates')} duplicates",
            f"{self.total('without_bp')} stars without BP, {self.total('without_rp')} without RP, "
            f"{self.total('masked')} values masked",
        ]
        if self.repeated:
            lines.append(f"{self.repeated} source ids stand in more than one part")
        ours = [record for record in self.files if record.status != "foreign"]
        lines += [f"{self._name(record)}: {p}" for record in ours for p in record.problems]
        lines += [f"{record.file}: {note}" for record in ours for note in record.notes]
        lines += without_spectra([record.file for record in self.with_status("foreign")])
        lines += self.remarks
        lines.append(f"manifest: {self.manifest}")
        return "\n".join(lines)

    @staticmethod
    def _name(record: FileRecord) -> str:
        return record.status if record.status in ("failed", "left") else record.file


def repeated_ids(out: Path, records: Sequence[FileRecord]) -> int:
    """How many source ids stand in more than one of the parts.

    Bulk files hold disjoint ranges of the sky, hence of source ids; only parts
    whose ranges overlap are compared.

    Args:
        out: folder of the store.
        records: of its parts.

    Returns:
        Their number.
    """
    ranges = []
    for record in records:
        if record.status in ("done", "skipped"):
            ids = read_ids(out / record.part)
            ranges.append((int(ids.min()), int(ids.max()), record.part))
    repeated = np.empty(0, np.int64)
    group: list[str] = []
    reach = -1
    for low, high, part in [*sorted(ranges), (2**63 - 1, 2**63 - 1, "")]:
        if low > reach or not part:
            if len(group) > 1:
                ids = np.sort(np.concatenate([read_ids(out / name) for name in group]))
                repeated = np.append(repeated, np.unique(ids[1:][ids[1:] == ids[:-1]]))
            group = []
        group.append(part)
        reach = max(reach, high)
    return len(repeated)


def write_manifest(summary: Ingested) -> None:
    """Write the manifest, keeping what earlier runs said of other files.

    Args:
        summary: of this run; says where the manifest is.
    """
    with guarded(summary.manifest.parent):
        records = summary.with_status("done", "skipped", "failed")
        files = {record.path: asdict(record) for record in records}
        try:
            earlier = json.loads(summary.manifest.read_text(encoding="utf-8"))["files"]
            # A file that was moved keeps its part.
            parts = {record.part for record in records if record.status != "failed"}
            kept = [r for r in earlier if r["status"] == "failed" or r["part"] not in parts]
            files = {record["path"]: record for record in kept} | files
        except (OSError, ValueError, KeyError, TypeError):
            # None yet, or not readable: the parts carry their own records.
            pass
        listed = sorted(files.values(), key=lambda record: (record["part"], record["path"]))
        totals: dict[str, int] = {name: sum(r[name] for r in listed) for name in COUNTS}
        totals |= {s: sum(r["status"] == s for r in listed) for s in STATUSES[:3]}
        values = {
            "totals": totals,
            "repeated": summary.repeated,
            "remarks": list(summary.remarks),
            "files": listed,
        }
        write_text(summary.manifest, json.dumps(values, indent=1) + "\n")
