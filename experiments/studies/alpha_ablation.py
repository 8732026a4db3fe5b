"""Does the hallucinator help? The same folds trained with it and without it, in one training.

Three variants of the preset ``compact`` with the same stars, folds, scalers, pre-trained APOGEE
decoders, initial parameters and batches; branch weights are traced, so that variants x folds x
seeds are members of one vmapped training:

- ``with``: alpha_1 = 0.6 for the XP decoder, alpha_2 = 0.4 for the hallucinator (section 3.1);
- ``without``: 0.6 and 0, so that nothing but the weight of the hallucinator changes;
- ``without_1``: 1 and 0, so that eq. 3 is a Gaussian likelihood again: with 0.6 alone the
  predicted sigma is too small by construction.

Differences are paired by star, out of fold, averaged over seeds, with 95% bootstrap
intervals over stars; the spread of single seeds is printed beside them.

Run: python experiments/studies/alpha_ablation.py --out runs/ablation --json ablation.json
Expect: half an hour on two cores. [alpha/M] does not care: its rms without minus with the
hallucinator was -0.00006 [-0.00020, +0.00008] dex, of 0.061, and -0.00017 [-0.00035, +0.00001]
for ``without_1``. ``without`` was worse in log g (by 0.005 of 0.257) and [M/H] (0.003 of 0.157),
``without_1`` in neither, so what helped there was the weight and not the hallucinator.

On the sample the APOGEE decoders are pre-trained on *emulated* spectra, which are functions of
the labels. No information on single stars enters through them, so a gain could only come from
regularisation; whether real APOGEE spectra help, as the paper finds, this cannot show. With
--data STORE that holds aspcapStar or apStar spectra the same command shows it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from aspgap_jax import labels
from aspgap_jax.config import PRESETS, Config
from aspgap_jax.files.atomic import write_text
from aspgap_jax.prediction.assess import assess
from aspgap_jax.prediction.bundle import Networks
from aspgap_jax.prediction.out_of_fold import label_unseen
from aspgap_jax.preprocessing import folds
from aspgap_jax.preprocessing.cuts import format_cuts
from aspgap_jax.preprocessing.device import to_device
from aspgap_jax.training import run
from aspgap_jax.training.loop import fit
from aspgap_jax.training.members import fit_scalers, make_members
from aspgap_jax.training.pretraining import pretrain
from aspgap_jax.training.recipe import hyper_of, recipe_of
from aspgap_jax.validation.bootstrap import paired_difference

VARIANTS = {"with": (0.6, 0.4), "without": (0.6, 0.0), "without_1": (1.0, 0.0)}


@dataclass(frozen=True)
class Ablation:
    """Cross-validate the same folds with and without the hallucinator."""

    out: Path
    """Folder for the emulated spectra, which are not made again."""
    data: str = "sample"
    """``sample``, or a training store."""
    select: str = "giants"
    """Selection of stars."""
    seeds: int = 5
    """Trainings of every fold."""
    epochs: int = 50
    """Epochs of every training."""
    draws: int = 1000
    """Bootstrap resamples."""
    json: Path | None = None
    """File for the numbers."""


def config(study: Ablation) -> Config:
    """The preset with the epochs and seeds of the study."""
    base = PRESETS["compact"]
    return replace(
        base,
        train=replace(base.train, epochs=study.epochs),
        cv=replace(base.cv, seeds=study.seeds),
    )


def train(study: Ablation) -> tuple[dict[str, dict[str, np.ndarray]], str]:
    """Train all variants at once.

    Returns:
        Out-of-fold residuals and chi of single seeds, ``[seed, star, label]``, by variant;
        and what the APOGEE decoders were pre-trained on.
    """
    cfg = config(study)
    settings = run.Settings(study.data, study.select, True, cfg)
    stars = run.load_stars(study.data, study.select)
    print(format_cuts(stars.cuts))
    study.out.mkdir(parents=True, exist_ok=True)
    splits = folds.all_splits(cfg, folds=True)
    rows = folds.split_rows(stars, cfg, splits)
    device = to_device(stars, cfg.data.magnitude_exponent)
    scalers = fit_scalers(device, rows, cfg.data)
    spectra = run.decoder_spectra(study.out, settings, stars, rows)
    pretrained = pretrain(spectra, spectra.labels, scalers, cfg)
    weights = [
        hyper_of(replace(cfg, loss=replace(cfg.loss, alpha_xp=xp, alpha_apogee=apogee)))
        for xp, apogee in VARIANTS.values()
    ]
    members = make_members(rows, scalers, pretrained, cfg, hypers=weights)
    with tqdm(total=study.epochs, desc="train", unit="epoch", disable=None) as bar:
        states = fit(device, members, recipe_of(cfg), after_epoch=lambda *_: bar.update())
    trainings = folds.assignments(cfg, splits) * len(VARIANTS)
    variant_of = np.repeat(list(VARIANTS), len(trainings) // len(VARIANTS))
    seed_of = np.array([training.seed for training in trainings])
    unseen = folds.unseen_stars(stars.source_id, trainings, cfg)
    networks = Networks(states.best_params, members.decoder, members.scalers)
    bundle = assess(networks, stars, unseen, cfg)
    results = {}
    for name in VARIANTS:
        own = [(variant_of == name) & (seed_of == seed) for seed in range(cfg.cv.seeds)]
        found = [label_unseen(bundle, stars, unseen & by[:, None], cfg) for by in own]
        residual = np.stack([np.asarray(one.mean) - stars.labels for one in found])
        # As the networks give it: calibration would hide what differs.
        sigma = np.stack([np.hypot(one.aleatoric, one.epistemic) for one in found])
        error = np.hypot(sigma, stars.label_error)
        results[name] = {"residual": residual, "chi": residual / error}
    return results, spectra.what


def report(results: dict[str, dict[str, np.ndarray]], draws: int) -> dict[str, dict]:
    """Prints the table; returns its numbers."""
    reference = results["with"]["residual"]
    numbers: dict[str, dict] = {}
    for name, result in results.items():
        rms = np.sqrt(np.square(result["residual"]).mean(axis=1))
        numbers[name] = {
            "rms": rms.tolist(),
            "mae": np.abs(result["residual"]).mean(axis=1).tolist(),
            "chi_sigma": result["chi"].std(axis=1).tolist(),
        }
        print(f"\n{name}: alpha_1 {VARIANTS[name][0]:g}, alpha_2 {VARIANTS[name][1]:g}")
        for i, label in enumerate(labels.LABELS):
            print(
                f"  {label.name:<8} rms {rms[:, i].mean():.5g} +- {rms[:, i].std(ddof=1):.2g} "
                f"{label.unit}, sigma(chi) {result['chi'].std(axis=1)[:, i].mean():.3f}"
            )
        if name == "with":
            continue
        change = paired_difference(result["residual"], reference, draws=draws, seed=0)
        numbers[name]["minus_with"] = {key: found.numbers() for key, found in change.items()}
        for i, label in enumerate(labels.LABELS):
            for key, found in change.items():
                print(
                    f"  {label.name:<8} {key} minus that with it: {found.value[i]:+.3g} "
                    f"[{found.low[i]:+.3g}, {found.high[i]:+.3g}] {label.unit}"
                )
    return numbers


def main() -> None:
    """Train, compare, print, write the numbers."""
    study = tyro.cli(Ablation)
    results, apogee = train(study)
    print(f"\nAPOGEE decoders pre-trained on: {apogee}")
    numbers = report(results, study.draws)
    if study.json is not None:
        everything = {"apogee_spectra": apogee, "epochs": study.epochs, "variants": numbers}
        write_text(study.json, json.dumps(everything, indent=2) + "\n")
        print(f"wrote {study.json}")


if __name__ == "__main__":
    main()
