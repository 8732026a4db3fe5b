"""The catalogue of a run as a table in memory: the columns of the paper's Table 2 that it
has, and how far to trust its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Column, Table

from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.columns import (
    COLUMNS,
    TRUST,
    ColumnSpec,
    catalogue_columns,
    trust_columns,
)
from aspgap_jax.files.tables import write_table

__all__ = [
    "RunCatalogue",
    "catalogue_table",
    "write_catalogue",
]

UCDS = {spec.name: spec.ucd for spec in (*COLUMNS, *TRUST)}


class RunCatalogue(NamedTuple):
    """The catalogue, and what it lacks.

    Attributes:
        table: a row a star, columns in the order of :data:`COLUMNS`, then of :data:`TRUST`.
        absent: names of the columns of :data:`COLUMNS` that the data do not have.
    """

    table: Table
    absent: tuple[str, ...]


def catalogue_table(predictions: Predictions) -> RunCatalogue:
    """The columns of Table 2 and of :data:`TRUST` that ``predictions`` have, with units and
    descriptions.

    The colour ``bp_rp`` is computed where both magnitudes are given and it is not.

    Args:
        predictions: of a run.

    Returns:
        The table, and what was left out of it.
    """
    data: dict[str, np.ndarray] = dict(predictions.columns)
    if "bp_rp" not in data and {"phot_bp_mean_mag", "phot_rp_mean_mag"} <= data.keys():
        data["bp_rp"] = data["phot_bp_mean_mag"] - data["phot_rp_mean_mag"]
    data |= {
        "source_id": predictions.source_id,
        "phot_g_mean_mag": predictions.g_mag,
        "flags": predictions.flags,
    }
    by_prefix = {
        "": predictions.prediction,
        "e_": predictions.sigma,
        "spread_": predictions.epistemic,
        "noise_": predictions.aleatoric,
    }
    table_2 = catalogue_columns(predictions.label_table)
    for index, label in enumerate(predictions.label_table):
        for prefix, values in by_prefix.items():
            data[f"{prefix}{label.catalogue}"] = values[:, index]
    return RunCatalogue(
        table=Table(
            [
                Column(
                    np.asarray(data[spec.name], dtype=spec.dtype),
                    name=spec.name,
                    unit=spec.unit or None,
                    description=spec.description,
                )
                for spec in (*table_2, *trust_columns(predictions.label_table))
                if spec.name in data
            ]
        ),
        absent=tuple(spec.name for spec in table_2 if spec.name not in data),
    )


def write_catalogue(path: Path, table: Table) -> None:
    """Write a catalogue that is in memory, atomically, as the suffix of ``path`` says.

    Args:
        path: file to write; :mod:`aspgap_jax.files.tables` describes the formats.
        table: as :func:`catalogue_table` makes it; further columns are welcome.

    Raises:
        InputError: no format has this suffix.
    """
    specs = [
        ColumnSpec(c.name, _unit(c), c.description or "", c.dtype.type, UCDS.get(c.name, ""))
        for c in table.itercols()
    ]
    with write_table(path, specs) as writer:
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
