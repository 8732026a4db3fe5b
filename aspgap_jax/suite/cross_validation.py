"""Figures 1, 2 and 5 to 9: the run against the labels it was trained on (section 4.1)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from aspgap_jax import labels, plots
from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.plots.precision import precision_curves, signal_to_noise, uncertainty_map
from aspgap_jax.preprocessing.snr import MIN_SNR_HIGH, MIN_SNR_LOW, snr
from aspgap_jax.suite.study import Drawn, Inputs, Missing, Result, Study
from aspgap_jax.validation.agreement import PrecisionCurve, agreement, equal_bins, precision
from aspgap_jax.validation.coverage import fit_chi
from aspgap_jax.validation.metrics import metrics_table, normalised_residual
from aspgap_jax.validation.paper import PAPER, SOURCE

__all__ = ["STUDIES", "Signal", "run_signal"]

BINS = 10
SPLIT = 640.0  # nm: RP begins here
NAMES = labels.names()
KINDS = {"": "coefficients 1-55", "_low": "coefficients 1-10", "_high": "coefficients 11-55"}
BOUNDS = {KINDS["_low"]: MIN_SNR_LOW, KINDS["_high"]: MIN_SNR_HIGH}


class Signal(NamedTuple):
    """S/N of the spectra of a run.

    Attributes:
        bands: by band (``BP``, ``RP``), by what was counted, ``[star]``; what is
            counted first is the whole band.
        coefficients: whether it is the paper's S/N, of coefficients.
    """

    bands: dict[str, dict[str, np.ndarray]]
    coefficients: bool

    def axis(self, band: str) -> str:
        """Name of the axis of a band."""
        return f"S/N ({band})" if self.coefficients else f"S/N ({band} samples)"

    def whole(self, band: str) -> np.ndarray:
        """S/N of a whole band ``[star]``."""
        return next(iter(self.bands[band].values()))

    @property
    def note(self) -> str:
        """What S/N this is."""
        if self.coefficients:
            return "S/N: L2 norm of the coefficients over that of their errors (section 2.2)."
        return (
            f"The run has sampled spectra: S/N here is the L2 norm of the fluxes below (BP) or "
            f"above (RP) {SPLIT:g} nm over that of their errors, not the paper's S/N of "
            "coefficients."
        )


def run_signal(inputs: Inputs) -> Signal:
    """S/N of the spectra of a run: of its columns, or of the sampled spectra themselves.

    Args:
        inputs: of a finished run.

    Returns:
        The S/N of every star, by band and by the part of the coefficients.

    Raises:
        Missing: it has neither.
    """
    columns = inputs.predictions.columns
    if all(f"snr_{band}{suffix}" in columns for band in ("bp", "rp") for suffix in KINDS):
        bands = {
            band.upper(): {
                words: np.asarray(columns[f"snr_{band}{suffix}"], np.float64)
                for suffix, words in KINDS.items()
            }
            for band in ("bp", "rp")
        }
        return Signal(bands, coefficients=True)
    stars = inputs.stars
    if stars.wavelength is None:
        raise Missing("needs the columns snr_bp, snr_bp_low, ... that `aspgap prepare` writes")
    blue = stars.wavelength < SPLIT
    bands = {
        band: {"samples": snr(stars.xp[:, part], stars.xp_error[:, part])}
        for band, part in (("BP", blue), ("RP", ~blue))
    }
    return Signal(bands, coefficients=False)


def with_truth(inputs: Inputs) -> Predictions:
    """The predictions of a run that has reference labels.

    Raises:
        Missing: it has none.
    """
    if not np.isfinite(inputs.predictions.truth).any():
        raise Missing("needs reference labels in the run")
    return inputs.predictions


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's: the linear correlation of ranks; ties in the order of the stars."""
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 3:
        return float("nan")
    first, second = (
        np.argsort(np.argsort(each[known], kind="stable")).astype(np.float64) for each in (x, y)
    )
    return float(np.corrcoef(first, second)[0, 1])


