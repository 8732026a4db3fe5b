"""The columns of the catalogue: names, units, meanings; the paper's Table 2, and ours beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from aspgap_jax import labels

__all__ = ["COLUMNS", "TRUST", "ColumnSpec", "Columns", "label_columns"]

Columns = Mapping[str, np.ndarray]
"""A table on the host: columns by name, ``[star, ...]``."""


class ColumnSpec(NamedTuple):
    """One column of a table.

    Attributes:
        name: its name.
        unit: unit as FITS writes it; empty for a number without one.
        description: what it is.
        dtype: type in memory and in files, that of the Gaia archive.
    """

    name: str
    unit: str
    description: str
    dtype: type[np.generic]


def label_columns(prefix: str, description: str) -> tuple[ColumnSpec, ...]:
    """A column a label.

    Args:
        prefix: of the names; ``e_`` for errors.
        description: with ``{}`` where the label's own belongs.

    Returns:
        In the order of the label table.

    Examples:
        >>> [(column.name, column.unit) for column in label_columns("e_", "Error in {}")][:2]
        [('e_teff_xp', 'K'), ('e_logg_xp', 'dex')]
    """
    words = [row.description for row in labels.LABELS]
    # Within a sentence a label is written small.
    small = [word if not prefix else f"{word[0].lower()}{word[1:]}" for word in words]
    return tuple(
        ColumnSpec(f"{prefix}{row.catalogue}", row.unit, description.format(word), np.float32)
        for row, word in zip(labels.LABELS, small, strict=True)
    )


# Table 2, in its order.
COLUMNS: tuple[ColumnSpec, ...] = (
    ColumnSpec("source_id", "", "Unique identifier for star", np.int64),
    ColumnSpec("ra", "deg", "Right Ascension", np.float64),
    ColumnSpec("dec", "deg", "Declination", np.float64),
    *label_columns("", "{} from AspGap"),
    *label_columns("e_", "Error in {} from AspGap"),
    ColumnSpec("snr_rp", "", "Signal-to-noise ratio in G_RP", np.float32),
    ColumnSpec("l", "deg", "Galactic longitude", np.float64),
    ColumnSpec("b", "deg", "Galactic latitude", np.float64),
    ColumnSpec("parallax", "mas", "Parallax", np.float64),
    ColumnSpec("parallax_error", "mas", "Parallax uncertainty", np.float32),
    ColumnSpec("pmra", "mas yr-1", "Proper motion in RA", np.float64),
    ColumnSpec("pmra_error", "mas yr-1", "Proper motion uncertainty in RA", np.float32),
    ColumnSpec("pmdec", "mas yr-1", "Proper motion in Dec", np.float64),
    ColumnSpec("pmdec_error", "mas yr-1", "Proper motion uncertainty in Dec", np.float32),
    ColumnSpec("ruwe", "", "Renormalized unit weight error", np.float32),
    ColumnSpec("phot_g_mean_mag", "mag", "Mean apparent magnitude in G band", np.float32),
    ColumnSpec("phot_bp_mean_mag", "mag", "Mean apparent magnitude in BP band", np.float32),
    ColumnSpec("phot_rp_mean_mag", "mag", "Mean apparent magnitude in RP band", np.float32),
    ColumnSpec("bp_rp", "mag", "Color index", np.float32),
    ColumnSpec("radial_velocity", "km s-1", "Radial velocity", np.float32),
    ColumnSpec("radial_velocity_error", "km s-1", "Radial velocity uncertainty", np.float32),
)

TRUST: tuple[ColumnSpec, ...] = (
    *label_columns("spread_", "Standard deviation of {} over the ensemble of networks"),
    *label_columns("noise_", "Error in {} that the networks themselves give, not calibrated"),
    ColumnSpec("snr_bp", "", "Signal-to-noise ratio in G_BP", np.float32),
    ColumnSpec("flags", "", "Quality bits, 0 for none (aspgap_jax.flags)", np.int32),
)
"""What stands beside Table 2: how far to trust the labels of a star."""
