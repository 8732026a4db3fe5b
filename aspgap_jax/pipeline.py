"""A run: from a training set to a bundle, predictions and a report, in one folder.

The folder of a run holds::

    config.json           what the run was asked to do
    log.jsonl             diagnostics, one line an epoch and member
    emulated_spectra.h5   what its APOGEE decoders were pre-trained on, where the
                          training set has no real APOGEE spectra
    checkpoints/          states to resume from (removed when training has ended)
    bundle/               what prediction needs
    predictions.h5        labels predicted out of fold, with the truth
    metrics.json          {group: {label: {statistic: value}}}
    figures/*.png         figures 2, 5, 6 and 8 of the paper, and the learning curves
    catalogue.fits, .h5   columns of the paper's Table 2
    report.html           all of it on one page

The same command on the same folder goes on where it was interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from aspgap_jax import bundle as bundles
from aspgap_jax import checkpoint, config, crossval, labels
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.atomic import write_text
from aspgap_jax.bundle import BundleInfo
from aspgap_jax.config import Config
from aspgap_jax.crossval import Assignment
from aspgap_jax.errors import InputError
from aspgap_jax.predict import Bundle, Estimate, combine, predict_in_batches
from aspgap_jax.pretraining import Pretrained
from aspgap_jax.sampling import FoldRows, fold_of
from aspgap_jax.selection import SELECTIONS, apply_cuts, format_cuts
from aspgap_jax.stars import TrainingSet, to_device
from aspgap_jax.survey import catalogue
from aspgap_jax.survey.decoder_spectra import EMULATED, REAL, emulated_spectra, real_spectra
from aspgap_jax.survey.predictions import Predictions, read_predictions, write_predictions
from aspgap_jax.survey.sample import load_sample
from aspgap_jax.survey.store import has_spectra, read_store_ids, read_training_store
from aspgap_jax.train import EpochSummary, Member, TrainState

__all__ = ["Settings", "cross_validate", "load_stars", "predict_file", "train"]

CHECKPOINT_SECONDS = 20.0
"""A killed run repeats no more than this, and one epoch."""


@dataclass(frozen=True)
class Settings:
    """What a run is asked to do, as ``config.json`` keeps it.

    Attributes:
        data: ``sample``, or the path of a training store.
        select: a key of :data:`aspgap_jax.selection.SELECTIONS`.
        folds: cross-validate, or train on all stars.
        config: everything else.
    """

    data: str
    select: str
    folds: bool
    config: Config

    def to_json(self) -> str:
        values = dataclasses.asdict(self) | {"config": json.loads(config.to_json(self.config))}
        return json.dumps(values, indent=2) + "\n"


def load_stars(data: str, select: str) -> TrainingSet:
    """Read and select a training set.

    Args:
        data: ``sample``, or the path of a training store.
        select: a key of :data:`aspgap_jax.selection.SELECTIONS`.

    Raises:
        InputError: it cannot be read, a column has no finite value, or no star is
            left after a cut.
    """
    stars = load_sample() if data == "sample" else read_training_store(Path(data))
    for what, values in (("xp", stars.xp), ("xp_error", stars.xp_error)):
        empty = np.flatnonzero(~np.isfinite(values).any(axis=0))
        if empty.size:
            raise InputError(
                f"{data}: column {empty[0]} of {what} ({empty.size} such) has no finite value: "
                "leave it out of the store, or repair its source"
            )
    return apply_cuts(stars, SELECTIONS[select])


def open_run(folder: Path, settings: Settings) -> None:
    """Make the folder of a run, or go on in it.

    Raises:
        InputError: the folder holds a run with other settings, or other files.
    """
    path = folder / "config.json"
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder}: not empty and no run: choose another --out")
        write_text(path, settings.to_json())
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: no valid JSON ({error}): choose another --out") from error
    asked = json.loads(settings.to_json())
    difference = _first_difference(stored, asked)
    if difference is not None:
        raise InputError(
            f"{folder}: holds a run with another config ({difference}): "
            "choose another --out, or delete that folder"
        )


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


def train(folder: Path, settings: Settings) -> tuple[Bundle, BundleInfo, TrainingSet]:
    """Everything up to the bundle; what is already in ``folder`` is not done again.

    Raises:
        InputError: settings, data or folder cannot be used.
    """
    open_run(folder, settings)
    cfg = settings.config
    stars = load_stars(settings.data, settings.select)
    print(format_cuts(stars.cuts))
    if (folder / "bundle" / "bundle.json").is_file():
        print(f"{folder}: already trained")
        return *bundles.load_bundle(folder), stars

    splits = crossval.all_splits(cfg, folds=settings.folds)
    members = crossval.assignments(cfg, splits)
    rows = crossval.split_rows(stars, cfg, splits)
    device = to_device(stars, cfg.data.magnitude_exponent)
    scalers = crossval.fit_scalers(device, rows)
    at, spectra, what = decoder_spectra(folder, settings, stars, rows)
    pretrained = crossval.pretrain(spectra, at, scalers, cfg)
    print(decoder_precision(pretrained, np.asarray(scalers.labels.scale), what))
    joint = crossval.make_members(rows, scalers, pretrained, cfg.cv.seeds)
    del spectra
    states = fit_with_checkpoints(folder, device, joint, cfg, members)

    bundle = Bundle(states.best_params, joint.decoder, joint.scalers)
    info = BundleInfo(
        config=cfg,
        representation=stars.representation,
        n_xp=stars.xp.shape[1],
        n_pixels=N_PIXELS,
        label_names=labels.names(),
        members=members,
        apogee_spectra=what,
    )
    bundles.save_bundle(folder / "bundle", bundle, info)
    shutil.rmtree(folder / "checkpoints")
    return bundle, info, stars


def decoder_spectra(
    folder: Path, settings: Settings, stars: TrainingSet, rows: tuple[FoldRows, ...]
) -> tuple[np.ndarray, np.ndarray, str]:
    """Labels and spectra for the pre-training of every split's decoder, and what they are.

    Real APOGEE spectra where the training store has them, emulated ones otherwise.
    """
    cfg = settings.config
    if settings.data == "sample" or not has_spectra(Path(settings.data)):
        at = crossval.emulation_labels(stars, rows, cfg)
        path = folder / "emulated_spectra.h5"
        return at, emulated_spectra(path, at), EMULATED
    stored = read_store_ids(Path(settings.data))
    order = np.argsort(stored)
    row_of = order[np.searchsorted(stored, stars.source_id, sorter=order)]
    chosen, flux = real_spectra(
        Path(settings.data), row_of, [r.fit for r in rows], cfg.pretrain.n_spectra, cfg.train.seed
    )
    return stars.labels[chosen], flux, REAL


def decoder_precision(pretrained: Pretrained, scale: np.ndarray, what: str) -> str:
    """One line: how well the decoders read spectra that they have not seen."""
    rms = np.asarray(pretrained.rms * scale).mean(axis=0)
    values = ", ".join(
        f"{label.name} {value:.{label.decimals}f} {label.unit}"
        for label, value in zip(labels.LABELS, rms, strict=True)
    )
    return f"APOGEE decoder, pre-trained on {what}; rms on held-out ones: {values}"


def fit_with_checkpoints(
    folder: Path,
    stars: Any,
    members: Member,
    cfg: Config,
    names: Sequence[Assignment],
) -> TrainState:
    """:func:`aspgap_jax.crossval.fit` with a log, a bar and checkpoints."""
    states = crossval.init_states(cfg, members, n_xp=stars.xp.shape[1], n_pixels=N_PIXELS)
    log = folder / "log.jsonl"
    with checkpoint.open_checkpoints(folder / "checkpoints") as checkpoints:
        epoch = 0
        if checkpoints.latest() is not None:
            states = checkpoints.restore(states)
            epoch = int(states.epoch.max())
            print(f"{folder}: resumed after epoch {epoch}")
        kept = [line for line in read_log(log) if line["epoch"] <= epoch]
        write_text(log, "".join(json.dumps(line) + "\n" for line in kept))
        saved_at = time.monotonic()
        with (
            log.open("a", encoding="utf-8") as file,
            tqdm(
                total=cfg.train.epochs, initial=epoch, desc="train", unit="epoch", disable=None
            ) as bar,
        ):

            def after_epoch(states: TrainState, summary: EpochSummary) -> None:
                nonlocal epoch, saved_at
                epoch += 1
                file.writelines(json.dumps(line) + "\n" for line in records(epoch, summary, names))
                file.flush()
                bar.update()
                bar.set_postfix(valid=f"{summary.valid_nll.mean():.3f}", refresh=False)
                if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                    checkpoints.save(epoch, states)
                    saved_at = time.monotonic()

            states = crossval.fit(states, stars, members, cfg, after_epoch=after_epoch)
        # Whatever follows can be interrupted too.
        if checkpoints.latest() != epoch:
            checkpoints.save(epoch, states)
    return states


def read_log(path: Path) -> list[dict[str, float | int]]:
    """Lines of a log; one that a kill cut short is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(text))
    return lines


