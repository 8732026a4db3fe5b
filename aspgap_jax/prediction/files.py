"""Prediction of any number of files: reader, device and writer at a time.

Stars go through the device in batches of one shape, so nothing is compiled twice,
and each input file becomes one part (:mod:`aspgap_jax.catalogue.parts`). Several
processes may write into one folder (:mod:`aspgap_jax.prediction.shares`).
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from aspgap_jax import config
from aspgap_jax.catalogue.parts import (
    PARTS,
    PartRecord,
    Predicted,
    check_version,
    read_part_record,
    write_manifest,
)
from aspgap_jax.config import PredictOptions
from aspgap_jax.errors import InputError
from aspgap_jax.files.identity import Content, Input, claim_part, content_of, name_parts
from aspgap_jax.files.locks import Holder, locked
from aspgap_jax.files.records import skipped
from aspgap_jax.prediction.batches import (
    DEFAULT,
    BatchLabeller,
    LabelColumns,
)
from aspgap_jax.prediction.bundle import Bundle, BundleInfo
from aspgap_jax.prediction.output import (
    ComputedStars,
    EndOfFile,
    FileTask,
    PartWriter,
    ReadStars,
    Settled,
)
from aspgap_jax.prediction.shares import Share
from aspgap_jax.runtime.interruption import Preempted, interruptible
from aspgap_jax.runtime.prefetch import prefetch
from aspgap_jax.survey.folders import find_files
from aspgap_jax.survey.gaia_lookup import GaiaLookup, open_gaia
from aspgap_jax.survey.inputs import AS_IT_SAYS, Delivery, expand, read_source
from aspgap_jax.survey.tables import Remarks
from aspgap_jax.survey.xp import BadRow, XPChunk
from aspgap_jax.survey.xp.plan import is_foreign

__all__ = ["predict_files"]

# Damaged rows are all counted; so many of a file are described.
SHOWN = 20
ALL = Share()
# Batches that may wait for the device, and for the writer.
AHEAD = 2
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def predict_files(
    inputs: Sequence[str],
    out: Path,
    bundle: Bundle,
    info: BundleInfo,
    options: PredictOptions = DEFAULT,
    *,
    gaia: Sequence[Path] = (),
    delivery: Delivery = AS_IT_SAYS,
    share: Share = ALL,
    remarks: Remarks | None = None,
) -> Predicted:
    """Predict the stars of files into the parts of a folder.

    A file that cannot be read fails alone, a damaged row too; both are named and
    counted. Files with a complete part are skipped, and those that another process
    predicts at the moment are left to it.

    Args:
        inputs: see :func:`aspgap_jax.survey.inputs.expand`.
        out: folder of the parts and of the manifest; it is made.
        bundle: the model.
        info: what it is.
        options: how to predict.
        gaia: tables with ``phot_g_mean_mag`` or ``ruwe``, for inputs that lack them.
        delivery: release of the spectra and its instrument matrix, where the files do not say.
        share: which of the files are this process's.
        remarks: told what was left out of folders and left out or replaced in ``gaia``, and
            how many stars it has.

    Returns:
        The counts, which add up.

    Raises:
        InputError: nothing to do, the folder holds other predictions or gets them from
            another process just now, ``gaia`` has none of the stars, or the disk is full.
            What is finished stays, and the same command continues.
        KeyboardInterrupt, Preempted: Ctrl-C, SIGTERM; the same holds.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from astropy.table import Table
        >>> from aspgap_jax.prediction.bundle import load_bundle
        >>> flux = np.full((3, 343), 1e-16)
        >>> stars = Table({"source_id": [1, 2, 3], "flux": flux, "flux_error": 0.01 * flux})
        >>> with TemporaryDirectory() as folder:
        ...     path, out = Path(folder) / "spectra.fits", Path(folder) / "labels"
        ...     stars.write(path)
        ...     done = predict_files([str(path)], out, *load_bundle())
        >>> done.complete, done.total("predicted")
        (True, 3)
    """
    if out.suffix or out.is_file():
        raise InputError(
            f"--out {out}: predictions are a folder of parts; for one table pass that folder to "
            f"`aspgap catalogue`"
        )
    remarks = remarks or Remarks()
    sources, left_out = expand(inputs)
    for remark in left_out:
        remarks.say(remark)
    settings = {
        "bundle": bundle_fingerprint(bundle, info),
        "options": dataclasses.asdict(options) | {"batch_size": None},
        **delivery.settings,
        "gaia": [_tables(path) for path in gaia],
    }
    # Others may write their own parts beside these, as long as the labels are of one kind.
    with locked(out, run=json.dumps(settings)):
        check_version(out)
        names = name_parts([source.key for source in sources], PARTS, partial(_belongs, out))
        tasks = _of_share(
            [FileTask(s, out / n) for s, n in zip(sources, names, strict=True)], share
        )
        done = _predict(tasks, out, bundle, info, options, settings, gaia, delivery, share, remarks)
        if share.tasks == 1 and all(record.status == "foreign" for record in done):
            first = done[0].problems[0]
            raise InputError(f"none of the {len(done):,} files holds XP spectra: {first}")
        return write_manifest(out, done, share[:2], remarks.lines)


def _of_share(tasks: list[FileTask], share: Share) -> list[FileTask]:
    """The tasks of this process; those of a team begin at different places of the list."""
    if share.team:
        first = (share.task - 1) * len(tasks) // share.tasks
        return tasks[first:] + tasks[:first]
    mine = tasks[share.task - 1 :: share.tasks]
    if not mine:
        raise InputError(
            f"share {share.task} of {share.tasks} is empty: there are only {len(tasks)} files; "
            f"share them out among {len(tasks)}"
        )
    return mine


def _predict(
    tasks: Sequence[FileTask],
    out: Path,
    bundle: Bundle,
    info: BundleInfo,
    options: PredictOptions,
    settings: dict[str, Any],
    gaia: Sequence[Path],
    delivery: Delivery,
    share: Share,
    remarks: Remarks,
) -> list[PartRecord]:
    """The records of the tasks, after all that is missing was predicted."""
    records: dict[str, PartRecord] = {}
    for task in tasks:
        done = _complete(task, settings)
        if done is not None:
            records[task.source.key.path] = done
    todo = [task for task in tasks if task.source.key.path not in records]
    holder = Holder(team=share.team)

    def state() -> str:
        complete = sum(record.status in ("done", "skipped") for record in records.values())
        return f"{complete} of {len(tasks)} files are complete; run the same command to continue"

    try:
        with (
            interruptible() as interruption,
            interruption.telling(state),
            open_gaia(gaia if todo else (), ("phot_g_mean_mag", "ruwe"), remarks) as lookup,
            tqdm(total=len(todo), desc="predict", unit="file", disable=None) as bar,
        ):
            labeller = BatchLabeller(bundle, info, options)
            # Two threads beside this one: one reads, one feeds the device.
            read = _read(todo, labeller, lookup, settings, holder, delivery)
            batches = prefetch(read, ahead=AHEAD)
            results = prefetch((_compute(b, labeller) for b in batches), ahead=AHEAD)
            columns = LabelColumns(options, info.config.labels)
            with closing(results), PartWriter(settings, records, columns, bar) as write:
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
        raise KeyboardInterrupt(state()) from None
    except Preempted:
        raise Preempted(state()) from None
    if lookup is not None:
        # A share of the stars may well be outside of the tables.
        whole = len(todo) == len(tasks) and share == Share()
        try:
            lookup.check(remarks, everything=whole)
        except InputError as error:
            # They would be in the way of the same command with the right table.
            made = [record for record in records.values() if record.status == "done"]
            for record in made:
                (out / record.part).unlink(missing_ok=True)
            raise InputError(f"{error}; what was predicted without it was removed") from None
    return [records[task.source.key.path] for task in tasks]


def bundle_fingerprint(bundle: Bundle, info: BundleInfo) -> str:
    """SHA-256 of all that a bundle computes with."""
    digest = hashlib.sha256(config.to_json(info.config).encode())
    for leaf in jax.tree.leaves(bundle):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _belongs(out: Path, name: str, source: Input) -> bool | None:
    """Whether a part was made from a source; ``None`` where there is no part."""
    kept = read_part_record(out / name)
    return None if kept is None else kept.is_of(source)


def _tables(path: Path) -> str:
    """What is in a table, or in the tables of a folder, as text."""
    files = [file for file in find_files([path]).files if file.is_file()]
    # Of one that cannot be read its reader will tell.
    contents = [content for file in files if (content := content_of(file)) is not None]
    if len(contents) == 1:
        return contents[0].digest
    digest = hashlib.sha256("".join(each.digest for each in contents).encode()).hexdigest()
    return f"{len(contents)} files: {digest}"


def _complete(task: FileTask, settings: dict[str, Any]) -> PartRecord | None:
    """The record of a part that was made from this very file, else ``None``."""
    kept = read_part_record(task.part)
    if kept is None:
        if task.part.exists():
            raise InputError(
                f"{task.part}: in the way, and no part of a prediction of this version; choose "
                f"another --out"
            )
        return None
    if kept.settings != settings:
        other = next(n for n in settings if kept.settings.get(n) != settings[n])
        raise InputError(
            f"{task.part}: was predicted with another {other}; choose another --out, or delete "
            f"that folder"
        )
    path = task.source.path
    return skipped(kept, path, task.source.key) if kept.has_content_of(path) else None


def _read(
    tasks: Sequence[FileTask],
    labeller: BatchLabeller,
    lookup: GaiaLookup | None,
    settings: dict[str, Any],
    holder: Holder,
    delivery: Delivery,
) -> Iterator[ReadStars | EndOfFile | Settled]:
    for task in tasks:
        part, other = claim_part(
            task.part, task.source.key, partial(_belongs, task.part.parent), holder
        )
        task = dataclasses.replace(task, part=part)
        if other is not None:
            yield Settled(task, _left(task, other, holder))
        # Another process may have done it since this one has looked.
        elif (done := _complete(task, settings)) is not None:
            yield Settled(task, done)
        else:
            yield from _read_file(task, labeller, lookup, delivery)


def _left(task: FileTask, other: Holder, holder: Holder) -> PartRecord:
    """The record of a file that another process predicts at the moment."""
    ours = bool(holder.team) and other.team == holder.team
    return PartRecord(
        file=str(task.source.path),
        part=task.part.name,
        status="shared" if ours else "left",
        path=task.source.key.path,
        problems=() if ours else (f"{task.source.path}: left to {other}",),
    )


def _read_file(
    task: FileTask, labeller: BatchLabeller, lookup: GaiaLookup | None, delivery: Delivery
) -> Iterator[ReadStars | EndOfFile]:
    """Batches of a file, then its end; what is wrong with the file goes into the end."""
    shown: list[str] = []
    notes: list[str] = []
    stars = damaged = 0

    def count(row: BadRow) -> None:
        nonlocal damaged
        damaged += 1
        if len(shown) < SHOWN:
            shown.append(f"{row}; left out")

    failure, foreign = "", False
    content = content_of(task.source.path) or Content(0, "")
    try:
        for chunk in read_source(
            task.source,
            chunk_size=labeller.batch_size,
            correlations=labeller.options.propagate == "full",
            on_bad_row=count,
            on_note=notes.append,
            delivery=delivery,
        ):
            labeller.check(chunk)
            stars += len(chunk)
            yield _with_gaia(task, chunk, lookup)
        if not stars:
            failure = f"{task.source.path}: none of its {damaged} rows can be used" + (
                f" ({shown[0]})" if shown else ""
            )
    except InputError as error:
        # Of a spectrum, the error does not know whose it is.
        text, foreign = str(error), task.source.inside and is_foreign(error)
        failure = text if str(task.source.path) in text else f"{task.source.path}: {text}"
    except OSError as error:
        failure = f"{task.source.path}: {error}; check the disk and run again"
    except Exception as error:
        # One file must not end a run over thousands.
        what = f"{type(error).__name__}: {error}".replace("\n", " ")
        failure = f"{task.source.path}: {what}; a fault of aspgap: please report it"
    problems = (failure,) if failure else tuple(shown)
    failed = bool(failure)
    yield EndOfFile(task, stars, damaged, problems, tuple(notes), failed, foreign, content)


def _with_gaia(task: FileTask, chunk: XPChunk, lookup: GaiaLookup | None) -> ReadStars:
    g_mag, ruwe = chunk.g_mag, chunk.ruwe
    if lookup is not None:
        _, columns = lookup.find(chunk.source_id)
        g_mag, ruwe = (
            np.where(np.isnan(given := columns.get(name, own)), own, given)
            for name, own in (("phot_g_mean_mag", g_mag), ("ruwe", ruwe))
        )
    return ReadStars(task, chunk, g_mag, ruwe)


def _compute(
    item: ReadStars | EndOfFile | Settled, labeller: BatchLabeller
) -> ComputedStars | EndOfFile | Settled:
    if isinstance(item, EndOfFile | Settled):
        return item
    return ComputedStars(item, labeller(item.chunk, item.g_mag, item.ruwe))
