"""What all figures share: page width, colours, cells, colour bars, axis names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from aspgap_jax import labels
from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import replace_file
from aspgap_jax.validation.metrics import residual_statistics

PAGE_WIDTH = 7.1  # inches: two columns
NARROW = 0.62  # of that, for a phone, where panels stay beside each other
SUFFIXES = (".png", ".pdf")
DPI = 300
FONT = 7.5  # points
SMALL = 6.5
TICK = 2.5  # points
INSET = 6.0  # points, from the frame to a text inside: more than a tick
# Okabe & Ito's colours, told apart with any colour vision.
BLACK, GREY, BLUE, ORANGE = "#000000", "#c9c9c9", "#0072B2", "#D55E00"
COLOURS = "viridis"
COUNT = "stars per cell"
# Axes span this range of percentiles, widened: a few stray stars must not set the scale.
SPAN = (0.1, 99.9)


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path``, atomically, as its suffix says.

    Its panels are placed by the first call, and stay there in other formats.

    Raises:
        InputError: the suffix is neither ``.png`` nor ``.pdf``.
    """
    if (suffix := Path(path).suffix.lower()) not in SUFFIXES:
        raise InputError(
            f"{path}: no figure format has the suffix {suffix!r}; use one of {', '.join(SUFFIXES)}"
        )
    with replace_file(path) as temporary:
        figure.savefig(temporary, dpi=DPI)
    figure.set_layout_engine("none")


def new_figure(ratio: float, share: float = 1.0) -> Figure:
    """A figure of that share of the page's width, and of ``ratio`` of its own in height."""
    width = share * PAGE_WIDTH
    return Figure(figsize=(width, width * ratio), layout="constrained")


