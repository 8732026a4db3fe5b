"""Are the paper's branch weights, 0.6 and 0.4, the best ones? A grid search.

Section 3.2 takes alpha_1 = 0.6 (XP decoder) and alpha_2 = 0.4 (hallucinator) from a
grid search. This one trains the real sample with the preset `compact` on a grid of
alpha_2 = 1 - alpha_1, Lambda_1, Lambda_2 and the learning rate, all of it in one
training with one compilation: folds x repeats x seeds x grid. (The two weights sum
to 1, because s^2 of eq. 2 fits alpha_1 r_1^2 + alpha_2 r_2^2: another sum is another
scale of sigma.) All points share their folds, their seeds and their decoders, so
differences between points are paired.

A point is judged by its lowest validation loss (the likelihood of the XP branch, on
a tenth of the training stars). Choosing is nested: for every split the best point is
that of its own validation stars, and is reported on its test fold, whose stars had no
say in it. Lambda_1 and Lambda_2 are given over N, as they enter eq. 3.

Run: python experiments/studies/grid_search.py --out runs/grid
Expect: a quarter of an hour on two cores. Folder: grid.json (every number), grid.png
(heat maps), emulated_spectra.h5. A difference counts from two standard errors on.
Finished runs are drawn again, not trained again.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import lax
from tqdm import tqdm

from aspgap_jax import labels, model, plots
from aspgap_jax.config import PRESETS, Config
from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text
from aspgap_jax.model import Params
from aspgap_jax.preprocessing import folds
from aspgap_jax.preprocessing.device import to_device
from aspgap_jax.preprocessing.scaling import Scalers
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.training.decoder_spectra import emulated_spectra, emulation_labels
from aspgap_jax.training.loop import fit
from aspgap_jax.training.members import fit_scalers, make_members
from aspgap_jax.training.pretraining import pretrain
from aspgap_jax.training.recipe import Hyper, recipe_of
from aspgap_jax.training.run import load_stars
from aspgap_jax.typing import XP, Array, Float

PAPER = 0.4
"""alpha_2 of the paper."""
SIGNIFICANT = 2.0
"""Standard errors from which on a difference counts."""
AXES = {
    "alpha_apogee": "$\\alpha_2 = 1 - \\alpha_1$",
    "l1": "$\\Lambda_1 / N$",
    "kl": "$\\Lambda_2 / N$",
    "learning_rate": "learning rate",
}
"""Dimensions of the grid, in order, and their names for the page."""


@dataclass(frozen=True)
class Study:
    """Train a grid of hyperparameters on the same folds, and choose."""

    out: Path
    """Folder of the results."""
    alpha_apogee: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)
    """Values of alpha_2; alpha_1 = 1 - alpha_2."""
    l1: tuple[float, ...] = (0.0, 1e-6)
    """Values of Lambda_1 / N."""
    kl: tuple[float, ...] = (0.0, 0.2)
    """Values of Lambda_2 / N."""
    learning_rate: tuple[float, ...] = (1e-3, 3e-3)
    """Values of the initial learning rate."""
    folds: int = 2
    """Folds of a split."""
    repeats: int = 1
    """Splits into folds."""
    seeds: int = 2
    """Trainings of every point and fold."""
    epochs: int = 30
    """Epochs of every training."""

    def __post_init__(self) -> None:
        if PAPER not in self.alpha_apogee:
            raise InputError(f"--alpha-apogee {self.alpha_apogee}: add the paper's {PAPER}")
        if not all(0 <= alpha < 1 for alpha in self.alpha_apogee):
            raise InputError(f"--alpha-apogee {self.alpha_apogee}: must be in [0, 1)")
        if self.folds * self.repeats * self.seeds < 2:
            raise InputError("--seeds 1: one training a point has no spread; ask for more")

    def config(self) -> Config:
        """What all points share."""
        base = PRESETS["compact"]
        return replace(
            base,
            cv=replace(base.cv, folds=self.folds, repeats=self.repeats, seeds=self.seeds),
            train=replace(base.train, epochs=self.epochs),
        )

    def axes(self) -> dict[str, tuple[float, ...]]:
        """The values of every dimension."""
        return {name: getattr(self, name) for name in AXES}

    def points(self) -> list[dict[str, float]]:
        """Every point of the grid, the last dimension fastest."""
        return [dict(zip(AXES, values, strict=True)) for values in product(*self.axes().values())]


class Found(NamedTuple):
    """What the trainings came to.

    Attributes:
        loss: lowest validation loss ``[*grid, split, seed]``.
        rms: of the test folds, physical units ``[*grid, split, seed, label]``.
    """

    loss: np.ndarray
    rms: np.ndarray


class Score(NamedTuple):
    """Loss above that of the best point, and its paired standard error ``[*grid]``."""

    excess: np.ndarray
    error: np.ndarray


def hypers(study: Study, n_stars: float) -> list[Hyper]:
    """The points of the grid as a training takes them; N scales the two Lambdas."""
    found = [
        Hyper(
            alpha_xp=1.0 - point["alpha_apogee"],
            alpha_apogee=point["alpha_apogee"],
            l1=point["l1"] * n_stars,
            kl=point["kl"] * n_stars,
            prior=study.config().loss.prior,
            learning_rate=point["learning_rate"],
        )
        for point in study.points()
    ]
    return jax.tree.map(jnp.float32, found)


@partial(jax.jit, static_argnames="cfg")
def predicted(
    params: Params, scalers: Scalers, xp: XP, cfg: Config
) -> Float[Array, "member star label"]:
    """Labels of every member, physical units, for magnitude-normalised spectra."""

    def member(one: tuple[Params, Scalers]) -> jax.Array:
        params, scalers = one
        latents = model.encode(cfg.model, params, scalers.xp.transform(xp))
        return scalers.labels.inverse(model.decode_xp(cfg.model, params, latents)[0])

    return lax.map(member, (params, scalers))


def train(study: Study, stars: TrainingSet) -> Found:
    """Train the whole grid at once, and look at its test folds."""
    cfg = study.config()
    splits = folds.all_splits(cfg, folds=True)
    rows = folds.split_rows(stars, cfg, splits)
    device = to_device(stars, cfg.data.magnitude_exponent)
    scalers = fit_scalers(device, rows, cfg.data)
    at = emulation_labels(stars, rows, cfg)
    spectra = emulated_spectra(study.out / "emulated_spectra.h5", at)
    pretrained = pretrain(spectra, at, scalers, cfg)
    n_stars = float(np.mean([len(r.train) for r in rows]))
    members = make_members(rows, scalers, pretrained, cfg, hypers=hypers(study, n_stars))
    with tqdm(total=study.epochs, desc="grid", unit="epoch", disable=None) as bar:
        states = fit(device, members, recipe_of(cfg), after_epoch=lambda *_: bar.update())
    shape = (*(len(values) for values in study.axes().values()), len(splits), study.seeds)
    mean = np.asarray(predicted(states.best_params, members.scalers, device.xp, cfg))
    residual = (mean - stars.labels[None]).reshape(*shape, *stars.labels.shape)
    rms = [
        np.sqrt(np.square(residual[..., s, :, r.test, :]).mean(axis=0)) for s, r in enumerate(rows)
    ]
    return Found(np.asarray(states.best_loss).reshape(shape), np.stack(rms, axis=-3))


def score(loss: np.ndarray) -> Score:
    """Compare points over the splits and seeds that they share.

    Args:
        loss: ``[*grid, split, seed]``.
    """
    flat = loss.reshape(*loss.shape[:-2], -1)
    best = np.unravel_index(flat.mean(axis=-1).argmin(), flat.shape[:-1])
    difference = flat - flat[best]
    error = difference.std(axis=-1, ddof=1) / np.sqrt(flat.shape[-1])
    return Score(difference.mean(axis=-1), error)


def choose(loss: np.ndarray) -> np.ndarray:
    """For every split the point that its own validation stars like best.

    Args:
        loss: ``[point, split, seed]``.

    Returns:
        point numbers ``[split]``.
    """
    return loss.mean(axis=-1).argmin(axis=0)


def verdict(alphas: tuple[float, ...], loss: np.ndarray) -> str:
    """Whether the paper's alpha_2 is the best, with the rest at its best for each.

    Args:
        alphas: values of alpha_2.
        loss: ``[alpha, other, split, seed]``.
    """
    at = loss.mean(axis=(-2, -1)).argmin(axis=1)
    compared = score(loss[np.arange(len(alphas)), at])
    best = int(compared.excess.argmin())
    paper = alphas.index(PAPER)
    apart = compared.excess > SIGNIFICANT * compared.error
    what = (
        f"alpha_2 = {PAPER:g} is {compared.excess[paper]:.3f} +- {compared.error[paper]:.3f} "
        f"above the best validation loss (alpha_2 = {alphas[best]:g})"
    )
    if apart[paper]:
        return f"refuted: {what}"
    equal = ", ".join(f"{a:g}" for a, other in zip(alphas, apart, strict=True) if not other)
    if best == paper and apart.sum() == len(alphas) - 1:
        return f"recovered: every other value is worse than {PAPER:g} by more than {SIGNIFICANT:g}"
    return f"not told apart: {what}; as good within {SIGNIFICANT:g} errors: {equal}"


def summarise(study: Study, found: Found) -> dict[str, Any]:
    """All numbers of the study, for JSON."""
    loss = found.loss.reshape(-1, *found.loss.shape[-2:])
    rms = found.rms.reshape(-1, *found.rms.shape[-3:])
    points = study.points()
    is_paper = np.array([point["alpha_apogee"] == PAPER for point in points])
    # The paper's weights get the same freedom in the other dimensions.
    candidates = {"chosen freely": np.ones(len(points), bool), f"alpha_2 = {PAPER:g}": is_paper}
    reported = {}
    for name, allowed in candidates.items():
        chosen = choose(np.where(allowed[:, None, None], loss, np.inf))
        at_test = np.stack([rms[point, s] for s, point in enumerate(chosen)])
        reported[name] = {
            "points": [points[point] for point in chosen],
            "test_rms": at_test.mean(axis=(0, 1)).tolist(),
            "spread_of_seeds": at_test.std(axis=1).mean(axis=0).tolist(),
        }
    compared = score(found.loss)
    by_alpha = found.loss.reshape(len(study.alpha_apogee), -1, *found.loss.shape[-2:])
    settings = dataclasses.asdict(study) | {"out": str(study.out)}
    return {
        "settings": settings,
        "labels": list(labels.names()),
        "trainings": int(loss.size),
        "points": [
            point
            | {
                "validation_loss": float(loss[i].mean()),
                "excess": float(compared.excess.flat[i]),
                "error": float(compared.error.flat[i]),
                "test_rms": rms[i].mean(axis=(0, 1)).tolist(),
                "spread_of_seeds": rms[i].std(axis=1).mean(axis=0).tolist(),
            }
            for i, point in enumerate(points)
        ],
        "reported_on_test_folds": reported,
        "verdict": verdict(study.alpha_apogee, by_alpha),
        "loss": found.loss.tolist(),
        "rms": found.rms.tolist(),
    }


def cells(values: list[float], spread: list[float]) -> str:
    """rms and spread a label, as a row of the table prints them."""
    return "  ".join(
        f"{f'{value:.{label.decimals}f} +- {s:.{label.decimals}f}':>16}"
        for label, value, s in zip(labels.LABELS, values, spread, strict=True)
    )


def print_table(summary: dict[str, Any]) -> None:
    """Points from the best to the worst; then what is reported on the test folds."""
    head = "  ".join(f"{f'{label.name} [{label.unit}]':>16}" for label in labels.LABELS)
    print("validation loss above the best point's; rms of the test folds +- spread of seeds")
    print(f"{'alpha_2':>8} {'L1/N':>7} {'KL/N':>6} {'rate':>7} {'excess':>16}  {head}")
    for point in sorted(summary["points"], key=lambda point: point["validation_loss"]):
        excess = f"{point['excess']:.3f} +- {point['error']:.3f}"
        print(
            f"{point['alpha_apogee']:8g} {point['l1']:7g} {point['kl']:6g} "
            f"{point['learning_rate']:7g} {excess:>16}  "
            f"{cells(point['test_rms'], point['spread_of_seeds'])}"
        )
    print("\nchosen by each split's validation stars, reported on its test fold")
    for name, reported in summary["reported_on_test_folds"].items():
        print(f"{name:>15}  {cells(reported['test_rms'], reported['spread_of_seeds'])}")
    print(f"\nthe paper's 0.6 / 0.4: {summary['verdict']}")


def main() -> None:
    """Train or read the grid; print the table, draw the heat maps, write the numbers."""
    study = tyro.cli(Study)
    path = study.out / "grid.json"
    if path.is_file():
        stored = json.loads(path.read_text())
        asked = json.loads(json.dumps(dataclasses.asdict(study) | {"out": str(study.out)}))
        if stored["settings"] != asked:
            raise InputError(f"{path}: of another grid: choose another --out")
        found = Found(np.array(stored["loss"]), np.array(stored["rms"]))
    else:
        found = train(study, load_stars("sample", "giants"))
    summary = summarise(study, found)
    write_text(path, json.dumps(summary, indent=2) + "\n")
    print_table(summary)
    compared = score(found.loss)
    figure = plots.grid_search(
        {AXES[name]: values for name, values in study.axes().items()},
        compared.excess,
        compared.error,
        {"paper": PAPER},
    )
    plots.save(figure, study.out / "grid.png")
    print(f"wrote {path} and {study.out / 'grid.png'}")


if __name__ == "__main__":
    main()
