"""The columns of the catalogue: names, units, meanings; the paper's Table 2, and ours beside it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from aspgap_jax import labels

__all__ = [
    "COLUMNS",
    "TRUST",
    "ColumnSpec",
    "Columns",
    "catalogue_columns",
    "correlation_columns",
    "label_columns",
    "trust_columns",
]

Columns = Mapping[str, np.ndarray]
"""A table on the host: columns by name, ``[star, ...]``."""


class ColumnSpec(NamedTuple):
    """One column of a table.

    Attributes:
        name: its name.
        unit: unit as FITS writes it; empty for a number without one.
        description: what it is.
        dtype: type in memory and in files, that of the Gaia archive.
        ucd: what kind of quantity it is, in the words of the IVOA's UCD1+; empty for unknown.
    """

    name: str
    unit: str
    description: str
    dtype: type[np.generic]
    ucd: str = ""


def label_columns(
    prefix: str,
    description: str,
    statistic: str = "",
    table: labels.LabelSet = labels.LABELS,
) -> tuple[ColumnSpec, ...]:
    """A column a label.

    Args:
        prefix: of the names; ``e_`` for errors.
        description: with ``{}`` where the label's own belongs.
        statistic: the UCD of what it is of the label, ``stat.error``; none for the label itself.
        table: the labels.

    Returns:
        In the order of ``table``.

    Examples:
        >>> [(column.name, column.unit) for column in label_columns("e_", "Error in {}")][:2]
        [('e_teff_xp', 'K'), ('e_logg_xp', 'dex')]
    """
    words = [row.description for row in table]
    # Within a sentence a label is written small.
    small = [word if not prefix else f"{word[0].lower()}{word[1:]}" for word in words]
    return tuple(
        ColumnSpec(
            f"{prefix}{row.catalogue}",
            row.unit,
            description.format(word),
            np.float32,
            f"{statistic};{row.ucd}".strip(";"),
        )
        for row, word in zip(table, small, strict=True)
    )


def correlation_columns(table: labels.LabelSet = labels.LABELS) -> tuple[ColumnSpec, ...]:
    """A column a pair of labels, named as the Gaia archive names those of astrometry.

    Args:
        table: the labels.

    Returns:
        In the order of ``numpy.triu_indices`` above the diagonal.

    Examples:
        >>> [column.name for column in correlation_columns()][:2]
        ['teff_logg_corr_xp', 'teff_moh_corr_xp']
    """
    return tuple(
        ColumnSpec(
            "_".join([*(row.catalogue.removesuffix("_xp") for row in pair), "corr_xp"]),
            "",
            "Correlation of the errors in {} and {}".format(
                *(f"{row.description[0].lower()}{row.description[1:]}" for row in pair)
            ),
            np.float32,
            ";".join(["stat.correlation", *(row.ucd for row in pair)]),
        )
        for pair in combinations(table, 2)
    )


_PLACE: tuple[ColumnSpec, ...] = (
    ColumnSpec("source_id", "", "Unique identifier for star", np.int64, "meta.id;meta.main"),
    ColumnSpec("ra", "deg", "Right Ascension", np.float64, "pos.eq.ra;meta.main"),
    ColumnSpec("dec", "deg", "Declination", np.float64, "pos.eq.dec;meta.main"),
)

_GAIA: tuple[ColumnSpec, ...] = (
    ColumnSpec("snr_rp", "", "Signal-to-noise ratio in G_RP", np.float32, "stat.snr;em.opt.R"),
    ColumnSpec("l", "deg", "Galactic longitude", np.float64, "pos.galactic.lon"),
    ColumnSpec("b", "deg", "Galactic latitude", np.float64, "pos.galactic.lat"),
    ColumnSpec("parallax", "mas", "Parallax", np.float64, "pos.parallax.trig"),
    ColumnSpec(
        "parallax_error", "mas", "Parallax uncertainty", np.float32, "stat.error;pos.parallax.trig"
    ),
    ColumnSpec("pmra", "mas yr-1", "Proper motion in RA", np.float64, "pos.pm;pos.eq.ra"),
    ColumnSpec(
        "pmra_error",
        "mas yr-1",
        "Proper motion uncertainty in RA",
        np.float32,
        "stat.error;pos.pm;pos.eq.ra",
    ),
    ColumnSpec("pmdec", "mas yr-1", "Proper motion in Dec", np.float64, "pos.pm;pos.eq.dec"),
    ColumnSpec(
        "pmdec_error",
        "mas yr-1",
        "Proper motion uncertainty in Dec",
        np.float32,
        "stat.error;pos.pm;pos.eq.dec",
    ),
    ColumnSpec("ruwe", "", "Renormalized unit weight error", np.float32, "stat.fit.goodness"),
    ColumnSpec(
        "phot_g_mean_mag", "mag", "Mean apparent magnitude in G band", np.float32, "phot.mag;em.opt"
    ),
    ColumnSpec(
        "phot_bp_mean_mag",
        "mag",
        "Mean apparent magnitude in BP band",
        np.float32,
        "phot.mag;em.opt.B",
    ),
    ColumnSpec(
        "phot_rp_mean_mag",
        "mag",
        "Mean apparent magnitude in RP band",
        np.float32,
        "phot.mag;em.opt.R",
    ),
    ColumnSpec("bp_rp", "mag", "Color index", np.float32, "phot.color;em.opt.B;em.opt.R"),
    ColumnSpec(
        "radial_velocity", "km s-1", "Radial velocity", np.float32, "spect.dopplerVeloc.opt"
    ),
    ColumnSpec(
        "radial_velocity_error",
        "km s-1",
        "Radial velocity uncertainty",
        np.float32,
        "stat.error;spect.dopplerVeloc.opt",
    ),
)
"""The paper's Table 2, in its order."""

_QUALITY: tuple[ColumnSpec, ...] = (
    ColumnSpec("snr_bp", "", "Signal-to-noise ratio in G_BP", np.float32, "stat.snr;em.opt.B"),
    ColumnSpec(
        "g_synthetic",
        "mag",
        "G magnitude synthesised from the XP spectrum",
        np.float32,
        "phot.mag;em.opt",
    ),
    ColumnSpec(
        "flags", "", "Quality bits, 0 for none (aspgap_jax.flags)", np.int32, "meta.code.qual"
    ),
)


def catalogue_columns(table: labels.LabelSet) -> tuple[ColumnSpec, ...]:
    """Table 2 of the paper, in its order, for any labels.

    Args:
        table: the labels.

    Returns:
        The columns.
    """
    return (
        *_PLACE,
        *label_columns("", "{} from AspGap", table=table),
        *label_columns("e_", "Error in {} from AspGap", "stat.error", table),
        *_GAIA,
    )


def trust_columns(table: labels.LabelSet) -> tuple[ColumnSpec, ...]:
    """What stands beside Table 2: how far to trust the labels of a star.

    Args:
        table: the labels.

    Returns:
        The columns.
    """
    spread = "Standard deviation of {} over the ensemble of networks"
    noise = "Error in {} that the networks themselves give, not calibrated"
    return (
        *label_columns("spread_", spread, "stat.stdev", table),
        *label_columns("noise_", noise, "stat.error", table),
        *correlation_columns(table),
        *_QUALITY,
    )


COLUMNS = catalogue_columns(labels.LABELS)
"""The paper's Table 2, in its order."""

TRUST = trust_columns(labels.LABELS)
"""What stands beside Table 2, for its labels."""
