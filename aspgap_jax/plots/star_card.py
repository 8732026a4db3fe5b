"""A star on one page: its spectrum and its like, what decided, labels, flags, hallucination."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Ellipse

from aspgap_jax import labels
from aspgap_jax.apstar import CHIPS, WAVELENGTH
from aspgap_jax.plots.style import (
    BLACK,
    BLUE,
    FONT,
    ORANGE,
    PAGE_WIDTH,
    SMALL,
    name_axes,
    number,
    span,
)
from aspgap_jax.validation.attribution import BANDS
from aspgap_jax.validation.star import StarCard

__all__ = ["star_card"]

# Inches: what stands above, the rows of the page, what lies between them, what stands below.
HEAD, UPPER, WORDS, CHIPS_HIGH = 0.52, 3.85, 1.05, 1.05
BELOW_UPPER, BELOW_WORDS, BELOW_CHIPS, FOOT = 0.72, 0.2, 0.38, 0.24
LEFT, RIGHT = 0.082, 0.985
YLABEL = -0.085  # of the width of the spectrum, where names of vertical axes stand
LINE = 0.092  # inches, of the words on flags
TITLE = 11.0
TINY = 5.6
PALE, DARK, RED, GREEN = "#9ecae1", "0.35", "#B2182B", "#1B7837"
NOTHING: dict[str, Any] = {"fontsize": SMALL, "color": DARK, "ha": "center", "va": "center"}
PLANES = (("teff", "logg"), ("m_h", "alpha_m"))
SIGMAS = (1.0, 2.0)
BLUE_END = 400.0  # nm: mostly noise below, which must not set a scale
# Strong lines of APOGEE spectra: species, vacuum wavelength in Angstrom.
LINES = (
    ("Mn", 15_221.6),
    ("Fe", 15_298.7),
    ("CO", 15_582.1),
    ("Fe", 15_652.9),
    ("Mg", 15_753.3),
    ("", 15_745.0),
    ("", 15_770.1),
    ("Si", 15_964.4),
    ("Si", 16_099.2),
    ("Ca", 16_155.2),
    ("CO", 16_189.5),
    ("Si", 16_685.3),
    ("Al", 16_723.5),
    ("Al", 16_755.1),
)
LEAST = 0.03  # score over its limit, where its scale begins
# What the scores of a star measure, in words.
SCORE_WORDS = {
    "range": "range of values",
    "leading": "shape of spectrum",
    "trailing": "fine structure",
    "residual": "unexplained rest",
    "latents": "latents",
    "paths": "the two paths",
    "members": "spread of networks",
}


def star_card(card: StarCard) -> Figure:
    """Everything about a star on a page.

    Args:
        card: of :func:`aspgap_jax.validation.star.describe_star`.

    Returns:
        The figure.
    """
    flags = _flag_lines(card)
    words_high = max(WORDS, LINE * len(flags))
    below = BELOW_WORDS + (0.0 if card.hallucinated is None else CHIPS_HIGH + BELOW_CHIPS)
    height = HEAD + UPPER + BELOW_UPPER + words_high + below + FOOT
    figure = Figure(figsize=(PAGE_WIDTH, height))

    def row(top: float, high: float) -> dict[str, float]:
        """Where a row stands, from inches below the upper edge."""
        return {"top": 1.0 - top / height, "bottom": 1.0 - (top + high) / height}

    upper = GridSpec(
        1, 2, figure, left=LEFT, right=RIGHT, wspace=0.3, width_ratios=[1.8, 1], **row(HEAD, UPPER)
    )
    left = upper[0].subgridspec(3, 1, height_ratios=[2.6, 0.8, 1.0], hspace=0.06)
    _spectrum(figure.add_subplot(left[0]), card)
    _residual(figure.add_subplot(left[1]), card)
    _strips(figure.add_subplot(left[2]), card)
    right = upper[1].subgridspec(2, 1, hspace=0.26)
    for i, plane in enumerate(PLANES):
        _plane(figure.add_subplot(right[i]), card, *plane, legend=not i)
    top = HEAD + UPPER + BELOW_UPPER
    words = GridSpec(
        1, 3, figure, left=0.02, right=RIGHT, wspace=0.06, width_ratios=[1.0, 0.55, 0.95],
        **row(top, WORDS),
    )  # fmt: skip
    _labels(figure.add_subplot(words[0]), card)
    _scores(figure.add_subplot(words[1]), card)
    _flags(figure.add_subplot(words[2]), flags)
    if card.hallucinated is not None:
        top += words_high + BELOW_WORDS
        _hallucinated(figure, row(top, CHIPS_HIGH), card.hallucinated)
    _head_and_foot(figure, card, height)
    return figure


def _head_and_foot(figure: Figure, card: StarCard, height: float) -> None:
    top = 1.0 - 0.08 / height
    title: dict[str, Any] = {"fontsize": TITLE, "weight": "bold", "va": "top"}
    figure.text(0.012, top, f"Gaia {card.source_id}", **title)
    facts = [
        f"G = {card.g_mag:.2f} mag" if np.isfinite(card.g_mag) else "G from the spectrum",
        f"BP \N{MINUS SIGN} RP = {number(card.colour, 2)} mag" if np.isfinite(card.colour) else "",
        "S/N "
        + ", ".join(
            f"{value:.0f} ({band})" if np.isfinite(value) else f"none ({band})"
            for value, band in zip(card.snr, ("BP", "RP"), strict=True)
        ),
    ]
    line = "   \N{MIDDLE DOT}   ".join(fact for fact in facts if fact)
    figure.text(0.012, top - 0.21 / height, line, fontsize=FONT, color=DARK, va="top")
    count = len(card.raised)
    verdict = "no flag" if not count else f"{count} flag{'s' if count > 1 else ''}"
    figure.text(RIGHT, top, verdict, color=RED if count else GREEN, ha="right", **title)
    notes = ". ".join(f"{note[0].upper()}{note[1:]}" for note in card.notes)
    figure.text(
        0.012,
        0.05 / height,
        "\n".join(textwrap.wrap(notes, 185)[:2]),
        fontsize=TINY,
        color=DARK,
        va="bottom",
    )


def _spectrum(axes: Axes, card: StarCard) -> None:
    unit = 10.0 ** np.floor(np.log10(np.nanmax(np.abs(card.flux))))
    near = card.neighbours
    if near is not None:
        for i, flux in enumerate(near.flux):
            name = f"the {len(near.flux)} training stars most like it" if not i else None
            axes.plot(card.wavelength, flux / unit, color=PALE, lw=0.6, label=name, zorder=1)
    low, high = card.flux - card.flux_error, card.flux + card.flux_error
    axes.fill_between(
        card.wavelength, low / unit, high / unit, color=ORANGE, alpha=0.35, lw=0, zorder=2
    )
    axes.plot(card.wavelength, card.flux / unit, color=ORANGE, lw=1.1, label="this star", zorder=3)
    exponent = round(np.log10(unit))
    name_axes(axes, "", rf"flux, as at $G=15$ [$10^{{{exponent}}}$ W m$^{{-2}}$ nm$^{{-1}}$]")
    axes.set_xlim(card.wavelength[0], card.wavelength[-1])
    axes.tick_params(labelbottom=False)
    red = card.wavelength > BLUE_END
    shown = [card.flux[red], *([] if near is None else [near.flux[:, red].ravel()])]
    values = np.concatenate(shown) / unit
    bottom, top = min(0.0, float(np.nanmin(values))), float(np.nanmax(values))
    # Room for the names of absorbers.
    axes.set_ylim(bottom - 0.04 * (top - bottom), top + 0.15 * (top - bottom))
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1],
        names[::-1],
        loc="best",
        # Below the names of absorbers.
        bbox_to_anchor=(0.0, 0.0, 1.0, 0.92),
        fontsize=SMALL,
        frameon=False,
        handlelength=1.6,
    )
    _absorbers(axes)
    axes.yaxis.set_label_coords(YLABEL, 0.5)
    for band in BANDS:
        axes.annotate(
            band.name.split(" 6")[0].split(" 7")[0].replace("triplet", "trip."),
            ((band.low + band.high) / 2, 1.0),
            (0, -3),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            fontsize=TINY,
            color=DARK,
            ha="center",
            va="top",
        )


def _absorbers(axes: Axes) -> None:
    for band in BANDS:
        axes.axvspan(band.low, band.high, color="0.93", lw=0, zorder=0)


def _residual(axes: Axes, card: StarCard) -> None:
    """The star over the mean of its neighbours; its flux over its error without them."""
    _absorbers(axes)
    if card.neighbours is None or not len(card.neighbours.flux):
        axes.plot(card.wavelength, card.flux / card.flux_error, color=ORANGE, lw=0.8)
        name_axes(axes, "", "S/N")
    else:
        mean = card.neighbours.flux.mean(axis=0)
        others = 100.0 * (card.neighbours.flux / mean - 1.0)
        low, high = np.percentile(others, [16, 84], axis=0)
        axes.fill_between(card.wavelength, low, high, color=PALE, alpha=0.7, lw=0)
        excess, error = 100.0 * (card.flux / mean - 1.0), 100.0 * card.flux_error / np.abs(mean)
        axes.fill_between(
            card.wavelength, excess - error, excess + error, color=ORANGE, alpha=0.3, lw=0
        )
        axes.plot(card.wavelength, excess, color=ORANGE, lw=0.8)
        axes.axhline(0.0, color=BLACK, lw=0.5)
        red = card.wavelength > BLUE_END
        largest = np.nanmax(np.abs(np.concatenate([excess[red], low[red], high[red]])))
        axes.set_ylim(-1.15 * largest, 1.15 * largest)
        name_axes(axes, "", "excess [%]")
    axes.yaxis.set_label_coords(YLABEL, 0.5)
    axes.set_xlim(card.wavelength[0], card.wavelength[-1])
    axes.tick_params(labelbottom=False)


def _strips(axes: Axes, card: StarCard) -> None:
    """What lines and bands moved each label by, a coloured strip a label."""
    features = card.shares.features
    largest = np.abs(features).max(axis=1, keepdims=True)
    half = float(np.median(np.diff(card.wavelength))) / 2.0
    axes.imshow(
        features / np.where(largest > 0, largest, 1.0),
        cmap="PuOr_r",
        vmin=-1.0,
        vmax=1.0,
        aspect="auto",
        interpolation="nearest",
        extent=(
            card.wavelength[0] - half,
            card.wavelength[-1] + half,
            len(features) - 0.5,
            -0.5,
        ),
    )
    name_axes(axes, "", "")
    axes.set_xlabel(
        "wavelength [nm]\nstrips: lines and bands that moved a label up (orange) or down (purple) "
        "from that of\nthe median training star; at the right, by how much in all",
        fontsize=SMALL,
        linespacing=1.4,
    )
    axes.set_xlim(card.wavelength[0], card.wavelength[-1])
    axes.set_yticks(range(len(features)), [label.symbol for label in labels.LABELS])
    axes.tick_params(axis="y", length=0, right=False)
    for line in range(1, len(features)):
        axes.axhline(line - 0.5, color="white", lw=1.5)
    if not np.isfinite(card.mean).all():
        axes.text(0.5, 0.5, "no labels, so nothing decided", transform=axes.transAxes, **NOTHING)
        return
    for row, (label, total) in enumerate(zip(labels.LABELS, features.sum(axis=1), strict=True)):
        axes.annotate(
            f"{total:+.{_digits(label)}f}".replace("-", "\N{MINUS SIGN}"),
            (1.0, row),
            (3, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            fontsize=SMALL,
            va="center",
        )


def _digits(label: labels.Label) -> int:
    """After the point, on a page for people."""
    return max(label.decimals - 1, 0)


def _plane(axes: Axes, card: StarCard, x: str, y: str, *, legend: bool) -> None:
    """Two labels of the star with 1- and 2-sigma ellipses, over the training stars."""
    columns = [labels.index(x), labels.index(y)]
    names = [labels.LABELS[column] for column in columns]
    known = card.training[np.isfinite(card.training[:, columns]).all(axis=1)][:, columns]
    at, covariance = card.mean[columns], card.covariance[np.ix_(columns, columns)]
    limits = [label.limits for label in names]
    if len(known):
        limits = [span(column, 0.04) for column in known.T]
        axes.hexbin(
            *known.T,
            gridsize=55,
            extent=(*limits[0], *limits[1]),
            cmap="Greys",
            norm=LogNorm(0.7, max(len(known) / 30.0, 2.0)),
            mincnt=1,
            linewidths=0.1,
            edgecolors="face",
            rasterized=True,
        )
    look: dict[str, Any] = {"linestyle": "none", "mec": "white", "mew": 0.4}
    if card.neighbours is not None:
        near = card.neighbours.labels[:, columns].T
        axes.plot(*near, marker="o", ms=2.8, color=BLUE, label="most like it", **look)
    if np.isfinite(at).all():
        for sigma in SIGMAS:
            axes.add_patch(_ellipse(at, covariance, sigma))
        name = r"this star, 1 and 2 $\sigma$"
        axes.plot(*at, marker="o", ms=3.8, color=ORANGE, zorder=5, label=name, **look)
        for i in range(2):
            # A star outside is on the page, and says so by the axis it stretches.
            reach = min(2.2 * np.sqrt(covariance[i, i]), 0.4 * (limits[i][1] - limits[i][0]))
            limits[i] = (min(limits[i][0], at[i] - reach), max(limits[i][1], at[i] + reach))
    truth = card.truth[columns]
    if np.isfinite(truth).all():
        axes.plot(*truth, marker="*", ms=6.5, color=BLACK, zorder=6, label="APOGEE", **look)
    name_axes(axes, names[0].axis, names[1].axis)
    axes.yaxis.labelpad = 1
    backwards = x == "teff"
    axes.set_xlim(limits[0][::-1] if backwards else limits[0])
    axes.set_ylim(limits[1][::-1] if backwards else limits[1])
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="upper left",
            fontsize=TINY,
            frameon=False,
            handletextpad=0.1,
            borderaxespad=0.2,
            labelspacing=0.25,
        )


def _ellipse(
    centre: Float[np.ndarray, "two=2"], covariance: Float[np.ndarray, "two=2 two=2"], sigma: float
) -> Ellipse:
    variance, axes = np.linalg.eigh(covariance)
    width, height = 2.0 * sigma * np.sqrt(np.maximum(variance, 0.0))[::-1]
    angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
    return Ellipse(
        (centre[0], centre[1]), width, height, angle=angle, fc="none", ec=ORANGE, lw=1.0, zorder=4
    )


def _labels(axes: Axes, card: StarCard) -> None:
    """The labels as a small table, beside those of its like and APOGEE's."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(labels.LABELS) + 0.1, -0.5)
    columns = [("AspGap", card.mean, card.sigma)]
    if card.neighbours is not None and len(card.neighbours.labels):
        near = card.neighbours.labels
        columns.append(("most like it", near.mean(axis=0), near.std(axis=0)))
    if np.isfinite(card.truth).any():
        columns.append(("APOGEE", card.truth, card.truth_error))
    ends = (0.45, 0.74, 1.0)[: len(columns)]
    for x, (head, values, errors) in zip(ends, columns, strict=True):
        ours = head == "AspGap"
        axes.text(x, -0.25, head, fontsize=SMALL, color=DARK, ha="right", va="center")
        for row, label in enumerate(labels.LABELS):
            axes.text(
                x,
                row + 0.55,
                _value(values[row], errors[row], _digits(label)),
                fontsize=FONT if ours else SMALL,
                color=ORANGE if ours else BLACK,
                weight="bold" if ours else "normal",
                ha="right",
                va="center",
            )
    for row, label in enumerate(labels.LABELS):
        name = label.symbol if label.unit == "dex" else label.axis
        axes.text(0.0, row + 0.55, name, fontsize=FONT, va="center")
    axes.plot([0, ends[-1]], [0.05, 0.05], color="0.7", lw=0.6)