def records(
    epoch: int, summary: EpochSummary, names: Sequence[Assignment]
) -> list[dict[str, float | int]]:
    """Lines of the log: one for every member that is still training."""
    return [
        {
            "epoch": epoch,
            "member": m,
            **name._asdict(),
            "train_total": float(summary.total[m]),
            **{f"train_{term}": float(v[m]) for term, v in summary.terms._asdict().items()},
            "valid_nll": float(summary.valid_nll[m]),
        }
        for m, name in enumerate(names)
        if not summary.stopped[m]
    ]


def cross_validate(folder: Path, settings: Settings) -> Predictions:
    """Train the folds and predict every star by those that have not seen it."""
    started = time.monotonic()
    bundle, info, stars = train(folder, settings)
    path = folder / "predictions.h5"
    if path.is_file():
        return read_predictions(path)
    estimate = predict_in_batches(bundle, stars.xp, stars.g_mag, info.config)
    use = np.stack([crossval.in_test(stars.source_id, m, info.config) for m in info.members])
    fold = fold_of(stars.source_id, info.config.cv.folds)
    predictions = _predictions(stars, combine(estimate, use), fold)
    facts = {
        "stars": f"{len(stars):,}",
        "cross-validation": f"{info.config.cv.folds} folds by star, "
        f"{info.config.cv.repeats} repeat(s), {info.config.cv.seeds} seed(s)",
        "XP spectra": f"real, {stars.representation}, {info.n_xp} values",
        "labels": str(stars.provenance.get("labels", settings.data)),
        "APOGEE decoder pre-trained on": info.apogee_spectra,
        "trainable parameters": f"{parameter_count(bundle, info):,} a member",
        "time since last started": f"{time.monotonic() - started:.0f} s",
    }
    summary = {"facts": facts, "cuts": [list(cut) for cut in stars.cuts]}
    write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    # Last: its presence says that the run is complete.
    write_predictions(path, predictions)
    return predictions


