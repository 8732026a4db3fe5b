"""A run: from a training set to a bundle, predictions and a report, in one folder.

The folder of a run holds::

    config.json           what the run was asked to do
    log.jsonl             diagnostics, one line an epoch and member
    emulated_spectra.h5   what its APOGEE decoders were pre-trained on, where that is not
                          the training set's real APOGEE spectra
    checkpoints/          states to resume from (removed when training has ended)
    bundle/               what prediction needs, and the networks as they were trained
    predictions.h5        labels predicted out of fold, their uncertainties and flags, and
                          the truth
    metrics.json          {group: {label: {statistic: value}}}
    figures/*.png         figures 2, 5, 6 and 8 of the paper, and the learning curves
    catalogue.fits, .h5   columns of the paper's Table 2, and how far to trust the labels
    report.html           all of it on one page

The same command on the same folder goes on where it was interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.catalogue.predictions import Predictions, read_predictions, write_predictions
from aspgap_jax.config import Config, Execution
from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text
from aspgap_jax.files.locks import locked
from aspgap_jax.labels import LABELS, LabelSet
from aspgap_jax.prediction.assess import assess
from aspgap_jax.prediction.bundle import (
    Bundle,
    BundleInfo,
    Networks,
    load_bundle,
    save_bundle,
)
from aspgap_jax.prediction.out_of_fold import out_of_fold, predictions_of
from aspgap_jax.preprocessing import folds
from aspgap_jax.preprocessing.cuts import apply_cuts, format_cuts
from aspgap_jax.preprocessing.device import to_device
from aspgap_jax.preprocessing.folds import FoldRows
from aspgap_jax.preprocessing.selection import training_selection
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.runtime import parallel, processes
from aspgap_jax.runtime.interruption import Interruption, Preempted, interruptible
from aspgap_jax.survey.cannon import load_cannon
from aspgap_jax.survey.inputs import release_of
from aspgap_jax.survey.sample import load_sample
from aspgap_jax.survey.store import has_spectra, read_store_ids, read_training_store
from aspgap_jax.training import loop, pretraining
from aspgap_jax.training.decoder_spectra import (
    CANNON,
    EMULATED,
    NONE,
    REAL,
    DecoderSpectra,
    cannon_emulated,
    emulated_spectra,
    emulation_labels,
    real_spectra,
    teachable,
)
from aspgap_jax.training.inheritance import inherit, inherited_params
from aspgap_jax.training.loop import init_states
from aspgap_jax.training.members import check_memory, fit_scalers, make_members
from aspgap_jax.training.pretraining import Pretrained, init_pretraining
from aspgap_jax.training.recipe import recipe_of
from aspgap_jax.training.safety import Safety, safe_pretraining, safe_training

__all__ = ["STARS", "Settings", "cross_validate", "load_stars", "train"]

DEFAULT_EXECUTION = Execution()
CONFIG = "config.json"
STARS = "stars.h5"
"""The training store of a run that was asked for with stars in memory."""


@dataclass(frozen=True)
class Settings:
    """What a run is asked to do, as ``config.json`` keeps it.

    Attributes:
        data: ``sample``, or the path of a training store.
        select: a key of :data:`aspgap_jax.preprocessing.selection.SELECTIONS`.
        folds: cross-validate, or train on all stars.
        config: everything else.
        decoder_spectra: file of a Cannon that emulates the APOGEE decoder's spectra; without,
            they are the training set's real ones, or else synthesised.
        init_from: folder of the run or bundle whose networks those of this one start from
            (:mod:`aspgap_jax.training.inheritance`).
    """

    data: str
    select: str
    folds: bool
    config: Config
    decoder_spectra: str | None = None
    init_from: str | None = None

    def to_json(self) -> str:
        """As ``run.json`` of a run holds them."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def load_stars(
    data: str,
    select: str,
    missing_labels: Literal["drop", "keep"] = "drop",
    table: LabelSet = LABELS,
) -> TrainingSet:
    """Read and select a training set.

    Args:
        data: ``sample``, or the path of a training store.
        select: a key of :data:`aspgap_jax.preprocessing.selection.SELECTIONS`.
        missing_labels: see :func:`aspgap_jax.preprocessing.selection.training_selection`.
        table: the labels to train; others that the stars have stay as columns, for the cuts.

    Returns:
        The stars that pass, with the account of every cut.

    Raises:
        InputError: it cannot be read, a column has no finite value, a cut needs a
            column that it lacks, or no star is left after a cut.

    Examples:
        >>> stars = load_stars("sample", "giants")
        >>> len(stars), stars.representation, stars.xp.shape[1]
        (19686, 'sampled', 343)
    """
    stars = load_sample() if data == "sample" else read_training_store(Path(data))
    for what, values in (("xp", stars.xp), ("xp_error", stars.xp_error)):
        empty = np.flatnonzero(~np.isfinite(values).any(axis=0))
        if empty.size:
            raise InputError(
                f"{data}: column {empty[0]} of {what} ({empty.size} such) has no finite value: "
                "leave it out of the store, or repair its source"
            )
    stars = stars.with_labels(table, table=data)
    return apply_cuts(stars, training_selection(select, missing_labels, table), table=data)


