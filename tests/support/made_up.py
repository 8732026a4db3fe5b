"""Made-up stars for tests: spectra that depend smoothly on made-up labels."""

from __future__ import annotations

import numpy as np

from aspgap_jax import labels
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.preprocessing.stars import TrainingSet


def made_up_stars(n_stars: int = 800, n_xp: int = 24, seed: int = 0) -> TrainingSet:
    """Stars with labels spread over the limits of the label table.

    A spectrum is a random linear mixture of the labels over a continuum, with 1%
    noise, at the brightness that its G magnitude gives.
    """
    rng = np.random.default_rng(seed)
    low, high = np.array([label.limits for label in labels.LABELS]).T
    scaled = rng.uniform(0.1, 0.9, (n_stars, len(labels.LABELS)))
    g_mag = rng.uniform(9.0, 15.0, n_stars)
    brightness = 10.0 ** (0.4 * (15.0 - g_mag))[:, None] * 1e-16
    mixture = np.random.default_rng(99).normal(size=(len(labels.LABELS), n_xp))
    flux = brightness * (1.0 + 0.2 * np.tanh(scaled - 0.5) @ mixture)
    error = 0.01 * brightness * np.ones((1, n_xp))
    return TrainingSet(
        source_id=rng.choice(2**62, n_stars, replace=False),
        xp=(flux + error * rng.normal(size=flux.shape)).astype(np.float32),
        xp_error=error.astype(np.float32),
        g_mag=g_mag.astype(np.float32),
        labels=(low + scaled * (high - low)).astype(np.float32),
        label_error=np.full(scaled.shape, 0.005).astype(np.float32)
        * (high - low).astype(np.float32),
        representation="sampled",
        columns={"snr": rng.uniform(60, 400, n_stars).astype(np.float32)},
    )


def quick_spectra(at: np.ndarray, lines: object, progress: bool) -> np.ndarray:
    """In place of the line synthesis, which has tests of its own."""
    low, high = np.array([label.limits for label in labels.LABELS]).T
    mixture = np.random.default_rng(4).normal(size=(len(labels.LABELS), N_PIXELS))
    return (0.9 + 0.05 * np.tanh((at - low) / (high - low) @ mixture)).astype(np.float32)
