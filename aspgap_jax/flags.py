"""The quality flags: one bit a reason not to trust a star's labels.

A star's ``flags`` is the sum of the bits below; 0 means that nothing was found
amiss. :data:`FLAGS` is the only source of names, bits and meanings; the catalogue,
the documentation and the code that sets a bit all follow it.

Some bits are facts (a band is missing). The others compare a score of the star
with the scores of training stars that were predicted by networks that had not
seen them (:mod:`aspgap_jax.prediction.domain`): the thresholds stand at one common tail level,
such that 1% of those stars exceed at least one of them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex, overload

__all__ = ["FLAGS", "MAX_RUWE", "Flag", "bit", "decode"]

MAX_RUWE = 1.4
"""Lindegren et al. (2021): above it the single-star astrometric model fits badly."""


@dataclass(frozen=True)
class Flag:
    """One bit.

    Attributes:
        name: how code and catalogue call it.
        bit: its value in the mask, a power of two.
        meaning: what it says about the star.
        computed: how it is found.
    """

    name: str
    bit: int
    meaning: str
    computed: str


def _table(*rows: tuple[str, str, str]) -> tuple[Flag, ...]:
    return tuple(Flag(name, 1 << i, *words) for i, (name, *words) in enumerate(rows))


# The order is the order of the bits: append, never insert.
FLAGS: tuple[Flag, ...] = _table(
    (
        "MISSING_BAND",
        "BP or RP is missing; there are no labels",
        "the file has no such band, or its values are all zero or not finite",
    ),
    (
        "LOW_SNR",
        "the spectrum is noisier than what the labels were trained and tested on",
        "coefficients: S/N of 1-10 at most 100, or of 11 and on at most 1, in BP or RP (Fig. 1); "
        "sampled fluxes: S/N of BP or RP below that of 99.9% of the training stars",
    ),
    (
        "OUT_OF_RANGE",
        "a value of the spectrum lies outside the range of the training stars",
        "largest distance outside the central 99.8% of a column, over the width of that range",
    ),
    (
        "LATENT_OUTLIER",
        "the network has not seen a star like this one",
        "Mahalanobis distance of the latents in their leading principal components",
    ),
    (
        "SPECTRUM_OUTLIER",
        "the spectrum is not one of the training stars' kind, or is damaged",
        "distance in the principal components of the training spectra, and what they leave "
        "unexplained, both against their own scatter at the star's noise",
    ),
    (
        "OUTSIDE_LABELS",
        "the labels lie outside those of the training stars",
        "distance outside the convex hull of the training labels, taken along 40 directions",
    ),
    (
        "PATHS_DISAGREE",
        "the direct path and the one over the hallucinated spectrum give other labels",
        "mean squared difference of the two in units of the predicted uncertainty",
    ),
    (
        "MEMBERS_DISAGREE",
        "the networks of the ensemble give different labels",
        "mean ratio of epistemic to aleatoric variance",
    ),
    (
        "LARGE_SIGMA",
        "the labels are much less certain than usual at this S/N",
        "mean logarithm of the predicted uncertainties, less its trend with S/N",
    ),
    (
        "HOT_STAR",
        "hotter than what the labels hold for",
        "Teff above 7000 K (Table 1) or above all but the tail of the training stars, or a "
        "synthetic G_BP - G_RP bluer than all but their tail",
    ),
    (
        "DWARF",
        "on the main sequence",
        "log g above 4, or above all but the tail of the training stars where those are giants",
    ),
    (
        "POOR_ASTROMETRY",
        "the astrometric fit is poor: the source may be two stars",
        "ruwe above 1.4 (Lindegren et al. 2021)",
    ),
    (
        "NO_G",
        "the file has no G magnitude",
        "G was synthesised from the spectrum",
    ),
    (
        "NOT_FINITE",
        "a value of the spectrum is not finite, or no labels could be computed",
        "such values were replaced by the training stars' median",
    ),
    (
        "G_MISMATCH",
        "the G magnitude that was given is not that of the spectrum: another star's, another "
        "passband's, or of a blend; the labels hang on it",
        "given G against the one synthesised from the spectrum: further apart than in all but 1% "
        "of the training stars",
    ),
)
"""All flags, in the order of their bits."""

_BITS = {flag.name: flag.bit for flag in FLAGS}


def bit(name: str) -> int:
    """The value of a flag.

    Args:
        name: of the flag, as :data:`FLAGS` has it.

    Returns:
        A power of two.

    Raises:
        KeyError: no flag has that name.

    Examples:
        >>> bit("HOT_STAR") & bit("NO_G")
        0
    """
    return _BITS[name]


@overload
def decode(flags: SupportsIndex) -> tuple[str, ...]: ...
@overload
def decode(flags: Iterable[Any]) -> Any: ...
def decode(flags: Any) -> Any:
    """The names of the bits that are set.

    Args:
        flags: the integer of a star, as catalogues have it, or a column of them.

    Returns:
        Of a star the names in the order of the table, none for 0. Of a column a text a star,
        the names with blanks between them: a pandas Series for one, else an array; empty for 0
        and where the flags are missing.

    Raises:
        ValueError: a bit that the table does not have, or something else than integers.

    Examples:
        >>> decode(bit("NO_G") | bit("HOT_STAR"))
        ('HOT_STAR', 'NO_G')
        >>> decode([0, bit("NO_G"), bit("NO_G") | bit("HOT_STAR")]).tolist()
        ['', 'NO_G', 'HOT_STAR NO_G']
    """
    if not hasattr(flags, "__len__") or getattr(flags, "ndim", 1) == 0:
        return _names(flags)
    # Not at the top: the command line starts without it.
    import numpy as np

    series = hasattr(flags, "iloc")
    values = np.ma.asarray(flags.to_numpy() if hasattr(flags, "to_numpy") else flags)
    missing = np.ma.getmaskarray(values)
    if values.dtype.kind not in "iu":
        if values.dtype.kind == "O":
            values = np.ma.asarray(values.astype(np.float64))
        whole = np.ma.getdata(values)
        missing = missing | np.isnan(whole)
        if (whole[~missing] != np.rint(whole[~missing])).any():
            raise ValueError("flags are integers, and these are not")
    masks = np.where(missing, 0, np.ma.getdata(values)).astype(np.int64)
    found, places = np.unique(masks, return_inverse=True)
    words = np.array([" ".join(_names(mask)) for mask in found.tolist()], dtype=str)[places]
    return type(flags)(words, index=flags.index, name=flags.name) if series else words


def _names(flags: SupportsIndex) -> tuple[str, ...]:
    mask = operator.index(flags)
    unknown = mask & ~sum(_BITS.values())
    if unknown:
        raise ValueError(f"flags {mask}: no flag has the bits {unknown}")
    return tuple(flag.name for flag in FLAGS if mask & flag.bit)