def check_run(folder: Path, settings: Settings) -> None:
    """Refuse a folder in which this run cannot be made, or go on.

    Settings alone, of a start that came to nothing, are in nobody's way.

    Raises:
        InputError: the folder holds a run with other settings, or other files.
    """
    path = folder / CONFIG
    ours = (path, folder / STARS)
    others = (
        [p for p in folder.iterdir() if p.name[0] != "." and p not in ours]
        if folder.is_dir()
        else []
    )
    if not others:
        return
    if not path.is_file():
        raise InputError(f"{folder}: not empty and no run: choose another --out")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: no valid JSON ({error}): choose another --out") from error
    difference = _first_difference(stored, json.loads(settings.to_json()))
    if difference is not None:
        raise InputError(
            f"{folder}: holds a run with another config ({difference}): "
            "choose another --out, or delete that folder"
        )


def keep_settings(folder: Path, settings: Settings) -> None:
    """Write ``config.json``: from here on the folder is this run's."""
    write_text(folder / CONFIG, settings.to_json())


def _first_difference(stored: Any, asked: Any, where: str = "") -> str | None:
    """The first setting in which two JSON trees differ, in words."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        for name in sorted(stored.keys() | asked.keys()):
            inner = f"{where}.{name}" if where else name
            found = _first_difference(stored.get(name), asked.get(name), inner)
            if found:
                return found
        return None
    return None if stored == asked else f"{where} is {stored} there and {asked} here"


def train(
    folder: Path, settings: Settings, execution: Execution = DEFAULT_EXECUTION
) -> tuple[Bundle, BundleInfo, TrainingSet]:
    """Everything up to the bundle; what is already in ``folder`` is not done again.

    Args:
        folder: of the run, new or of the same settings.
        settings: data, selection and config.
        execution: devices and checkpoints: what changes no result.

    Returns:
        The bundle, its description, and the stars it was trained on.

    Raises:
        InputError: settings, data or folder cannot be used.
        KeyboardInterrupt: Ctrl-C; the state is saved.
        Preempted: SIGTERM; the state is saved. It exits with 75 unless it is caught.
    """
    with interruptible() as interruption, _held(folder):
        # Several processes stop together: at the end of an epoch, or of a stage.
        several = jax.process_count() > 1
        try:
            with interruption.deferred() if several else contextlib.nullcontext():
                return _train(folder, settings, execution, interruption)
        except Preempted as stop:
            if parallel.is_main():
                print(f"aspgap: stopped: {stop.state}", file=sys.stderr)
            stop.said = True
            raise


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder of a run, for all its processes."""
    with contextlib.ExitStack() as stack:

        def hold() -> None:
            stack.enter_context(locked(folder))

        processes.by_main(hold)
        yield


