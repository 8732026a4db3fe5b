"""The disks of Table 3 and Fig. 18, and what labels must look like in any case."""

from __future__ import annotations

import numpy as np

from aspgap_jax import labels
from aspgap_jax.plots.plausibility import label_planes, red_clump
from aspgap_jax.plots.populations import disk_groups
from aspgap_jax.suite.study import Drawn, Inputs, Missing, Result, Study
from aspgap_jax.validation.bootstrap import bootstrap
from aspgap_jax.validation.disks import DIVIDING_LINE, confusion, in_disk_range
from aspgap_jax.validation.red_clump import CLUMP_LOGG, around_the_clump, density, peak

__all__ = ["STUDIES"]

TEFF, LOGG, MOH, AOM = (labels.index(name) for name in ("teff", "logg", "m_h", "alpha_m"))
SHIFT = 0.02
"""By how much the dividing line is moved to see what hangs on it, dex."""


def table03(inputs: Inputs) -> Result:
    """Are low- and high-alpha disk stars told apart?

    Stars with -0.9 < [M/H] < 0 in APOGEE's labels; grouped by APOGEE's labels and by ours
    with one line.
    """
    p = inputs.predictions
    known = np.isfinite(p.truth[:, [MOH, AOM]]).all(axis=1)
    rows = np.flatnonzero(known & in_disk_range(p.truth[:, MOH]))
    if not len(rows):
        raise Missing("needs reference labels of stars with -0.9 < [M/H] < 0")
    truth, ours = p.truth[rows].astype(np.float64), p.prediction[rows].astype(np.float64)

    def groups(shift: float) -> tuple[np.ndarray, np.ndarray]:
        line = DIVIDING_LINE._replace(intercept=DIVIDING_LINE.intercept + shift)
        return line.above(truth[:, MOH], truth[:, AOM]), line.above(ours[:, MOH], ours[:, AOM])

    true_high, called = groups(0.0)
    found = confusion(true_high, called)

    def resampled(chosen: np.ndarray) -> np.ndarray:
        return np.array(confusion(true_high[chosen], called[chosen])[4:])

    error = bootstrap(resampled, len(rows), draws=inputs.draws, seed=inputs.seed).error
    numbers = {
        "stars": len(rows),
        "dividing_line": DIVIDING_LINE._asdict(),
        "confusion": {
            "low alpha": {"called_low": found.low_as_low, "called_high": found.low_as_high},
            "high alpha": {"called_low": found.high_as_low, "called_high": found.high_as_high},
        },
        "classes": {
            name: {
                "precision": getattr(found, f"{name}_precision"),
                "precision_error": float(error[first]),
                "recall": getattr(found, f"{name}_recall"),
                "recall_error": float(error[first + 1]),
            }
            for name, first in (("low", 0), ("high", 2))
        },
        "with_the_line_moved": {
            f"{shift:+.2f} dex": dict(
                zip(found._fields[4:], confusion(*groups(shift))[4:], strict=True)
            )
            for shift in (-SHIFT, SHIFT)
        },
    }
    paper = {
        "classes": {
            "low": {"precision": "0.97", "recall": "0.96"},
            "high": {"precision": "0.93", "recall": "0.94"},
        },
        "confusion": {"high alpha": {"called_high": "8,808"}},
    }
    figure, narrow = (
        disk_groups(truth[:, MOH], truth[:, AOM], true_high, DIVIDING_LINE, found, narrow=each)
        for each in (False, True)
    )
    note = (
        f"Dividing line: [alpha/M] = {DIVIDING_LINE.intercept:g} - {-DIVIDING_LINE.slope:g} [M/H]; "
        "the paper does not print its own. Errors are those of a bootstrap over stars."
    )
    caption = "Fig. 18: disk stars by APOGEE's labels, and the confusion matrix of XP's."
    return Result(numbers, (Drawn("figure18_disks", figure, caption, narrow),), paper, (note,))


def plausibility(inputs: Inputs) -> Result:
    """Kiel diagram, abundance plane, and the red clump in its place."""
    p = inputs.predictions
    ours, theirs = p.prediction.astype(np.float64), p.truth.astype(np.float64)
    known = np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1)
    ours, theirs = ours[known], theirs[known]
    # The same stars on both sides: those that APOGEE puts around the clump.
    clump = around_the_clump(theirs[:, TEFF])
    pair = np.stack([ours[clump, LOGG], theirs[clump, LOGG]])
    if pair.shape[1] < 2:
        raise Missing("needs reference labels of stars around the red clump")

    def peaks(chosen: np.ndarray) -> np.ndarray:
        xp, apogee = peak(pair[0, chosen]), peak(pair[1, chosen])
        return np.array([xp, apogee, xp - apogee])

    found = bootstrap(peaks, pair.shape[1], draws=inputs.draws, seed=inputs.seed)
    numbers = {
        "red_clump": {
            "stars": pair.shape[1],
            **{
                f"{name}{suffix}": float(values[index])
                for index, name in enumerate(("log_g_xp", "log_g_apogee", "difference"))
                for suffix, values in (("", found.value), ("_error", found.error))
            },
        },
        "high_alpha_fraction": {
            "xp": float(DIVIDING_LINE.above(ours[:, MOH], ours[:, AOM]).mean()),
            "apogee": float(DIVIDING_LINE.above(theirs[:, MOH], theirs[:, AOM]).mean()),
        },
    }
    grid = np.arange(*CLUMP_LOGG, 0.01)

    def densities(chosen: np.ndarray) -> np.ndarray:
        return np.stack([density(values[chosen], grid) for values in pair])

    curves = bootstrap(densities, pair.shape[1], draws=inputs.draws, seed=inputs.seed)
    bands = np.stack([curves.low, curves.high], axis=1)
    both = (float(found.value[0]), float(found.value[1]))
    figures = (
        Drawn(
            "plausibility_planes",
            label_planes(ours, theirs, DIVIDING_LINE),
            "Kiel diagrams coloured by [M/H], and abundances; the same stars left and right.",
            label_planes(ours, theirs, DIVIDING_LINE, narrow=True),
        ),
        Drawn(
            "plausibility_red_clump",
            red_clump(grid, curves.value[0], curves.value[1], bands, both),
            "The red clump: density of log g of stars with 4500 < Teff < 5100 K (APOGEE); "
            "shaded, 95% of a bootstrap over stars.",
            red_clump(grid, curves.value[0], curves.value[1], bands, both, narrow=True),
        ),
    )
    return Result(numbers, figures, notes=("Errors are those of a bootstrap over stars.",))


STUDIES = (
    Study(
        "table03", "Table 3 and figure 18: low- and high-alpha disk", "reference labels", table03
    ),
    Study("plausibility", "Plausibility of the labels", "reference labels", plausibility),
)
