"""Does balanced resampling help, and which magnitude exponent is better?

Cross-validates the same folds with three preprocessings (section 2.2 and 2.3):
``plain`` (exponent 0.4, stars as they are), ``balanced`` (exponent 0.4, rows
resampled evenly in ([M/H], [alpha/M])) and ``printed`` (exponent 0.5 as the paper
prints it). Every variant has the same seeds; the spread is that of single seeds.

Run: python experiments/preprocessing_study.py --out runs/preprocessing
Expect: some ten minutes on two cores; lower is better in every column. The choice
is made by the validation loss, on stars held out of the training folds; the rms is
out of fold, on stars never used for choosing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from aspgap_jax import crossval, labels, pipeline
from aspgap_jax.atomic import write_text
from aspgap_jax.config import PRESETS, Config
from aspgap_jax.predict import combine, predict_in_batches

METAL_POOR = -1.0


@dataclass(frozen=True)
class Study:
    """Preprocessing study: balanced resampling and magnitude exponent."""

    out: Path
    """Folder of the runs; finished ones are not done again."""
    seeds: int = 3
    """Trainings of every fold."""
    epochs: int = 100
    """Epochs of every training."""
    draws_per_bin: int = 100
    """Draws from every bin when balanced: 100 give about as many rows as there are stars."""
    json: Path | None = None
    """File for the numbers."""


def variants(study: Study) -> dict[str, Config]:
    """The configs that are compared; they differ in ``data`` alone."""
    base = PRESETS["compact"]
    base = replace(
        base,
        cv=replace(base.cv, seeds=study.seeds),
        train=replace(base.train, epochs=study.epochs),
    )
    balanced = replace(base.data, balance=True, draws_per_bin=study.draws_per_bin)
    return {
        "plain": base,
        "balanced": replace(base, data=balanced),
        "printed": replace(base, data=replace(base.data, magnitude_exponent=0.5)),
    }


def rms(folder: Path, settings: pipeline.Settings) -> dict[str, list[list[float]]]:
    """Out-of-fold rms a seed and label ``[seed, label]``, of all and of metal-poor stars."""
    bundle, info, stars = pipeline.train(folder, settings)
    estimate = predict_in_batches(bundle, stars.xp, stars.g_mag, info.config)
    held_out = np.stack([crossval.in_test(stars.source_id, m, info.config) for m in info.members])
    seed_of = np.array([member.seed for member in info.members])
    poor = stars.labels[:, labels.index("m_h")] < METAL_POOR
    rows = {"all": np.ones_like(poor), "metal-poor": poor}
    residuals = [
        combine(estimate, held_out & (seed_of == seed)[:, None]).mean - stars.labels
        for seed in range(info.config.cv.seeds)
    ]
    return {
        name: [np.sqrt(np.square(r[keep]).mean(axis=0)).tolist() for r in residuals]
        for name, keep in rows.items()
    }


def validation_loss(folder: Path) -> list[float]:
    """Lowest validation loss of every member, from its log."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    members = sorted({line["member"] for line in lines})
    return [min(line["valid_nll"] for line in lines if line["member"] == m) for m in members]


def main() -> None:
    """Train, print the table, write the numbers."""
    study = tyro.cli(Study)
    results = {}
    for name, config in variants(study).items():
        folder = study.out / name
        settings = pipeline.Settings("sample", "giants", True, config)
        results[name] = {"rms": rms(folder, settings), "validation_loss": validation_loss(folder)}
    head = "  ".join(f"{f'{label.name} [{label.unit}]':>17}" for label in labels.LABELS)
    for group in ("all", "metal-poor"):
        print(f"\nout-of-fold rms, {group} stars: mean and standard deviation of single seeds")
        print(f"{'variant':<10} {'validation loss':>17}  {head}")
        for name, result in results.items():
            loss = np.array(result["validation_loss"])
            values = np.array(result["rms"][group])
            cells = "  ".join(
                f"{f'{mean:.{label.decimals}f} +- {std:.{label.decimals}f}':>17}"
                for label, mean, std in zip(
                    labels.LABELS, values.mean(axis=0), values.std(axis=0), strict=True
                )
            )
            print(f"{name:<10} {f'{loss.mean():.2f} +- {loss.std():.2f}':>17}  {cells}")
    if study.json is not None:
        write_text(study.json, json.dumps(results, indent=2) + "\n")
        print(f"wrote {study.json}")


if __name__ == "__main__":
    main()
