"""Signal-to-noise ratios of XP coefficients, as the paper defines them (section 2.2).

"The S/N is defined as the L2 norm of the given coefficients divided by the L2
norm of the corresponding errors." Figure 1 cuts at 100 for the coefficients
1-10 and at 1 for the coefficients 11-55, in BP and in RP
(:func:`aspgap_jax.preprocessing.selection.snr_conditions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["MIN_SNR_HIGH", "MIN_SNR_LOW", "RANGES", "LeastSNR", "band_snrs", "snr"]

MIN_SNR_LOW = 100.0
MIN_SNR_HIGH = 1.0
RANGES: Mapping[str, slice] = {"": slice(None), "_low": slice(0, 10), "_high": slice(10, None)}
"""Suffix of a column and the coefficients of a band that it counts: all, 1-10,
and 11-55. The last range is open, because DR4 has other numbers of coefficients."""


@dataclass(frozen=True)
class LeastSNR:
    """How good spectra must be; of coefficients, not of sampled fluxes."""

    min_snr_low: float = MIN_SNR_LOW
    """Least S/N of the coefficients 1-10, in both bands (Fig. 1)."""
    min_snr_high: float = MIN_SNR_HIGH
    """Least S/N of the coefficients 11-55, in both bands (Fig. 1)."""


def snr(
    values: Float[np.ndarray, "star coeff"], errors: Float[np.ndarray, "star coeff"]
) -> Float[np.ndarray, " star"]:
    """L2 norm of ``values`` over L2 norm of ``errors``, a number a star.

    Coefficients whose value or error is not finite count in neither norm.

    Args:
        values: coefficients.
        errors: their 1-sigma errors, in the same unit.

    Returns:
        float64; NaN for a star with no finite coefficient, or no error above zero.

    Examples:
        >>> snr(np.array([[3.0, 4.0]]), np.array([[0.0, 2.0]])).tolist()
        [2.5]
    """
    finite = np.isfinite(values) & np.isfinite(errors)
    signal, noise = (
        np.linalg.norm(np.where(finite, array, 0.0).astype(np.float64), axis=1)
        for array in (values, errors)
    )
    return np.asarray(np.divide(signal, noise, out=np.full(len(values), np.nan), where=noise > 0))


def band_snrs(
    coefficients: Float[np.ndarray, "star xp"], errors: Float[np.ndarray, "star xp"], n_bp: int
) -> dict[str, Float[np.ndarray, " star"]]:
    """The S/N of every band and range of Figure 1.

    Args:
        coefficients: BP then RP coefficients.
        errors: their 1-sigma errors.
        n_bp: how many of them are BP coefficients.

    Returns:
        ``snr_bp``, ``snr_bp_low`` (1-10), ``snr_bp_high`` (11-55), and so for RP.
    """
    return {
        f"snr_{band}{suffix}": snr(coefficients[:, columns][:, part], errors[:, columns][:, part])
        for band, columns in (("bp", slice(0, n_bp)), ("rp", slice(n_bp, None)))
        for suffix, part in RANGES.items()
    }
