"""Spectra as Gaia delivers them become what the networks take (section 2.3).

Coefficients become samples where the networks want samples; a star without G gets one
from its spectrum; both representations end normalised by magnitude.
"""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from aspgap_jax.prediction import photometry
from aspgap_jax.prediction.bundle import Bundle
from aspgap_jax.preprocessing.scaling import normalise
from aspgap_jax.typing import XP, Array, Bool, Float, PerStar

__all__ = [
    "FLUX_UNIT",
    "Normalised",
    "instrument_matrix",
    "norm_ratio",
    "normalised_spectra",
    "to_samples",
]

FLUX_UNIT = 1e-18
"""W m^-2 nm^-1. The squares of fluxes in W m^-2 nm^-1 are too small for float32."""


class Normalised(NamedTuple):
    """Spectra as the networks take them, before scaling.

    Attributes:
        xp: over the magnitude factor; what is not finite is the training stars' median.
        error: likewise.
        colour: synthetic G_BP - G_RP, mag.
        g_synthetic: synthetic G, mag; NaN where the flux is not positive.
        whole: whether every delivered value was finite.
    """

    xp: XP
    error: XP
    colour: PerStar
    g_synthetic: PerStar
    whole: Bool[Array, " star"]


def instrument_matrix() -> Float[np.ndarray, "sample coeff"]:
    """From coefficients to samples, W m^-2 nm^-1 per e-/s (Gaia DR3, both bands).

    The matrix of :func:`aspgap_jax.survey.xp.instrument.instrument_model`, kept with
    the package (``experiments/package_data/instrument_matrix.py``), because GaiaXPy is no
    requirement of it.

    Returns:
        The 343 samples of Gaia's grid by the 110 coefficients, BP's first.
    """
    path = resources.files("aspgap_jax") / "data" / "xp_instrument.npy"
    with resources.as_file(path) as file:
        return np.asarray(np.load(file, allow_pickle=False))


def to_samples(
    instrument: Float[Array, "xp coeff"],
    xp: Float[Array, "star coeff"],
    error: Float[Array, "star coeff"],
) -> tuple[XP, XP]:
    """Coefficients and errors to sampled fluxes, W m^-2 nm^-1, and theirs.

    The errors are propagated as if they were independent.

    Args:
        instrument: in units of :data:`FLUX_UNIT`.
        xp: coefficients.
        error: their 1-sigma errors.

    Returns:
        Fluxes and errors ``[star, xp]``.
    """
    flux = jnp.matmul(xp, instrument.T, precision="highest")
    variance = jnp.matmul(jnp.square(error), jnp.square(instrument).T, precision="highest")
    return FLUX_UNIT * flux, FLUX_UNIT * jnp.sqrt(variance)


def normalised_spectra(
    bundle: Bundle,
    xp: Float[Array, "star delivered"],
    error: Float[Array, "star delivered"],
    g_mag: PerStar,
    exponent: float,
) -> Normalised:
    """Normalise spectra, of whatever representation they come in.

    Args:
        bundle: where its networks take samples, ``xp`` can be either.
        xp: spectra in Gaia's units.
        error: their errors.
        g_mag: Gaia G, mag, or NaN.
        exponent: of :func:`aspgap_jax.preprocessing.scaling.magnitude_factor`.

    Returns:
        Spectra over their magnitude factor, and what they say of their stars.
    """
    # Whether something is missing is asked of the delivered values: in a sum over
    # coefficients one that is not finite would spoil all samples.
    finite = jnp.isfinite(xp) & jnp.isfinite(error)
    converts = xp.shape[1] == bundle.instrument.shape[1]
    if converts:
        flux, flux_error = to_samples(
            bundle.instrument, jnp.where(finite, xp, 0.0), jnp.where(finite, error, 0.0)
        )
        usable = jnp.isfinite(flux)
    else:
        flux, flux_error, usable = xp, error, finite
    magnitudes = photometry.magnitudes(bundle.photometry, jnp.where(usable, flux, 0.0))
    g_used = jnp.where(jnp.isfinite(g_mag), g_mag, magnitudes[:, 0])
    scaler = bundle.domain.scaler

    def filled(values: XP, instead: Float[Array, " xp"]) -> XP:
        return jnp.where(usable, normalise(values, g_used, exponent), instead[None, :])

    return Normalised(
        xp=filled(flux, scaler.centre),
        error=filled(flux_error, scaler.scale),
        colour=magnitudes[:, 1] - magnitudes[:, 2],
        g_synthetic=magnitudes[:, 0],
        whole=finite.all(axis=1),
    )


def norm_ratio(values: XP, errors: XP) -> PerStar:
    """L2 norm of the finite values over that of their errors
    (:mod:`aspgap_jax.preprocessing.snr`).

    Args:
        values: ``[star, xp]``.
        errors: their 1-sigma errors.

    Returns:
        A number a star.
    """
    finite = jnp.isfinite(values) & jnp.isfinite(errors)
    # The largest error becomes 1: squares of fluxes are too small for float32.
    unit = jnp.where(finite, errors, 0.0).max(axis=1, keepdims=True)
    unit = jnp.where(unit > 0, unit, 1.0)
    signal, noise = (
        jnp.square(jnp.where(finite, array / unit, 0.0)).sum(axis=1) for array in (values, errors)
    )
    return jnp.sqrt(signal / noise)
