"""Figures 16, 17 and 18: disks, orbits, and populations of known [alpha/M]."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aspgap_jax.plots.style import (
    BLACK,
    BLUE,
    COLOURS,
    COUNT,
    FONT,
    GREY,
    ORANGE,
    SMALL,
    annotate,
    axis_name,
    colour_bar,
    complete,
    hexbin,
    log_norm,
    name_axes,
    side_by_side,
    span,
)
from aspgap_jax.validation.disks import Confusion, DividingLine
from aspgap_jax.validation.dynamics import OrbitTrend

__all__ = ["disk_groups", "halo_populations", "orbit_trends"]

GREEN = "#009E73"


def disk_groups(
    moh: Float[np.ndarray, " star"],
    aom: Float[np.ndarray, " star"],
    high: Bool[np.ndarray, " star"],
    line: DividingLine,
    found: Confusion,
    *,
    narrow: bool = False,
) -> Figure:
    """Figure 18: the two disks in APOGEE's labels, and the confusion matrix of ours.

    Args:
        moh, aom: APOGEE's [M/H] and [alpha/M], dex.
        high: which of them APOGEE calls high-alpha.
        line: the dividing line.
        found: counts by APOGEE's group and ours.
        narrow: for a phone.

    Returns:
        The figure.
    """
    figure, (plane, matrix) = side_by_side(2, 0.46, narrow=narrow)
    for mask, colour, name in ((~high, BLUE, "low"), (high, ORANGE, "high")):
        plane.plot(
            moh[mask],
            aom[mask],
            ".",
            color=colour,
            ms=1.6,
            alpha=0.5,
            mew=0,
            rasterized=True,
            label=rf"{name} [$\alpha$/M]: {int(mask.sum()):,}",
        )
    if moh.size:
        plane.set_xlim(span(moh, 0.03))
        plane.set_ylim(span(aom))
    _draw_line(plane, line)
    plane.legend(fontsize=SMALL, frameon=False, markerscale=5, loc="lower left")
    name_axes(plane, f"{axis_name('m_h')} APOGEE", f"{axis_name('alpha_m')} APOGEE")

    counts = np.array(
        [[found.low_as_low, found.low_as_high], [found.high_as_low, found.high_as_high]]
    )
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = matrix.imshow(share, cmap=COLOURS, vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            matrix.text(
                column,
                row,
                f"{counts[row, column]:,}\n{100 * share[row, column]:.1f} %",
                ha="center",
                va="center",
                fontsize=FONT,
                color="black" if share[row, column] > 0.5 else "white",
            )
    groups = [r"low [$\alpha$/M]", r"high [$\alpha$/M]"]
    name_axes(matrix, "group by XP", "group by APOGEE")
    matrix.set_xticks([0, 1], groups)
    matrix.set_yticks([0, 1], groups, rotation=90, va="center")
    matrix.tick_params(length=0)
    colour_bar(figure, image, matrix, "fraction of APOGEE's group")
    return figure


def _draw_line(axes: Axes, line: DividingLine) -> None:
    ends = np.array(axes.get_xlim())
    axes.plot(ends, line.at(ends), "--", color=BLACK, lw=1.0)
    axes.set_xlim(*ends)


def orbit_trends(
    vertical: Mapping[str, tuple[OrbitTrend, OrbitTrend]],
    rotation: Mapping[str, tuple[OrbitTrend, OrbitTrend]],
    *,
    narrow: bool = False,
) -> Figure:
    """Figure 16: mean root of J_z, and mean L_z, against [alpha/M] in bins of [M/H].

    Circles and solid lines, XP; triangles and dashed lines, APOGEE; bars are
    bootstrap errors of the means.

    Args:
        vertical: by the bin of [M/H], the trends of sqrt(J_z) [(kpc km/s)^1/2] for XP's
            and for APOGEE's labels.
        rotation: the same of L_z [kpc km/s].
        narrow: for a phone.

    Returns:
        The figure.
    """
    figure, panels = side_by_side(2, 0.45, narrow=narrow)
    names = (r"mean $\sqrt{J_z}$ [(kpc km/s)$^{1/2}$]", r"mean $L_z$ [$10^3$ kpc km/s]")
    for axes, kinds, name, scale in zip(
        panels, (vertical, rotation), names, (1.0, 1e-3), strict=True
    ):
        for (words, pair), colour in zip(kinds.items(), (ORANGE, BLUE), strict=False):
            for found, style, source in zip(pair, ("-o", "--^"), ("XP", "APOGEE"), strict=True):
                axes.errorbar(
                    found.alpha_m,
                    scale * found.mean,
                    scale * found.error,
                    fmt=style,
                    color=colour,
                    lw=1.0,
                    ms=3,
                    elinewidth=0.7,
                    mfc=colour if source == "XP" else "white",
                    label=f"{source}: {words}",
                )
        name_axes(axes, axis_name("alpha_m"), name)
    panels[0].legend(fontsize=SMALL, frameon=False)
    return figure


def halo_populations(
    heart: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
    planes: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    line: DividingLine,
    *,
    narrow: bool = False,
) -> Figure:
    """Figure 17: the Poor Old Heart, and populations below the dividing line.

    Args:
        heart: edges of apocentre [kpc] and of eccentricity, and the fraction of
            high-alpha stars in the cells; or nothing.
        planes: by heading: [M/H] and [alpha/M] of XP, the same of APOGEE (NaN where
            unknown), drawn as green points.
        line: the dividing line.
        narrow: for a phone.

    Returns:
        The figure.
    """
    count = len(planes) + (heart is not None)
    figure, panels = side_by_side(count, 0.5 if count > 1 else 0.8, narrow=narrow)
    if heart is not None:
        axes = panels.pop(0)
        mesh = axes.pcolormesh(
            *heart[:2], heart[2].T, cmap=COLOURS, vmin=0, vmax=1, rasterized=True
        )
        axes.set_facecolor(GREY)
        name_axes(axes, r"$R_{\rm apo}$ [kpc]", "eccentricity")
        axes.set_title("Poor Old Heart", fontsize=FONT)
        name = r"fraction of high-[$\alpha$/M] stars"
        colour_bar(figure, mesh, axes, name, location="bottom", aspect=25)
    for axes, (title, (moh, aom, true_moh, true_aom)) in zip(panels, planes.items(), strict=True):
        x, y = complete(moh, aom)
        axes.set_title(title, fontsize=FONT)
        name_axes(axes, axis_name("m_h"), axis_name("alpha_m"))
        if not x.size:
            annotate(axes, "no stars")
            continue
        cells = hexbin(axes, x, y, mincnt=1)
        cells.set_norm(log_norm([cells]))
        colour_bar(figure, cells, axes, COUNT, location="bottom", aspect=25, format="{x:g}")
        axes.plot(
            true_moh, true_aom, ".", color=GREEN, ms=2.5, mec="white", mew=0.2, label="APOGEE"
        )
        _draw_line(axes, line)
        axes.legend(fontsize=SMALL, frameon=False, markerscale=2)
    return figure
