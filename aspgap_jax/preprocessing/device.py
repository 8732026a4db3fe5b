"""The stars of a training set on the device: normalised by magnitude, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from aspgap_jax.preprocessing.scaling import normalise
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.typing import XP, Labels, Measured

__all__ = ["Stars", "to_device"]


class Stars(NamedTuple):
    """What the device holds of a training set; shared by all trainings on it.

    Spectra are normalised by magnitude, and like the labels in physical units:
    each training scales them with what its own fold fitted.

    Attributes:
        xp: normalised spectra ``[star, xp]``.
        xp_error: their 1-sigma errors, likewise normalised.
        labels: ``[star, label]``.
        label_error: ``[star, label]``.
        measured: which labels have a value and an error ``[star, label]``; ``None`` where
            all have, so that trainings without gaps run the program that masks nothing.
    """

    xp: XP
    xp_error: XP
    labels: Labels
    label_error: Labels
    measured: Measured | None = None


def to_device(stars: TrainingSet, magnitude_exponent: float) -> Stars:
    """Normalise by magnitude and move to the device, as float32.

    Args:
        stars: in physical units, on the host.
        magnitude_exponent: see :func:`aspgap_jax.preprocessing.scaling.magnitude_factor`.

    Returns:
        The spectra over their magnitude factor, and the labels as they are.
    """
    xp, xp_error = (
        normalise(values, stars.g_mag, magnitude_exponent) for values in (stars.xp, stars.xp_error)
    )
    measured = np.isfinite(stars.labels) & np.isfinite(stars.label_error)
    return Stars(
        xp=jnp.asarray(xp, jnp.float32),
        xp_error=jnp.asarray(xp_error, jnp.float32),
        labels=jnp.asarray(stars.labels, jnp.float32),
        label_error=jnp.asarray(stars.label_error, jnp.float32),
        measured=None if measured.all() else jnp.asarray(measured),
    )
