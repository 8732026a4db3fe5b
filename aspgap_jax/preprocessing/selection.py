"""The cuts, each a named pure predicate on a :class:`TrainingSet`.

A cut is a name and a function from stars to a mask. A preset is a sequence of
cuts; :func:`apply_cuts` applies them in order and counts what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from aspgap_jax import labels
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.stars import Cut, TrainingSet

__all__ = ["SELECTIONS", "Predicate", "apply_cuts", "format_cuts", "on_main_sequence_or_rgb"]

Predicate = Callable[[TrainingSet], np.ndarray]


def _label(stars: TrainingSet, name: str) -> np.ndarray:
    return stars.labels[:, labels.index(name)]


def _error(stars: TrainingSet, name: str) -> np.ndarray:
    return stars.label_error[:, labels.index(name)]


def finite_spectrum(stars: TrainingSet) -> np.ndarray:
    """Every flux finite, every error finite and positive."""
    return (
        np.isfinite(stars.xp).all(axis=1)
        & np.isfinite(stars.xp_error).all(axis=1)
        & (stars.xp_error > 0).all(axis=1)
        & np.isfinite(stars.g_mag)
    )


def has_labels(stars: TrainingSet) -> np.ndarray:
    """Every label and its error finite."""
    return np.isfinite(stars.labels).all(axis=1) & np.isfinite(stars.label_error).all(axis=1)


def on_main_sequence_or_rgb(teff: np.ndarray, logg: np.ndarray) -> np.ndarray:
    """Condition 5 of Table 1: a main-sequence or red-giant star.

    The table's second RGB inequality reads "<" where ">" is meant, and its log
    is log10 (checked against the released code).

    Args:
        teff: K.
        logg: dex.
    """
    main_sequence = (logg > 4.2 - 1.5 * np.log10(teff / 5777.0)) & (logg < 4.8)
    slope = 5.0 / 3000.0 * (teff - 3000.0)
    return main_sequence | ((logg < slope + 0.5) & (logg > slope - 1.9))


def apogee_snr_above(bound: float) -> tuple[str, Predicate]:
    """Condition 10 of Table 1, with its bound as an argument."""
    return f"APOGEE S/N > {bound:g}", lambda stars: stars.columns["snr"] > bound


def _within_limits(label: labels.Label) -> tuple[str, Predicate]:
    low, high = label.limits
    name = f"{low:g} <= {label.name} <= {high:g} {label.unit}"
    return (
        name,
        lambda stars: (_label(stars, label.name) >= low) & (_label(stars, label.name) <= high),
    )


def _error_at_most(label: labels.Label) -> tuple[str, Predicate]:
    name = f"error of {label.name} <= {label.max_error:g} {label.unit}"
    return name, lambda stars: _error(stars, label.name) <= label.max_error


SPECTRA: tuple[tuple[str, Predicate], ...] = (
    ("finite spectrum, errors > 0, G known", finite_spectrum),
)

USABLE: tuple[tuple[str, Predicate], ...] = (("all labels measured", has_labels), *SPECTRA)

GIANTS: tuple[tuple[str, Predicate], ...] = (
    *USABLE,
    ("Teff < 5500 K", lambda stars: _label(stars, "teff") < 5500.0),
    ("log g < 3.8", lambda stars: _label(stars, "logg") < 3.8),
    apogee_snr_above(50.0),
    ("[M/H] > -2.5", lambda stars: _label(stars, "m_h") > -2.5),
    ("error of [alpha/M] < 0.03", lambda stars: _error(stars, "alpha_m") < 0.03),
    ("error of [M/H] < 0.03", lambda stars: _error(stars, "m_h") < 0.03),
)

BROAD: tuple[tuple[str, Predicate], ...] = (
    *USABLE,
    *(_within_limits(label) for label in labels.LABELS[:3]),
    apogee_snr_above(50.0),
    ("error of [alpha/M] < 0.05", lambda stars: _error(stars, "alpha_m") < 0.05),
    ("error of [M/H] < 0.05", lambda stars: _error(stars, "m_h") < 0.05),
)

TABLE_1: tuple[tuple[str, Predicate], ...] = (
    *USABLE,
    *(_within_limits(label) for label in labels.LABELS),
    (
        "on the main sequence or the RGB (Table 1, condition 5)",
        lambda stars: on_main_sequence_or_rgb(_label(stars, "teff"), _label(stars, "logg")),
    ),
    *(_error_at_most(label) for label in labels.LABELS),
    apogee_snr_above(200.0),
)

SELECTIONS: Mapping[str, Sequence[tuple[str, Predicate]]] = {
    "giants": GIANTS,
    "broad": BROAD,
    "table_1": TABLE_1,
    "usable": USABLE,
}
"""``giants``: the benchmark selection; ``broad``: dwarfs and subgiants too (the
released bundle's); ``table_1``: the paper's; ``usable``: no cut
but what a training needs."""


def apply_cuts(stars: TrainingSet, cuts: Sequence[tuple[str, Predicate]]) -> TrainingSet:
    """Apply ``cuts`` in order; the counts are appended to ``stars.cuts``.

    Raises:
        InputError: no star is left; the cut that removed the last is named.
    """
    keep = np.ones(len(stars), bool)
    counts = []
    for name, predicate in cuts:
        keep &= predicate(stars)
        counts.append(Cut(name, int(keep.sum())))
        if not keep.any():
            raise InputError(f"no star is left after the cut '{name}'")
    return replace(stars.where(keep), cuts=(*stars.cuts, *counts))


def format_cuts(cuts: Sequence[Cut]) -> str:
    """The cuts as a table: what was asked, stars left, stars removed."""
    width = max((len(cut.name) for cut in cuts), default=0)
    lines = [f"{'cut':<{width}}  {'left':>9}  {'removed':>9}"]
    for i, cut in enumerate(cuts):
        removed = f"{cuts[i - 1].left - cut.left:,}" if i else ""
        lines.append(f"{cut.name:<{width}}  {cut.left:>9,}  {removed:>9}")
    return "\n".join(lines)
