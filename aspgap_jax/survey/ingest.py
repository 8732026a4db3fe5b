"""Bulk XP files become an XP store: one part a file, many files at a time.

A part is written whole or not at all and carries the record of what went into
it, so a run that stopped, for whatever reason, is continued by the same command:
files whose part is complete are skipped. ``manifest.json`` lists every file with
its counts; ``rows = stored + bad + duplicates`` holds for each and in total.
"""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aspgap_jax.errors import InputError
from aspgap_jax.files import atomic, locks
from aspgap_jax.files.atomic import remove_stale
from aspgap_jax.files.identity import Content, Input, claim_part, content_of, name_parts
from aspgap_jax.files.locks import Holder, locked, release
from aspgap_jax.files.records import skipped
from aspgap_jax.runtime.interruption import Interruption, Preempted, interruptible
from aspgap_jax.survey.folders import Found, find_files
from aspgap_jax.survey.xp import CHUNK_SIZE, BadRow, read_xp
from aspgap_jax.survey.xp.manifest import (
    COUNTS,
    MANIFEST,
    FileRecord,
    Ingested,
    repeated_ids,
    write_manifest,
)
from aspgap_jax.survey.xp.plan import is_foreign
from aspgap_jax.survey.xp.store import read_record, write_store

__all__ = ["FileRecord", "Ingested", "ingest"]

CHECKSUMS = "_MD5SUM.txt"
CHANGED = "it has changed since it was ingested: ingested again"
CHANGED_AND_KEPT = "its part is that of an earlier content"
# Damaged rows are all counted; so many of a file are described.
SHOWN = 20
# Seconds between two looks at whether Ctrl-C was pressed.
POLL = 0.2
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class _Stopped(Exception):
    """Ctrl-C was pressed, or the parent process asked this one to stop."""


class DiskFull(InputError):
    """The part could not be written; nothing of it is left."""


def ingest(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    processes: int | None = None,
    chunk_size: int = CHUNK_SIZE,
    gaia_release: str = "",
) -> Ingested:
    """Ingest XP files of any format into the XP store in the folder ``out``.

    A file whose checksum is not the one listed in the ``_MD5SUM.txt`` beside it,
    or that is damaged as a whole, fails alone. Damaged rows and repeated source
    ids are left out and counted. Files with a complete part are skipped, and those that
    another process ingests at the moment are left to it.

    Args:
        files: the input files, folders of such, or patterns
            (:mod:`aspgap_jax.survey.folders`).
        out: folder of the store; it is made.
        processes: files read at a time; by default one a CPU core. More than one
            needs a script guarded by ``if __name__ == "__main__"``.
        chunk_size: stars held in memory at a time, per process.
        gaia_release: of the spectra; empty: as the files say.

    Returns:
        What became of the files and rows.

    Raises:
        InputError: nothing to do, the folder holds parts of another version, or the disk is
            full. What is finished stays, and the same command continues.
        KeyboardInterrupt, Preempted: Ctrl-C, SIGTERM; the same holds.
    """
    out = Path(out)
    found_files = find_files(files)
    sources = found_files.files
    if not sources:
        raise InputError("no files to ingest; pass XP files (`aspgap ingest FILES... --out DIR`)")
    if processes is not None and processes < 1:
        raise InputError(f"processes must be at least 1, got {processes}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be made ({error.strerror}); choose another --out"
        ) from None
    # Others may ingest files of their own beside these.
    with locked(out, run="ingest"):
        return _ingest(found_files, out, processes, chunk_size, gaia_release)


def _ingest(
    found_files: Found, out: Path, processes: int | None, chunk_size: int, gaia_release: str
) -> Ingested:
    sources = found_files.files
    checksums = _checksums(sources)
    inputs = [Input(source.name, str(source.resolve())) for source in sources]
    parts = name_parts(inputs, ".h5", partial(_belongs, out))
    holder = Holder()
    records: dict[Path, FileRecord] = {}
    todo: list[_Task] = []
    for source, part in zip(sources, parts, strict=True):
        md5 = checksums.get(source, "")
        inside = source in found_files.inside
        task = _Task(source, out / part, md5, chunk_size, holder, gaia_release, inside)
        done = _complete(task)
        if done is None:
            todo.append(task)
        else:
            records[source] = done
    workers = min(processes or os.cpu_count() or 1, max(len(todo), 1))
    full: DiskFull | None = None
    interrupted: Interruption | None = None
    run = _here(todo) if workers == 1 else _in_processes(todo, workers)
    with interruptible() as interruption:
        try:
            # Closing stops the processes before anything else is done. An exception might
            # strike inside HDF5 and be lost: signals are looked for.
            with interruption.deferred(), _asked_by(interruption), closing(run):
                # None: no bar where the output is not a terminal.
                for record in tqdm(run, total=len(todo), unit="file", disable=None):
                    records[Path(record.file)] = record
        except DiskFull as error:
            full = error
        except (_Stopped, KeyboardInterrupt, Preempted):
            interrupted = interruption
    for task in todo:
        # Parts that were finished while the run was being stopped.
        if task.source not in records and (done := _complete(task)) is not None:
            records[task.source] = done
    found = tuple(records[source] for source in sources if source in records)
    if len(found) == len(sources) and all(record.status == "foreign" for record in found):
        first = found[0].problems[0]
        raise InputError(f"none of the {len(found):,} files holds XP spectra: {first}")
    repeated = 0 if full or interrupted else repeated_ids(out, found)
    summary = Ingested(found, repeated, out / MANIFEST, found_files.remarks)
    finished = sum(record.status in ("done", "skipped") for record in found)
    state = f"{finished} of {len(sources)} files are complete"
    try:
        write_manifest(summary)
    except OSError as error:
        full = full or DiskFull(f"{out}: the disk is full ({error.strerror})")
    if full is not None:
        raise InputError(f"{full}; {state}; free space, then run the same command again")
    if interrupted is not None:
        interrupted.obey(f"{state}; run the same command to continue")
    return summary


