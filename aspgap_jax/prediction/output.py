"""What becomes of predicted stars: parts on disk, and the first of them as text.

A part is written while its file is read: batches arrive, then the end of the file. What
is not whole leaves nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from aspgap_jax.catalogue.parts import RECORD, PartRecord, read_part
from aspgap_jax.files.atomic import remove_stale
from aspgap_jax.files.identity import Content
from aspgap_jax.files.locks import release
from aspgap_jax.files.tables import ParquetTable, parquet_table
from aspgap_jax.flags import bit, decode
from aspgap_jax.labels import LABELS, LabelSet
from aspgap_jax.prediction.batches import BatchLabels, LabelColumns
from aspgap_jax.survey.inputs import Source
from aspgap_jax.survey.xp import XPChunk

__all__ = [
    "ComputedStars",
    "EndOfFile",
    "FileTask",
    "PartWriter",
    "ReadStars",
    "Settled",
    "first_stars",
    "format_stars",
]

NO_LABELS = ("MISSING_BAND", "NOT_FINITE")
"""Flags that say why a star has no labels."""
SUSPICIOUS = 0.1
"""Share of G magnitudes that are not their spectra's from which the user is asked; of the
training stars 1% are such (:mod:`aspgap_jax.prediction.photometry`)."""
CHANGED = "its content has changed since it was predicted: predicted again"
CHANGED_AND_LOST = "its content has changed since it was predicted: its part is gone"


@dataclass(frozen=True)
class FileTask:
    """A file to predict.

    Attributes:
        source: the file.
        part: where its stars go.
    """

    source: Source
    part: Path


class ReadStars(NamedTuple):
    """Stars of one file on their way to the device.

    Attributes:
        task: the file.
        chunk: their spectra.
        g_mag: Gaia G, mag; NaN where unknown.
        ruwe: Gaia's, NaN where unknown.
    """

    task: FileTask
    chunk: XPChunk
    g_mag: np.ndarray
    ruwe: np.ndarray


class EndOfFile(NamedTuple):
    """No more stars of this file.

    Attributes:
        task: the file.
        stars: rows that were read.
        damaged: rows that were not.
        problems: the first of them, or why the file failed.
        notes: what the reader converted, replaced, guessed or left out.
        failed: whether it did.
        foreign: whether it is a table without XP spectra that nobody named.
        content: what was read.
    """

    task: FileTask
    stars: int
    damaged: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    failed: bool
    foreign: bool
    content: Content


class Settled(NamedTuple):
    """A file of which nothing is left to do here.

    Attributes:
        task: the file.
        record: what is known of its part.
    """

    task: FileTask
    record: PartRecord


class ComputedStars(NamedTuple):
    """Stars of one file on their way from the device.

    Attributes:
        batch: as they were read.
        labels: what the device gives for them, perhaps later.
    """

    batch: ReadStars
    labels: BatchLabels


class PartWriter:
    """Takes what the device returns and writes it, a part at a time.

    Args:
        settings: of the prediction, kept in every part.
        records: gets the record of each part, by the path of its file.
        columns: of the stars.
        bar: counts files.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        records: dict[str, PartRecord],
        columns: LabelColumns,
        bar: tqdm,
    ) -> None:
        self._settings = settings
        self._records = records
        self._columns = columns
        self._bar = bar
        self._open: AbstractContextManager[ParquetTable] | None = None
        self._table: ParquetTable | None = None
        self._predicted = self._flagged = self._stars = 0
        self._reasons: Counter[str] = Counter()
        self._magnitudes = _Magnitudes()

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

    def __call__(self, item: ComputedStars | EndOfFile | Settled) -> None:
        if isinstance(item, EndOfFile):
            self._finish(item)
            return
        if isinstance(item, Settled):
            self._keep(item.task, item.record)
            return
        batch, computed = item
        if self._table is None:
            remove_stale(batch.task.part)
            self._open = parquet_table(batch.task.part, self._columns.specs)
            self._table = self._open.__enter__()
        columns = self._columns.of(batch.chunk.source_id, batch.g_mag, batch.ruwe, computed)
        known = np.isfinite(columns[self._columns.first])
        self._magnitudes.add(columns)
        self._predicted += int(known.sum())
        self._flagged += int((known & (columns["flags"] != 0)).sum())
        for flag in NO_LABELS:
            if count := int((~known & (columns["flags"] & bit(flag) != 0)).sum()):
                self._reasons[flag] += count
        self._stars += len(known)
        self._table.append(columns)
        self._bar.set_postfix(stars=f"{self._stars:,}", refresh=False)

    def _finish(self, end: EndOfFile) -> None:
        task = end.task
        record = PartRecord(
            file=str(task.source.path),
            part=task.part.name,
            status="failed" if end.failed else "done",
            path=task.source.key.path,
            size=end.content.size,
            digest=end.content.digest,
            settings=self._settings,
            read=end.stars + end.damaged,
            problems=end.problems,
        )
        # Of an earlier version of the file.
        replaced = task.part.exists()
        if end.foreign and not replaced:
            record = dataclasses.replace(record, status="foreign", read=0)
        elif end.failed:
            self._discard()
            task.part.unlink(missing_ok=True)
            notes = (*end.notes, *((CHANGED_AND_LOST,) if replaced else ()))
            record = dataclasses.replace(record, damaged=record.read, notes=notes)
        else:
            assert self._table is not None
            assert self._open is not None
            rows = self._table.rows
            record = dataclasses.replace(
                record,
                predicted=self._predicted,
                flagged=self._flagged,
                no_g=self._magnitudes.without,
                g_mismatch=self._magnitudes.apart,
                unpredicted=rows - self._predicted,
                reasons=dict(self._reasons),
                damaged=end.damaged,
                notes=(
                    *end.notes,
                    *self._magnitudes.notes(),
                    *((CHANGED,) if replaced else ()),
                ),
            )
            self._table.annotate({RECORD: record.to_json()})
            part, self._open = self._open, None
            part.__exit__(None, None, None)
        self._table = None
        self._forget()
        self._keep(task, record)

    def _keep(self, task: FileTask, record: PartRecord) -> None:
        self._records[task.source.key.path] = record
        release(task.part)
        self._bar.update()

    def _forget(self) -> None:
        self._predicted = self._flagged = 0
        self._reasons.clear()
        self._magnitudes = _Magnitudes()

    def _discard(self) -> None:
        """Leave nothing of a part that is not whole."""
        if self._open is not None:
            part, self._open = self._open, None
            self._table = None
            self._forget()
            with contextlib.suppress(_Discarded):
                part.__exit__(_Discarded, _Discarded(), None)


