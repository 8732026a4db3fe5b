"""Are the uncertainties right? The distribution of chi (Fig. 8)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aspgap_jax.validation.metrics import MAD_TO_SIGMA

__all__ = ["ChiFit", "fit_chi"]


class ChiFit(NamedTuple):
    """The best-fitting normal distribution of chi, and how much of it is where.

    Attributes:
        n: stars.
        mean, sigma: of the normal distribution of maximum likelihood, which are the
            mean and the standard deviation; 0 and 1 are right.
        sigma_mad: 1.4826 x the median absolute deviation: sigma of the core.
        within_1: fraction of stars with |chi| < 1; 0.6827 is right.
        within_2: fraction with |chi| < 1.9600; 0.95 is right.
    """

    n: int
    mean: float
    sigma: float
    sigma_mad: float
    within_1: float
    within_2: float


# 95% of a normal distribution lie within this many standard deviations.
BOUND_95 = 1.959964


def fit_chi(chi: Float[np.ndarray, " star"]) -> ChiFit:
    """Fit a normal distribution to chi and count its coverage at 68 and 95% (Fig. 8).

    Args:
        chi: residuals over their uncertainties; NaN where unknown. All fields but
            ``n`` are NaN where nothing is known.

    Returns:
        Moments, robust width, and shares within one and two sigma.
    """
    chi = chi[np.isfinite(chi)].astype(np.float64)
    if not chi.size:
        return ChiFit(0, *[float("nan")] * 5)
    return ChiFit(
        n=chi.size,
        mean=float(np.mean(chi)),
        sigma=float(np.std(chi)),
        sigma_mad=float(MAD_TO_SIGMA * np.median(np.abs(chi - np.median(chi)))),
        within_1=float(np.mean(np.abs(chi) < 1.0)),
        within_2=float(np.mean(np.abs(chi) < BOUND_95)),
    )
