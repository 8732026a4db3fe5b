"""Other ways from a spectrum to labels, on the folds of ``sealed.py``.

Each is a function of the spectra of training and of test stars and of the labels of the
first; it gives labels of the second. Their settings are usual ones, chosen on none of the
folds. They need ``pip install ".[benchmarks]"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from aspgap_jax.config import PRESETS
from aspgap_jax.preprocessing.representation import fit_whitened
from aspgap_jax.preprocessing.scaling import normalise
from aspgap_jax.preprocessing.stars import TrainingSet

__all__ = ["COMPETITORS", "Arrays", "Competitor", "arrays"]

Arrays = Mapping[str, np.ndarray]
"""What is seen of spectra ``[star, ...]``: ``flux``, normalised by magnitude, over its median;
``inputs``, partly whitened; ``colours``, the components with synthetic colours."""
Competitor = Callable[[Arrays, Arrays, np.ndarray], np.ndarray]

BANDS = 12
"""Synthetic bands, as many samples in each."""

KERNEL_STARS = 6000
"""A kernel ridge costs the cube of its stars."""


def arrays(known: TrainingSet, test: TrainingSet) -> tuple[Arrays, Arrays]:
    """What the competitors see: of training stars, and of test stars by the same measure."""
    settings = PRESETS["best"].data
    (flux, error), (flux_of_test, _) = (
        [normalise(a, stars.g_mag, settings.magnitude_exponent) for a in (stars.xp, stars.xp_error)]
        for stars in (known, test)
    )
    whitened = fit_whitened(
        flux, error, components=settings.components, whitening=settings.whitening
    )
    median = np.median(flux, axis=0)

    def of(values: np.ndarray) -> Arrays:
        relative = (values / median).astype(np.float32)
        inputs = np.asarray(whitened.transform(jnp.asarray(values, jnp.float32)))
        bands = np.stack([a.mean(axis=1) for a in np.array_split(relative, BANDS, axis=1)], axis=1)
        magnitude = -2.5 * np.log10(bands.clip(min=1e-3))
        colours = magnitude[:, :-1] - magnitude[:, 1:]
        return {"flux": relative, "inputs": inputs, "colours": np.hstack([inputs, colours])}

    return of(flux), of(flux_of_test)


def ridge(train: Arrays, test: Arrays, labels: np.ndarray) -> np.ndarray:
    """Linear in the inputs and in the squares and products of the first twenty of them."""
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    def features(arrays: Arrays) -> np.ndarray:
        first = arrays["inputs"][:, :20] / scale
        upper = np.triu_indices(first.shape[1])
        return np.hstack([arrays["inputs"], first[:, upper[0]] * first[:, upper[1]]])

    scale = train["inputs"][:, :20].std(axis=0)
    scaler = StandardScaler().fit(features(train))
    model = RidgeCV(np.logspace(-2, 4, 13)).fit(scaler.transform(features(train)), labels)
    return np.asarray(model.predict(scaler.transform(features(test))))


def nearest_neighbours(train: Arrays, test: Arrays, labels: np.ndarray) -> np.ndarray:
    """Mean of the ten nearest stars, weighted by their distance."""
    from sklearn.neighbors import KNeighborsRegressor

    model = KNeighborsRegressor(10, weights="distance").fit(train["inputs"], labels)
    return np.asarray(model.predict(test["inputs"]))


def kernel_ridge(train: Arrays, test: Arrays, labels: np.ndarray) -> np.ndarray:
    """A Matern 3/2 kernel on the inputs, 6,000 stars at most."""
    from scipy.linalg import cho_factor, cho_solve
    from scipy.spatial.distance import cdist

    rows = np.random.default_rng(0).permutation(len(labels))[:KERNEL_STARS]
    known = train["inputs"][rows].astype(np.float64)
    length = 2.0 * np.sqrt(known.var(axis=0).sum())

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        distance = np.sqrt(3.0) * cdist(a, b) / length
        return np.asarray((1.0 + distance) * np.exp(-distance))

    centre, scale = labels[rows].mean(axis=0), labels[rows].std(axis=0)
    factor = cho_factor(kernel(known, known) + 3e-3 * np.eye(len(rows)), overwrite_a=True)
    weights = cho_solve(factor, (labels[rows] - centre) / scale)
    return centre + scale * (kernel(test["inputs"].astype(np.float64), known) @ weights)


def boosted_trees(train: Arrays, test: Arrays, labels: np.ndarray, name: str) -> np.ndarray:
    """XGBoost, a model a label, on one kind of input."""
    from xgboost import XGBRegressor

    columns = []
    for truth in labels.T:
        model = XGBRegressor(
            n_estimators=400, learning_rate=0.07, max_depth=6, subsample=0.7,
            colsample_bytree=0.3, min_child_weight=5, tree_method="hist",
        )  # fmt: skip
        columns.append(model.fit(train[name], truth).predict(test[name]))
    return np.stack(columns, axis=1)


def boosted_fluxes(train: Arrays, test: Arrays, labels: np.ndarray) -> np.ndarray:
    """XGBoost on the 343 fluxes."""
    return boosted_trees(train, test, labels, "flux")


def boosted_colours(train: Arrays, test: Arrays, labels: np.ndarray) -> np.ndarray:
    """XGBoost on coefficients of the spectra and synthetic colours, as Andrae et al. (2023)
    give it, but without their infrared photometry and parallaxes."""
    return boosted_trees(train, test, labels, "colours")


COMPETITORS: Mapping[str, Competitor] = {
    "ridge": ridge,
    "nearest neighbours": nearest_neighbours,
    "kernel ridge": kernel_ridge,
    "XGBoost, fluxes": boosted_fluxes,
    "XGBoost, components and colours": boosted_colours,
}