def figure01(inputs: Inputs) -> Result:
    """S/N of XP spectra, and the share of stars beyond the paper's thresholds."""
    signal = run_signal(inputs)
    numbers: dict[str, dict[str, Any]] = {}
    for band, kinds in signal.bands.items():
        numbers[band] = {}
        for words, values in kinds.items():
            row = {"stars": int(np.isfinite(values).sum()), "median": float(np.nanmedian(values))}
            if words in BOUNDS:
                row["above_threshold"] = float(np.mean(values > BOUNDS[words]))
            numbers[band][words] = row
    what = "coefficients" if signal.coefficients else "samples"
    figure, narrow = (
        signal_to_noise(signal.bands, BOUNDS, f"S/N of {what}", narrow=each)
        for each in (False, True)
    )
    caption = f"Fig. 1: S/N of the XP {what} of the run."
    if signal.coefficients:
        caption += " Dotted, the thresholds of the training sample (100 and 1)."
    return Result(numbers, (Drawn("figure01_snr", figure, caption, narrow),), notes=(signal.note,))


def figure02(inputs: Inputs) -> Result:
    """The training set: its labels."""
    truth = with_truth(inputs).truth.astype(np.float64)
    spread = np.nanpercentile(truth, [5, 50, 95], axis=0)
    numbers = {
        "stars": len(truth),
        "labels": {
            name: {f"percentile_{p}": float(spread[i, j]) for i, p in enumerate((5, 50, 95))}
            for j, name in enumerate(NAMES)
        },
    }
    drawn = Drawn(
        "figure02_training_set",
        plots.training_set(truth),
        "Fig. 2: the training set.",
        plots.training_set(truth, narrow=True),
    )
    return Result(numbers, (drawn,), {"stars": "142,130"})


def figure05(inputs: Inputs) -> Result:
    """One-to-one comparison; metrics with the outlier rate of eq. 5."""
    p = with_truth(inputs)
    drawn = Drawn(
        "figure05_one_to_one",
        plots.one_to_one(p.prediction, p.truth),
        "Fig. 5: labels predicted out of fold from XP spectra against APOGEE's. Dashed, one rms.",
        plots.one_to_one(p.prediction, p.truth, columns=2),
    )
    return Result(metrics_table(p), (drawn,), PAPER, (f"Paper: {SOURCE}.",))


def figure06(inputs: Inputs) -> Result:
    """Do stars with large residuals have large predicted uncertainties?"""
    p = with_truth(inputs)
    numbers = {}
    for column, name in enumerate(NAMES):
        sigma = p.sigma[:, column].astype(np.float64)
        size = np.abs(np.subtract(p.prediction[:, column], p.truth[:, column], dtype=np.float64))
        known = np.isfinite(size)
        low, high = np.quantile(sigma[known], [0.25, 0.75]) if known.any() else (np.nan, np.nan)
        numbers[name] = {
            "rms_lowest_quarter_of_sigma": _rms(size[known & (sigma <= low)]),
            "rms_highest_quarter_of_sigma": _rms(size[known & (sigma >= high)]),
            "rank_correlation_of_residual_and_sigma": rank_correlation(size, sigma),
        }
    drawn = Drawn(
        "figure06_one_to_one_by_sigma",
        plots.one_to_one_by_sigma(p.prediction, p.sigma, p.truth),
        "Fig. 6: as Fig. 5, coloured by the median predicted uncertainty of a cell.",
        plots.one_to_one_by_sigma(p.prediction, p.sigma, p.truth, columns=2),
    )
    return Result(numbers, (drawn,))


def _rms(values: Float[np.ndarray, " star"]) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")


