"""Every figure, drawn from arrays; nothing is read, and only :func:`save` writes.

Figures are objects of their own: no pyplot, so no global state and no display.
Widths are those of a two-column page; dense layers are rasterised in vector files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from aspgap_jax import labels
from aspgap_jax.atomic import replace_file
from aspgap_jax.errors import InputError
from aspgap_jax.validation.metrics import residual_statistics

__all__ = [
    "chi_distribution",
    "learning_curves",
    "one_to_one",
    "one_to_one_by_sigma",
    "save",
    "training_set",
]

PAGE_WIDTH = 7.1  # inches: two columns
SUFFIXES = (".png", ".pdf")
DPI = 300
FONT = 7.5  # points
SMALL = 6.5
# Okabe & Ito's colours, told apart with any colour vision.
BLACK, GREY, BLUE, ORANGE = "#000000", "#c9c9c9", "#0072B2", "#D55E00"
COLOURS = "viridis"
COUNT = "stars per cell"
# Axes span this range of percentiles, widened: a few stray stars must not set the scale.
SPAN = (0.1, 99.9)
CHI_RANGE = 5.0
# What the terms of the loss are called on axes.
TERMS = {
    "total": "total loss",
    "nll": "negative log-likelihood",
    "branch": "hallucinator branch",
    "l1": "L1 norm of the weights",
    "kl": "KL divergence of chi",
}


def training_set(stars: Float[np.ndarray, "star label"]) -> Figure:
    """Figure 2: the labels of a sample.

    Left, the Kiel diagram coloured by the mean [M/H] of a cell; right, the number
    of stars in the plane of [M/H] and [alpha/M].

    Args:
        stars: labels in the units of the label table; a star with an unknown
            label is left out of the panels that need it.
    """
    figure = _figure(0.5)
    kiel, abundances = figure.subplots(1, 2)
    columns = {name: stars[:, labels.index(name)] for name in ("teff", "logg", "m_h", "alpha_m")}

    teff, logg, moh = _complete(columns["teff"], columns["logg"], columns["m_h"])
    cells = _hexbin(kiel, teff, logg, C=moh, reduce_C_function=np.mean)
    if moh.size:
        # The few most metal-poor stars would take half of the colours.
        cells.set_norm(Normalize(*np.percentile(moh, [1, 99])))
    kiel.invert_xaxis()
    kiel.invert_yaxis()
    name = f"mean {_axis('m_h')}"
    _colour_bar(figure, cells, kiel, name, location="top", aspect=30, extend="both")
    _name_axes(kiel, _axis("teff"), _axis("logg"))

    moh, aom = _complete(columns["m_h"], columns["alpha_m"])
    cells = _hexbin(abundances, moh, aom, mincnt=1)
    cells.set_norm(_log_norm([cells]))
    _colour_bar(figure, cells, abundances, COUNT, location="top", aspect=30, format="{x:g}")
    _name_axes(abundances, _axis("m_h"), _axis("alpha_m"))
    return figure


def one_to_one(
    prediction: Float[np.ndarray, "star label"],
    truth: Float[np.ndarray, "star label"],
    *,
    reference: str = "APOGEE",
) -> Figure:
    """Figure 5: predicted against true labels, coloured by the logarithm of the density.

    Solid, the one-to-one line; dashed, one rms residual to either side. Printed
    are the rms, the MAD scatter, the bias (prediction - truth) and the outlier
    rate eta of eq. 5, as :mod:`aspgap_jax.validation.metrics` defines them.

    Args:
        prediction: predicted labels.
        truth: true labels, NaN where unknown.
        reference: where ``truth`` comes from, for the axes.
    """
    figure, panels = _label_panels(1.2)
    drawn = []
    for axes, column in zip(panels, range(len(labels.LABELS)), strict=True):
        x, y = _complete(truth[:, column], prediction[:, column])
        extent = _compare(axes, labels.LABELS[column], x, y, reference)
        if x.size:
            drawn.append(_hexbin(axes, x, y, extent=extent, mincnt=1))
    if drawn:
        norm = _log_norm(drawn)
        for cells in drawn:
            cells.set_norm(norm)
        bar = {"location": "top", "aspect": 90, "format": "{x:g}"}
        _colour_bar(figure, drawn[0], panels, COUNT, **bar)
    return figure


def one_to_one_by_sigma(
    prediction: Float[np.ndarray, "star label"],
    sigma: Float[np.ndarray, "star label"],
    truth: Float[np.ndarray, "star label"],
    *,
    reference: str = "APOGEE",
) -> Figure:
    """Figure 6: as :func:`one_to_one`, coloured by the median predicted sigma of a cell.

    Args:
        prediction: predicted labels.
        sigma: their predicted 1-sigma uncertainties.
        truth: true labels, NaN where unknown.
        reference: where ``truth`` comes from, for the axes.
    """
    figure, panels = _label_panels(1.2)
    for axes, column in zip(panels, range(len(labels.LABELS)), strict=True):
        label = labels.LABELS[column]
        x, y, s = _complete(truth[:, column], prediction[:, column], sigma[:, column])
        extent = _compare(axes, label, x, y, reference)
        if x.size:
            cells = _hexbin(axes, x, y, extent=extent, C=s, reduce_C_function=np.median)
            cells.set_norm(Normalize(*np.percentile(s, [2, 98])))
            name = rf"$\sigma$ {label.axis}"
            _colour_bar(figure, cells, axes, name, location="top", extend="both", aspect=18)
    return figure


def chi_distribution(chi: Float[np.ndarray, "star label"]) -> Figure:
    """Figure 8: distribution of chi with N(0, 1) and the best-fitting normal.

    The best-fitting normal is that of maximum likelihood: it has the mean and the
    standard deviation of all stars, those beyond the panel's range included.

    Args:
        chi: (truth - prediction) / sqrt(truth_error^2 + sigma^2), NaN where unknown.
    """
    figure, panels = _label_panels(0.9)
    edges = np.linspace(-CHI_RANGE, CHI_RANGE, 61)
    grid = np.linspace(-CHI_RANGE, CHI_RANGE, 401)
    peaks = [0.4]
    for axes, values, label in zip(panels, chi.T, labels.LABELS, strict=True):
        (values,) = _complete(values)
        axes.plot(grid, _normal(grid, 0.0, 1.0), "--", color=BLUE, lw=1.0, label="N(0, 1)")
        note = "no stars"
        if values.size:
            mean, sigma = float(np.mean(values)), float(np.std(values))
            density = np.histogram(values, edges)[0] / (values.size * np.diff(edges))
            axes.stairs(density, edges, fill=True, color=GREY, zorder=0)
            note = f"mean {_number(mean, 2)}\n$\\sigma$ {_number(sigma, 2)}"
            peaks.append(float(density.max()))
            if sigma > 0:
                axes.plot(grid, _normal(grid, mean, sigma), color=ORANGE, lw=1.2, label="best fit")
        _note(axes, note)
        axes.set_xlim(-CHI_RANGE, CHI_RANGE)
        _name_axes(axes, rf"$\chi$ of {label.symbol}", "")
    for axes in panels:
        # One scale, and room for the numbers above the peak.
        axes.set_ylim(0.0, 1.3 * max(peaks))
    panels[0].set_ylabel("probability density", fontsize=FONT)
    panels[0].legend(loc="upper right", fontsize=SMALL, frameon=False, handlelength=1.6)
    return figure


def learning_curves(history: Sequence[Mapping[str, float | int]]) -> Figure:
    """The terms of the loss by epoch: a panel a term, a line a member.

    Args:
        history: a row an epoch and member, with ``epoch``, optionally ``member``,
            and the terms as ``train_NAME`` and ``valid_NAME``.

    Raises:
        ValueError: no row, or no term in them.
    """
    keys = dict.fromkeys(key for row in history for key in row)
    splits = {"train": (BLUE, "-"), "valid": (ORANGE, "--")}
    terms = list(
        dict.fromkeys(
            key.split("_", 1)[1] for key in keys if key.split("_", 1)[0] in splits and "_" in key
        )
    )
    if not terms:
        raise ValueError("the history has no train_ or valid_ term to draw")
    members = sorted({row.get("member", 0) for row in history})
    width = min(3, len(terms))
    height = -(-len(terms) // width)
    figure = _figure(0.31 * height)
    panels = figure.subplots(height, width, squeeze=False).ravel()
    for axes, term in zip(panels, terms, strict=False):
        for split, (colour, style) in splits.items():
            for member in members:
                key = f"{split}_{term}"
                rows = [row for row in history if row.get("member", 0) == member and key in row]
                if rows:
                    axes.plot(
                        [row["epoch"] for row in rows],
                        [row[key] for row in rows],
                        style,
                        color=colour,
                        lw=0.8,
                        alpha=max(0.4, 1.0 / len(members)),
                    )
        _name_axes(axes, "epoch", TERMS.get(term, term))
    for axes in panels[len(terms) :]:
        axes.set_axis_off()
    figure.legend(
        handles=[Line2D([], [], color=c, ls=ls, label=split) for split, (c, ls) in splits.items()],
        loc="outside upper center",
        ncols=len(splits),
        fontsize=FONT,
        frameon=False,
    )
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path``, atomically, as its suffix says.

    Raises:
        InputError: the suffix is neither ``.png`` nor ``.pdf``.
    """
    if (suffix := Path(path).suffix.lower()) not in SUFFIXES:
        raise InputError(
            f"{path}: no figure format has the suffix {suffix!r}; use one of {', '.join(SUFFIXES)}"
        )
    with replace_file(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def _figure(ratio: float) -> Figure:
    """A page-wide figure whose height is ``ratio`` of its width."""
    return Figure(figsize=(PAGE_WIDTH, PAGE_WIDTH * ratio), layout="constrained")


def _label_panels(ratio: float) -> tuple[Figure, list[Axes]]:
    """A figure with a panel a label, at most four in a row, of that height to width."""
    count = len(labels.LABELS)
    width = min(4, count)
    height = -(-count // width)
    figure = _figure(ratio * height / 4)
    grid = figure.subplots(height, width, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, list(grid[:count])


def _axis(name: str) -> str:
    return labels.LABELS[labels.index(name)].axis


def _complete(*columns: np.ndarray) -> list[np.ndarray]:
    """The rows that are finite in every column, as float64."""
    keep = np.all([np.isfinite(column) for column in columns], axis=0)
    return [column[keep].astype(np.float64) for column in columns]


def _span(values: np.ndarray, margin: float = 0.08) -> tuple[float, float]:
    low, high = np.percentile(values, SPAN)
    pad = margin * (high - low) or 1.0
    return float(low - pad), float(high + pad)


def _hexbin(axes: Axes, x: np.ndarray, y: np.ndarray, **options: Any) -> Any:
    """Hexagonal cells over the bulk of the stars, rasterised."""
    if x.size and "extent" not in options:
        options["extent"] = (*_span(x), *_span(y))
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


def _compare(
    axes: Axes, label: labels.Label, x: np.ndarray, y: np.ndarray, reference: str
) -> tuple[float, float, float, float]:
    """Lines, numbers and names of a one-to-one panel; returns the extent of both axes."""
    _name_axes(
        axes,
        f"{label.symbol} {reference} [{label.unit}]",
        f"{label.symbol} XP [{label.unit}]",
    )
    if not x.size:
        _note(axes, "no stars")
        return 0.0, 1.0, 0.0, 1.0
    low, high = _span(np.concatenate([x, y]))
    unknown = np.full_like(x, np.nan)
    found = residual_statistics(y, unknown, x, unknown, label.outlier)
    for offset, style, width in ((0.0, "-", 0.9), (found.rms, "--", 0.7), (-found.rms, "--", 0.7)):
        axes.plot(
            [low, high], [low + offset, high + offset], style, color=BLACK, lw=width, zorder=3
        )
    rms, mad, bias = (
        _number(value, label.decimals) for value in (found.rms, found.scatter_mad, found.bias)
    )
    # In the two corners that the one-to-one line leaves free.
    _note(axes, f"rms {rms}\nMAD {mad}")
    _note(axes, f"bias {bias}\n$\\eta$ {100 * found.outlier_rate:.2f} %", corner="lower right")
    axes.set_box_aspect(1)
    return low, high, low, high


def _log_norm(drawn: Sequence[Any]) -> LogNorm:
    """One logarithmic scale for the counts of several panels."""
    counts = np.concatenate([[2.0], *(np.asarray(cells.get_array()) for cells in drawn)])
    return LogNorm(1, float(counts.max()))


def _normal(x: np.ndarray, mean: float, sigma: float) -> np.ndarray:
    return np.exp(-0.5 * np.square((x - mean) / sigma)) / (sigma * np.sqrt(2 * np.pi))


def _name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=FONT)
    axes.set_ylabel(y, fontsize=FONT)
    axes.tick_params(labelsize=SMALL, direction="in", top=True, right=True, width=0.6)
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)


def _note(axes: Axes, text: str, corner: str = "upper left") -> None:
    vertical, horizontal = corner.split()
    note = axes.text(
        {"left": 0.04, "right": 0.96}[horizontal],
        {"lower": 0.04, "upper": 0.96}[vertical],
        text,
        transform=axes.transAxes,
        ha=horizontal,
        va={"lower": "bottom", "upper": "top"}[vertical],
        fontsize=SMALL,
        linespacing=1.3,
    )
    note.set_path_effects([withStroke(linewidth=1.5, foreground="white")])


def _number(value: float, decimals: int) -> str:
    """A number as figures print it: a true minus sign, and no negative zero."""
    return f"{value:z.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _colour_bar(figure: Figure, cells: Any, axes: Any, name: str, **options: Any) -> None:
    bar = figure.colorbar(cells, ax=axes, pad=0.035, **options)
    bar.set_label(name, fontsize=FONT)
    bar.ax.tick_params(labelsize=SMALL, width=0.6)
    bar.outline.set_linewidth(0.6)