def side_by_side(
    count: int, ratio: float, *, narrow: bool = False, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Panels beside each other over the page; on a phone, half as wide, below each other.

    Args:
        count: of panels.
        ratio: their height over the width of the page.
        narrow: for a phone.
        options: of :meth:`matplotlib.figure.Figure.subplots`, as they are for a row.

    Returns:
        The figure and its panels.
    """
    if not narrow:
        figure = new_figure(ratio)
        return figure, list(figure.subplots(1, count, squeeze=False, **options)[0])
    size = (PAGE_WIDTH / 2, max(PAGE_WIDTH * ratio * count, PAGE_WIDTH / 4))
    figure = Figure(figsize=size, layout="constrained")
    # Axes that a row shares and widths that it divides mean nothing one below the other.
    options = {name: how for name, how in options.items() if name not in ("sharey", "width_ratios")}
    return figure, list(figure.subplots(count, 1, squeeze=False, **options)[:, 0])


def label_panels(
    ratio: float, columns: int = 4, count: int = len(labels.LABELS)
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel a label, of that height to width.

    Args:
        ratio: height of a panel over its width.
        columns: panels in a row, at most; four fill the page, two a phone.
        count: of labels.
    """
    width = min(columns, count)
    height = -(-count // width)
    panel = PAGE_WIDTH / 4
    figure = Figure(figsize=(panel * columns, panel * ratio * height), layout="constrained")
    grid = figure.subplots(height, width, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, list(grid[:count])


def axis_name(name: str) -> str:
    return labels.LABELS[labels.index(name)].axis


def complete(*columns: np.ndarray) -> list[np.ndarray]:
    """The rows that are finite in every column, as float64."""
    keep = np.all([np.isfinite(column) for column in columns], axis=0)
    return [column[keep].astype(np.float64) for column in columns]


def span(values: np.ndarray, margin: float = 0.08) -> tuple[float, float]:
    low, high = np.percentile(values, SPAN)
    pad = margin * (high - low) or 1.0
    return float(low - pad), float(high + pad)


def hexbin(axes: Axes, x: np.ndarray, y: np.ndarray, **options: Any) -> Any:
    """Hexagonal cells over the bulk of the stars, rasterised."""
    if x.size and "extent" not in options:
        options["extent"] = (*span(x), *span(y))
    cells = axes.hexbin(
        x,
        y,
        gridsize=60,
        linewidths=0.2,
        edgecolors="face",
        rasterized=True,
        cmap=COLOURS,
        **options,
    )
    if "extent" in options:
        axes.set_xlim(options["extent"][:2])
        axes.set_ylim(options["extent"][2:])
    return cells


def compare(
    axes: Axes, label: labels.Label, x: np.ndarray, y: np.ndarray, reference: str
) -> tuple[float, float, float, float]:
    """Lines, numbers and names of a one-to-one panel; returns the extent of both axes."""
    name_axes(
        axes,
        f"{label.symbol} {reference} [{label.unit}]",
        f"{label.symbol} XP [{label.unit}]",
    )
    if not x.size:
        annotate(axes, "no stars")
        return 0.0, 1.0, 0.0, 1.0
    low, high = span(np.concatenate([x, y]))
    unknown = np.full_like(x, np.nan)
    found = residual_statistics(y, unknown, x, unknown, label.outlier)
    for offset, style, width in ((0.0, "-", 0.9), (found.rms, "--", 0.7), (-found.rms, "--", 0.7)):
        axes.plot(
            [low, high], [low + offset, high + offset], style, color=BLACK, lw=width, zorder=3
        )
    rms, mad, bias = (
        number(value, label.decimals) for value in (found.rms, found.scatter_mad, found.bias)
    )
    # In the two corners that the one-to-one line leaves free.
    annotate(axes, f"rms {rms}\nMAD {mad}")
    annotate(axes, f"bias {bias}\n$\\eta$ {100 * found.outlier_rate:.2f} %", corner="lower right")
    axes.set_box_aspect(1)
    return low, high, low, high


def log_norm(drawn: Sequence[Any]) -> LogNorm:
    """One logarithmic scale for the counts of several panels."""
    counts = np.concatenate([[2.0], *(np.asarray(cells.get_array()) for cells in drawn)])
    return LogNorm(1, float(counts.max()))


def normal(x: np.ndarray, mean: float, sigma: float) -> np.ndarray:
    return np.asarray(np.exp(-0.5 * np.square((x - mean) / sigma)) / (sigma * np.sqrt(2 * np.pi)))


def name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=FONT)
    axes.set_ylabel(y, fontsize=FONT)
    axes.tick_params(labelsize=SMALL, direction="in", top=True, right=True, width=0.6, length=TICK)
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)


def annotate(axes: Axes, text: str, corner: str = "upper left") -> None:
    vertical, horizontal = corner.split()
    at = {"left": 0.0, "right": 1.0}[horizontal], {"lower": 0.0, "upper": 1.0}[vertical]
    note = axes.annotate(
        text,
        at,
        # In points, so that panels of any size keep their ticks clear of the text.
        (INSET * (1 - 2 * at[0]), INSET * (1 - 2 * at[1])),
        xycoords="axes fraction",
        textcoords="offset points",
        ha=horizontal,
        va={"lower": "bottom", "upper": "top"}[vertical],
        fontsize=SMALL,
        linespacing=1.3,
    )
    note.set_path_effects([withStroke(linewidth=1.5, foreground="white")])


def number(value: float, decimals: int) -> str:
    """A number as figures print it: a true minus sign, and no negative zero."""
    return f"{value:z.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def colour_bar(figure: Figure, cells: Any, axes: Any, name: str, **options: Any) -> None:
    bar = figure.colorbar(cells, ax=axes, pad=0.035, **options)
    bar.set_label(name, fontsize=FONT)
    bar.ax.tick_params(which="both", labelsize=SMALL, width=0.6)
    if isinstance(cells.norm, LogNorm):
        # Less than a decade has no power of ten to stand by.
        low, high = cells.get_clim()
        few = high < 10 * low
        bar.minorformatter = StrMethodFormatter("{x:g}") if few else NullFormatter()
    bar.outline.set_linewidth(0.6)
