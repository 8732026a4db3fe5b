"""Figures 1, 7 and 9: signal-to-noise, and what it does to precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from aspgap_jax import labels
from aspgap_jax.plots.style import (
    BLACK,
    BLUE,
    FONT,
    ORANGE,
    PAGE_WIDTH,
    SMALL,
    annotate,
    colour_bar,
    complete,
    hexbin,
    name_axes,
    new_figure,
    side_by_side,
    span,
)
from aspgap_jax.validation.agreement import PrecisionCurve, inverse_snr

__all__ = ["precision_curves", "signal_to_noise", "uncertainty_map"]

GREEN, PURPLE = "#009E73", "#CC79A7"
# Colour and style: told apart without colour too. Without a bias rms and scatter
# coincide: one is a line, the other rings upon it.
CURVES: dict[str, tuple[str, dict[str, Any]]] = {
    "formal": ("formal error", {"color": BLACK, "ls": "-"}),
    "rms": ("rms", {"color": GREEN, "ls": "-"}),
    "mae": ("MAE", {"color": BLUE, "ls": "--"}),
    "scatter": ("scatter", {"color": ORANGE, "ls": "", "marker": "o", "ms": 3.5, "mfc": "none"}),
    "bias": ("bias", {"color": PURPLE, "ls": ":"}),
}


def signal_to_noise(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, " star"]]],
    bounds: Mapping[str, float],
    axis: str,
    *,
    narrow: bool = False,
) -> Figure:
    """Figure 1: distributions of the S/N of XP spectra, a panel a band.

    Args:
        panels: by heading; in each, the S/N of stars by what was counted. The first is
            dashed black, the second blue, the third orange.
        bounds: a vertical line for those with a threshold, by the same names.
        axis: name of the S/N axis.
        narrow: for a phone.

    Returns:
        The figure.
    """
    figure, axes = side_by_side(len(panels), 0.42, narrow=narrow, sharey=True)
    styles = [(BLACK, "--"), (BLUE, "-"), (ORANGE, "-")]
    known = [
        values[np.isfinite(values) & (values > 0)]
        for kinds in panels.values()
        for values in kinds.values()
    ]
    every = np.concatenate(known) if known else np.zeros(0)
    low, high = np.percentile(every, [0.05, 99.95]) if every.size else (1.0, 10.0)
    edges = np.geomspace(0.9 * low, 1.1 * high, 81)
    for panel, (title, kinds) in zip(axes, panels.items(), strict=True):
        for (name, values), (colour, style) in zip(kinds.items(), styles, strict=False):
            counts = np.histogram(values[np.isfinite(values)], edges)[0]
            middle = float(np.median(values[values > 0])) if counts.any() else np.nan
            words = f"{name}: median {middle:.3g}"
            panel.stairs(counts, edges, color=colour, ls=style, lw=1.1, label=words)
            if name in bounds:
                panel.axvline(bounds[name], color=colour, lw=0.8, ls=":")
        panel.set_xscale("log")
        panel.set_title(title, fontsize=FONT)
        name_axes(panel, axis, "")
    for panel in axes if narrow else axes[:1]:
        panel.set_ylabel("stars per bin", fontsize=FONT)
    top = max(panel.get_ylim()[1] for panel in axes)
    for panel in axes:
        panel.set_ylim(0, 1.2 * top)
        panel.legend(fontsize=SMALL, frameon=False, loc="upper left", handlelength=1.8)
    return figure


def precision_curves(
    bands: Mapping[str, Sequence[PrecisionCurve]], *, narrow: bool = False
) -> Figure:
    """Figure 7: precision of each label against S/N; a row a band, a column a label.

    Solid black, the formal error; thin dashed grey, 1/SNR through the first bin's rms.

    Args:
        bands: curves of all labels by the name of the S/N axis.
        narrow: for a phone: a row a label, a column a band.

    Returns:
        The figure, not yet saved.
    """
    count = len(labels.LABELS)
    if narrow:
        size = (PAGE_WIDTH / 2, PAGE_WIDTH * (0.22 * count + 0.08))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(count, len(bands), squeeze=False).T
    else:
        figure = new_figure(0.29 * len(bands) + 0.05)
        grid = figure.subplots(len(bands), count, squeeze=False)
    for row, (axis, curves) in zip(grid, bands.items(), strict=True):
        for axes, curve, label in zip(row, curves, labels.LABELS, strict=True):
            _precision_panel(axes, curve)
            name_axes(axes, axis, rf"$\Delta${label.symbol} [{label.unit}]")
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside upper center",
        ncols=3 if narrow else 6,
        fontsize=FONT,
        frameon=False,
    )
    return figure


def _precision_panel(axes: Axes, curve: PrecisionCurve) -> None:
    axes.axhline(0.0, color="0.8", lw=0.6, zorder=0)
    if not len(curve.snr):
        annotate(axes, "no stars")
        return
    for name, (words, look) in CURVES.items():
        # A line of one point is invisible.
        alone = {"marker": "."} if len(curve.snr) == 1 else {}
        axes.plot(curve.snr, getattr(curve, name), lw=1.1, label=words, **(alone | look))
    axes.plot(curve.snr, inverse_snr(curve), "--", color="0.55", lw=0.8, label="1/(S/N)")
    axes.set_xlim(left=0.0)


def uncertainty_map(
    g_mag: Float[np.ndarray, " star"],
    snr: Float[np.ndarray, " star"],
    sigma: Float[np.ndarray, "star label"],
    axis: str,
    *,
    narrow: bool = False,
) -> Figure:
    """Figure 9: mean predicted uncertainty of [alpha/M] and [M/H] in the plane of G and S/N.

    Contours hold 30, 60 and 90% of the stars.

    Args:
        g_mag: Gaia G, mag.
        snr: S/N of the red part of the spectra.
        sigma: predicted uncertainties of all labels.
        axis: name of the S/N axis.
        narrow: for a phone.

    Returns:
        The figure.
    """
    figure, panels = side_by_side(2, 0.44, narrow=narrow, sharey=True)
    for axes, name in zip(panels, ("alpha_m", "m_h"), strict=True):
        label = labels.LABELS[labels.index(name)]
        positive = np.where(snr > 0, snr, np.nan)
        x, y, s = complete(g_mag, np.log10(positive), sigma[:, labels.index(name)])
        if not x.size:
            annotate(axes, "no stars")
            continue
        # A mean of one or two stars is no mean.
        cells = hexbin(axes, x, y, C=s, reduce_C_function=np.mean, mincnt=3)
        means = np.asarray(cells.get_array())
        if means.size:
            # Colours and axes are those of the cells that are drawn.
            cells.set_norm(Normalize(*np.percentile(means, [2, 98])))
            low, high = cells.get_offsets().min(axis=0), cells.get_offsets().max(axis=0)
            pad = 0.03 * (high - low)
            axes.set_xlim(low[0] - pad[0], high[0] + pad[0])
            axes.set_ylim(low[1] - pad[1], high[1] + pad[1])
        _density_contours(axes, x, y)
        colour_bar(
            figure,
            cells,
            axes,
            rf"mean $\sigma$ {label.axis}",
            location="top",
            extend="both",
            aspect=30,
        )
        name_axes(axes, r"$G$ [mag]", "")
    for panel in panels if narrow else panels[:1]:
        panel.set_ylabel(rf"$\log_{{10}}$ {axis}", fontsize=FONT)
    return figure


def _density_contours(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Contours that hold 90, 60 and 30% of the stars."""
    counts, ex, ey = np.histogram2d(x, y, 40, [span(x), span(y)])
    # A light smoothing (1-2-1, twice each way) takes the place of a kernel a star.
    for _ in range(2):
        for axis in (0, 1):
            counts = 0.5 * counts + 0.25 * (np.roll(counts, 1, axis) + np.roll(counts, -1, axis))
    falling = np.sort(counts.ravel())[::-1]
    inside = np.cumsum(falling) / falling.sum()
    levels = np.unique([falling[np.searchsorted(inside, share)] for share in (0.9, 0.6, 0.3)])
    centres = 0.5 * (ex[1:] + ex[:-1]), 0.5 * (ey[1:] + ey[:-1])
    if levels[0] > 0:
        axes.contour(*centres, counts.T, levels, colors="white", linewidths=0.7)