@dataclass(frozen=True)
class _Task:
    """One file.

    Attributes:
        source: its path.
        part: what it becomes.
        md5: as ``_MD5SUM.txt`` lists it, or empty.
        chunk_size: stars held in memory at a time.
        holder: the process that the user started.
        release: Gaia's, as given by the user; empty: as the file says.
        inside: whether a folder or a pattern stood for it, and nobody named it.
    """

    source: Path
    part: Path
    md5: str
    chunk_size: int
    holder: Holder
    release: str = ""
    inside: bool = False

    @property
    def key(self) -> Input:
        """What tells the file from all others."""
        return Input(self.source.name, str(self.source.resolve()))


def _kept(part: Path) -> FileRecord | None:
    """The record that a part carries; ``None`` where there is no such part."""
    kept = read_record(part)
    if kept is None:
        return None
    if set(kept) != {field.name for field in fields(FileRecord)}:
        raise InputError(
            f"{part}: was written by another version of aspgap, which does not say from "
            f"which file; choose another --out"
        )
    return FileRecord(**kept | {name: tuple(kept[name]) for name in ("problems", "notes")})


def _belongs(out: Path, name: str, source: Input) -> bool | None:
    """Whether a part was made from a source; ``None`` where there is no part."""
    kept = _kept(out / name)
    return None if kept is None else kept.is_of(source)


def _checksums(sources: Sequence[Path]) -> dict[Path, str]:
    """The checksums that ``_MD5SUM.txt`` lists, in the folders of the files."""
    listed: dict[Path, str] = {}
    for folder in {source.parent for source in sources}:
        try:
            lines = (folder / CHECKSUMS).read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"{folder / CHECKSUMS}: cannot be read ({error.strerror})") from None
        for line in lines:
            digest, _, name = line.strip().partition(" ")
            # md5sum marks files that were read in binary mode with a star.
            listed[folder / name.strip().lstrip("*")] = digest.lower()
    return listed


def _complete(task: _Task) -> FileRecord | None:
    """The record of a part that was made from this very file, else ``None``."""
    kept = _kept(task.part)
    if kept is None or (kept.md5, kept.release) != (task.md5, task.release):
        return None
    return skipped(kept, task.source, task.key) if kept.has_content_of(task.source) else None


def _here(tasks: Sequence[_Task]) -> Generator[FileRecord, None, None]:
    for task in tasks:
        yield _ingest_file(task)


def _in_processes(tasks: Sequence[_Task], workers: int) -> Generator[FileRecord, None, None]:
    # Spawned, not forked: the caller may run threads (JAX does).
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(stop,))
    waiting: dict[Future[FileRecord], _Task] = {}
    try:
        # A process starts with the mask of its parent: Ctrl-C must not meet it half
        # started. Here it is only put off.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            waiting = {pool.submit(_ingest_file, task): task for task in tasks}
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        while waiting:
            finished, _ = wait(waiting, timeout=POLL, return_when=FIRST_COMPLETED)
            if _stop.is_set():
                raise _Stopped
            for future in finished:
                task = waiting.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    yield _failed(
                        task,
                        "a process was killed, perhaps for want of memory; run "
                        "the same command again with fewer processes",
                    )
    finally:
        # On Ctrl-C or a full disk: tell the others, and let them tidy up.
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


# Set when this process is to stop at the next chunk: in a worker the parent's event.
_stop: Any = threading.Event()


