"""What the labels look like as stars: Kiel diagrams, abundances, the red clump."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from aspgap_jax import labels
from aspgap_jax.plots.style import (
    BLACK,
    BLUE,
    COUNT,
    FONT,
    NARROW,
    ORANGE,
    SMALL,
    axis_name,
    colour_bar,
    complete,
    hexbin,
    log_norm,
    name_axes,
    new_figure,
    span,
)
from aspgap_jax.validation.disks import DividingLine

__all__ = ["label_planes", "red_clump"]


def label_planes(
    prediction: Float[np.ndarray, "star label"],
    truth: Float[np.ndarray, "star label"],
    line: DividingLine,
    *,
    narrow: bool = False,
) -> Figure:
    """Kiel diagrams coloured by [M/H] over [M/H]-[alpha/M] planes; left XP, right APOGEE.

    Left and right have the same axes and colours. Dashed, the dividing line of low and
    high alpha.

    Args:
        prediction: predicted labels, in the units of the label table.
        truth: APOGEE's, NaN where unknown.
        line: between low and high alpha.
        narrow: for a phone.

    Returns:
        The figure.
    """
    figure = new_figure(0.95, NARROW if narrow else 1.0)
    grid = figure.subplots(2, 2, sharex="row", sharey="row")
    teff, logg, moh, aom = (labels.index(name) for name in ("teff", "logg", "m_h", "alpha_m"))
    kept = [np.column_stack(complete(*each.T)) for each in (prediction, truth)]
    both = np.concatenate(kept)
    if not len(both):
        return figure
    kiel = (*span(both[:, teff]), *span(both[:, logg]))
    plane = (*span(both[:, moh]), *span(both[:, aom]))
    colours = Normalize(*np.percentile(both[:, moh], [1, 99]))
    counted = []
    for column, (stars, source) in enumerate(zip(kept, ("XP", "APOGEE"), strict=True)):
        top, bottom = grid[0][column], grid[1][column]
        top.set_title(source, fontsize=FONT)
        if not len(stars):
            continue
        cells = hexbin(
            top,
            stars[:, teff],
            stars[:, logg],
            C=stars[:, moh],
            reduce_C_function=np.mean,
            extent=kiel,
        )
        cells.set_norm(colours)
        counted.append(hexbin(bottom, stars[:, moh], stars[:, aom], mincnt=1, extent=plane))
        ends = np.array(plane[:2])
        bottom.plot(ends, line.at(ends), "--", color=BLACK, lw=0.9)
        name_axes(top, axis_name("teff"), axis_name("logg") if column == 0 else "")
        name_axes(bottom, axis_name("m_h"), axis_name("alpha_m") if column == 0 else "")
    grid[0][0].set_xlim(kiel[1], kiel[0])
    grid[0][0].set_ylim(kiel[3], kiel[2])
    colour_bar(figure, cells, list(grid[0]), f"mean {axis_name('m_h')}", extend="both", aspect=25)
    norm = log_norm(counted)
    for each in counted:
        each.set_norm(norm)
    colour_bar(figure, counted[0], list(grid[1]), COUNT, aspect=25, format="{x:g}")
    return figure


def red_clump(
    grid: Float[np.ndarray, " point"],
    ours: Float[np.ndarray, " point"],
    theirs: Float[np.ndarray, " point"],
    bands: Float[np.ndarray, "source=2 edge=2 point"],
    peaks: tuple[float, float],
    *,
    narrow: bool = False,
) -> Figure:
    """Densities of log g around the red clump, and where they peak.

    Args:
        grid: log g, dex.
        ours: density of the predicted log g, per dex.
        theirs: density of APOGEE's.
        bands: lower and upper edges of ours and theirs, of a bootstrap over stars.
        peaks: log g of the peaks of ours and theirs.
        narrow: for a phone.

    Returns:
        The figure.
    """
    figure = new_figure(0.7, 0.5) if narrow else new_figure(0.42)
    axes = figure.subplots(1, 1)
    pairs = ((ours, peaks[0], BLUE, "-", "XP"), (theirs, peaks[1], ORANGE, "--", "APOGEE"))
    for (density, place, colour, style, name), edges in zip(pairs, bands, strict=True):
        axes.fill_between(grid, *edges, color=colour, alpha=0.2, lw=0)
        axes.plot(grid, density, style, color=colour, lw=1.2, label=f"{name}: peak at {place:.3f}")
        axes.axvline(place, color=colour, lw=0.7, ls=style)
    axes.invert_xaxis()
    axes.set_ylim(bottom=0.0)
    name_axes(axes, axis_name("logg"), "density [per dex]")
    axes.legend(fontsize=SMALL, frameon=False)
    return figure