class _Magnitudes:
    """What is to be said of the G magnitudes of a file."""

    def __init__(self) -> None:
        self.stars = self.without = self.apart = 0
        self._by: list[np.ndarray] = []

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        """Count the stars of a batch, as :class:`LabelColumns` gives them."""
        flags = columns["flags"]
        apart = flags & bit("G_MISMATCH") != 0
        self.stars += len(flags)
        self.without += int((flags & bit("NO_G") != 0).sum())
        self.apart += int(apart.sum())
        self._by.append((columns["phot_g_mean_mag"] - columns["g_synthetic"])[apart])

    def notes(self) -> tuple[str, ...]:
        """A question to the user where too many are not those of their spectra."""
        given = self.stars - self.without
        if self.apart <= SUSPICIOUS * given:
            return ()
        by = np.concatenate(self._by)
        known = by[np.isfinite(by)]
        median = f", by {np.median(known):+.2f} mag in the median" if known.size else ""
        return (
            f"G of {self.apart:,} of {given:,} stars is not that of their spectra{median} "
            "(G_MISMATCH): is it Gaia's G of these stars?",
        )


class _Discarded(Exception):
    """A part is not to be kept."""


def first_stars(
    out: Path, records: Sequence[PartRecord], count: int, table: LabelSet = LABELS
) -> str:
    """A table of the first ``count`` stars of the parts in ``out``.

    Args:
        out: folder of the parts.
        records: of the parts.
        count: stars at most.
        table: the labels of the bundle.

    Returns:
        Lines of text.
    """
    blocks: list[Mapping[str, np.ndarray]] = []
    left = count
    for record in records:
        if left <= 0 or record.status == "failed":
            continue
        for batch in read_part(out / record.part, left):
            blocks.append({n: batch[n].to_numpy() for n in batch.schema.names})
            left -= len(batch)
            break
    if not blocks:
        return ""
    names = set(blocks[0]).intersection(*blocks)
    joined = {name: np.concatenate([b[name] for b in blocks]) for name in names}
    return format_stars(joined, table)


def format_stars(columns: Mapping[str, np.ndarray], table: LabelSet = LABELS) -> str:
    """Source id, labels with their errors, and the names of the flags, a line a star.

    Args:
        columns: of a part of predictions, by name.
        table: the labels of the bundle.

    Returns:
        Lines of aligned columns, the first of which names them.
    """
    header = ["source_id", *(f"{row.name} [{row.unit}]" for row in table), "flags"]
    rows = [header]
    for star in range(len(columns["source_id"])):
        cells = [str(columns["source_id"][star])]
        for row in table:
            value = columns[row.catalogue][star]
            error = columns[f"e_{row.catalogue}"][star]
            digits = max(row.decimals - 1, 0)
            cells.append(f"{value:.{digits}f} +- {error:.{digits}f}" if np.isfinite(value) else "-")
        cells.append(" ".join(decode(int(columns["flags"][star]))) or "none")
        rows.append(cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False))
        + f"  {row[-1]}"
        for row in rows
    ]
    return "\n".join(lines)
