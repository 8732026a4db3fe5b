"""The catalogue of predicted labels: the columns of the paper's Table 2, and ours beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Column, Table

from aspgap_jax import labels
from aspgap_jax.survey.predictions import Predictions
from aspgap_jax.survey.tables_out import ColumnSpec, write_table

__all__ = [
    "COLUMNS",
    "TRUST",
    "Catalogue",
    "ColumnSpec",
    "catalogue_table",
    "label_columns",
    "write_catalogue",
]


def label_columns(prefix: str, description: str) -> tuple[ColumnSpec, ...]:
    """A column a label.

    Args:
        prefix: of the names; ``e_`` for errors.
        description: with ``{}`` where the label's own belongs.
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
    ColumnSpec("snr_bp", "", "Signal-to-noise ratio in G_BP", np.float32),
    ColumnSpec("flags", "", "Quality bits, 0 for none (aspgap_jax.flags)", np.int32),
)
"""What stands beside Table 2: how far to trust the labels of a star."""


class Catalogue(NamedTuple):
    """The catalogue, and what it lacks.

    Attributes:
        table: a row a star, columns in the order of :data:`COLUMNS`.
        absent: names of the columns of :data:`COLUMNS` that the data do not have.
    """

    table: Table
    absent: tuple[str, ...]


def catalogue_table(predictions: Predictions) -> Catalogue:
    """The columns of Table 2 that ``predictions`` have, with units and descriptions.

    The colour ``bp_rp`` is computed where both magnitudes are given and it is not.
    """
    data: dict[str, np.ndarray] = dict(predictions.columns)
    if "bp_rp" not in data and {"phot_bp_mean_mag", "phot_rp_mean_mag"} <= data.keys():
        data["bp_rp"] = data["phot_bp_mean_mag"] - data["phot_rp_mean_mag"]
    data |= {"source_id": predictions.source_id, "phot_g_mean_mag": predictions.g_mag}
    for index, label in enumerate(labels.LABELS):
        data[label.catalogue] = predictions.prediction[:, index]
        data[f"e_{label.catalogue}"] = predictions.sigma[:, index]
    return Catalogue(
        table=Table(
            [
                Column(
                    np.asarray(data[spec.name], dtype=spec.dtype),
                    name=spec.name,
                    unit=spec.unit or None,
                    description=spec.description,
                )
                for spec in COLUMNS
                if spec.name in data
            ]
        ),
        absent=tuple(spec.name for spec in COLUMNS if spec.name not in data),
    )


def write_catalogue(path: Path, table: Table, *, gzip: bool = False) -> None:
    """Write a catalogue that is in memory, atomically, as the suffix of ``path`` says.

    Args:
        path: file to write; :mod:`aspgap_jax.survey.tables_out` describes the formats.
        table: as :func:`catalogue_table` makes it; further columns are welcome.
        gzip: compress the datasets (HDF5 only).

    Raises:
        InputError: no format has this suffix, or ``gzip`` is asked of another than HDF5.
    """
    specs = [
        ColumnSpec(c.name, _unit(c), c.description or "", c.dtype.type) for c in table.itercols()
    ]
    with write_table(path, specs, gzip=gzip) as writer:
        writer.append({column.name: np.asarray(column) for column in table.itercols()})


def _unit(column: Any) -> str:
    """The unit of a column as FITS writes it; empty for none."""
    if column.unit is None:
        return ""
    try:
        return str(column.unit.to_string("fits"))
    except ValueError:
        # The standard does not list it (dex).
        return str(column.unit)
