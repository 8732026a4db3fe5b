"""From coefficients to the sampled spectrum, by Gaia's instrument model.

The sampled flux of a star is linear in its coefficients. The matrix is the one of
GaiaXPy's ``calibrate`` (its default model, v375wi + v142r, and grid). BP and RP
overlap between 635 and 643 nm; there GaiaXPy weights RP by a ramp from 0 to 1 and
BP by the rest. A star with one band only has no flux on the other band's side.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Bool, Float

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.chunk import BANDS, XPChunk

__all__ = ["InstrumentModel", "covariance", "instrument_model", "sample_spectra"]


class InstrumentModel(NamedTuple):
    """The design matrices, float64, in W m^-2 nm^-1 per e-/s.

    Attributes:
        wavelength: grid of the samples, ``[sample]``, nm: 336-1020 in steps of 2.
        matrix: ``[sample, xp]`` for stars with both bands, BP coefficients first.
        bp: ``[sample, coeff]`` for stars with BP alone; NaN from 643 nm on.
        rp: ``[sample, coeff]`` for stars with RP alone; NaN up to 635 nm.
    """

    wavelength: Float[np.ndarray, " sample"]
    matrix: Float[np.ndarray, "sample xp"]
    bp: Float[np.ndarray, "sample coeff"]
    rp: Float[np.ndarray, "sample coeff"]


@cache
def instrument_model() -> InstrumentModel:
    """The instrument model of Gaia DR3.

    Raises:
        InputError: GaiaXPy is not installed.
    """
    try:
        # GaiaXPy sets matplotlib to LaTeX when it is imported.
        with matplotlib.rc_context():
            from gaiaxpy.core.config import load_xpmerge_from_xml, load_xpsampling_from_xml
            from gaiaxpy.core.satellite import BP_WL, RP_WL
    except ImportError as error:
        raise InputError(
            f"the Gaia instrument model comes with GaiaXPy ({error}); "
            f"run `pip install 'GaiaXPy>=2.1.5'`"
        ) from None
    wavelength, weight = load_xpmerge_from_xml()
    # GaiaXPy keeps them as [coeff, sample].
    design = {band: matrix.T for band, matrix in load_xpsampling_from_xml().items()}
    weighted = [weight[band][:, None] * design[band] for band in BANDS]
    return InstrumentModel(
        wavelength=wavelength,
        matrix=np.concatenate(weighted, axis=1),
        bp=np.where((wavelength >= BP_WL.high)[:, None], np.nan, design["bp"]),
        rp=np.where((wavelength <= RP_WL.low)[:, None], np.nan, design["rp"]),
    )


def sample_spectra(
    model: InstrumentModel,
    coefficients: Float[np.ndarray, "star xp"],
    present: Bool[np.ndarray, "star band"],
) -> Float[np.ndarray, "star sample"]:
    """Sampled fluxes, W m^-2 nm^-1, as GaiaXPy's ``calibrate`` gives them.

    Args:
        model: of :func:`instrument_model`.
        coefficients: BP then RP, e-/s, as :class:`XPChunk` has them.
        present: which bands a star has.

    Returns:
        Fluxes in the precision of ``coefficients``, NaN where a star has no band,
        or a NaN among the coefficients of a band.

    Raises:
        InputError: the coefficients are not as many as the model has.
    """
    size = model.matrix.shape[1]
    if coefficients.shape[1] != size:
        raise InputError(
            f"spectra have {coefficients.shape[1]} coefficients, the instrument model of GaiaXPy "
            f"has {size}; use the GaiaXPy of their data release"
        )
    flux = np.full((len(coefficients), len(model.wavelength)), np.nan, coefficients.dtype)
    n_bp = model.bp.shape[1]
    cases = (
        (present.all(axis=1), coefficients, model.matrix),
        (present[:, 0] & ~present[:, 1], coefficients[:, :n_bp], model.bp),
        (present[:, 1] & ~present[:, 0], coefficients[:, n_bp:], model.rp),
    )
    for rows, values, matrix in cases:
        # Fluxes are of order 1e-17: the product is formed in float64.
        flux[rows] = np.einsum("ij,kj->ik", values[rows].astype(np.float64), matrix)
    return flux


def covariance(chunk: XPChunk, band: int) -> Float[np.ndarray, "star coeff coeff"]:
    """Covariance of the coefficients of BP (0) or RP (1), as GaiaXPy forms it.

    It is that of the least-squares solution before its errors were scaled by the
    standard deviation: ``diag(e / s) C diag(e / s)``.

    Args:
        chunk: read with correlations.
        band: 0 or 1.

    Returns:
        In the squared unit of the coefficients.

    Raises:
        InputError: the chunk was read without correlations.
    """
    if chunk.correlations is None:
        raise InputError("a covariance needs the correlations: read_xp(..., correlations=True)")
    scaled = chunk.errors[:, chunk.band(band)] / chunk.standard_deviation[:, band, None]
    size = scaled.shape[1]
    low = np.tril_indices(size, -1)
    correlation = np.broadcast_to(np.eye(size), (len(chunk), size, size)).copy()
    pairs = chunk.correlations[:, band, : len(low[0])]
    correlation[:, low[0], low[1]] = pairs
    correlation[:, low[1], low[0]] = pairs
    return np.asarray(scaled[:, :, None] * correlation * scaled[:, None, :])