def _value(value: float, error: float, digits: int) -> str:
    if not np.isfinite(value):
        return "\N{EN DASH}"
    text = number(value, digits)
    return f"{text} \N{PLUS-MINUS SIGN} {error:.{digits}f}" if np.isfinite(error) else text


def _scores(axes: Axes, card: StarCard) -> None:
    """How unusual the star is: scores over their limits, on a logarithmic scale."""
    names = [name for name in SCORE_WORDS if np.isfinite(card.unusual.get(name, np.nan))]
    ratios = np.array([card.unusual[name] for name in names]).clip(LEAST, 300.0)
    axes.set_axis_off()
    axes.set_xscale("log")
    high = max(3.0, 2.0 * float(ratios.max(initial=1.0)))
    # The left half is for the names.
    axes.set_xlim(LEAST**2 / high, high)
    axes.set_ylim(7.2, -1.0)
    axes.plot([1.0, 1.0], [-0.35, 6.6], color=DARK, lw=0.7, ls="--")
    axes.text(1.0, -0.45, "limit", fontsize=TINY, color=DARK, ha="center", va="bottom")
    for row, (name, ratio) in enumerate(zip(names, ratios, strict=True)):
        colour = RED if ratio > 1.0 else GREEN
        axes.plot([LEAST, ratio], [row, row], color="0.85", lw=2.0, solid_capstyle="butt", zorder=0)
        axes.plot(ratio, row, "o", ms=3.4, color=colour, mew=0)
        axes.text(0.8 * LEAST, row, SCORE_WORDS[name], fontsize=TINY, ha="right", va="center")