def _train(
    folder: Path, settings: Settings, execution: Execution, interruption: Interruption
) -> tuple[Bundle, BundleInfo, TrainingSet]:
    processes.by_main(partial(check_run, folder, settings))
    cfg = settings.config
    stars = load_stars(settings.data, settings.select, cfg.data.missing_labels, cfg.labels)
    processes.announce(format_cuts(stars.cuts))
    if done(folder):
        processes.announce(f"{folder}: already trained")
        return *load_bundle(folder), stars

    layout = parallel.choose(count=execution.devices)
    splits = folds.all_splits(cfg, folds=settings.folds)
    members = folds.assignments(cfg, splits)
    check_memory(cfg, len(members), stars.xp.shape[1])
    rows = folds.split_rows(stars, cfg, splits)
    device = to_device(stars, cfg.data.magnitude_exponent)
    heir = None
    if settings.init_from is not None:
        heir = inherit(Path(settings.init_from), cfg, stars, splits)
        processes.announce(heir.words)
    inputs = None if heir is None else heir.of_split.scalers.xp
    scalers = fit_scalers(device, rows, cfg.data, cfg.labels, inputs)
    what = described(settings)
    taught = teachable(cfg.labels, what)
    if heir is not None and heir.same_labels:
        scalers = heir.of_split.scalers
        what, taught = heir.info.apogee_spectra, heir.info.config.taught
    cfg = replace(cfg, taught=taught)
    what = NONE if cfg.taught == () else what
    safety = Safety(folder, cfg, scalers, execution, interruption)
    # Only now: the data have been read, and the cuts and folds hold.
    processes.by_main(partial(keep_settings, folder, settings))

    def pretrain() -> Pretrained:
        spectra = decoder_spectra(folder, settings, stars, rows)
        with safe_pretraining(safety, init_pretraining(cfg, spectra.shape)) as (start, after_epoch):
            pretrained = pretraining.pretrain(
                spectra,
                spectra.labels,
                scalers,
                cfg,
                start=start,
                after_epoch=after_epoch,
                device_bytes=execution.device_bytes,
            )
        print(decoder_precision(pretrained, np.asarray(scalers.labels.scale), what, cfg.labels))
        return pretrained

    template = pretraining.unfilled(
        cfg, n_splits=len(splits), n_labels=len(cfg.labels), n_pixels=N_PIXELS
    )
    if heir is not None and heir.same_labels:
        pretrained = template._replace(decoder=heir.of_split.decoder)
    elif cfg.taught is None:
        pretrained = processes.by_main(pretrain) or template
    else:
        untaught = [n for n in labels.names(cfg.labels) if n not in cfg.taught]
        processes.announce(
            f"{', '.join(untaught)}: trained by the XP branch alone; emulated APOGEE spectra know "
            f"of teff, logg, m_h and alpha_m only, and need all of them (real ones know more: "
            "`aspgap prepare --spectra`)"
        )
        pretrained = (processes.by_main(pretrain) if cfg.taught else None) or template
    pretrained = parallel.on_device(processes.from_main(pretrained, template))
    joint, recipe = make_members(rows, scalers, pretrained, cfg), recipe_of(cfg)
    fresh = init_states(joint, recipe)
    if heir is not None:
        begin = inherited_params(fresh.params, heir)
        # Copies: the state is donated, and one buffer cannot be donated twice.
        fresh = fresh._replace(params=begin, best_params=jax.tree.map(jnp.copy, begin))
    with safe_training(safety, fresh, members, layout) as (start, after_epoch):
        states = loop.fit(
            device, joint, recipe, start=start, after_epoch=after_epoch, layout=layout
        )

    networks = Networks(states.best_params, joint.decoder, joint.scalers)
    bundle = assess(networks, stars, folds.unseen_stars(stars.source_id, members, cfg), cfg)
    info = BundleInfo(
        config=cfg,
        representation=stars.representation,
        n_xp=stars.xp.shape[1],
        n_coefficients=bundle.instrument.shape[1],
        release=release_of(stars),
        n_parameters=parameter_count(networks),
        label_names=labels.names(cfg.labels),
        members=members,
        apogee_spectra=what,
    )

    def save() -> None:
        save_bundle(folder / "bundle", bundle, info, networks)
        shutil.rmtree(folder / "checkpoints")

    processes.by_main(save)
    return bundle, info, stars


def done(folder: Path) -> bool:
    """Whether a run has its bundle, as process 0 sees it."""
    here = np.array((folder / "bundle" / "bundle.json").is_file())
    return bool(processes.from_main(here, here))


def described(settings: Settings) -> str:
    """What the APOGEE decoder is pre-trained on."""
    if settings.decoder_spectra is not None:
        return CANNON
    return REAL if settings.data != "sample" and has_spectra(Path(settings.data)) else EMULATED


