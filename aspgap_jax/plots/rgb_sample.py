"""Figures 10 and 11: how the RGB stars are selected, and their labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm
from matplotlib.figure import Figure

from aspgap_jax import labels
from aspgap_jax.catalogue.diagrams import Plane
from aspgap_jax.plots.style import (
    BLACK,
    COLOURS,
    COUNT,
    FONT,
    annotate,
    axis_name,
    colour_bar,
    name_axes,
    new_figure,
)
from aspgap_jax.preprocessing.selection import MAX_TEFF

__all__ = ["catalogue_labels", "rgb_selection"]

FULL = 12
"""Stars in the cell of the median star, at least: of fewer stars the cells are wider."""


def rgb_selection(plane: Plane) -> Figure:
    """Figure 10: Teff and M_G of the stars, and the cuts that leave the RGB.

    Args:
        plane: of :class:`aspgap_jax.catalogue.diagrams.ColourMagnitude`.

    Returns:
        The figure, not yet saved.
    """
    plane = plane.coarser(FULL)
    figure = new_figure(0.62)
    axes = figure.subplots()
    cells = _density(axes, plane)
    teff = np.array([plane.x[0], MAX_TEFF])
    # Eq. 6 in terms of M_G.
    axes.plot(teff, 19.0 - 0.003 * teff, color=BLACK, lw=1.0, label="eq. 6")
    axes.plot(
        [MAX_TEFF, MAX_TEFF],
        [plane.y[0], 19.0 - 0.003 * MAX_TEFF],
        "--",
        color=BLACK,
        lw=1.0,
        label=rf"$T_{{\rm eff}}$ = {MAX_TEFF:.0f} K",
    )
    axes.legend(fontsize=FONT, frameon=False, loc="lower left")
    axes.invert_xaxis()
    axes.invert_yaxis()
    name_axes(axes, axis_name("teff"), r"$5\,\log_{10} L_{\rm pseudo} - 10 = M_G$ [mag]")
    if plane.outside:
        annotate(
            axes,
            f"not shown: {plane.outside:,}\n(parallax not above 0, or beyond the axes)",
            corner="upper right",
        )
    colour_bar(figure, cells, axes, COUNT, format="{x:g}")
    return figure


def catalogue_labels(kiel: Plane, abundance: Plane) -> Figure:
    """Figure 11: Teff and log g coloured by [M/H]; [M/H] and [alpha/M] by number.

    Args:
        kiel: of :class:`aspgap_jax.catalogue.diagrams.Kiel`.
        abundance: of :class:`aspgap_jax.catalogue.diagrams.Abundance`.

    Returns:
        The figure.
    """
    kiel, abundance = kiel.coarser(FULL), abundance.coarser(FULL)
    figure = new_figure(0.46)
    left, right = figure.subplots(1, 2)
    mean = kiel.mean
    known = mean[np.isfinite(mean)]
    low, high = np.percentile(known, (2.0, 98.0)) if known.size else (0.0, 1.0)
    cells = _mesh(left, kiel, mean, COLOURS, vmin=low, vmax=high)
    _close_up(left, kiel)
    left.invert_xaxis()
    left.invert_yaxis()
    name_axes(left, axis_name("teff"), axis_name("logg"))
    symbol = labels.LABELS[labels.index("m_h")].axis
    colour_bar(figure, cells, left, f"mean {symbol}")
    cells = _density(right, abundance)
    _close_up(right, abundance)
    name_axes(right, axis_name("m_h"), axis_name("alpha_m"))
    colour_bar(figure, cells, right, COUNT, format="{x:g}")
    return figure


def _density(axes: Axes, plane: Plane) -> Any:
    counts = np.where(plane.counts > 0, plane.counts, np.nan)
    return _mesh(axes, plane, counts, COLOURS, norm=LogNorm(1, max(plane.counts.max(), 2.0)))


def _mesh(
    axes: Axes, plane: Plane, values: np.ndarray, colours: str | Colormap, **options: Any
) -> Any:
    return axes.pcolormesh(plane.x, plane.y, values.T, cmap=colours, rasterized=True, **options)


def _close_up(axes: Axes, plane: Plane) -> None:
    """Limit the axes to the cells that hold all but the strays."""
    for edges, along, limit in (
        (plane.x, plane.counts.sum(axis=1), axes.set_xlim),
        (plane.y, plane.counts.sum(axis=0), axes.set_ylim),
    ):
        total = along.cumsum()
        if total[-1] > 0:
            first, last = np.searchsorted(total, np.array([0.001, 0.999]) * total[-1])
            margin = max(2, (last - first) // 12)
            limit(edges[max(first - margin, 0)], edges[min(last + 1 + margin, len(edges) - 1)])
