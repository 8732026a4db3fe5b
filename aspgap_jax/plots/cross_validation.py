"""The figures of a cross-validation: 2, 5, 6 and 8 of the paper, and the learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aspgap_jax import labels
from aspgap_jax.labels import LabelSet
from aspgap_jax.plots.style import (
    BLACK,
    BLUE,
    COLOURS,
    COUNT,
    FONT,
    GREY,
    ORANGE,
    PAGE_WIDTH,
    SMALL,
    annotate,
    axis_name,
    colour_bar,
    compare,
    complete,
    hexbin,
    label_panels,
    log_norm,
    name_axes,
    normal,
    number,
    side_by_side,
)
from aspgap_jax.validation.metrics import MAD_TO_SIGMA

__all__ = [
    "chi_distribution",
    "learning_curves",
    "one_to_one",
    "one_to_one_by_sigma",
    "training_set",
]

CHI_RANGE = 5.0
MANY_EPOCHS = 20
GREY_LINE = "0.4"
# Okabe & Ito's, but for black.
MEMBER_COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SPLITS = ("repeat", "fold", "seed")
# What the terms of the loss are called on axes.
TERMS = {
    "total": "total loss",
    "nll": "negative log-likelihood",
    "branch": "hallucinator branch",
    "l1": "L1 norm of the weights",
    "kl": "KL divergence of chi",
    "prior": "half $|z|^2$ of the components",
    "gradient_norm": "norm of the gradient",
}


def training_set(stars: Float[np.ndarray, "star label"], *, narrow: bool = False) -> Figure:
    """Figure 2: the labels of a sample.

    Left, the Kiel diagram coloured by the mean [M/H] of a cell; right, the number
    of stars in the plane of [M/H] and [alpha/M].

    Args:
        stars: labels in the units of the label table; a star with an unknown
            label is left out of the panels that need it.
        narrow: for a phone.

    Returns:
        The figure, not yet saved.
    """
    figure, (kiel, abundances) = side_by_side(2, 0.5, narrow=narrow)
    columns = {name: stars[:, labels.index(name)] for name in ("teff", "logg", "m_h", "alpha_m")}

    teff, logg, moh = complete(columns["teff"], columns["logg"], columns["m_h"])
    cells = hexbin(kiel, teff, logg, C=moh, reduce_C_function=np.mean)
    if moh.size:
        # The few most metal-poor stars would take half of the colours.
        cells.set_norm(Normalize(*np.percentile(moh, [1, 99])))
    kiel.invert_xaxis()
    kiel.invert_yaxis()
    name = f"mean {axis_name('m_h')}"
    colour_bar(figure, cells, kiel, name, location="top", aspect=30, extend="both")
    name_axes(kiel, axis_name("teff"), axis_name("logg"))

    moh, aom = complete(columns["m_h"], columns["alpha_m"])
    cells = hexbin(abundances, moh, aom, mincnt=1)
    cells.set_norm(log_norm([cells]))
    colour_bar(figure, cells, abundances, COUNT, location="top", aspect=30, format="{x:g}")
    name_axes(abundances, axis_name("m_h"), axis_name("alpha_m"))
    return figure


def one_to_one(
    prediction: Float[np.ndarray, "star label"],
    truth: Float[np.ndarray, "star label"],
    *,
    columns: int = 4,
    table: LabelSet = labels.LABELS,
) -> Figure:
    """Figure 5: predicted against true labels, coloured by the logarithm of the density.

    Solid, the one-to-one line; dashed, one rms residual to either side. Printed
    are the rms, the MAD scatter, the bias (prediction - truth) and the outlier
    rate eta of eq. 5, as :mod:`aspgap_jax.validation.metrics` defines them.

    Args:
        prediction: predicted labels.
        truth: APOGEE's labels, NaN where unknown.
        columns: panels in a row.
        table: the labels.

    Returns:
        The figure.
    """
    figure, panels = label_panels(1.2, columns, len(table))
    drawn = []
    for axes, column in zip(panels, range(len(table)), strict=True):
        x, y = complete(truth[:, column], prediction[:, column])
        extent = compare(axes, table[column], x, y, "APOGEE")
        if x.size:
            drawn.append(hexbin(axes, x, y, extent=extent, mincnt=1))
    if drawn:
        norm = log_norm(drawn)
        for cells in drawn:
            cells.set_norm(norm)
        bar = {"location": "top", "aspect": 22 * columns, "format": "{x:g}"}
        colour_bar(figure, drawn[0], panels, COUNT, **bar)
    return figure


def one_to_one_by_sigma(
    prediction: Float[np.ndarray, "star label"],
    sigma: Float[np.ndarray, "star label"],
    truth: Float[np.ndarray, "star label"],
    *,
    columns: int = 4,
    table: LabelSet = labels.LABELS,
) -> Figure:
    """Figure 6: as :func:`one_to_one`, coloured by the median predicted sigma of a cell.

    Args:
        prediction: predicted labels.
        sigma: their predicted 1-sigma uncertainties.
        truth: APOGEE's labels, NaN where unknown.
        columns: panels in a row.
        table: the labels.

    Returns:
        The figure.
    """
    figure, panels = label_panels(1.2, columns, len(table))
    for axes, column in zip(panels, range(len(table)), strict=True):
        label = table[column]
        x, y, s = complete(truth[:, column], prediction[:, column], sigma[:, column])
        extent = compare(axes, label, x, y, "APOGEE")
        if x.size:
            cells = hexbin(axes, x, y, extent=extent, C=s, reduce_C_function=np.median)
            cells.set_norm(Normalize(*np.percentile(s, [2, 98])))
            name = rf"$\sigma$ {label.axis}"
            colour_bar(figure, cells, axes, name, location="top", extend="both", aspect=18)
    return figure


def chi_distribution(
    chi: Float[np.ndarray, "star label"], *, columns: int = 4, table: LabelSet = labels.LABELS
) -> Figure:
    """Figure 8: distribution of chi with N(0, 1) and a normal fitted to its core.

    The fitted normal has the median and the MAD scatter of all stars: a few outliers
    do not widen it. Printed are its sigma and the standard deviation, outliers included.

    Args:
        chi: (truth - prediction) / sqrt(truth_error^2 + sigma^2), NaN where unknown.
        columns: panels in a row.
        table: the labels.

    Returns:
        The figure.
    """
    figure, panels = label_panels(0.9, columns, len(table))
    edges = np.linspace(-CHI_RANGE, CHI_RANGE, 61)
    grid = np.linspace(-CHI_RANGE, CHI_RANGE, 401)
    peaks = [0.4]
    for axes, values, label in zip(panels, chi.T, table, strict=True):
        (values,) = complete(values)
        note = "no stars"
        if values.size:
            centre = float(np.median(values))
            core = MAD_TO_SIGMA * float(np.median(np.abs(values - centre)))
            density = np.histogram(values, edges)[0] / (values.size * np.diff(edges))
            axes.stairs(density, edges, fill=True, color=GREY, zorder=0)
            note = (
                f"median {number(centre, 2)}\n$\\sigma_{{\\rm MAD}}$ {number(core, 2)}\n"
                f"$\\sigma$ {number(float(np.std(values)), 2)}"
            )
            peaks.append(float(density.max()))
            if core > 0:
                axes.plot(grid, normal(grid, centre, core), color=ORANGE, lw=1.2, label="core")
        # Above the fit, which it would hide beneath where the two agree.
        axes.plot(grid, normal(grid, 0.0, 1.0), "--", color=BLUE, lw=1.0, label="N(0, 1)")
        annotate(axes, note)
        axes.set_xlim(-CHI_RANGE, CHI_RANGE)
        name_axes(axes, rf"$\chi$ of {label.symbol}", "")
    for axes in panels:
        # One scale, and room for the numbers above the peak.
        axes.set_ylim(0.0, 1.45 * max(peaks))
    for axes in panels[::columns]:
        axes.set_ylabel("probability density", fontsize=FONT)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside upper center", ncols=2, fontsize=SMALL, frameon=False
    )
    return figure


def learning_curves(
    history: Sequence[Mapping[str, float | int]], *, narrow: bool = False
) -> Figure:
    """The terms of the loss by epoch: a panel a term, a colour a member.

    Solid, means over the steps of an epoch, with dropout; dashed, the held-out stars after
    it. A dot marks the epoch with a member's lowest validation loss: its parameters are
    the ones that are kept.

    Args:
        history: a row an epoch and member, with ``epoch``, optionally ``member``, ``repeat``,
            ``fold`` and ``seed``, and the terms as ``train_NAME`` and ``valid_NAME``.
        narrow: for a phone.

    Returns:
        The figure, not yet saved.

    Raises:
        ValueError: no row, or no term in them.
    """
    keys = dict.fromkeys(key for row in history for key in row)
    splits = {"train": "-", "valid": "--"}
    terms = list(
        dict.fromkeys(
            key.split("_", 1)[1] for key in keys if key.split("_", 1)[0] in splits and "_" in key
        )
    )
    # A term that is nothing throughout is not in this objective.
    terms = [
        term
        for term in terms
        if any(row.get(f"{s}_{term}", 0.0) for row in history for s in splits)
    ]
    if not terms:
        raise ValueError("the history has no train_ or valid_ term to draw")
    runs: dict[int, list[Mapping[str, float | int]]] = {}
    for row in history:
        runs.setdefault(int(row.get("member", 0)), []).append(row)
    colours = _member_colours(len(runs))
    width = min(2 if narrow else 3, len(terms))
    height = -(-len(terms) // width)
    page = PAGE_WIDTH / 2 if narrow else PAGE_WIDTH
    figure = Figure(figsize=(page, page * (0.93 * height / width + 0.1)), layout="constrained")
    panels = figure.subplots(height, width, squeeze=False).ravel()
    for axes, term in zip(panels, terms, strict=False):
        drawn: list[float] = []
        for split, style in splits.items():
            key = f"{split}_{term}"
            for rows, colour in zip(runs.values(), colours, strict=True):
                known = [row for row in rows if key in row]
                if not known:
                    continue
                epochs, values = ([row[name] for row in known] for name in ("epoch", key))
                # A line of one point is invisible: a run of one epoch is no line yet.
                marker = "." if len(known) == 1 else ""
                axes.plot(epochs, values, style, color=colour, marker=marker, lw=0.8, alpha=0.8)
                drawn += values
                best = _best_epoch(rows)
                if best in epochs:
                    value = values[epochs.index(best)]
                    axes.scatter(best, value, s=9, color=BLACK, linewidths=0, zorder=3)
        name_axes(axes, "epoch", TERMS.get(term, term))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.get_offset_text().set_fontsize(SMALL)
        if len(drawn) > MANY_EPOCHS * len(runs):
            # The first epochs and a spike must not set the scale of all others.
            low, high = np.nanpercentile(drawn, [0.5, 97.0])
            pad = 0.1 * (high - low) or 1.0
            axes.set_ylim(low - pad, high + pad)
        if f"valid_{term}" not in keys:
            annotate(axes, "training alone", corner="upper right")
    for axes in panels[len(terms) :]:
        axes.set_axis_off()
    handles = [
        Line2D([], [], color=GREY_LINE, ls="-", label="train"),
        Line2D([], [], color=GREY_LINE, ls="--", label="valid"),
        Line2D([], [], color=BLACK, ls="", marker=".", label="best epoch"),
        *_member_handles(runs, colours),
    ]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=min(len(handles), 3 if narrow else 7),
        fontsize=SMALL,
        frameon=False,
    )
    return figure


def _member_colours(count: int) -> list[Any]:
    if count <= len(MEMBER_COLOURS):
        return list(MEMBER_COLOURS[:count])
    return [colormaps[COLOURS](i / count) for i in range(count)]


def _member_handles(
    runs: Mapping[int, Sequence[Mapping[str, float | int]]], colours: Sequence[Any]
) -> list[Line2D]:
    """What each colour stands for; of many members the first and the last."""
    if len(runs) == 1:
        return []
    first = [rows[0] for rows in runs.values()]
    # What is the same for all tells nothing.
    varied = [word for word in SPLITS if len({row.get(word) for row in first}) > 1]
    names = [
        ", ".join(f"{word} {row[word]:g}" for word in varied if word in row) or f"member {member}"
        for member, row in zip(runs, first, strict=True)
    ]
    shown = range(len(names)) if len(names) <= len(MEMBER_COLOURS) else (0, len(names) - 1)
    return [Line2D([], [], color=colours[i], lw=2.5, label=names[i]) for i in shown]


def _best_epoch(rows: Sequence[Mapping[str, float | int]]) -> float | int | None:
    """The epoch with the lowest validation loss, or ``None`` where there is none."""
    known = [row for row in rows if np.isfinite(row.get("valid_nll", np.nan))]
    return min(known, key=lambda row: row["valid_nll"])["epoch"] if known else None
