"""How good are labels of stars that no choice has looked at?

Five folds by a hash of the Gaia source id. Fold 0 is sealed: settings were chosen without
it (on fold 1, trained on the folds 2 to 4), and every way to labels is trained on the other
four and scored on it once. Networks are trained as `aspgap train` does it, from a training
store of those stars, their uncertainties calibrated on stars held out of it; competitors
(``competitors.py``) get the same stars. Intervals are bootstraps over the scored stars (95%).

Run: python experiments/studies/sealed.py --out runs/sealed
     (after pip install ".[sample,benchmarks]")
Expect: the table in the README, within its intervals; it goes on where it was stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import competitors
import numpy as np
import tyro
from jaxtyping import Bool, Float

from aspgap_jax import labels
from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.config import PRESETS, CrossValidation
from aspgap_jax.files.atomic import replace_file, write_text
from aspgap_jax.prediction.labelling import StarLabels
from aspgap_jax.prediction.out_of_fold import label_unseen, predictions_of
from aspgap_jax.preprocessing.cuts import left_after
from aspgap_jax.preprocessing.folds import fold_of
from aspgap_jax.preprocessing.selection import SELECTIONS
from aspgap_jax.preprocessing.stars import Cut, TrainingSet
from aspgap_jax.survey.store import write_training_store
from aspgap_jax.training.run import Settings, load_stars, train
from aspgap_jax.validation.bootstrap import Interval, bootstrap
from aspgap_jax.validation.disks import DIVIDING_LINE, confusion, in_disk_range
from aspgap_jax.validation.metrics import MAD_TO_SIGMA, normalised_residual
from aspgap_jax.validation.scores import groups_of, joint_scores, scores_table

SEALED = 0
N_FOLDS = 5
KEPT = 0.95
"""Share of stars that the gate keeps."""
SNR_BINS = 4
CELL = {"teff": 250.0, "logg": 0.5, "m_h": 0.25}
"""Size of a cell of the label space, in which uncertainties are looked at apart."""
CELL_STARS = 100


@dataclass(frozen=True)
class Study:
    """Score a preset and its competitors on the sealed fold."""

    out: Path
    """Folder of the runs and of the competitors' labels; what is there is not done again."""
    preset: str = "best"
    """The preset whose numbers are kept in full."""
    seeds: int = 2
    """Its networks."""
    presets: tuple[str, ...] = ("compact",)
    """Others, of one network, that are compared with it."""
    only: tuple[str, ...] = tuple(competitors.COMPETITORS)
    """Competitors to run."""
    test: int = SEALED
    """The fold that is scored; another than the sealed one while settings are chosen."""
    draws: int = 500
    """Resamples of the bootstrap."""
    json: Path = Path("experiments/studies/sealed.json")
    """File for the numbers."""


def networks(
    study: Study, known: TrainingSet, test: TrainingSet, preset: str, seeds: int
) -> tuple[Predictions, StarLabels, list[np.ndarray]]:
    """Labels by networks of a preset that were trained on other stars.

    Args:
        study: where the run is.
        known: the stars that are trained on.
        test: those that are labelled.
        preset: a key of the presets.
        seeds: networks.

    Returns:
        Of all networks together, and the residuals of each alone ``[star, label]``.
    """
    store = study.out / f"stars_without_fold_{study.test}.h5"
    if not store.is_file():
        store.parent.mkdir(parents=True, exist_ok=True)
        cuts = (*known.cuts, Cut("in the folds that are trained on", len(known)))
        write_training_store(store, replace(known, cuts=cuts))
    cfg = replace(PRESETS[preset], cv=CrossValidation(seeds=seeds))
    folder = study.out / f"{preset}_{study.test}"
    bundle, info, _ = train(folder, Settings(str(store), "usable", False, cfg))

    def by(members: Bool[np.ndarray, " member"]) -> StarLabels:
        unseen = np.broadcast_to(members[:, None], (len(members), len(test)))
        return label_unseen(bundle, test, unseen, cfg)

    each = np.eye(len(info.members), dtype=bool)
    alone = [np.asarray(by(member).mean) - test.labels for member in each]
    found = by(np.ones(len(each), bool))
    return predictions_of(test, found, N_FOLDS), found, alone


def competing(study: Study, known: TrainingSet, test: TrainingSet, name: str) -> np.ndarray:
    """Labels of stars by a competitor that was trained on others ``[star, label]``."""
    path = study.out / f"{name.replace(' ', '_').replace(',', '')}_{study.test}.npy"
    if path.is_file():
        return np.asarray(np.load(path))
    found = competitors.COMPETITORS[name](
        *competitors.arrays(known, test), known.labels.astype(np.float64)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, found)
    return found


def gate(stars: Predictions) -> Bool[np.ndarray, " star"]:
    """The share of stars to keep: no flag and small uncertainties, all labels together."""
    width = np.log(stars.sigma / np.median(stars.sigma, axis=0)).mean(axis=1)
    width[stars.flags != 0] = np.inf
    return np.argsort(np.argsort(width)) < KEPT * len(width)


def intervals(residual: Float[np.ndarray, "star label"], draws: int) -> dict[str, Interval]:
    """rms and MAD scatter of every label, with their errors."""

    def statistic(rows: np.ndarray) -> np.ndarray:
        chosen = residual[rows]
        spread = np.abs(chosen - np.median(chosen, axis=0))
        rms = np.sqrt(np.square(chosen).mean(axis=0))
        return np.stack([rms, MAD_TO_SIGMA * np.median(spread, axis=0)])

    both = bootstrap(statistic, len(residual), draws=draws, seed=0)
    return {name: Interval(*(field[i] for field in both)) for i, name in enumerate(("rms", "mad"))}


