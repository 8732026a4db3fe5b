"""How good predicted labels are: residual statistics by label and by group of stars.

The residual is prediction - truth, so a positive bias means that the model
predicts too much. Everything is computed in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aspgap_jax import labels
from aspgap_jax.catalogue.predictions import Predictions

__all__ = [
    "GROUPS",
    "MAD_TO_SIGMA",
    "STATISTICS",
    "MetricsTable",
    "ResidualStatistics",
    "format_rows",
    "format_table",
    "metrics_table",
    "normalised_residual",
    "residual_statistics",
]

MetricsTable = dict[str, dict[str, dict[str, int | float | None]]]

# The median absolute deviation of a normal distribution is sigma / 1.4826.
MAD_TO_SIGMA = 1.4826

# Groups of stars by the faintest G [mag] they take, and their headings.
GROUPS = {"all": (np.inf, "all stars"), "g_lt_14": (14.0, "G < 14")}

# Statistics of a metrics table and their headings, in the order of print.
STATISTICS = {
    "n": "stars",
    "rms": "rms",
    "scatter_mad": "scatter (MAD)",
    "mae": "MAE",
    "bias": "bias",
    "outlier_rate": "outliers",
    "chi_sigma": "sigma(chi)",
}


class ResidualStatistics(NamedTuple):
    """Statistics of one label; all but ``n`` are NaN where there are no stars.

    Attributes:
        n: number of stars with a known truth.
        rms: root of the mean squared residual, in the label's unit.
        scatter_mad: 1.4826 x the median of |residual - median residual|, in the
            label's unit: the standard deviation of a normal distribution with
            the same core, deaf to outliers.
        mae: mean absolute residual, in the label's unit.
        bias: mean residual, prediction - truth, in the label's unit.
        outlier_rate: the fraction of stars beyond the bound of eq. 5.
        chi_mean: mean of chi (:func:`normalised_residual`).
        chi_sigma: plain standard deviation of chi; outliers count.
    """

    n: int
    rms: float
    scatter_mad: float
    mae: float
    bias: float
    outlier_rate: float
    chi_mean: float
    chi_sigma: float


def normalised_residual(
    prediction: Float[np.ndarray, "*shape"],
    sigma: Float[np.ndarray, "*shape"],
    truth: Float[np.ndarray, "*shape"],
    truth_error: Float[np.ndarray, "*shape"],
) -> Float[np.ndarray, "*shape"]:
    """chi of section 3.1: (truth - prediction) / sqrt(truth_error^2 + sigma^2).

    Note the sign, opposite to that of the residual.

    Args:
        prediction: predicted label.
        sigma: its 1-sigma uncertainty, same unit.
        truth: reference label.
        truth_error: its 1-sigma error.

    Returns:
        float64; NaN where the truth or its error is unknown.

    Examples:
        >>> one = np.ones(1)
        >>> normalised_residual(4790.0 * one, 4.0 * one, 4800.0 * one, 3.0 * one).tolist()
        [2.0]
    """
    variance = np.square(truth_error, dtype=np.float64) + np.square(sigma, dtype=np.float64)
    return np.asarray(np.subtract(truth, prediction, dtype=np.float64) / np.sqrt(variance))


def residual_statistics(
    prediction: Float[np.ndarray, " star"],
    sigma: Float[np.ndarray, " star"],
    truth: Float[np.ndarray, " star"],
    truth_error: Float[np.ndarray, " star"],
    outlier: labels.Outlier,
) -> ResidualStatistics:
    """Statistics of one label over the stars whose truth is known.

    Only an unknown truth leaves a star out: a prediction that is not finite
    counts as an outlier and makes the other statistics NaN. Chi is taken over
    the stars whose truth has a known error.

    Args:
        prediction: predicted label.
        sigma: its 1-sigma uncertainty, same unit.
        truth: reference label, NaN where unknown.
        truth_error: its 1-sigma error, NaN where unknown.
        outlier: when a residual counts as an outlier.

    Returns:
        The statistics, NaN where there is no star to take them over.

    Examples:
        >>> truth, error = np.zeros(4), np.ones(4)
        >>> found = residual_statistics(np.array([0.0, 0.0, 0.0, 2.0]), error, truth, error,
        ...                             labels.Outlier(1.5))
        >>> found.rms, found.bias, found.outlier_rate
        (1.0, 0.5, 0.25)
    """
    known = np.isfinite(truth)
    residual = np.subtract(prediction[known], truth[known], dtype=np.float64)
    if residual.size == 0:
        return ResidualStatistics(0, *[float("nan")] * 7)
    # Compared with the bound instead of divided by it: log g = 0 is a legal truth.
    scale = np.abs(truth[known].astype(np.float64)) if outlier.relative else 1.0
    inside = np.abs(residual) <= outlier.bound * scale
    chi = normalised_residual(prediction, sigma, truth, truth_error)
    chi = chi[known & np.isfinite(truth_error)]
    return ResidualStatistics(
        n=residual.size,
        rms=float(np.sqrt(np.mean(np.square(residual)))),
        scatter_mad=float(MAD_TO_SIGMA * np.median(np.abs(residual - np.median(residual)))),
        mae=float(np.mean(np.abs(residual))),
        bias=float(np.mean(residual)),
        outlier_rate=float(np.mean(~inside)),
        chi_mean=float(np.mean(chi)) if chi.size else float("nan"),
        chi_sigma=float(np.std(chi)) if chi.size else float("nan"),
    )


def metrics_table(predictions: Predictions) -> MetricsTable:
    """Residual statistics of every label for each of :data:`GROUPS`, ready for JSON.

    Args:
        predictions: of a run, in the units of the label table.

    Returns:
        ``{group: {label: {statistic: value}}}`` with the statistics of
        :data:`STATISTICS`. A value that does not exist is ``None``: JSON has no NaN.
    """
    table: MetricsTable = {}
    for group, (faintest, _) in GROUPS.items():
        # "all" takes the stars without a magnitude too.
        keep = predictions.g_mag < faintest if np.isfinite(faintest) else slice(None)
        table[group] = {}
        for column, label in enumerate(predictions.label_table):
            statistics = residual_statistics(
                predictions.prediction[keep, column],
                predictions.sigma[keep, column],
                predictions.truth[keep, column],
                predictions.truth_error[keep, column],
                label.outlier,
            )._asdict()
            table[group][label.name] = {
                name: statistics[name] if np.isfinite(statistics[name]) else None
                for name in STATISTICS
            }
    return table


def format_rows(
    metrics: MetricsTable, group: str, table: labels.LabelSet = labels.LABELS
) -> list[list[str]]:
    """The cells of one group as text: a row a label, beginning with its name and unit.

    Decimals follow the label table; a value that does not exist is ``-``.

    Args:
        metrics: of :func:`metrics_table`.
        group: a key of it.
        table: its labels.

    Returns:
        Rows of cells.
    """
    return [
        [label.name, label.unit]
        + [_format(name, metrics[group][label.name][name], label.decimals) for name in STATISTICS]
        for label in table
    ]


def format_table(metrics: MetricsTable, table: labels.LabelSet = labels.LABELS) -> str:
    """The metrics as a terminal prints them: one aligned block a group of stars.

    Args:
        metrics: of :func:`metrics_table`.
        table: its labels.

    Returns:
        Lines without a line break at the end.
    """
    blocks = []
    for group, (_, title) in GROUPS.items():
        rows = [["label", "unit", *STATISTICS.values()], *format_rows(metrics, group, table)]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                # Names and units to the left, numbers to the right.
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        blocks.append("\n".join([title, *lines]))
    return "\n\n".join(blocks)


def _format(name: str, value: int | float | None, decimals: int) -> str:
    if value is None:
        return "-"
    if name == "n":
        return f"{value:,}"
    if name == "outlier_rate":
        return f"{100 * value:.2f} %"
    # "z": a bias that rounds to zero has no sign.
    return f"{value:z.{2 if name == 'chi_sigma' else decimals}f}"