def _flag_lines(card: StarCard) -> list[tuple[str, bool]]:
    """The flags in words, the most exceeded first, line by line, and whether a line is a name."""
    lines = []
    for flag in sorted(card.raised, key=lambda flag: -np.nan_to_num(flag.excess)):
        how = f" ({flag.excess:.3g} times the limit)" if np.isfinite(flag.excess) else ""
        lines.append((flag.name, True))
        lines += [(line, False) for line in textwrap.wrap(f"{flag.meaning}{how}", 58)]
    return lines


def _flags(axes: Axes, lines: list[tuple[str, bool]]) -> None:
    axes.set_axis_off()
    top: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    if not lines:
        words = "No flag is set: nothing was found\namiss with this star."
        axes.annotate(words, (0, 1), (0, 0), fontsize=FONT, color=GREEN, linespacing=1.4, **top)
    for i, (line, name) in enumerate(lines):
        axes.annotate(
            line,
            (0, 1),
            (0, -72 * LINE * i),
            fontsize=SMALL if name else TINY,
            color=RED if name else BLACK,
            weight="bold" if name else "normal",
            **top,
        )


def _hallucinated(
    figure: Figure, place: dict[str, float], flux: Float[np.ndarray, " pixel"]
) -> None:
    """The three detectors of APOGEE, side by side."""
    widths = [WAVELENGTH[chip][-1] - WAVELENGTH[chip][0] for chip in CHIPS]
    grid = GridSpec(1, 3, figure, left=LEFT, right=RIGHT, width_ratios=widths, wspace=0.03, **place)
    low, high = np.percentile(np.concatenate([flux[chip] for chip in CHIPS]), [0.1, 99.9])
    panels = [figure.add_subplot(grid[i]) for i in range(len(CHIPS))]
    for axes, chip in zip(panels, CHIPS, strict=True):
        axes.plot(WAVELENGTH[chip], flux[chip], color=BLACK, lw=0.4)
        name_axes(axes, "", "")
        axes.set_xlim(WAVELENGTH[chip][0], WAVELENGTH[chip][-1])
        axes.set_ylim(low - 0.06 * (high - low), high + 0.28 * (high - low))
        first, last = WAVELENGTH[chip][[0, -1]]
        # None so near an edge that its number would touch the next panel's.
        axes.set_xticks(np.arange(100.0 * np.ceil((first + 20) / 100), last - 20, 100.0))
        axes.tick_params(labelleft=axes is panels[0])
        for species, wavelength in LINES:
            if axes.get_xlim()[0] < wavelength < axes.get_xlim()[1]:
                axes.axvline(wavelength, 0, 0.85, color=BLUE, lw=0.5, ls=":", zorder=0)
                axes.annotate(
                    species,
                    (wavelength, 1.0),
                    (0, -3),
                    xycoords=axes.get_xaxis_transform(),
                    textcoords="offset points",
                    fontsize=TINY,
                    color=BLUE,
                    ha="center",
                    va="top",
                )
    panels[0].set_ylabel("flux / continuum", fontsize=FONT)
    panels[1].set_xlabel(
        "hallucinated APOGEE spectrum: vacuum wavelength [\N{ANGSTROM SIGN}]", fontsize=FONT
    )
