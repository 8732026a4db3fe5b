"""Preprocessing (paper section 2.3): magnitude normalisation and robust scaling."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax.config import Data
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.representation import Whitened, fit_whitened
from aspgap_jax.typing import Array, Float

__all__ = [
    "RobustScaler",
    "Scalers",
    "fit_representation",
    "fit_scaler",
    "magnitude_factor",
    "normalise",
    "stack",
]

Numbers = TypeVar("Numbers", np.ndarray, jax.Array)

SPECTRUM_RANGE = (25.0, 75.0)
"""Percentiles whose distance scales a spectrum's columns (eq. 1)."""
LABEL_RANGE = (2.5, 97.5)
"""Percentiles whose distance scales a label (section 2.3)."""
REFERENCE_MAGNITUDE = 15.0


def magnitude_factor(g_mag: Numbers, exponent: float) -> Numbers:
    """The normalisation value 10^(exponent (15 - G)) that divides a spectrum (section 2.3).

    Args:
        g_mag: Gaia G ``[star]``, mag; of NumPy on the host, of JAX on the device.
        exponent: 0.5 as the paper prints it; 0.4 is the physical factor between
            magnitude and flux, and what the released code used.

    Returns:
        ``[star]``; float64 on the host.

    Examples:
        >>> magnitude_factor(np.array([15.0, 12.5]), 0.4).tolist()
        [1.0, 10.0]
    """
    if isinstance(g_mag, np.ndarray):
        g_mag = g_mag.astype(np.float64)
    return 10.0 ** (exponent * (REFERENCE_MAGNITUDE - g_mag))


def normalise(spectra: Numbers, g_mag: Numbers, exponent: float) -> Numbers:
    """Spectra, or their errors, as if every star had G = 15 (section 2.3).

    Args:
        spectra: in Gaia's units ``[star, xp]``.
        g_mag: Gaia G ``[star]``, mag; NumPy or JAX, as ``spectra``.
        exponent: see :func:`magnitude_factor`.

    Returns:
        ``[star, xp]``, in the unit of ``spectra``; float64 on the host.
    """
    normalised: Numbers = spectra / magnitude_factor(g_mag, exponent)[:, None]
    return normalised


class RobustScaler(NamedTuple):
    """x -> (x - centre) / scale, column by column (eq. 1).

    Attributes:
        centre: medians ``[column]``, in the unit of the data.
        scale: percentile ranges ``[column]``, in the unit of the data, > 0.
    """

    centre: Float[Array, " column"]
    scale: Float[Array, " column"]

    @property
    def n_inputs(self) -> int:
        """Width of what :meth:`transform` gives."""
        return self.centre.shape[-1]

    def transform(self, x: Float[Array, "row column"]) -> Float[Array, "row column"]:
        """Physical to scaled."""
        return (x - self.centre[None, :]) / self.scale[None, :]

    def inverse(self, x: Float[Array, "row column"]) -> Float[Array, "row column"]:
        """Scaled to physical."""
        return x * self.scale[None, :] + self.centre[None, :]

    def transform_change(self, change: Float[Array, "row column"]) -> Float[Array, "row column"]:
        """What a change of the data does to what :meth:`transform` gives."""
        return change / self.scale[None, :]

    def transform_error(self, error: Float[Array, "row column"]) -> Float[Array, "row column"]:
        """A standard deviation has no centre: physical to scaled."""
        return error / self.scale[None, :]

    def inverse_error(self, error: Float[Array, "row column"]) -> Float[Array, "row column"]:
        """A standard deviation, scaled to physical."""
        return error * self.scale[None, :]


class Scalers(NamedTuple):
    """What one training fold fitted.

    Attributes:
        xp: makes the encoder's inputs of a spectrum that is normalised by magnitude.
        labels: scales the labels.
    """

    xp: RobustScaler | Whitened
    labels: RobustScaler


def fit_scaler(
    x: np.ndarray,
    percentiles: tuple[float, float],
    *,
    names: tuple[str, ...] | None = None,
    gaps: bool = False,
) -> RobustScaler:
    """Medians and percentile ranges of the columns of ``x`` ``[row, column]``.

    Args:
        x: the training rows alone, in physical units.
        percentiles: :data:`SPECTRUM_RANGE` or :data:`LABEL_RANGE`.
        names: what errors call the columns; their numbers by default.
        gaps: values that are not finite are missing ones, and left out column by column.

    Returns:
        Of the columns, as float32 on the device.

    Raises:
        InputError: no rows, a value that is not finite (with ``gaps``: a column without
            a finite one), or a column whose range is zero; the columns are named.

    Examples:
        The median and the distance of the quartiles: the outlier moves neither.

        >>> scaler = fit_scaler(np.array([[0.0], [1.0], [2.0], [3.0], [100.0]]), SPECTRUM_RANGE)
        >>> scaler.centre.tolist(), scaler.scale.tolist()
        ([2.0], [2.0])
    """
    if len(x) == 0:
        raise InputError("no rows to fit a scaler to: pass at least two stars")

    def named(bad: np.ndarray) -> str:
        columns = np.flatnonzero(bad)
        shown = ", ".join(names[c] if names else str(c) for c in columns[:5])
        return f"column{'s' if len(columns) > 1 else ''} {shown}" + (
            f" and {len(columns) - 5} more" if len(columns) > 5 else ""
        )

    finite = np.isfinite(x)
    usable = finite.any(axis=0) if gaps else finite.all(axis=0)
    if not usable.all():
        what = "without any value" if gaps else "not finite: drop those stars"
        raise InputError(f"{named(~usable)} of the training set {what}")
    percentile = np.percentile if finite.all() else np.nanpercentile
    low, centre, high = percentile(
        np.where(finite, x, np.nan).astype(np.float64),
        [percentiles[0], 50.0, percentiles[1]],
        axis=0,
    )
    constant = high - low <= 0
    if constant.any():
        raise InputError(
            f"{named(constant)} of the training set with zero percentile range: "
            f"leave it out or pass more stars (got {len(x)})"
        )
    return RobustScaler(
        centre=jnp.asarray(centre, jnp.float32), scale=jnp.asarray(high - low, jnp.float32)
    )


def fit_representation(x: np.ndarray, error: np.ndarray, cfg: Data) -> RobustScaler | Whitened:
    """What the encoder sees of spectra, as the config wants it.

    Args:
        x: normalised spectra of the training stars alone ``[star, xp]``.
        error: their 1-sigma errors, likewise.
        cfg: ``representation`` and its settings.

    Returns:
        What transforms spectra, fitted.

    Raises:
        InputError: of :func:`fit_scaler` and
            :func:`aspgap_jax.preprocessing.representation.fit_whitened`.
    """
    if cfg.representation == "whitened":
        return fit_whitened(x, error, components=cfg.components, whitening=cfg.whitening)
    return fit_scaler(x, SPECTRUM_RANGE)


def stack(scalers: list[Scalers]) -> Scalers:
    """One pytree with a leading ``member`` axis from many.

    Args:
        scalers: of the members, in their order.

    Returns:
        Scalers whose arrays are ``[member, column]``.
    """
    stacked: Scalers = jax.tree.map(lambda *leaves: jnp.stack(leaves), *scalers)
    return stacked