def chi_of(stars: Predictions) -> Float[np.ndarray, "star label"]:
    """Residuals over their uncertainties."""
    return normalised_residual(stars.prediction, stars.sigma, stars.truth, stars.truth_error)


def by_snr(stars: Predictions, ln_snr: Float[np.ndarray, " star"]) -> list[dict[str, list[float]]]:
    """sigma of chi and 68% coverage of every label, in bins of S/N with as many stars each."""
    chi = chi_of(stars)
    return [
        {
            "chi_sigma": chi[rows].std(axis=0).tolist(),
            "coverage_68": (np.abs(chi[rows]) < 1).mean(axis=0).tolist(),
        }
        for rows in np.array_split(np.argsort(ln_snr), SNR_BINS)
    ]


def tails(stars: Predictions) -> dict[str, list[float]]:
    """What of chi is no normal distribution, a label.

    Where tails are long no sigma is at once the standard deviation and the half-width that
    holds 68%: beside the two that the table has, the half-width in units of sigma, and the
    sigma of chi without the outermost percent of the stars.
    """
    chi = np.sort(np.abs(chi_of(stars)), axis=0)
    return {
        "half_width_68": np.quantile(chi, 0.6827, axis=0).tolist(),
        "chi_sigma_99": np.sqrt(np.square(chi[: int(0.99 * len(chi))]).mean(axis=0)).tolist(),
    }


def by_cell(stars: Predictions) -> list[dict[str, object]]:
    """sigma of chi of every label in the well-filled cells of Teff, log g and [M/H]."""
    chi = chi_of(stars)
    place = np.stack(
        [np.floor(stars.prediction[:, labels.index(n)] / size) for n, size in CELL.items()], axis=1
    )
    cells, which, count = np.unique(place, axis=0, return_inverse=True, return_counts=True)
    return [
        {
            "from": (cells[i] * list(CELL.values())).tolist(),
            "n": int(count[i]),
            "chi_sigma": chi[which == i].std(axis=0).tolist(),
        }
        for i in np.flatnonzero(count >= CELL_STARS)
    ]


def disks(stars: Predictions) -> dict[str, float]:
    """How well high- and low-alpha stars of the disk are told apart (Table 3)."""
    m_h, alpha = labels.index("m_h"), labels.index("alpha_m")
    disk = in_disk_range(stars.truth[:, m_h])
    high, called = (
        DIVIDING_LINE.above(values[disk, m_h], values[disk, alpha])
        for values in (stars.truth, stars.prediction)
    )
    found = confusion(high, called)._asdict()
    return {name: value for name, value in found.items() if "_as_" not in name}


def main() -> None:
    """Print the table, write the numbers."""
    study = tyro.cli(Study, description=__doc__)
    stars = load_stars("sample", "giants")
    fold = fold_of(stars.source_id, N_FOLDS)
    # While settings are chosen, the sealed fold is not trained on either.
    known, test = (
        stars.where(keep) for keep in ((fold != study.test) & (fold != SEALED), fold == study.test)
    )
    scored, found, alone = networks(study, known, test, study.preset, study.seeds)
    residuals = {f"`{study.preset}`": scored.prediction - scored.truth}
    if study.seeds > 1:
        residuals[f"one network of `{study.preset}`"] = alone[0]
    for preset in study.presets:
        residuals[f"`{preset}`"] = networks(study, known, test, preset, 1)[2][0]
    for name in study.only:
        residuals[name] = competing(study, known, test, name) - test.labels
    models = {name: intervals(residual, study.draws) for name, residual in residuals.items()}

    table_1 = left_after(SELECTIONS["table_1"], test.table())[-1]
    groups = groups_of(scored, table_1) | {"gated": gate(scored)}
    table = scores_table(scored, groups)
    for group, keep in groups.items():
        for label in labels.names():
            table[group][label]["kept"] = float(keep.mean())
    results = table | {
        "snr_bins": by_snr(scored, np.asarray(found.ln_snr)[:, 1]),
        "cells": by_cell(scored),
        "tails": tails(scored),
        "joint": {
            name: joint_scores(
                scored.prediction, scored.sigma, matrix, scored.truth, scored.truth_error
            )._asdict()
            for name, matrix in (
                ("with_correlations", np.asarray(found.correlation)),
                ("without", np.eye(len(labels.LABELS))[None]),
            )
        },
        "disks": disks(scored),
        "seeds": [np.sqrt(np.square(residual).mean(axis=0)).tolist() for residual in alone],
        "models": {
            name: {statistic: interval.numbers() for statistic, interval in both.items()}
            for name, both in models.items()
        },
    }
    write_text(study.json, json.dumps(results, indent=2) + "\n")
    print(markdown(models))


def markdown(models: dict[str, dict[str, Interval]]) -> str:
    """The table of the README: rms, half of its 95% interval, and MAD scatter."""
    heads = " | ".join(f"{label.name} [{label.unit}]" for label in labels.LABELS)
    lines = [f"| | {heads} |", "|---" * (len(labels.LABELS) + 1) + "|"]
    for name, found in models.items():
        cells = []
        for k, label in enumerate(labels.LABELS):
            rms, mad = found["rms"], found["mad"]
            digits = label.decimals
            half = (rms.high[k] - rms.low[k]) / 2
            cells.append(
                f"{rms.value[k]:.{digits}f} +- {half:.{digits}f} ({mad.value[k]:.{digits}f})"
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
