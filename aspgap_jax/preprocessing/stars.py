"""The stars as they travel: on the host with every column, on the device as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels
from aspgap_jax.preprocessing.scaling import magnitude_factor
from aspgap_jax.typing import XP, Columns, Labels

__all__ = ["Cut", "Stars", "TrainingSet", "to_device"]


class Cut(NamedTuple):
    """One selection: what it asks, and how many stars are left after it."""

    name: str
    left: int


@dataclass(frozen=True)
class TrainingSet:
    """Stars with XP spectra and labels, host side (NumPy), in physical units.

    Attributes:
        source_id: Gaia source ids, int64 ``[star]``, unique.
        xp: spectra, float32 ``[star, xp]``: 110 coefficients (55 BP, 55 RP) or
            343 fluxes in W m^-2 nm^-1; not yet normalised by magnitude.
        xp_error: 1-sigma errors of ``xp``, same shape and unit.
        g_mag: Gaia G, float32 ``[star]``, mag.
        labels: ``[star, label]`` in the units of the label table.
        label_error: their 1-sigma errors, same shape.
        representation: ``continuous`` or ``sampled``.
        wavelength: ``[xp]`` in nm for ``sampled``, else ``None``.
        columns: further per-star columns by name (``snr``, ``phot_bp_mean_mag``).
        cuts: the selections that led here, in order.
        provenance: input files, checksums, versions.
    """

    source_id: np.ndarray
    xp: np.ndarray
    xp_error: np.ndarray
    g_mag: np.ndarray
    labels: np.ndarray
    label_error: np.ndarray
    representation: str
    wavelength: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    cuts: tuple[Cut, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source_id)

    def table(self) -> Columns:
        """Every column by its name: labels by their key, ``teff``, their errors ``e_teff``."""
        names = labels.names()
        return {
            **self.columns,
            "source_id": self.source_id,
            "xp": self.xp,
            "xp_error": self.xp_error,
            "g_mag": self.g_mag,
            **dict(zip(names, self.labels.T, strict=True)),
            **{f"e_{n}": row for n, row in zip(names, self.label_error.T, strict=True)},
        }

    def where(self, keep: np.ndarray) -> TrainingSet:
        """The stars selected by a mask or by row numbers."""
        per_star = ("source_id", "xp", "xp_error", "g_mag", "labels", "label_error")
        return replace(
            self,
            **{name: getattr(self, name)[keep] for name in per_star},
            columns={name: values[keep] for name, values in self.columns.items()},
        )


class Stars(NamedTuple):
    """What the device holds of a training set; shared by all trainings on it.

    Spectra are normalised by magnitude, and like the labels in physical units:
    each training scales them with what its own fold fitted.

    Attributes:
        xp: normalised spectra ``[star, xp]``.
        xp_error: their 1-sigma errors, likewise normalised.
        labels: ``[star, label]``.
        label_error: ``[star, label]``.
    """

    xp: XP
    xp_error: XP
    labels: Labels
    label_error: Labels


def to_device(stars: TrainingSet, magnitude_exponent: float) -> Stars:
    """Normalise by magnitude and move to the device, as float32."""
    factor = magnitude_factor(stars.g_mag, magnitude_exponent)[:, None]
    return Stars(
        xp=jnp.asarray(stars.xp / factor, jnp.float32),
        xp_error=jnp.asarray(stars.xp_error / factor, jnp.float32),
        labels=jnp.asarray(stars.labels, jnp.float32),
        label_error=jnp.asarray(stars.label_error, jnp.float32),
    )
