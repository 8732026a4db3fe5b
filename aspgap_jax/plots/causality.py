"""Figures of the tests whether [alpha/M] is measured, or inferred from what goes with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from aspgap_jax import labels
from aspgap_jax.plots.style import (
    BLACK,
    BLUE,
    COUNT,
    GREY,
    ORANGE,
    SMALL,
    annotate,
    colour_bar,
    hexbin,
    name_axes,
    new_figure,
    number,
    side_by_side,
)
from aspgap_jax.validation.attribution import BANDS
from aspgap_jax.validation.bootstrap import Interval
from aspgap_jax.validation.conditional import PairTest, PermutationTest
from aspgap_jax.validation.trends import Trend

__all__ = ["attribution", "conditional_information", "residual_trends"]

GREEN = "#009E73"


def conditional_information(
    tests: Mapping[str, Mapping[str, PermutationTest]],
    truth_difference: Float[np.ndarray, " pair"],
    prediction_difference: Float[np.ndarray, " pair"],
    pairs: PairTest,
    *,
    narrow: bool = False,
) -> Figure:
    """Partial correlations under sets of conditions, and matched pairs of stars.

    Args:
        tests: by set of conditions, then by what was tested.
        truth_difference: of the pairs, dex.
        prediction_difference: of the pairs, dex.
        pairs: the test of the pairs.
        narrow: for a phone.

    Returns:
        The figure.
    """
    figure, (left, right) = side_by_side(2, 0.46, narrow=narrow, width_ratios=[1.25, 1.0])
    kinds = list(next(iter(tests.values())))
    height = 0.8 / len(kinds)
    for place, by_kind in enumerate(tests.values()):
        for offset, (kind, colour) in enumerate(zip(kinds, (BLUE, ORANGE, GREY), strict=False)):
            at = place + height * (offset - 0.5 * (len(kinds) - 1))
            found = by_kind[kind]
            left.barh(
                at,
                found.correlation,
                height,
                color=colour,
                label=kind if place == 0 else None,
            )
            left.plot([found.chance] * 2, [at - height / 2, at + height / 2], color=BLACK, lw=1.2)
            left.text(
                max(found.correlation, found.chance) + 0.01,
                at,
                number(found.correlation, 2),
                va="center",
                fontsize=SMALL,
            )
    left.set_yticks(range(len(tests)), tests)
    left.invert_yaxis()
    name_axes(left, r"partial correlation with [$\alpha$/M] of APOGEE", "")
    left.set_xlim(left.get_xlim()[0], 1.12 * left.get_xlim()[1])
    left.tick_params(axis="y", length=0)
    left.plot([], [], color=BLACK, lw=1.2, label="95% of permutations stay below")
    figure.legend(
        *left.get_legend_handles_labels(),
        loc="outside upper left",
        ncols=1 if narrow else len(kinds) + 1,
        fontsize=SMALL,
        frameon=False,
    )

    cells = hexbin(right, truth_difference, prediction_difference, mincnt=1)
    span = np.array(right.get_xlim())
    right.plot(span, span, "--", color=BLACK, lw=0.8, label="equal")
    slope = float(pairs.slope.value)
    right.plot(span, slope * span, "-", color=ORANGE, lw=1.2, label=f"slope {number(slope, 2)}")
    right.axhline(0.0, color="0.6", lw=0.6)
    name_axes(right, r"$\Delta$[$\alpha$/M] APOGEE [dex]", r"$\Delta$[$\alpha$/M] XP [dex]")
    note = f"{pairs.n_pairs:,} pairs, {100 * pairs.right:.0f} % in the right order"
    right.set_title(note, fontsize=SMALL)
    right.legend(loc="lower right", fontsize=SMALL, frameon=False)
    colour_bar(figure, cells, right, COUNT.replace("stars", "pairs"))
    return figure


def attribution(
    wavelength: Float[np.ndarray, " sample"],
    features: Interval,
    difference: Float[np.ndarray, " sample"],
    broad: float,
    total: float,
    *,
    narrow: bool = False,
) -> Figure:
    """Where a change of [alpha/M] is seen: shares of integrated gradients by wavelength.

    Args:
        wavelength: nm.
        features: mean share of each sample's features, dex, with its interval.
        difference: mean relative flux difference of the features.
        broad: mean share of the broad shape, dex.
        total: mean change of the prediction, dex.
        narrow: for a phone.

    Returns:
        The figure.
    """
    figure = new_figure(0.9, 0.55) if narrow else new_figure(0.5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.0, 1.0])
    step = float(np.median(np.diff(wavelength)))
    # Per nm, so that the curve does not depend on the sampling.
    value, low, high = (
        1e3 * shares / step for shares in (features.value, features.low, features.high)
    )
    upper.fill_between(wavelength, low, high, color=BLUE, alpha=0.3, lw=0)
    upper.plot(wavelength, value, color=BLUE, lw=1.0)
    lower.plot(wavelength, 100.0 * difference, color=BLACK, lw=0.9)
    for axes in (upper, lower):
        axes.axhline(0.0, color="0.6", lw=0.6)
        for band in BANDS:
            axes.axvspan(band.low, band.high, color=ORANGE, alpha=0.15, lw=0)
    for band in BANDS:
        upper.text(
            0.5 * (band.low + band.high),
            1.01,
            band.name,
            transform=upper.get_xaxis_transform(),
            fontsize=SMALL,
            ha="center",
            va="bottom",
            rotation=90 if narrow else 0,
        )
    name_axes(upper, "", r"share of $\Delta$[$\alpha$/M] [10$^{-3}$ dex / nm]")
    name_axes(lower, "wavelength [nm]", "flux difference [%]")
    upper.set_xlim(wavelength[0], wavelength[-1])
    note = (
        f"change {number(total, 3)} dex: broad shape {number(broad, 3)}, "
        f"features {number(float(features.value.sum()), 3)}"
    )
    annotate(upper, note, corner="upper right")
    return figure


def residual_trends(trends: Mapping[str, Trend], *, narrow: bool = False) -> Figure:
    """Mean residuals with bootstrap errors: a row a label, a column a quantity.

    Args:
        trends: by the name of the quantity's axis.
        narrow: for a phone.

    Returns:
        The figure, not yet saved.
    """
    count = len(labels.LABELS)
    width = 2 if narrow else len(trends)
    blocks = -(-len(trends) // width)
    share = 0.5 if narrow else 1.0
    figure = new_figure(0.2 * count * blocks / share, share)
    grid = figure.subplots(count * blocks, width, squeeze=False)
    for row, label in enumerate(labels.LABELS):
        panels = [grid[row + count * (i // width), i % width] for i in range(len(trends))]
        for i, (axes, (name, trend)) in enumerate(zip(panels, trends.items(), strict=True)):
            axes.axhline(0.0, color="0.6", lw=0.6)
            axes.errorbar(
                trend.centre,
                trend.mean.value[:, row],
                trend.mean.error[:, row],
                fmt="o",
                ms=2.5,
                lw=0.8,
                color=BLUE,
            )
            last, first = row == count - 1, i % width == 0
            words = f"residual of {label.axis}"
            name_axes(axes, name if last else "", words if first else "")
            axes.tick_params(labelbottom=last, labelleft=first)
            axes.yaxis.label.set_fontsize(SMALL)
        # One scale a label.
        ends = np.array([axes.get_ylim() for axes in panels])
        for axes in panels:
            axes.set_ylim(ends[:, 0].min(), ends[:, 1].max())
    for axes in grid.ravel():
        if not axes.has_data():
            axes.set_axis_off()
    return figure