def _start(stop: Any) -> None:
    """Set a worker up: Ctrl-C is for the parent, which then sets ``stop``."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _give_up)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _give_up(*_: object) -> None:
    """SIGTERM may come from the pool, which waits for the end: leave nothing half done."""
    atomic.abandon()
    locks.abandon()
    os._exit(128 + signal.SIGTERM)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _give_up()


@contextmanager
def _asked_by(interruption: Interruption) -> Iterator[None]:
    """Let a signal that waits stop this process at the next chunk."""
    global _stop
    _stop = _Waiting(interruption)
    try:
        yield
    finally:
        _stop = threading.Event()


@dataclass(frozen=True)
class _Waiting:
    """Set, like an event, when a signal waits."""

    interruption: Interruption

    def is_set(self) -> bool:
        return self.interruption.requested is not None


def _ingest_file(task: _Task) -> FileRecord:
    """Write the part of one file, unless another process does or has done so."""
    part, other = claim_part(task.part, task.key, partial(_belongs, task.part.parent), task.holder)
    task = replace(task, part=part)
    if other is not None:
        return _without_part(task, "left", f"{task.source}: left to {other}")
    try:
        return _complete(task) or _try_part(task)
    finally:
        release(part)


def _try_part(task: _Task) -> FileRecord:
    """Write a part; what is wrong with the file goes into the record."""
    remove_stale(task.part)
    try:
        return _write_part(task)
    except (DiskFull, _Stopped):
        raise
    except InputError as error:
        if task.inside and is_foreign(error) and not task.part.exists():
            return _without_part(task, "foreign", str(error))
        return _failed(task, str(error))
    except OSError as error:
        if error.errno in FULL_DISK:
            raise DiskFull(f"{task.part.parent}: the disk is full ({error.strerror})") from None
        return _failed(task, f"{task.source}: {error}; check the disk and run again")
    except Exception as error:
        # One file must not end a run over thousands.
        what = f"{type(error).__name__}: {error}".replace("\n", " ")
        return _failed(task, f"{task.source}: {what}; a fault of aspgap: please report it")


def _failed(task: _Task, why: str) -> FileRecord:
    record = _without_part(task, "failed", why)
    return replace(record, notes=(CHANGED_AND_KEPT,)) if task.part.exists() else record


def _without_part(task: _Task, status: str, why: str) -> FileRecord:
    return FileRecord(str(task.source), task.part.name, status, path=task.key.path, problems=(why,))


def _write_part(task: _Task) -> FileRecord:
    bad: list[BadRow] = []
    n_bad = 0

    def count(row: BadRow) -> None:
        nonlocal n_bad
        n_bad += 1
        if len(bad) < SHOWN:
            bad.append(row)

    if task.md5:
        _check_md5(task)
    content = content_of(task.source) or Content(0, "")
    replaced = read_record(task.part) is not None
    notes: list[str] = []
    chunks = read_xp(
        task.source,
        chunk_size=task.chunk_size,
        release=task.release,
        on_bad_row=count,
        on_note=notes.append,
    )
    counts = dict.fromkeys(COUNTS, 0)
    seen = np.empty(0, np.int64)
    with write_store(task.part) as store:
        for chunk in chunks:
            if _stop.is_set():
                raise _Stopped
            _, first = np.unique(chunk.source_id, return_index=True)
            new = np.zeros(len(chunk), bool)
            new[first] = True
            new &= ~np.isin(chunk.source_id, seen)
            counts["rows"] += len(chunk)
            counts["duplicates"] += len(chunk) - int(new.sum())
            kept = chunk[new]
            seen = np.concatenate([seen, kept.source_id])
            for band, name in enumerate(("without_bp", "without_rp")[: kept.present.shape[1]]):
                counts[name] += int((~kept.present[:, band]).sum())
                inside = kept.finite[:, kept.band(band)][kept.present[:, band]]
                counts["masked"] += int((~inside).sum())
            if kept.representation == "sampled":
                counts["masked"] += int((~kept.finite).sum())
            store.append(kept)
        counts["stored"] = store.stars
        counts["bad"] = n_bad
        counts["rows"] += n_bad
        if not store.stars:
            raise InputError(
                f"{task.source}: none of its {counts['rows']} rows can be used"
                + (f" ({bad[0]})" if bad else "")
                + "; download it again"
            )
        record = FileRecord(
            file=str(task.source),
            part=task.part.name,
            status="done",
            path=task.key.path,
            size=content.size,
            digest=content.digest,
            md5=task.md5,
            release=task.release,
            notes=(*notes, *((CHANGED,) if replaced else ())),
            problems=tuple(f"{row}; left out" for row in bad),
            **counts,
        )
        store.record(asdict(record))
    return record


def _check_md5(task: _Task) -> None:
    try:
        with task.source.open("rb") as file:
            found = hashlib.file_digest(
                file, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
    except OSError as error:
        raise InputError(f"{task.source}: cannot be read ({error.strerror})") from None
    if found != task.md5:
        raise InputError(
            f"{task.source}: its MD5 is {found}, {CHECKSUMS} says {task.md5}; download it again"
        )
