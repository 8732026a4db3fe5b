"""Are the uncertainties right? Chi and coverage by S/N, before and after calibration.

Takes a cross-validation. Its labels are out of fold and their uncertainties cross-fitted:
those of a fold are calibrated on the stars of the others, so no star is reported on
that was used for its fit. A Gaussian of the right width has sigma(chi) 1 and covers
68.3% within 1 sigma, 95.4% within 2.

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

import numpy as np
import tyro

from aspgap_jax import labels
from aspgap_jax.config import PredictOptions
from aspgap_jax.files.atomic import write_text
from aspgap_jax.prediction.bundle import load_bundle
from aspgap_jax.prediction.out_of_fold import label_unseen, out_of_fold
from aspgap_jax.training.run import load_stars
from aspgap_jax.validation.scores import joint_scores

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
    stars = load_stars(settings["data"], settings["select"])
    found = out_of_fold(bundle, info, stars)
    calibrated, raw = np.asarray(found.sigma), np.hypot(found.aleatoric, found.epistemic)
    ln_snr = np.asarray(found.ln_snr)[:, 1]
    residual = np.asarray(found.mean, np.float64) - stars.labels
    edges = np.percentile(ln_snr, EDGES)
    bins = {"all": np.ones(len(stars), bool)} | {
        f"{low}-{high}%": (ln_snr >= edges[i]) & (ln_snr <= edges[i + 1])
        for i, (low, high) in enumerate(itertools.pairwise(EDGES))
    }
    epistemic = np.square(found.epistemic).mean(axis=0)
    share = epistemic / np.square(raw).mean(axis=0)
    print("epistemic share of the variance:", ", ".join(f"{100 * s:.0f}%" for s in share))
    some = stars.where(np.arange(0, len(stars), max(1, len(stars) // options.propagate)))
    everyone = np.ones((len(info.members), len(some)), bool)
    asked = PredictOptions(propagate="diagonal")
    told = label_unseen(bundle, some, everyone, info.config, asked)
    ratio = np.nanmedian(np.asarray(told.propagated / told.sigma), axis=0)
    for name, matrix in (("with", found.correlation), ("without", np.eye(len(ratio))[None])):
        joint = joint_scores(
            np.asarray(found.mean), calibrated, np.asarray(matrix), stars.labels, stars.label_error
        )
        print(
            f"all labels together, {name} correlations: "
            + ", ".join(f"{field} {value:.3f}" for field, value in joint._asdict().items())
        )
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
