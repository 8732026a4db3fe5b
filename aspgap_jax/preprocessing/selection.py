"""Which stars: every cut of the paper, side by side (:mod:`aspgap_jax.preprocessing.cuts`).

- ASPCAP's flags (section 2.2): :data:`UNFLAGGED`;
- Table 1 and our relaxations of it: :data:`SELECTIONS`;
- S/N of the XP coefficients (Fig. 1): :func:`snr_conditions`;
- quality of predicted labels (section 4.2) and the giants of eq. 6:
  :data:`CATALOGUE_SELECTIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from aspgap_jax import labels
from aspgap_jax.columns import Columns
from aspgap_jax.labels import LABELS, Label, LabelSet
from aspgap_jax.preprocessing.apogee_flags import ASPCAPFLAG, REJECTED, bits_of
from aspgap_jax.preprocessing.cuts import Condition
from aspgap_jax.preprocessing.snr import MIN_SNR_HIGH, MIN_SNR_LOW

__all__ = [
    "CATALOGUE_SELECTIONS",
    "GIANTS",
    "LUMINOUS",
    "MAX_TEFF",
    "NO_FLAG",
    "QUALITY",
    "SELECTIONS",
    "SPECTRA",
    "UNFLAGGED",
    "Selection",
    "is_luminous",
    "on_main_sequence_or_rgb",
    "pseudo_luminosity",
    "snr_above",
    "snr_conditions",
    "training_selection",
]

MIN_COLOUR = 0.8  # mag
MIN_RATIO = 10.0  # of Teff and of log g to their errors
MAX_ERROR_M_H = 1.0  # dex
MAX_ERROR_ALPHA_M = 0.5  # dex
MAX_TEFF = 5300.0  # K


# Formulas.


def on_main_sequence_or_rgb(
    teff: Float[np.ndarray, " star"], logg: Float[np.ndarray, " star"]
) -> Bool[np.ndarray, " star"]:
    """Condition 5 of Table 1: a main-sequence or red-giant star.

    The table's second RGB inequality reads "<" where ">" is meant, and its log
    is log10 (checked against the released code).

    Args:
        teff: K.
        logg: dex.

    Returns:
        Mask; false where a label is NaN or Teff is not positive.

    Examples:
        The Sun, and a star between the two sequences.

        >>> on_main_sequence_or_rgb(np.array([5777.0, 4500.0]), np.array([4.4, 3.1])).tolist()
        [True, False]
    """
    # A network may predict any Teff, negative ones too.
    ratio = teff / 5777.0
    log_teff = np.log10(ratio, out=np.full_like(ratio, np.nan), where=ratio > 0)
    main_sequence = (logg > 4.2 - 1.5 * log_teff) & (logg < 4.8)
    slope = 5.0 / 3000.0 * (teff - 3000.0)
    return main_sequence | ((logg < slope + 0.5) & (logg > slope - 1.9))


def pseudo_luminosity(
    parallax: Float[np.ndarray, " star"], g_mag: Float[np.ndarray, " star"]
) -> Float[np.ndarray, " star"]:
    """Left side of eq. 6, parallax 10^(G/5) = 10^(M_G/5 + 2): defined for any parallax.

    Args:
        parallax: mas.
        g_mag: Gaia G, mag.

    Returns:
        float64, mas; not positive where the parallax is not.

    Examples:
        A star of M_G = 0 at 1 kpc has G = 10.

        >>> float(pseudo_luminosity(np.array([1.0]), np.array([10.0]))[0])
        100.0
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

    Returns:
        Mask; true for a giant whose parallax came out negative.

    Examples:
        At 4800 K the bound is M_G = 4.6; at 1 kpc, G = 14.6.

        >>> is_luminous(np.full(2, 4800.0), np.ones(2), np.array([14.5, 14.7])).tolist()
        [True, False]
    """
    bound = 10.0 ** ((19.0 - 0.003 * teff.astype(np.float64)) / 5.0 + 2.0)
    return pseudo_luminosity(parallax, g_mag) < bound


class Selection(tuple[Condition, ...]):
    """Conditions under a name that users choose by.

    Args:
        meaning: which stars they leave, in words that follow the name.
        conditions: applied in this order.

    Attributes:
        meaning: as given.
    """

    meaning: str

    def __new__(cls, meaning: str, *conditions: Condition) -> Selection:
        self = super().__new__(cls, conditions)
        self.meaning = meaning
        return self


# Conditions that more than one selection has, for the names a table gives its columns.


def _above(name: str, column: str, bound: float) -> Condition:
    return Condition(f"{name} > {bound:g}", (column,), lambda c: c[column] > bound)


def _below(name: str, column: str, bound: float, unit: str = "") -> Condition:
    return Condition(f"{name} < {bound:g}{unit}", (column,), lambda c: c[column] < bound)


def _within(label: Label, column: str) -> Condition:
    low, high = label.limits
    return Condition(
        f"{low:g} <= {label.name} <= {high:g} {label.unit}",
        (column,),
        lambda c: (c[column] >= low) & (c[column] <= high),
    )


def _on_sequence(teff: str, logg: str) -> Condition:
    return Condition(
        "on the main sequence or the RGB (Table 1, condition 5)",
        (teff, logg),
        lambda c: on_main_sequence_or_rgb(c[teff], c[logg]),
    )


def _all_finite(name: str, *columns: str) -> Condition:
    return Condition(
        name, columns, lambda c: np.all([np.isfinite(c[column]) for column in columns], axis=0)
    )


# Training: section 2.2, on the columns of a training set.


def _unflagged(names: tuple[str, ...]) -> Condition:
    mask = bits_of(names, ASPCAPFLAG)
    return Condition(
        f"no ASPCAP flag {' or '.join(names)}",
        ("aspcapflag",),
        lambda c: (c["aspcapflag"] & mask) == 0,
    )


UNFLAGGED: tuple[Condition, ...] = tuple(_unflagged(names) for names in REJECTED.values())
"""The ASPCAP flags of section 2.2."""


def snr_conditions(
    min_low: float = MIN_SNR_LOW, min_high: float = MIN_SNR_HIGH
) -> tuple[Condition, ...]:
    """The cuts of Figure 1, on the columns of :func:`aspgap_jax.preprocessing.snr.band_snrs`.

    Args:
        min_low: stars need a larger S/N of the coefficients 1-10, in BP and in RP.
        min_high: the same for the coefficients 11-55.

    Returns:
        Four conditions: both bands for the low, then for the high coefficients.
    """
    return tuple(
        _above(f"S/N of {band.upper()} coefficients {numbers}", f"snr_{band}_{part}", bound)
        for part, numbers, bound in (("low", "1-10", min_low), ("high", "11-55", min_high))
        for band in ("bp", "rp")
    )


def snr_above(bound: float) -> Condition:
    """Condition 10 of Table 1, with its bound as an argument.

    The column is APOGEE's S/N in a training store; the sample has no such column, and
    the median S/N of the XP spectrum stands in for it.

    Args:
        bound: S/N that a star must exceed.

    Returns:
        The condition, on the column ``snr``.
    """
    return _above("S/N", "snr", bound)


def _finite_spectrum(columns: Columns) -> Bool[np.ndarray, " star"]:
    xp, error = columns["xp"], columns["xp_error"]
    return (
        np.isfinite(xp).all(axis=1)
        & np.isfinite(error).all(axis=1)
        & (error > 0).all(axis=1)
        & np.isfinite(columns["g_mag"])
    )


def _error_at_most(label: Label) -> Condition:
    error = f"e_{label.name}"
    return Condition(
        f"error of {label.name} <= {label.max_error:g} {label.unit}",
        (error,),
        lambda c: c[error] <= label.max_error,
    )


SPECTRA: tuple[Condition, ...] = (
    Condition(
        "finite spectrum, errors > 0, G known", ("xp", "xp_error", "g_mag"), _finite_spectrum
    ),
)


def _all_measured(keys: tuple[str, ...]) -> Condition:
    return _all_finite("all labels measured", *(e + name for e in ("", "e_") for name in keys))


MEASURED = _all_measured(labels.names())

USABLE: tuple[Condition, ...] = (MEASURED, *SPECTRA)

GIANTS: tuple[Condition, ...] = (
    *USABLE,
    _below("Teff", "teff", 5500.0, " K"),
    _below("log g", "logg", 3.8),
    snr_above(50.0),
    _above("[M/H]", "m_h", -2.5),
    _below("error of [alpha/M]", "e_alpha_m", 0.03),
    _below("error of [M/H]", "e_m_h", 0.03),
)

BROAD: tuple[Condition, ...] = (
    *USABLE,
    *(_within(label, label.name) for label in LABELS[:3]),
    snr_above(50.0),
    _below("error of [alpha/M]", "e_alpha_m", 0.05),
    _below("error of [M/H]", "e_m_h", 0.05),
)

TABLE_1: tuple[Condition, ...] = (
    *USABLE,
    *(_within(label, label.name) for label in LABELS),
    _on_sequence("teff", "logg"),
    *(_error_at_most(label) for label in LABELS),
    snr_above(200.0),
)

SELECTIONS: Mapping[str, Selection] = {
    "giants": Selection("the benchmark's giants", *GIANTS),
    "broad": Selection("dwarfs and subgiants too, as the released bundle has them", *BROAD),
    "table_1": Selection("the paper's Table 1", *TABLE_1),
    "usable": Selection("every star that a training can use", *USABLE),
}
"""Of training stars, by the name that ``--select`` takes."""


def training_selection(
    name: str, missing_labels: Literal["drop", "keep"] = "drop", table: LabelSet = LABELS
) -> tuple[Condition, ...]:
    """Which stars to train on.

    Args:
        name: a key of :data:`SELECTIONS`.
        missing_labels: ``keep`` asks for one label instead of all, and lets a star pass
            every cut that reads a label, or the error of one, that it lacks.
        table: the labels that are trained. Cuts of the selection on others stay.

    Returns:
        Conditions on the columns of a training set.
    """
    keys = labels.names(table)
    if missing_labels == "drop":
        measured = MEASURED if keys == labels.names() else _all_measured(keys)
        return tuple(measured if c is MEASURED else c for c in SELECTIONS[name])
    return tuple(
        _any_measured(keys) if c is MEASURED else _lenient(c, keys) for c in SELECTIONS[name]
    )


def _missing(columns: Columns, name: str) -> Bool[np.ndarray, " star"]:
    """A label without its error is none to train on."""
    return ~np.isfinite(columns[name]) | ~np.isfinite(columns[f"e_{name}"])


def _any_measured(keys: tuple[str, ...]) -> Condition:
    return Condition(
        "one label measured at least",
        _all_measured(keys).needs,
        lambda c: ~np.all([_missing(c, name) for name in keys], axis=0),
    )


def _lenient(condition: Condition, keys: tuple[str, ...]) -> Condition:
    read = [n for n in keys if {n, f"e_{n}"} & set(condition.needs)]
    if not read:
        return condition
    return condition._replace(
        name=f"{condition.name}, or not measured",
        needs=(*condition.needs, *(n for name in read for n in (name, f"e_{name}"))),
        keep=lambda c: condition.keep(c) | np.any([_missing(c, name) for name in read], axis=0),
    )


# Catalogue: section 4.2, on the columns of the catalogue.

TEFF, LOGG, M_H, ALPHA_M = (
    LABELS[labels.index(name)].catalogue for name in ("teff", "logg", "m_h", "alpha_m")
)


def _ratio(name: str, column: str) -> Condition:
    error = f"e_{column}"
    return Condition(
        f"{name} over its error > {MIN_RATIO:g}",
        (column, error),
        lambda c: c[column] > MIN_RATIO * c[error],
    )


PREDICTED = _all_finite("all labels predicted", *(label.catalogue for label in LABELS))

QUALITY: tuple[Condition, ...] = (
    PREDICTED,
    Condition(
        f"G_BP - G_RP > {MIN_COLOUR:g} mag (no hot star)",
        ("bp_rp",),
        lambda c: c["bp_rp"] > MIN_COLOUR,
    ),
    *(_within(label, label.catalogue) for label in LABELS),
    _on_sequence(TEFF, LOGG),
    _ratio("Teff", TEFF),
    _ratio("log g", LOGG),
    _below("error of [alpha/M]", f"e_{ALPHA_M}", MAX_ERROR_ALPHA_M, " dex"),
    _below("error of [M/H]", f"e_{M_H}", MAX_ERROR_M_H, " dex"),
)

LUMINOUS = Condition(
    "L_pseudo < 10^((19 - 0.003 Teff)/5 + 2) (eq. 6)",
    (TEFF, "parallax", "phot_g_mean_mag"),
    lambda c: is_luminous(c[TEFF], c["parallax"], c["phot_g_mean_mag"]),
)

NO_FLAG = Condition("no flag is set", ("flags",), lambda c: c["flags"] == 0)

CATALOGUE_SELECTIONS: Mapping[str, Selection] = {
    "all": Selection("every row"),
    "predicted": Selection("those with labels", PREDICTED),
    "quality": Selection(
        "section 4.2 before the cuts in the diagram, the paper's 28 million", *QUALITY
    ),
    "rgb": Selection(
        "the red giants, all of section 4.2, the paper's 23 million",
        *QUALITY,
        _below("Teff", TEFF, MAX_TEFF, " K"),
        LUMINOUS,
    ),
}
"""Of rows of a catalogue, by the name that ``--select`` takes."""
