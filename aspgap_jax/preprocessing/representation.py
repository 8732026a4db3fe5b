"""What the encoder sees of a spectrum: scaled column by column, or partly whitened.

The paper scales every column by its own percentile range (eq. 1), which makes columns
that hold noise as loud as columns that hold the star. The partly whitened representation
takes the noise as the unit instead:

1. a spectrum is centred by the training stars' median and divided, sample by sample, by
   their median error;
2. it is rotated onto the principal components of the training stars;
3. each component is divided by its standard deviation to the power ``whitening``:
   0 leaves the scatter of the stars as it is, 1 makes all components alike. One factor
   brings the mean square of all inputs to 1, which is what initial weights are made for.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.typing import XP, Array, Float

__all__ = ["Whitened", "fit_whitened"]

ROUNDING = 1e-12
"""Of a component's standard deviation, relative to the first one: what is below is rounding."""


class Whitened(NamedTuple):
    """A partly whitened representation, fitted to the training stars of a fold.

    Attributes:
        centre: medians of the normalised spectra ``[xp]``.
        noise: medians of their errors ``[xp]``, > 0.
        rotation: principal components, each over std^whitening, times a number
            ``[xp, component]``.
    """

    centre: Float[Array, " xp"]
    noise: Float[Array, " xp"]
    rotation: Float[Array, "xp component"]

    @property
    def n_inputs(self) -> int:
        """Width of what :meth:`transform` gives."""
        return self.rotation.shape[-1]

    def transform(self, x: XP) -> Float[Array, "star component"]:
        """Normalised spectra to the encoder's inputs."""
        # Subtracted first: after the rotation, float32 would lose what is left of large numbers.
        return self.transform_change(x - self.centre[None, :])

    def transform_change(self, change: XP) -> Float[Array, "star component"]:
        """What a change of a spectrum does to the encoder's inputs."""
        return jnp.matmul(change / self.noise[None, :], self.rotation, precision="highest")


def fit_whitened(
    x: Float[np.ndarray, "star xp"],
    error: Float[np.ndarray, "star xp"],
    *,
    components: int,
    whitening: float,
) -> Whitened:
    """Fit the representation.

    Args:
        x: spectra of the training stars alone, normalised by magnitude.
        error: their 1-sigma errors, likewise.
        components: how many principal components are kept.
        whitening: the power of their standard deviations that divides them, 0 to 1.

    Returns:
        What turns normalised spectra into that representation.

    Raises:
        InputError: fewer stars than components, a column that is constant or not
            finite, more components than columns, or than the stars span.
    """
    n_stars, n_columns = x.shape
    if components > n_columns:
        raise InputError(
            f"{components} components of spectra with {n_columns} values: "
            f"set --data.components to {n_columns} or fewer"
        )
    if n_stars <= components:
        raise InputError(
            f"{n_stars} training stars in a fold are too few for {components} components: "
            "pass more stars, or lower --data.components"
        )
    x, error = np.asarray(x, np.float64), np.asarray(error, np.float64)
    for what, values in (("xp", x), ("xp_error", error)):
        _refuse(~np.isfinite(values).all(axis=0), f"of {what} of the training set not finite")
    noise = np.median(error, axis=0)
    _refuse(noise <= 0, "of xp_error of the training set with a median that is not above 0")
    _refuse(np.ptp(x, axis=0) == 0, "of xp of the training set constant")
    centre = np.median(x, axis=0)
    scaled = (x - centre) / noise
    # R of a QR decomposition has the singular values of the whole; those of a covariance
    # matrix would be good to half as many digits.
    _, singular, vectors = np.linalg.svd(np.linalg.qr(scaled - scaled.mean(axis=0), mode="r"))
    std = singular[:components] / np.sqrt(n_stars)
    if std[-1] <= ROUNDING * std[0]:
        spanned = int((std > ROUNDING * std[0]).sum())
        raise InputError(
            f"the training stars span {spanned} components, not {components}: "
            "pass more stars, or lower --data.components"
        )
    rotation = _signed(vectors[:components].T) / std**whitening
    rotation /= np.sqrt(np.mean(np.square(scaled @ rotation)))
    return Whitened(*(jnp.asarray(array, jnp.float32) for array in (centre, noise, rotation)))


def _refuse(bad: np.ndarray, what: str) -> None:
    columns = np.flatnonzero(bad)
    if columns.size:
        more = f" and {columns.size - 1} more" if columns.size > 1 else ""
        raise InputError(f"column {columns[0]}{more} {what}: drop those stars, or leave it out")


def _signed(vectors: np.ndarray) -> np.ndarray:
    """Directions with their largest entry positive: else the sign is the library's whim."""
    largest = np.abs(vectors).argmax(axis=0)
    return np.asarray(vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])]))