def parameter_count(bundle: Bundle, info: BundleInfo) -> int:
    """Trainable parameters of one member."""
    return sum(leaf.size for leaf in jax.tree.leaves(bundle.params)) // len(info.members)


def predict_stars(stars: TrainingSet, bundle: Bundle, info: BundleInfo) -> Predictions:
    """Labels of stars that are in no fold, from all members of a bundle.

    Raises:
        InputError: the spectra are of another representation or width.
    """
    if (stars.representation, stars.xp.shape[1]) != (info.representation, info.n_xp):
        raise InputError(
            f"the bundle takes {info.representation} spectra of {info.n_xp} values, the input has "
            f"{stars.representation} ones of {stars.xp.shape[1]}: use another bundle"
        )
    estimate = predict_in_batches(bundle, stars.xp, stars.g_mag, info.config)
    everyone = np.ones((len(info.members), len(stars)), bool)
    return _predictions(stars, combine(estimate, everyone), np.full(len(stars), -1, np.int16))


def predict_file(data: str, select: str, bundle_folder: Path, out: Path) -> str:
    """Predict the stars of a file, and write predictions or a catalogue.

    Args:
        data: ``sample``, or the path of a training store.
        select: a key of :data:`aspgap_jax.selection.SELECTIONS`.
        bundle_folder: a bundle, or the folder of a run.
        out: ``.h5`` for predictions, ``.fits`` for the catalogue's columns.

    Returns:
        One line: what was written where.

    Raises:
        InputError: something cannot be used.
    """
    if out.suffix not in (".h5", ".fits"):
        raise InputError(f"--out {out}: the suffix must be .h5 (predictions) or .fits (catalogue)")
    bundle, info = bundles.load_bundle(bundle_folder)
    predictions = predict_stars(load_stars(data, select), bundle, info)
    if out.suffix == ".h5":
        write_predictions(out, predictions)
    else:
        catalogue.write_catalogue(out, catalogue.catalogue_table(predictions).table)
    return f"wrote labels of {len(predictions):,} stars to {out}"


def _predictions(stars: TrainingSet, estimate: Estimate, fold: np.ndarray) -> Predictions:
    return Predictions(
        source_id=stars.source_id,
        fold=fold,
        prediction=np.asarray(estimate.mean),
        sigma=np.asarray(estimate.sigma),
        truth=stars.labels,
        truth_error=stars.label_error,
        g_mag=stars.g_mag,
        columns=stars.columns,
    )
