"""Files of a made-up Cannon."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aspgap_jax.apstar import N_CHIP_PIXELS, in_chips


def made_up_cannon(path: Path, **changed: np.ndarray) -> Path:
    """Write a model, some arrays of which can be replaced."""
    rng = np.random.default_rng(1)
    arrays = {
        "theta": rng.normal(size=(15, N_CHIP_PIXELS)) * 1e-3,
        "scatter": np.full(N_CHIP_PIXELS, 0.01),
        "reference": np.array([4500.0, 2.0, -0.3, 0.05]),
        "training_labels": rng.uniform([4000, 1, -1, 0], [5000, 3, 0.3, 0.3], (500, 4)),
        "pixel": np.flatnonzero(in_chips),
        "label_names": np.array(["teff", "logg", "fe_h", "alpha_fe"]),
    }
    np.savez(path, **(arrays | changed))
    return path