def figure07(inputs: Inputs) -> Result:
    """Precision against S/N, in bins of equally many stars."""
    signal = run_signal(inputs)
    p = with_truth(inputs)
    numbers: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    drawn = {}
    for band in signal.bands:
        values = signal.whole(band)
        edges = equal_bins(values, BINS)
        found = [_curve(p, values, edges, column) for column in range(len(NAMES))]
        drawn[signal.axis(band)] = found
        curves[band] = {
            name: {field: column.tolist() for field, column in curve._asdict().items()}
            for name, curve in zip(NAMES, found, strict=True)
        }
        for end, words in ((0, "lowest"), (-1, "highest")):
            numbers[f"{band}, bin of {words} S/N"] = {
                name: {field: column[end].item() for field, column in curve._asdict().items()}
                for name, curve in zip(NAMES, found, strict=True)
                if len(curve.snr)
            }
    numbers["curves"] = curves
    paper: dict[str, Any] = {}
    if signal.coefficients:
        bins = {"RP S/N 600-1000": (600.0, 1000.0), "RP S/N > 1500": (1500.0, np.inf)}
        printed = (("40", "0.10", "0.05", "0.02"), ("30", "0.06", "0.04", "0.01"))
        red = signal.whole("RP")
        for (words, (low, high)), texts in zip(bins.items(), printed, strict=True):
            keep = (red > low) & (red < high)
            numbers[words] = {
                name: agreement(p.prediction[keep, j], p.truth[keep, j])._asdict()
                for j, name in enumerate(NAMES)
            }
            paper[words] = {n: {"scatter": t} for n, t in zip(NAMES, texts, strict=False)}
    caption = (
        "Fig. 7: precision against S/N; a panel a label and band. Dashed grey: "
        "1/(S/N) through the rms of the first bin."
    )
    figure = Drawn(
        "figure07_precision",
        precision_curves(drawn),
        caption,
        precision_curves(drawn, narrow=True),
    )
    return Result(numbers, (figure,), paper, (signal.note, "The curves are in validation.json."))


def _curve(p: Predictions, values: np.ndarray, edges: np.ndarray, column: int) -> PrecisionCurve:
    return precision(values, p.prediction[:, column], p.sigma[:, column], p.truth[:, column], edges)


def figure08(inputs: Inputs) -> Result:
    """Chi: normal fit and coverage."""
    p = with_truth(inputs)
    chi = normalised_residual(p.prediction, p.sigma, p.truth, p.truth_error)
    numbers = {}
    for column, name in enumerate(NAMES):
        found = fit_chi(chi[:, column])._asdict()
        found["coverage_68"], found["coverage_95"] = found.pop("within_1"), found.pop("within_2")
        numbers[name] = found
    drawn = Drawn(
        "figure08_chi",
        plots.chi_distribution(chi),
        "Fig. 8: residuals over their uncertainties (chi), N(0, 1) and a normal of their core.",
        plots.chi_distribution(chi, columns=2),
    )
    paper = {name: {"sigma": "~1.3"} for name in ("teff", "logg", "m_h")}
    note = "Right are mean 0, sigma 1, coverage 0.683 (|chi| < 1) and 0.950 (|chi| < 1.96)."
    return Result(numbers, (drawn,), paper, (note,))


def figure09(inputs: Inputs) -> Result:
    """Which predicts the uncertainty better, G or S/N?"""
    signal = run_signal(inputs)
    p = inputs.predictions
    red = signal.whole("RP")
    numbers = {
        name: {
            "rank_correlation_of_sigma_and_snr": rank_correlation(p.sigma[:, j], red),
            "rank_correlation_of_sigma_and_g": rank_correlation(p.sigma[:, j], p.g_mag),
        }
        for j, name in enumerate(NAMES)
    }
    drawn = Drawn(
        "figure09_uncertainty",
        uncertainty_map(p.g_mag, red, p.sigma, signal.axis("RP")),
        "Fig. 9: mean predicted uncertainty against G and S/N; contours hold 30, 60 and 90% "
        "of the stars.",
        uncertainty_map(p.g_mag, red, p.sigma, signal.axis("RP"), narrow=True),
    )
    return Result(numbers, (drawn,), notes=(signal.note,))


SPECTRA = "S/N columns, or the sampled spectra the run was made from"
STUDIES = (
    Study("figure01", "Figure 1: S/N of the spectra", SPECTRA, figure01),
    Study("figure02", "Figure 2: the training set", "reference labels", figure02),
    Study("figure05", "Figure 5: cross-validation", "reference labels", figure05),
    Study("figure06", "Figure 6: residuals and uncertainties", "reference labels", figure06),
    Study("figure07", "Figure 7: precision against S/N", SPECTRA, figure07),
    Study("figure08", "Figure 8: are the uncertainties right?", "reference labels", figure08),
    Study("figure09", "Figure 9: uncertainty against G and S/N", SPECTRA, figure09),
)
