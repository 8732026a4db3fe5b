"""The cuts of section 4.2, from all stars with labels to the catalogue of RGB stars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from aspgap_jax import labels
from aspgap_jax.preprocessing.selection import on_main_sequence_or_rgb

__all__ = ["CATALOGUE_SELECTIONS", "RowCut", "is_luminous", "pseudo_luminosity"]

Columns = Mapping[str, np.ndarray]
MIN_COLOUR = 0.8  # mag
MIN_RATIO = 10.0  # of Teff and of log g to their errors
MAX_ERROR_M_H = 1.0  # dex
MAX_ERROR_ALPHA_M = 0.5  # dex
MAX_TEFF = 5300.0  # K


class RowCut(NamedTuple):
    """One cut on rows of the catalogue.

    Attributes:
        name: what it asks.
        needs: columns that it reads.
        keep: from the columns to a mask ``[star]``; NaN does not pass.
    """

    name: str
    needs: tuple[str, ...]
    keep: Callable[[Columns], Bool[np.ndarray, " star"]]


def pseudo_luminosity(
    parallax: Float[np.ndarray, " star"], g_mag: Float[np.ndarray, " star"]
) -> Float[np.ndarray, " star"]:
    """Left side of eq. 6, parallax 10^(G/5) = 10^(M_G/5 + 2): defined for any parallax.

    Args:
        parallax: mas.
        g_mag: Gaia G, mag.
    """
    return parallax * 10.0 ** (g_mag.astype(np.float64) / 5.0)


def is_luminous(
    teff: Float[np.ndarray, " star"],
    parallax: Float[np.ndarray, " star"],
    g_mag: Float[np.ndarray, " star"],
) -> Bool[np.ndarray, " star"]:
    """Eq. 6, L_pseudo < 10^((19 - 0.003 Teff)/5 + 2): brighter than M_G = 19 - 0.003 Teff.

    The equation prints the exponent + 10, and the sentence below it M_G > ...; by
    the paper's own identity L_pseudo = 10^(M_G/5 + 2) neither can be meant.

    Args:
        teff: K.
        parallax: mas.
        g_mag: Gaia G, mag.
    """
    bound = 10.0 ** ((19.0 - 0.003 * teff.astype(np.float64)) / 5.0 + 2.0)
    return pseudo_luminosity(parallax, g_mag) < bound


def _column(name: str) -> str:
    return labels.LABELS[labels.index(name)].catalogue


TEFF, LOGG, M_H, ALPHA_M = (_column(name) for name in ("teff", "logg", "m_h", "alpha_m"))


def _within(label: labels.Label) -> RowCut:
    low, high = label.limits
    return RowCut(
        f"{low:g} <= {label.name} <= {high:g} {label.unit}",
        (label.catalogue,),
        lambda c: (c[label.catalogue] >= low) & (c[label.catalogue] <= high),
    )


def _ratio(column: str, name: str) -> RowCut:
    return RowCut(
        f"{name} over its error > {MIN_RATIO:g}",
        (column, f"e_{column}"),
        lambda c: c[column] > MIN_RATIO * c[f"e_{column}"],
    )


def _error(column: str, name: str, bound: float) -> RowCut:
    return RowCut(
        f"error of {name} < {bound:g} dex",
        (f"e_{column}",),
        lambda c: c[f"e_{column}"] < bound,
    )


PREDICTED = RowCut(
    "all labels predicted",
    tuple(row.catalogue for row in labels.LABELS),
    lambda c: np.all([np.isfinite(c[row.catalogue]) for row in labels.LABELS], axis=0),
)
QUALITY: tuple[RowCut, ...] = (
    PREDICTED,
    RowCut(
        f"G_BP - G_RP > {MIN_COLOUR:g} mag (no hot star)",
        ("bp_rp",),
        lambda c: c["bp_rp"] > MIN_COLOUR,
    ),
    *(_within(label) for label in labels.LABELS),
    RowCut(
        "on the main sequence or the RGB (Table 1, condition 5)",
        (TEFF, LOGG),
        lambda c: on_main_sequence_or_rgb(c[TEFF], c[LOGG]),
    ),
    _ratio(TEFF, "Teff"),
    _ratio(LOGG, "log g"),
    _error(ALPHA_M, "[alpha/M]", MAX_ERROR_ALPHA_M),
    _error(M_H, "[M/H]", MAX_ERROR_M_H),
)
RGB: tuple[RowCut, ...] = (
    *QUALITY,
    RowCut(f"Teff < {MAX_TEFF:g} K", (TEFF,), lambda c: c[TEFF] < MAX_TEFF),
    RowCut(
        "L_pseudo < 10^((19 - 0.003 Teff)/5 + 2) (eq. 6)",
        (TEFF, "parallax", "phot_g_mean_mag"),
        lambda c: is_luminous(c[TEFF], c["parallax"], c["phot_g_mean_mag"]),
    ),
)

CATALOGUE_SELECTIONS: Mapping[str, Sequence[RowCut]] = {
    "all": (),
    "predicted": (PREDICTED,),
    "quality": QUALITY,
    "rgb": RGB,
}
"""``all``: every row; ``predicted``: those with labels; ``quality``: the paper's 28
million (section 4.2 before the cuts in the diagram); ``rgb``: its 23 million."""
