"""Prediction of any number of files: reader, device and writer at a time.

Stars go through the device in batches of one shape, so nothing is compiled twice,
and each input file becomes one part (:mod:`aspgap_jax.catalogue.parts`). Several
processes share the files of a run among them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from aspgap_jax import config
from aspgap_jax.catalogue.parts import (
    RECORD,
    PartRecord,
    Predicted,
    part_name,
    read_part_record,
    write_manifest,
)
from aspgap_jax.errors import InputError
from aspgap_jax.files.tables import ParquetTable, parquet_table
from aspgap_jax.prediction.batches import (
    DEFAULT,
    BatchLabels,
    LabelColumns,
    Predicting,
    PredictOptions,
)
from aspgap_jax.prediction.bundle import BundleInfo
from aspgap_jax.prediction.predict import Bundle
from aspgap_jax.runtime.prefetch import prefetch
from aspgap_jax.survey.gaia_lookup import GaiaLookup, open_gaia
from aspgap_jax.survey.inputs import Source, expand, read_source
from aspgap_jax.survey.tables import Remarks
from aspgap_jax.survey.xp import BadRow, XPChunk

__all__ = ["predict_files", "shard_of_process"]

# Damaged rows are all counted; so many of a file are described.
SHOWN = 20
# Batches that may wait for the device, and for the writer.
AHEAD = 2
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def shard_of_process(asked: str | None) -> tuple[int, int]:
    """Which share of the files this process predicts: ``(i, n)``, i from 1 to n.

    Args:
        asked: ``i/n``. ``None``: the process index of ``jax.distributed`` where that
            runs, else the index of a Slurm task or array job, else the only one.

    Raises:
        InputError: ``asked`` is no share.
    """
    if asked is not None:
        first, slash, last = asked.partition("/")
        if not (slash and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
            raise InputError(f"--shard {asked}: write i/n with 1 <= i <= n, as in --shard 2/8")
        return int(first), int(last)
    if jax.distributed.is_initialized():
        return jax.process_index() + 1, jax.process_count()
    names = os.environ
    # Set in the steps of srun alone: the batch script itself is no task among several.
    if int(names.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return int(names["SLURM_PROCID"]) + 1, int(names["SLURM_STEP_NUM_TASKS"])
    if "SLURM_ARRAY_TASK_COUNT" in names:
        first_id = int(names.get("SLURM_ARRAY_TASK_MIN", "0"))
        step = int(names.get("SLURM_ARRAY_TASK_STEP", "1"))
        index = (int(names["SLURM_ARRAY_TASK_ID"]) - first_id) // step
        return index + 1, int(names["SLURM_ARRAY_TASK_COUNT"])
    return 1, 1


@dataclass(frozen=True)
class _Task:
    source: Source
    part: Path
    stamp: tuple[int, int]


class _Batch(NamedTuple):
    """Stars of one file on their way to the device."""

    task: _Task
    chunk: XPChunk
    g_mag: np.ndarray
    ruwe: np.ndarray


class _EndOfFile(NamedTuple):
    """No more stars of this file.

    Attributes:
        stars: rows that were read.
        damaged: rows that were not.
        problems: the first of them, or why the file failed.
        failed: whether it did.
    """

    task: _Task
    stars: int
    damaged: int
    problems: tuple[str, ...]
    failed: bool


def predict_files(
    inputs: Sequence[str],
    out: Path,
    bundle: Bundle,
    info: BundleInfo,
    options: PredictOptions = DEFAULT,
    *,
    gaia: Sequence[Path] = (),
    shard: tuple[int, int] = (1, 1),
    remarks: Remarks | None = None,
) -> Predicted:
    """Predict the stars of files into the parts of a folder.

    A file that cannot be read fails alone, a damaged row too; both are named and
    counted. Files with a complete part are skipped.

    Args:
        inputs: see :func:`aspgap_jax.survey.inputs.expand`.
        out: folder of the parts and of the manifest; it is made.
        bundle: the model.
        info: what it is.
        options: how to predict.
        gaia: tables with ``phot_g_mean_mag`` or ``ruwe``, for inputs that lack them.
        shard: ``(i, n)``: predict the files i, i + n, i + 2n, ...
        remarks: told what was left out or replaced in ``gaia``, and how many stars it has.

    Raises:
        InputError: nothing to do, the folder holds other predictions, ``gaia`` has none of
            the stars, or the disk is full. What is finished stays, and the same command
            continues.
        KeyboardInterrupt: Ctrl-C; the same holds.
    """
    if out.suffix or out.is_file():
        raise InputError(
            f"--out {out}: predictions are a folder of parts; for one table pass that folder to "
            f"`aspgap catalogue`"
        )
    sources = expand(inputs)[shard[0] - 1 :: shard[1]]
    settings = {
        "bundle": bundle_fingerprint(bundle, info),
        "options": dataclasses.asdict(options) | {"batch_size": None},
        "gaia": [f"{path.name}, {path.stat().st_size} bytes" for path in gaia if path.exists()],
    }
    tasks = [_Task(s, out / part_name(s.name), _stamp(s.path)) for s in sources]
    records: dict[str, PartRecord] = {}
    for task in tasks:
        done = _complete(task, settings)
        if done is not None:
            records[task.part.name] = done
    todo = [task for task in tasks if task.part.name not in records]
    remarks = remarks or Remarks()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (
            open_gaia(gaia if todo else (), ("phot_g_mean_mag", "ruwe"), remarks) as lookup,
            tqdm(total=len(todo), desc="predict", unit="file", disable=None) as bar,
        ):
            predicting = Predicting(bundle, info, options)
            # Two threads beside this one: one reads, one feeds the device.
            batches = prefetch(_read(todo, predicting, lookup), ahead=AHEAD)
            results = prefetch((_compute(b, predicting) for b in batches), ahead=AHEAD)
            with closing(results), _PartWriter(settings, records, options, bar) as write:
                for result in results:
                    write(result)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise InputError(
                f"{out}: the disk is full ({error.strerror}); {len(records)} of {len(tasks)} files "
                f"are complete; free space, then run the same command again"
            ) from None
        raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{len(records)} of {len(tasks)} files are complete; run the same command to continue"
        ) from None
    predicted = write_manifest(out, [records[task.part.name] for task in tasks], shard)
    if lookup is not None:
        # A share of the stars may well be outside of the tables.
        lookup.check(remarks, everything=len(todo) == len(tasks) and shard == (1, 1))
    return predicted


def bundle_fingerprint(bundle: Bundle, info: BundleInfo) -> str:
    """SHA-256 of all that a bundle computes with."""
    digest = hashlib.sha256(config.to_json(info.config).encode())
    for leaf in jax.tree.leaves(bundle):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _complete(task: _Task, settings: dict[str, Any]) -> PartRecord | None:
    """The record of a part that was made from this very file, else ``None``."""
    kept = read_part_record(task.part)
    if kept is None:
        if task.part.exists():
            raise InputError(
                f"{task.part}: in the way, and no part of a prediction; choose another --out"
            )
        return None
    if kept.settings != settings:
        other = next(n for n in settings if kept.settings.get(n) != settings[n])
        raise InputError(
            f"{task.part}: was predicted with another {other}; choose another --out, or delete "
            f"that folder"
        )
    if (kept.size, kept.modified) != task.stamp:
        return None
    return dataclasses.replace(kept, status="skipped", file=str(task.source.path))


def _read(
    tasks: Sequence[_Task], predicting: Predicting, lookup: GaiaLookup | None
) -> Iterator[_Batch | _EndOfFile]:
    for task in tasks:
        yield from _read_file(task, predicting, lookup)


def _read_file(
    task: _Task, predicting: Predicting, lookup: GaiaLookup | None
) -> Iterator[_Batch | _EndOfFile]:
    """Batches of a file, then its end; what is wrong with the file goes into the end."""
    shown: list[str] = []
    stars = damaged = 0

    def count(row: BadRow) -> None:
        nonlocal damaged
        damaged += 1
        if len(shown) < SHOWN:
            shown.append(f"{row}; left out")

    failure = ""
    try:
        for chunk in read_source(
            task.source,
            chunk_size=predicting.batch_size,
            correlations=predicting.options.propagate == "full",
            on_bad_row=count,
        ):
            predicting.check(chunk)
            stars += len(chunk)
            yield _with_gaia(task, chunk, lookup)
        if not stars:
            failure = f"{task.source.path}: none of its {damaged} rows can be used" + (
                f" ({shown[0]})" if shown else ""
            )
    except InputError as error:
        # Of a spectrum, the error does not know whose it is.
        text = str(error)
        failure = text if str(task.source.path) in text else f"{task.source.path}: {text}"
    except OSError as error:
        failure = f"{task.source.path}: {error}; check the disk and run again"
    except Exception as error:
        # One file must not end a run over thousands.
        what = f"{type(error).__name__}: {error}".replace("\n", " ")
        failure = f"{task.source.path}: {what}; a fault of aspgap: please report it"
    problems = (failure,) if failure else tuple(shown)
    yield _EndOfFile(task, stars, damaged, problems, bool(failure))


def _with_gaia(task: _Task, chunk: XPChunk, lookup: GaiaLookup | None) -> _Batch:
    g_mag = chunk.g_mag
    ruwe = np.full(len(chunk), np.nan)
    if lookup is not None:
        _, columns = lookup.find(chunk.source_id)
        ruwe = columns.get("ruwe", ruwe)
        given = columns.get("phot_g_mean_mag", g_mag)
        g_mag = np.where(np.isnan(given), g_mag, given)
    return _Batch(task, chunk, g_mag, ruwe)


class _Computed(NamedTuple):
    batch: _Batch
    labels: BatchLabels


def _compute(item: _Batch | _EndOfFile, predicting: Predicting) -> _Computed | _EndOfFile:
    if isinstance(item, _EndOfFile):
        return item
    return _Computed(item, predicting(item.chunk, item.g_mag, item.ruwe))


class _PartWriter:
    """Takes what the device returns and writes it, a part at a time."""

    def __init__(
        self,
        settings: dict[str, Any],
        records: dict[str, PartRecord],
        options: PredictOptions,
        bar: tqdm,
    ) -> None:
        self._settings = settings
        self._records = records
        self._columns = LabelColumns(options)
        self._bar = bar
        self._open: AbstractContextManager[ParquetTable] | None = None
        self._table: ParquetTable | None = None
        self._predicted = self._flagged = self._stars = 0

    def __enter__(self) -> _PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

    def __call__(self, item: _Computed | _EndOfFile) -> None:
        if isinstance(item, _EndOfFile):
            self._finish(item)
            return
        batch, computed = item
        if self._table is None:
            _remove_stale(batch.task.part)
            self._open = parquet_table(batch.task.part, self._columns.specs)
            self._table = self._open.__enter__()
        columns = self._columns.of(batch.chunk.source_id, batch.g_mag, batch.ruwe, computed)
        known = np.isfinite(columns[self._columns.first])
        self._predicted += int(known.sum())
        self._flagged += int((known & (columns["flags"] != 0)).sum())
        self._stars += len(known)
        self._table.append(columns)
        self._bar.set_postfix(stars=f"{self._stars:,}", refresh=False)

    def _finish(self, end: _EndOfFile) -> None:
        task = end.task
        record = PartRecord(
            file=str(task.source.path),
            part=task.part.name,
            status="failed" if end.failed else "done",
            size=task.stamp[0],
            modified=task.stamp[1],
            settings=self._settings,
            read=end.stars + end.damaged,
            problems=end.problems,
        )
        if end.failed:
            self._discard()
            # Of an earlier version of the file, if there is one.
            task.part.unlink(missing_ok=True)
            record = dataclasses.replace(record, damaged=record.read)
        else:
            assert self._table is not None
            assert self._open is not None
            rows = self._table.rows
            record = dataclasses.replace(
                record,
                predicted=self._predicted,
                flagged=self._flagged,
                unpredicted=rows - self._predicted,
                damaged=end.damaged,
            )
            self._table.annotate({RECORD: record.to_json()})
            part, self._open = self._open, None
            part.__exit__(None, None, None)
        self._records[task.part.name] = record
        self._table = None
        self._predicted = self._flagged = 0
        self._bar.update()

    def _discard(self) -> None:
        """Leave nothing of a part that is not whole."""
        if self._open is not None:
            part, self._open = self._open, None
            self._table = None
            self._predicted = self._flagged = 0
            with contextlib.suppress(_Discarded):
                part.__exit__(_Discarded, _Discarded(), None)


class _Discarded(Exception):
    """A part is not to be kept."""


def _remove_stale(part: Path) -> None:
    for stale in part.parent.glob(f".{glob.escape(part.stem)}.*.tmp{part.suffix}"):
        # Left by a process that was killed.
        stale.unlink(missing_ok=True)
