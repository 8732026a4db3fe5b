"""How two sets of labels of the same stars agree, for all stars and bin by bin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aspgap_jax.validation.metrics import MAD_TO_SIGMA

__all__ = ["Agreement", "PrecisionCurve", "agreement", "equal_bins", "inverse_snr", "precision"]


class Agreement(NamedTuple):
    """Statistics of ``ours - theirs``; all but ``n`` are NaN without stars.

    Attributes:
        n: stars whose label both know.
        rms: root of the mean squared difference, in the label's unit.
        scatter: standard deviation of the difference, what the paper calls scatter.
        scatter_mad: 1.4826 x the median absolute deviation from the median.
        mae: mean absolute difference.
        bias: mean difference.
        bias_median: median difference, the bias of the paper's Fig. 14.
    """

    n: int
    rms: float
    scatter: float
    scatter_mad: float
    mae: float
    bias: float
    bias_median: float


class PrecisionCurve(NamedTuple):
    """Precision against S/N (Fig. 7); arrays ``[bin]``, in the label's unit.

    Attributes:
        snr: median S/N of the bin.
        n: stars in it.
        rms, mae, scatter, bias: as in :class:`Agreement`.
        formal: median predicted sigma.
    """

    snr: np.ndarray
    n: np.ndarray
    rms: np.ndarray
    mae: np.ndarray
    scatter: np.ndarray
    bias: np.ndarray
    formal: np.ndarray


def agreement(ours: Float[np.ndarray, " star"], theirs: Float[np.ndarray, " star"]) -> Agreement:
    """Compare one label of two catalogues, star by star (sections 4.1 and 4.3).

    Args:
        ours: the label under test.
        theirs: the same label from elsewhere, in the same unit. A star that is NaN
            in either is left out.

    Returns:
        Statistics of ours minus theirs.
    """
    difference = np.subtract(ours, theirs, dtype=np.float64)
    difference = difference[np.isfinite(difference)]
    if not difference.size:
        return Agreement(0, *[float("nan")] * 6)
    median = np.median(difference)
    return Agreement(
        n=difference.size,
        rms=float(np.sqrt(np.mean(np.square(difference)))),
        scatter=float(np.std(difference)),
        scatter_mad=float(MAD_TO_SIGMA * np.median(np.abs(difference - median))),
        mae=float(np.mean(np.abs(difference))),
        bias=float(np.mean(difference)),
        bias_median=float(median),
    )


def equal_bins(values: Float[np.ndarray, " star"], bins: int) -> Float[np.ndarray, " edge"]:
    """Edges of ``bins`` bins with the same number of stars; NaN counts in none.

    Fewer edges come back where values repeat so often that bins would be empty.

    Args:
        values: what is binned.
        bins: how many.

    Returns:
        Ascending edges, ``bins + 1`` at most.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if not known.size:
        return np.array([0.0, 1.0])
    edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, bins + 1)))
    # The last bin takes the largest value too.
    return np.append(edges[:-1], np.nextafter(edges[-1], np.inf))


def precision(
    snr: Float[np.ndarray, " star"],
    prediction: Float[np.ndarray, " star"],
    sigma: Float[np.ndarray, " star"],
    truth: Float[np.ndarray, " star"],
    edges: Float[np.ndarray, " edge"],
) -> PrecisionCurve:
    """Residuals and formal errors of one label in bins of S/N (Fig. 7).

    Args:
        snr: S/N of the spectra.
        prediction: predicted label.
        sigma: its predicted uncertainty, the formal error.
        truth: reference label, NaN where unknown.
        edges: ascending; a bin takes its lower edge and not its upper one.

    Returns:
        A row a bin that has stars, in ascending order.
    """
    known = np.isfinite(snr) & np.isfinite(truth)
    place = np.where(known, np.digitize(snr, edges) - 1, -1)
    rows = []
    for index in range(len(edges) - 1):
        inside = place == index
        if not inside.any():
            continue
        found = agreement(prediction[inside], truth[inside])
        rows.append(
            (
                float(np.median(snr[inside])),
                found.n,
                found.rms,
                found.mae,
                found.scatter,
                found.bias,
                float(np.median(sigma[inside])),
            )
        )
    if not rows:
        return PrecisionCurve(*[np.zeros(0)] * len(PrecisionCurve._fields))
    return PrecisionCurve(*(np.array(column) for column in zip(*rows, strict=True)))


def inverse_snr(curve: PrecisionCurve) -> Float[np.ndarray, " bin"]:
    """The naive expectation of Fig. 7: proportional to 1/SNR, and the rms of the first bin.

    Args:
        curve: of one label.

    Returns:
        In the label's unit; empty without bins.
    """
    if not len(curve.snr):
        return np.zeros(0)
    return np.asarray(curve.rms[0] * curve.snr[0] / curve.snr)
