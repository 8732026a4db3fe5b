"""The catalogue of predicted labels: the columns of the paper's Table 2, as FITS or HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from astropy.io import fits
from astropy.table import Column, Table

from aspgap_jax import labels
from aspgap_jax.atomic import replace_file
from aspgap_jax.errors import InputError
from aspgap_jax.survey.predictions import Predictions

__all__ = ["COLUMNS", "Catalogue", "ColumnSpec", "catalogue_table", "write_catalogue"]

FITS_SUFFIXES = (".fits", ".fit")
HDF5_SUFFIXES = (".h5", ".hdf5")
# Rows of a compressed HDF5 chunk: large enough to compress, small enough to page through.
CHUNK_ROWS = 65_536


class ColumnSpec(NamedTuple):
    """One column of the catalogue.

    Attributes:
        name: the paper's name.
        unit: unit as FITS writes it; empty for a number without one.
        description: the words of Table 2.
        dtype: type in memory and in files, that of the Gaia archive.
    """

    name: str
    unit: str
    description: str
    dtype: type[np.generic]


def _label_columns() -> tuple[ColumnSpec, ...]:
    values = tuple(
        ColumnSpec(row.catalogue, row.unit, f"{row.description} from AspGap", np.float32)
        for row in labels.LABELS
    )
    errors = tuple(
        ColumnSpec(
            f"e_{row.catalogue}",
            row.unit,
            f"Error in {row.description[0].lower()}{row.description[1:]} from AspGap",
            np.float32,
        )
        for row in labels.LABELS
    )
    return values + errors


# Table 2, in its order.
COLUMNS: tuple[ColumnSpec, ...] = (
    ColumnSpec("source_id", "", "Unique identifier for star", np.int64),
    ColumnSpec("ra", "deg", "Right Ascension", np.float64),
    ColumnSpec("dec", "deg", "Declination", np.float64),
    *_label_columns(),
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
    """Write a catalogue, atomically, in the format that the suffix of ``path`` names.

    ``.fits``, ``.fit``: one binary table; units in TUNITn, descriptions in
    TCOMMn, checksums. ``dex``, which astronomers write and the FITS standard
    does not list, stays in TUNITn; astropy warns when it reads it.

    ``.h5``, ``.hdf5``: one flat dataset a column with the attributes ``unit``
    and ``description``.

    Args:
        path: file to write.
        table: as :func:`catalogue_table` makes it; further columns are welcome.
        gzip: compress the datasets (HDF5 only).

    Raises:
        InputError: the suffix is none of these, or ``gzip`` is asked of FITS.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FITS_SUFFIXES + HDF5_SUFFIXES:
        raise InputError(
            f"{path}: no catalogue format has the suffix {suffix!r}; "
            f"use one of {', '.join(FITS_SUFFIXES + HDF5_SUFFIXES)}"
        )
    if suffix in FITS_SUFFIXES and gzip:
        raise InputError(
            f"{path}: gzip is for HDF5 ({', '.join(HDF5_SUFFIXES)}); compress FITS afterwards"
        )
    with replace_file(path) as temporary:
        if suffix in FITS_SUFFIXES:
            _write_fits(temporary, table)
        else:
            _write_hdf5(temporary, table, gzip)


def _unit(column: Any) -> str:
    """The unit of a column as FITS writes it; empty for none."""
    if column.unit is None:
        return ""
    try:
        return str(column.unit.to_string("fits"))
    except ValueError:
        # The standard does not list it (dex).
        return str(column.unit)


def _write_fits(path: Path, table: Table) -> None:
    hdu = fits.BinTableHDU(table.as_array(), name="CATALOGUE")
    for number, column in enumerate(table.itercols(), start=1):
        last = f"TFORM{number}"
        if unit := _unit(column):
            hdu.header.set(f"TUNIT{number}", unit, after=last)
            last = f"TUNIT{number}"
        if column.description:
            hdu.header.set(f"TCOMM{number}", column.description, after=last)
    hdu.writeto(path, overwrite=True, checksum=True)


def _write_hdf5(path: Path, table: Table, gzip: bool) -> None:
    layout: dict[str, Any] = {}
    if gzip and len(table):
        layout = {"compression": "gzip", "chunks": (min(len(table), CHUNK_ROWS),)}
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "aspgap catalogue"
        for column in table.itercols():
            dataset = file.create_dataset(column.name, data=np.asarray(column), **layout)
            dataset.attrs["unit"] = _unit(column)
            dataset.attrs["description"] = column.description or ""
