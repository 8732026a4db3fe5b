"""The figure of a hyperparameter grid search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Num
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from aspgap_jax.plots.style import (
    COLOURS,
    ORANGE,
    SMALL,
    colour_bar,
    name_axes,
    new_figure,
)

__all__ = ["grid_search"]


def grid_search(
    axes: Mapping[str, Sequence[float]],
    excess: Float[np.ndarray, "..."],
    error: Float[np.ndarray, "..."],
    marked: Mapping[str, float],
) -> Figure:
    """Heat maps of a grid: the first axis against each of the others, a panel each.

    The colour of a cell, and the number in it, is the least excess over the axes that
    its panel does not show; below it is the error of that excess. The best cell of
    a panel has a frame. A cell without a finite excess stays empty.

    Args:
        axes: the values of every axis by its name for the page, in the order of the
            dimensions of ``excess``; at least two.
        excess: loss minus that of the best grid point.
        error: its standard error, 0 at the best point.
        marked: values of the first axis that are pointed out, by what to call them.

    Returns:
        The figure.

    Raises:
        ValueError: fewer than two axes, or sizes that do not agree.
    """
    names, sizes = list(axes), tuple(len(values) for values in axes.values())
    if len(names) < 2 or sizes != excess.shape or sizes != error.shape:
        raise ValueError(f"axes of {sizes} values for arrays {excess.shape} and {error.shape}")
    # Panels beside each other, as one page-wide figure; a row in them is 0.06 pages high.
    figure = new_figure(0.24 + 0.06 * max(sizes[1:]))
    panels = figure.subplots(1, len(names) - 1, squeeze=False)[0]
    profiles = [_profile(excess, error, dimension) for dimension in range(1, len(names))]
    top = max(float(np.nanmax(least)) for least, _ in profiles) or 1.0
    drawn = None
    x = axes[names[0]]
    for name, panel, (least, its_error) in zip(names[1:], panels, profiles, strict=True):
        y = axes[name]
        drawn = panel.imshow(
            least.T, origin="lower", aspect="auto", cmap=f"{COLOURS}_r", vmin=0.0, vmax=top
        )
        for (i, j), value in np.ndenumerate(least):
            if np.isfinite(value):
                panel.text(
                    i,
                    j,
                    f"{value:.2f}\n\N{PLUS-MINUS SIGN}{its_error[i, j]:.2f}" if value > 0 else "0",
                    ha="center",
                    va="center",
                    fontsize=SMALL,
                    # Low values are light, high ones dark.
                    color="white" if value > 0.5 * top else "black",
                )
        best = np.unravel_index(np.nanargmin(least), least.shape)
        frame: dict[str, Any] = {
            "fill": False,
            "ec": ORANGE,
            "lw": 2,
            "zorder": 3,
            "clip_on": False,
        }
        panel.add_patch(Rectangle((best[0] - 0.5, best[1] - 0.5), 1, 1, **frame))
        name_axes(panel, names[0], name)
        panel.tick_params(top=False, right=False)
        panel.set_xticks(range(len(x)), [f"{value:g}" for value in x])
        panel.set_yticks(range(len(y)), [f"{value:g}" for value in y])
        for text, value in marked.items():
            # Between two values of the grid, too.
            at = float(np.interp(value, x, range(len(x))))
            panel.annotate(
                text,
                (at, len(y) - 0.5),
                (0, 9),
                textcoords="offset points",
                ha="center",
                fontsize=SMALL,
                arrowprops={"arrowstyle": "-|>", "lw": 0.7, "shrinkA": 0, "shrinkB": 0},
            )
    bar = {"location": "bottom", "aspect": 60}
    colour_bar(figure, drawn, list(panels), "loss above that of the best point", **bar)
    figure.set_layout_engine("constrained", w_pad=0.06)
    return figure


def _profile(
    excess: Num[np.ndarray, "..."], error: Num[np.ndarray, "..."], dimension: int
) -> tuple[np.ndarray, np.ndarray]:
    """The least excess over all dimensions but the first and this one, and its error."""
    shape = (excess.shape[0], excess.shape[dimension], -1)
    flat, flat_error = (
        np.moveaxis(values, dimension, 1).reshape(shape) for values in (excess, error)
    )
    # An empty cell is one without any value; infinity keeps argmin defined there.
    at = np.where(np.isfinite(flat), flat, np.inf).argmin(axis=-1)[..., None]
    return (
        np.take_along_axis(flat, at, axis=-1)[..., 0],
        np.take_along_axis(flat_error, at, axis=-1)[..., 0],
    )