def decoder_spectra(
    folder: Path, settings: Settings, stars: TrainingSet, rows: tuple[FoldRows, ...]
) -> DecoderSpectra:
    """Labels and spectra for the pre-training of every split's decoder.

    Emulated by a Cannon where one is given; else real APOGEE spectra where the training
    store has them, and synthesised ones otherwise.

    Raises:
        InputError: the Cannon or the store cannot be used.
    """
    cfg, what = settings.config, described(settings)
    if what != REAL:
        at, path = emulation_labels(stars, rows, cfg), folder / "emulated_spectra.h5"
        if settings.decoder_spectra is None:
            return emulated_spectra(path, at, cfg.labels)
        cannon = load_cannon(Path(settings.decoder_spectra))
        spectra, moved = cannon_emulated(path, at, cannon, cfg.labels)
        print(
            f"{settings.decoder_spectra}: {moved:,} of the {at.shape[0] * at.shape[1]:,} labels "
            "for emulated spectra were outside of the Cannon's box and moved to its edge"
        )
        return spectra
    stored = read_store_ids(Path(settings.data))
    order = np.argsort(stored)
    row_of = order[np.searchsorted(stored, stars.source_id, sorter=order)]
    return real_spectra(
        Path(settings.data),
        row_of,
        stars.labels,
        [r.fit for r in rows],
        cfg.pretrain.n_spectra,
        cfg.train.seed,
    )


def decoder_precision(pretrained: Pretrained, scale: np.ndarray, what: str, table: LabelSet) -> str:
    """One line: how well the decoders read spectra that they have not seen."""
    rms = np.asarray(pretrained.rms * scale).mean(axis=0)
    values = ", ".join(
        f"{label.name} {value:.{label.decimals}f} {label.unit}"
        for label, value in zip(table, rms, strict=True)
        if np.isfinite(value)
    )
    return f"APOGEE decoder, pre-trained on {what}; rms on held-out ones: {values}"


def cross_validate(
    folder: Path, settings: Settings, execution: Execution = DEFAULT_EXECUTION
) -> Predictions:
    """Train the folds and predict every star by those that have not seen it.

    Args:
        folder: of the run, new or of the same settings.
        settings: data, selection and config.
        execution: devices and checkpoints: what changes no result.

    Returns:
        Out-of-fold labels of every star, as in ``predictions.h5``.

    Raises:
        InputError, KeyboardInterrupt, Preempted: as :func:`train`.
    """
    with _held(folder):
        return _cross_validate(folder, settings, execution)


def _cross_validate(folder: Path, settings: Settings, execution: Execution) -> Predictions:
    started = time.monotonic()
    bundle, info, stars = train(folder, settings, execution)
    path = folder / "predictions.h5"

    def predict() -> None:
        if path.is_file():
            return
        found = out_of_fold(bundle, info, stars)
        facts = run_facts(settings, stars, info)
        facts["time since last started"] = f"{time.monotonic() - started:.0f} s"
        summary = {"facts": facts, "cuts": [list(cut) for cut in stars.cuts]}
        write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
        # Last: its presence says that the run is complete.
        write_predictions(path, predictions_of(stars, found, info.config.cv.folds))

    processes.by_main(predict)
    return read_predictions(path)


def run_facts(settings: Settings, stars: TrainingSet, info: BundleInfo) -> dict[str, str]:
    """What a report says about a run."""
    return {
        "stars": f"{len(stars):,}",
        "cross-validation": f"{info.config.cv.folds} folds by star, "
        f"{info.config.cv.repeats} repeat(s), {info.config.cv.seeds} seed(s)",
        "XP spectra": f"real, {stars.representation}, {info.n_xp} values",
        "labels": str(stars.provenance.get("labels", settings.data)),
        "APOGEE decoder pre-trained on": info.apogee_spectra,
        "trainable parameters": f"{info.n_parameters:,} a member",
    }


def parameter_count(networks: Networks) -> int:
    """Trainable parameters of one member."""
    n_members = networks.scalers.labels.centre.shape[0]
    return int(sum(leaf.size for leaf in jax.tree.leaves(networks.params)) // n_members)
