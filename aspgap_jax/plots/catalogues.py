"""Figures 13, 14, 15 and 19: against other catalogues, and against open clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aspgap_jax import labels
from aspgap_jax.plots.style import (
    BLACK,
    BLUE,
    COUNT,
    FONT,
    GREY,
    ORANGE,
    SMALL,
    annotate,
    colour_bar,
    complete,
    hexbin,
    log_norm,
    name_axes,
    new_figure,
    number,
    side_by_side,
    span,
)
from aspgap_jax.validation.agreement import agreement

__all__ = ["ComparedRow", "cluster_differences", "label_comparison"]


class ComparedRow(NamedTuple):
    """One row of panels.

    Attributes:
        reference: what the other catalogue is called.
        title: which of its stars.
        labels: names of the labels it has, in the order of the panels.
        ours: our labels ``[star, label]``, all of the label table.
        theirs: its labels by name.
    """

    reference: str
    title: str
    labels: Sequence[str]
    ours: Float[np.ndarray, "star label"]
    theirs: Mapping[str, np.ndarray]


def label_comparison(rows: Sequence[ComparedRow]) -> Figure:
    """Figures 13, 14 and 19: other catalogues' labels against ours, a panel a label.

    Solid, the one-to-one line; dashed, one standard deviation of the difference to
    either side. Printed are that scatter and the median of ours - theirs.

    Args:
        rows: a row of panels each; the columns are all labels that any row has.

    Returns:
        The figure, not yet saved.
    """
    names = [name for name in labels.names() if any(name in row.labels for row in rows)]
    figure = new_figure(len(rows) * 0.93 / len(names) + 0.06)
    grid = figure.subplots(len(rows), len(names), squeeze=False)
    drawn = []
    for line, row in zip(grid, rows, strict=True):
        for axes, name in zip(line, names, strict=True):
            if name not in row.labels:
                axes.set_axis_off()
                continue
            cells = _panel(axes, row, name)
            if cells is not None:
                drawn.append(cells)
        line[0].set_title(row.title, fontsize=FONT, loc="left")
    if drawn:
        norm = log_norm(drawn)
        for cells in drawn:
            cells.set_norm(norm)
        colour_bar(
            figure, drawn[0], list(grid.ravel()), COUNT, location="top", aspect=90, format="{x:g}"
        )
    return figure


def _panel(axes: Axes, row: ComparedRow, name: str) -> Any | None:
    label = labels.LABELS[labels.index(name)]
    x, y = complete(row.ours[:, labels.index(name)], row.theirs[name])
    name_axes(
        axes, f"{label.symbol} XP [{label.unit}]", f"{label.symbol} {row.reference} [{label.unit}]"
    )
    axes.set_box_aspect(1)
    if not x.size:
        annotate(axes, "no stars")
        return None
    low, high = span(np.concatenate([x, y]))
    found = agreement(x, y)
    for offset, style in ((0.0, "-"), (found.scatter, "--"), (-found.scatter, "--")):
        # Ours is on the abscissa: the band is that of theirs - ours.
        axes.plot([low, high], [low + offset, high + offset], style, color=BLACK, lw=0.8, zorder=3)
    annotate(axes, f"scatter {number(found.scatter, label.decimals)}")
    annotate(axes, f"bias {number(found.bias_median, label.decimals)}", corner="lower right")
    return hexbin(axes, x, y, extent=(low, high, low, high), mincnt=1)


def cluster_differences(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, "cluster field"]]],
    *,
    narrow: bool = False,
) -> Figure:
    """Figure 15: [M/H] of open clusters minus that of the literature.

    Blue circles, ours; orange triangles, APOGEE; bars are the errors of the means, sizes
    the numbers of members; grey, 0.2 dex to either side.

    Args:
        panels: by heading; in each, by "XP" and "APOGEE", rows of (literature [Fe/H],
            difference, error of the mean, members).
        narrow: for a phone.

    Returns:
        The figure, not yet saved.
    """
    figure, axes = side_by_side(len(panels), 0.45, narrow=narrow, sharey=True)
    styles = {"XP": (BLUE, "o"), "APOGEE": (ORANGE, "^")}
    for panel, (title, kinds) in zip(axes, panels.items(), strict=True):
        panel.axhspan(-0.2, 0.2, color=GREY, alpha=0.4, lw=0)
        panel.axhline(0.0, color=BLACK, lw=0.7, ls=":")
        for name, (colour, marker) in styles.items():
            x, y, error, members = kinds[name].T
            # Without a scatter there is no error to draw.
            panel.errorbar(x, y, np.nan_to_num(error), fmt="none", ecolor=colour, elinewidth=0.7)
            panel.scatter(
                x,
                y,
                s=8 + 6 * np.sqrt(members),
                color=colour,
                marker=marker,
                edgecolor="white",
                linewidth=0.4,
                label=name,
                zorder=3,
            )
        panel.set_title(title, fontsize=FONT)
        name_axes(panel, "[Fe/H] literature [dex]", "")
    for panel in axes if narrow else axes[:1]:
        panel.set_ylabel(r"$\Delta$[M/H] [dex]", fontsize=FONT)
    axes[0].legend(fontsize=SMALL, frameon=False)
    return figure
