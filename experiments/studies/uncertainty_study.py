"""Are the uncertainties right? Chi and coverage by S/N, before and after calibration.

Takes a cross-validation and cross-fits: the stars are halved by their ids, each half
is calibrated with the parameters fitted to the other, so no star is reported on that
was used for its fit. The predictions are out of fold. A Gaussian of the right width
has sigma(chi) 1 and covers 68.3% within 1 sigma, 95.4% within 2.

Also given: how much of the variance is epistemic, and what the errors of the XP
spectra alone explain (through the Jacobian, as if they were independent).

Run: aspgap crossval --out runs/cv && python experiments/studies/uncertainty_study.py --run runs/cv
Expect: sigma(chi) of every S/N bin from 0.69-1.38 to 0.96-1.06; coverage within 2
sigma 95% in every bin; within 1 sigma 70-76%, because the residuals have longer tails
than a Gaussian.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import tyro

from aspgap_jax import labels
from aspgap_jax.files.atomic import write_text
from aspgap_jax.prediction import assess as trust
from aspgap_jax.prediction.bundle import load_bundle
from aspgap_jax.prediction.labelling import LabelOptions, StarBatch, label_stars
from aspgap_jax.prediction.uncertainty import calibrate, fit_calibration
from aspgap_jax.preprocessing import folds
from aspgap_jax.preprocessing.folds import fold_of
from aspgap_jax.training import run as pipeline

HALVES = 1_000
"""A repeat of the hash that no cross-validation uses."""
EDGES = (0, 10, 30, 50, 70, 90, 100)
"""Bins of S/N, in percent of the stars."""


@dataclass(frozen=True)
class Study:
    """Chi and coverage by S/N."""

    run: Path
    """A cross-validation (`aspgap crossval`, `aspgap demo`)."""
    propagate: int = 1000
    """Stars whose XP errors are propagated."""
    json: Path | None = None
    """File for the numbers."""


def statistics(residual: np.ndarray, sigma: np.ndarray, error: np.ndarray) -> dict[str, float]:
    """Width and coverage of chi."""
    chi = np.abs(residual) / np.hypot(sigma, error)
    return {
        "stars": len(chi),
        "chi_sigma": float(np.sqrt(np.mean(chi**2))),
        "within_1_sigma": float(np.mean(chi < 1)),
        "within_2_sigma": float(np.mean(chi < 2)),
    }


def study(options: Study) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """``{label: {"raw" | "calibrated": {bin of S/N: statistics}}}``."""
    bundle, info = load_bundle(options.run)
    settings = json.loads((options.run / "config.json").read_text())
    stars = pipeline.load_stars(settings["data"], settings["select"])
    splits = folds.all_splits(info.config, folds=True)
    rows = folds.split_rows(stars, info.config, splits)
    unseen = trust.held_out_stars(rows, info.members, len(stars))
    everyone = np.arange(len(stars))
    ensemble, scored = trust.predict_held_out(bundle, stars, unseen, everyone, info.config)
    raw, ln_snr = np.asarray(ensemble.moments.sigma), scored.ln_snr
    residual = np.asarray(ensemble.moments.mean, np.float64) - stars.labels
    calibrated = np.empty_like(raw)
    half = fold_of(stars.source_id, 2, HALVES) == 0
    for fitted, told in ((half, ~half), (~half, half)):
        calibration = fit_calibration(
            residual[fitted], raw[fitted], stars.label_error[fitted], ln_snr[fitted]
        )
        calibrated[told] = calibrate(calibration, jnp.asarray(raw[told]), jnp.asarray(ln_snr[told]))
    edges = np.percentile(ln_snr, EDGES)
    bins = {"all": np.ones(len(stars), bool)} | {
        f"{low}-{high}%": (ln_snr >= edges[i]) & (ln_snr <= edges[i + 1])
        for i, (low, high) in enumerate(itertools.pairwise(EDGES))
    }
    epistemic = np.square(ensemble.moments.epistemic).mean(axis=0)
    share = epistemic / np.square(raw).mean(axis=0)
    print("epistemic share of the variance:", ", ".join(f"{100 * s:.0f}%" for s in share))
    some = everyone[:: max(1, len(stars) // options.propagate)]
    batch = StarBatch(
        xp=jnp.asarray(stars.xp[some]),
        xp_error=jnp.asarray(stars.xp_error[some]),
        g_mag=jnp.asarray(stars.g_mag[some]),
        present=jnp.ones((len(some), 2), bool),
        snr=jnp.full((len(some), 2), jnp.nan),
        ruwe=jnp.full(len(some), jnp.nan),
    )
    asked = LabelOptions(stars.representation, propagate="diagonal")
    told = label_stars(bundle, batch, info.config, asked)
    ratio = np.nanmedian(np.asarray(told.propagated / told.sigma), axis=0)
    print("median propagated over total:", ", ".join(f"{r:.2f}" for r in ratio))
    return {
        label.name: {
            name: {
                where: statistics(residual[rows, k], sigma[rows, k], stars.label_error[rows, k])
                for where, rows in bins.items()
            }
            for name, sigma in (("raw", raw), ("calibrated", calibrated))
        }
        for k, label in enumerate(labels.LABELS)
    }


def main() -> None:
    """Print the table, write the numbers."""
    options = tyro.cli(Study, description=__doc__)
    results = study(options)
    where = list(next(iter(results.values()))["raw"])
    print("sigma(chi) / percent within 1 / within 2 sigma, by percentile of S/N")
    print(f"{'':<20}" + "".join(f"{name:>16}" for name in where))
    for label, kinds in results.items():
        for kind, bins in kinds.items():
            cells = (
                f"{s['chi_sigma']:.2f}/{100 * s['within_1_sigma']:.0f}/"
                f"{100 * s['within_2_sigma']:.0f}"
                for s in bins.values()
            )
            print(f"{label:<8}{kind:<12}" + "".join(f"{cell:>16}" for cell in cells))
    if options.json is not None:
        write_text(options.json, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
