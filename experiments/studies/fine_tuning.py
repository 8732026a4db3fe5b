"""How few stars does a new label need? Fine-tuned on a few, or trained from scratch on more.

[alpha/M] is withheld from a training on the sample's giants (Teff, log g, [M/H], the XP branch
alone: without [alpha/M] no APOGEE spectrum can be emulated). ``--init-from`` then fine-tunes
those networks for [alpha/M] on stars that the first training has not seen. Beside it stand
trainings from scratch on as many stars, and on more. All are tested on the same stars, a fifth of
the sample, which none has seen; every number of stars is drawn several times.

Run: python experiments/studies/fine_tuning.py --out runs/fine-tuning
Expect: some ten minutes on an idle core. With --draws 2 --epochs 20 --few-epochs 250, rms and MAD
scatter of [alpha/M] in dex, whose own spread is 0.118:

- fine-tuned on 500 stars: 0.083 +- 0.008 and 0.064 +- 0.008;
- from scratch on 500: 0.090 +- 0.012 and 0.071 +- 0.010;
- from scratch on 2,000: 0.069 +- 0.001 and 0.047 +- 0.005;
- from scratch on all 15,749: 0.061 and 0.038.

So 500 stars do not reach what 2,000 do: networks trained for the other labels help a little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from aspgap_jax.config import PRESETS, Config, with_labels
from aspgap_jax.labels import LABELS, LabelSet
from aspgap_jax.prediction.bundle import load_bundle
from aspgap_jax.prediction.out_of_fold import label_unseen
from aspgap_jax.preprocessing.folds import fold_of
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.store import write_training_store
from aspgap_jax.training.run import Settings, load_stars, train
from aspgap_jax.validation.metrics import residual_statistics

BEFORE, WITHHELD = LABELS[:3], LABELS[3:]
MANY, FEW = 2000, 500


@dataclass(frozen=True)
class Study:
    """Fine-tune for a label that was withheld."""

    out: Path
    """Folder of the runs; those that are finished are not made again."""
    draws: int = 3
    """How often the few are drawn."""
    epochs: int = 40
    """Epochs of the first training."""
    few_epochs: int = 100
    """Epochs of those on few stars."""


def settings(store: Path, table: LabelSet, cfg: Config, before: Path | None = None) -> Settings:
    """A training on all stars of a store."""
    start = None if before is None else str(before)
    return Settings(str(store), "usable", False, with_labels(cfg, table), init_from=start)


def rms(run: Path, test: TrainingSet) -> tuple[float, float]:
    """Rms and MAD scatter of the withheld label."""
    bundle, info = load_bundle(run)
    stars = test.with_labels(WITHHELD)
    unseen = np.ones((len(info.members), len(stars)), bool)
    found = label_unseen(bundle, stars, unseen, info.config)
    mean, sigma = (np.asarray(each)[:, 0] for each in (found.mean, found.sigma))
    truth, error = stars.labels[:, 0], stars.label_error[:, 0]
    statistics = residual_statistics(mean, sigma, truth, error, WITHHELD[0].outlier)
    return statistics.rms, statistics.scatter_mad


def main(study: Study) -> None:
    stars = load_stars("sample", "giants")
    held_out = fold_of(stars.source_id, 5) == 0
    test, pool = stars.where(held_out), stars.where(~held_out)
    order = np.random.default_rng(0).permutation(len(pool))
    lots = [order[i * MANY : (i + 1) * MANY] for i in range(study.draws)]
    others = order[study.draws * MANY :]
    base = replace(PRESETS["compact"], cv=replace(PRESETS["compact"].cv, seeds=1))
    long = replace(base, train=replace(base.train, epochs=study.epochs))
    short = replace(base, train=replace(base.train, epochs=study.few_epochs, batch_size=64))

    def run(name: str, rows: np.ndarray, table: LabelSet, cfg: Config, **start: Path) -> Path:
        folder = study.out / name
        folder.mkdir(parents=True, exist_ok=True)
        store = folder / "stars.h5"
        write_training_store(store, pool.where(np.sort(rows)))
        train(folder / "run", settings(store, table, cfg, **start))
        return folder / "run"

    before = run("before", others, BEFORE, long)
    found: dict[str, list[tuple[float, float]]] = {}
    for draw, lot in enumerate(lots):
        for name, count, start in (
            (f"fine-tuned on {FEW}", FEW, {"before": before}),
            (f"from scratch on {FEW}", FEW, {}),
            (f"from scratch on {MANY}", MANY, {}),
        ):
            folder = run(f"{name.replace(' ', '-')}-{draw}", lot[:count], WITHHELD, short, **start)
            found.setdefault(name, []).append(rms(folder, test))
    everything = run("all", order, WITHHELD, long)
    found[f"from scratch on {len(order)}"] = [rms(everything, test)]
    print(f"[alpha/M] of {len(test):,} stars that none has seen, {study.draws} draws")
    print(f"{'':<24}  rms [dex]          MAD scatter [dex]")
    for name, values in found.items():
        means, spreads = np.mean(values, axis=0), np.std(values, axis=0)
        columns = (f"{m:.4f} +- {s:.4f}" for m, s in zip(means, spreads, strict=True))
        print(f"{name:<24}  {'  '.join(columns)}")
    print(f"{'spread of the label':<24}  {np.std(test.labels[:, 3]):.4f}")


if __name__ == "__main__":
    main(tyro.cli(Study))
