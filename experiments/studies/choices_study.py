"""Which choices that the paper leaves open, or makes, help on the real sample?

Cross-validates the same folds with variants of the preset ``compact``:

- ``plain``: magnitude exponent 0.4, stars as they are, no penalties;
- ``balanced``: rows resampled evenly in ([M/H], [alpha/M]) (section 2.2);
- ``printed``: magnitude exponent 0.5, as the paper prints it (section 2.3);
- ``kl``: with the Kullback-Leibler term (eq. 4), Lambda_2 / N = 0.2;
- ``l1``: with the sum of absolute parameters (eq. 3), Lambda_1 / N = 1e-6;
- ``bfloat16``: multiplied in bfloat16, parameters and loss in float32.

Every variant has the same seeds; the spread is that of single seeds.

Run: python experiments/studies/choices_study.py --out runs/choices
Expect: a quarter of an hour on two cores; lower is better in every column but
sigma(chi), which should be 1. The choice is made by the validation loss, on stars
held out of the training folds; the rest is out of fold, on stars never used for
choosing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from aspgap_jax import labels
from aspgap_jax.config import PRESETS, Config
from aspgap_jax.files.atomic import write_text
from aspgap_jax.prediction.out_of_fold import label_unseen
from aspgap_jax.preprocessing.folds import unseen_stars
from aspgap_jax.training.run import Settings, train

METAL_POOR = -1.0
N_TRAIN = 8860.0
"""Training stars of a fold of the benchmark's giants; it scales the penalties."""


@dataclass(frozen=True)
class Study:
    """Cross-validate the same folds with one choice changed at a time."""

    out: Path
    """Folder of the runs; finished ones are not done again."""
    seeds: int = 2
    """Trainings of every fold."""
    epochs: int = 100
    """Epochs of every training."""
    draws_per_bin: int = 100
    """Draws from every bin when balanced: 100 give about as many rows as there are stars."""
    only: tuple[str, ...] = ()
    """Compare these variants alone; all by default."""
    json: Path | None = None
    """File for the numbers."""


def variants(study: Study) -> dict[str, Config]:
    """The configs that are compared; each differs from ``plain`` in one choice."""
    base = PRESETS["compact"]
    base = replace(
        base,
        cv=replace(base.cv, seeds=study.seeds),
        train=replace(base.train, epochs=study.epochs),
        loss=replace(base.loss, l1=0.0, kl=0.0),
    )
    balanced = replace(base.data, balance=True, draws_per_bin=study.draws_per_bin)
    return {
        "plain": base,
        "balanced": replace(base, data=balanced),
        "printed": replace(base, data=replace(base.data, magnitude_exponent=0.5)),
        "kl": replace(base, loss=replace(base.loss, kl=0.2 * N_TRAIN)),
        "l1": replace(base, loss=replace(base.loss, l1=1e-6 * N_TRAIN)),
        "bfloat16": replace(base, model=replace(base.model, compute="bfloat16")),
    }


def statistics(folder: Path, settings: Settings) -> dict[str, list[list[float]]]:
    """Out of fold, a seed and label: rms of all and of metal-poor stars, sigma of chi."""
    bundle, info, stars = train(folder, settings)
    unseen = unseen_stars(stars.source_id, info.members, info.config)
    seed_of = np.array([member.seed for member in info.members])
    poor = stars.labels[:, labels.index("m_h")] < METAL_POOR
    rows = {"all": np.ones_like(poor), "metal-poor": poor}
    found: dict[str, list[list[float]]] = {"all": [], "metal-poor": [], "sigma(chi)": []}
    for seed in range(info.config.cv.seeds):
        one = label_unseen(bundle, stars, unseen & (seed_of == seed)[:, None], info.config)
        residual = np.asarray(one.mean) - stars.labels
        for name, keep in rows.items():
            found[name].append(np.sqrt(np.square(residual[keep]).mean(axis=0)).tolist())
        # As the networks give it: the bundle's calibration would hide what differs.
        sigma = np.hypot(one.aleatoric, one.epistemic)
        chi = residual / np.hypot(sigma, stars.label_error)
        found["sigma(chi)"].append(chi.std(axis=0).tolist())
    return found


def validation_loss(folder: Path) -> list[float]:
    """Lowest validation loss of every member, from its log."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    members = sorted({line["member"] for line in lines})
    return [min(line["valid_nll"] for line in lines if line["member"] == m) for m in members]


def digits(label: labels.Label, group: str) -> int:
    """Decimals of a cell: chi has no unit, the rest that of its label."""
    return 3 if group == "sigma(chi)" else label.decimals


def main() -> None:
    """Train, print the table, write the numbers."""
    study = tyro.cli(Study)
    results = {}
    configs = variants(study)
    unknown = sorted(set(study.only) - set(configs))
    if unknown:
        raise SystemExit(f"--only {unknown[0]}: no such variant; known: {', '.join(configs)}")
    for name in study.only or configs:
        config = configs[name]
        folder = study.out / name
        settings = Settings("sample", "giants", True, config)
        results[name] = {**statistics(folder, settings), "validation_loss": validation_loss(folder)}
    head = "  ".join(f"{f'{label.name} [{label.unit}]':>17}" for label in labels.LABELS)
    titles = {
        "all": "rms of all stars",
        "metal-poor": f"rms of stars with [M/H] < {METAL_POOR:g}",
        "sigma(chi)": "sigma of chi",
    }
    for group, title in titles.items():
        print(f"\nout of fold, {title}: mean and standard deviation of single seeds")
        print(f"{'variant':<10} {'validation loss':>17}  {head}")
        for name, result in results.items():
            loss = np.array(result["validation_loss"])
            values = np.array(result[group])
            cells = "  ".join(
                f"{f'{mean:.{digits(label, group)}f} +- {std:.{digits(label, group)}f}':>17}"
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
