"""Figure 4: gradient spectra, hallucinated and physical, and how well they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aspgap_jax import labels
from aspgap_jax.apstar import WAVELENGTH
from aspgap_jax.plots.style import (
    BLACK,
    BLUE,
    FONT,
    NARROW,
    ORANGE,
    SMALL,
    colour_bar,
    name_axes,
    new_figure,
    number,
    side_by_side,
)

__all__ = ["gradient_agreement", "gradient_spectra"]

GREEN, GREY = "#009E73", "#7F7F7F"
# From the bottom up.
CURVES = (
    ("Kurucz", GREY),
    ("synthesis", BLUE),
    ("Cannon", BLACK),
    ("visible", ORANGE),
    ("hallucinated", GREEN),
)
OFFSET = 2.3
"""Between two curves that reach from -1 to 1."""
CELL = 5.5  # points, of the numbers in coloured squares
NAMES = {"visible": "seen by the decoder", "Cannon": "Cannon of real spectra"}
WINDOWS = ((15_735.0, 15_785.0), (16_140.0, 16_230.0))
"""Angstrom: the Mg I triplet; four lines of Ca, Si, and the CO band head at 16,189."""


def gradient_spectra(
    curves: Mapping[str, Float[np.ndarray, "label pixel"]],
    marks: Sequence[tuple[str, float]],
    *,
    narrow: bool = False,
) -> Figure:
    """d(flux)/d(label) in a row a label and a column a window of wavelength.

    Each curve is divided by its largest size in the windows: their shapes are compared,
    not their sizes, and none is cut off.

    Args:
        curves: gradients by name, ``Kurucz``, ``synthesis``, ``Cannon``, ``visible`` (the part
            of the hallucinated one that the APOGEE decoder sees) and ``hallucinated``; what is
            absent is not drawn.
        marks: species and vacuum wavelength (Angstrom) of lines to mark.
        narrow: for a phone.

    Returns:
        The figure.
    """
    shown = [(name, colour) for name, colour in CURVES if name in curves]
    share = NARROW if narrow else 1.0
    figure = new_figure(0.27 * len(labels.LABELS) / share, share)
    widths = [high - low for low, high in WINDOWS]
    grid = figure.subplots(
        len(labels.LABELS), len(WINDOWS), squeeze=False, sharex="col", width_ratios=widths
    )
    columns = [(low <= WAVELENGTH) & (high >= WAVELENGTH) for low, high in WINDOWS]
    anywhere = np.any(columns, axis=0)
    for row, (panels, label) in enumerate(zip(grid, labels.LABELS, strict=True)):
        for axes, window, inside in zip(panels, WINDOWS, columns, strict=True):
            for place, (name, colour) in enumerate(shown):
                gradient = curves[name][row]
                largest = np.nanmax(np.abs(gradient[anywhere]))
                axes.axhline(OFFSET * place, color="0.85", lw=0.5, zorder=0)
                axes.plot(
                    WAVELENGTH[inside],
                    OFFSET * place + gradient[inside] / (largest or 1.0),
                    color=colour,
                    lw=0.8,
                    label=NAMES.get(name, name),
                )
            last = row == len(labels.LABELS) - 1
            name_axes(axes, "vacuum wavelength [\N{ANGSTROM SIGN}]" if last else "", "")
            axes.set_xlim(window)
            axes.set_ylim(-1.2, OFFSET * (len(shown) - 1) + 1.2)
            axes.set_yticks([])
            _mark(axes, marks, window, names=row == 0)
        panels[0].set_ylabel(rf"$\partial$ flux / $\partial$ {label.symbol}", fontsize=FONT)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles[::-1],
        names[::-1],
        loc="outside upper center",
        ncols=2 if narrow else len(shown),
        fontsize=FONT,
        frameon=False,
    )
    return figure


def _mark(
    axes: Axes, marks: Sequence[tuple[str, float]], window: tuple[float, float], *, names: bool
) -> None:
    """Dotted lines at spectral lines, with their species above the top panel."""
    last = -np.inf
    for species, wavelength in sorted(marks, key=lambda mark: mark[1]):
        if not window[0] < wavelength < window[1]:
            continue
        axes.axvline(wavelength, color="0.6", lw=0.5, ls=":", zorder=0)
        # A name needs about a thirtieth of the panel.
        if names and wavelength - last > (window[1] - window[0]) / 30:
            axes.text(
                wavelength,
                1.01,
                species,
                transform=axes.get_xaxis_transform(),
                fontsize=SMALL,
                ha="center",
                va="bottom",
            )
            last = wavelength


def gradient_agreement(
    matrices: Mapping[str, Float[np.ndarray, "row column"]],
    rows: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    *,
    narrow: bool = False,
) -> Figure:
    """Correlations as coloured squares with their numbers, a panel a comparison.

    Args:
        matrices: correlation coefficients by title; at least one.
        rows: names of the rows, the same in all panels.
        columns: names of the columns by title.
        narrow: for a phone.

    Returns:
        The figure.
    """
    # Narrow panels need room for their column names.
    ratios = [1.5 + matrix.shape[1] for matrix in matrices.values()]
    figure, panels = side_by_side(len(matrices), 0.3, narrow=narrow, width_ratios=ratios)
    for axes, (title, matrix) in zip(panels, matrices.items(), strict=True):
        image = axes.imshow(matrix, cmap="PuOr", vmin=-1.0, vmax=1.0, aspect="auto")
        for (i, j), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                axes.text(
                    j,
                    i,
                    number(float(value), 2),
                    ha="center",
                    va="center",
                    fontsize=CELL,
                    color="white" if abs(value) > 0.6 else "black",
                )
        name_axes(axes, "", "")
        axes.tick_params(top=False, right=False, length=0)
        axes.set_xticks(range(matrix.shape[1]), columns[title], fontsize=SMALL)
        axes.set_yticks(range(matrix.shape[0]), rows if narrow or axes is panels[0] else [])
        axes.tick_params(axis="y", labelsize=FONT)
        axes.set_title(title, fontsize=FONT)
    how = {"location": "top", "aspect": 25} if narrow else {"aspect": 14}
    colour_bar(figure, image, panels, "correlation", **how)
    return figure
