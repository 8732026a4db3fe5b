"""Small cross-validations, of made-up giants with colours and of real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from aspgap_jax.config import CrossValidation
from aspgap_jax.preprocessing.cuts import apply_cuts
from aspgap_jax.preprocessing.selection import SELECTIONS
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.sample import load_sample
from aspgap_jax.survey.store import write_training_store
from aspgap_jax.training.run import Settings, cross_validate
from support.made_up import made_up_stars
from support.tiny import TINY

CFG = replace(
    TINY,
    model=replace(TINY.model, dropout=0.0),
    train=replace(TINY.train, batch_size=128),
    cv=CrossValidation(folds=2),
)
CENTRE = np.array([4500.0, 2.2, -0.2, 0.12])
SCATTER = np.array([250.0, 0.6, 0.25, 0.08])


def made_up_giants(n_stars: int = 3000, n_xp: int = 343) -> TrainingSet:
    """Giants whose spectra depend on their labels and on reddening, which their colours show."""
    stars = made_up_stars(n_stars, n_xp, seed=4)
    rng = np.random.default_rng(5)
    scaled = rng.normal(size=(n_stars, 4)).clip(-2.5, 2.5)
    wavelength = np.linspace(336.0, 1020.0, n_xp)
    lines = np.random.default_rng(6).normal(size=(4, n_xp))
    reddening = rng.exponential(0.3, n_stars)
    brightness = 10.0 ** (0.4 * (15.0 - stars.g_mag.astype(np.float64)))[:, None] * 1e-16
    tilt = np.outer(reddening, (wavelength - 650.0) / 1000.0)
    flux = brightness * (1.0 + 0.03 * scaled @ lines + tilt)
    flux = flux + stars.xp_error * rng.normal(size=flux.shape) * 0.5
    colour = 1.3 - 0.2 * scaled[:, 0] + reddening
    columns = {
        "phot_bp_mean_mag": stars.g_mag + 0.5 * colour,
        "phot_rp_mean_mag": stars.g_mag - 0.5 * colour,
        "ak_targ": 0.3 * reddening,
    }
    return replace(
        stars,
        xp=flux.astype(np.float32),
        labels=(CENTRE + SCATTER * scaled).astype(np.float32),
        label_error=np.tile(0.05 * SCATTER, (n_stars, 1)).astype(np.float32),
        wavelength=wavelength,
        columns=stars.columns
        | {name: values.astype(np.float32) for name, values in columns.items()},
    )


def make_run(folder: Path) -> Path:
    """Cross-validate them; returns the folder of the run."""
    store = folder / "giants.h5"
    write_training_store(store, made_up_giants())
    settings = Settings(data=str(store), select="usable", folds=True, config=CFG)
    cross_validate(folder / "run", settings)
    return folder / "run"


def make_sample_run(folder: Path, n_stars: int = 5000) -> Path:
    """Cross-validate some giants of the real sample; returns the folder of the run."""
    stars = apply_cuts(load_sample(), SELECTIONS["giants"])
    rows = np.random.default_rng(7).choice(len(stars), n_stars, replace=False)
    store = folder / "giants.h5"
    write_training_store(store, stars.where(np.sort(rows)))
    settings = Settings(data=str(store), select="giants", folds=True, config=CFG)
    cross_validate(folder / "run", settings)
    return folder / "run"
