"""The training set in memory, and its HDF5 file: the training store.

Layout of the store (format version 2)::

    /source_id     int64   (star)         Gaia source id
    /xp            float32 (star, xp)     spectrum in physical units
    /xp_error      float32 (star, xp)     its 1-sigma errors
    /g_mag         float32 (star)         Gaia G [mag]
    /labels        float32 (star, label)  in physical units
    /label_error   float32 (star, label)  1-sigma errors
    /columns/NAME  any     (star)         further per-star columns
    /spectra       float32 (star, pixel)  APOGEE spectrum over its continuum;
                                          NaN in bad pixels, and for stars without
    /spectra_error float32 (star, pixel)  its 1-sigma error; NaN in the same pixels
    attributes: format, format_version, representation, label_names, label_table (JSON,
    where they are not the paper's), wavelength (sampled only, nm), release (of coefficients)
    and n_bp (how many of them are BP's), provenance and cuts (JSON)

Each dataset carries its unit in the attribute ``unit``, if it has one. The two
datasets of APOGEE spectra are there or not, together; their attributes state the
grid (``log10_start``, ``log10_step``: log10 of the vacuum wavelength in Angstrom)
and where the spectra are from (``record``, JSON).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import h5py
import numpy as np

from aspgap_jax.apstar import LOG10_START, LOG10_STEP, N_PIXELS
from aspgap_jax.files.atomic import replace_file
from aspgap_jax.files.hdf5 import (
    open_store,
    read_columns,
    read_labels,
    write_columns,
    write_labels,
)
from aspgap_jax.preprocessing.stars import Cut, TrainingSet

__all__ = [
    "Cut",
    "SpectraSource",
    "TrainingSet",
    "has_spectra",
    "read_store_ids",
    "read_training_store",
    "write_training_store",
]

FORMAT = "aspgap training store"
FORMAT_VERSION = 2
XP_UNITS = {"continuous": "e-/s", "sampled": "W m-2 nm-1"}
# APOGEE spectra a chunk of HDF5: 16 x 8575 float32 is 550 kB, which its cache holds.
SPECTRA_ROWS = 16


@runtime_checkable
class SpectraSource(Protocol):
    """APOGEE spectra too many to hold in memory, in the order of the stars."""

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Fluxes over the continuum and their errors, float32 ``[block, pixel]``."""

    def record(self) -> Mapping[str, Any]:
        """Where they are from, for JSON; asked for after the last block."""


def write_training_store(
    path: Path,
    stars: TrainingSet,
    *,
    units: Mapping[str, str] | None = None,
    spectra: SpectraSource | None = None,
) -> None:
    """Write a training store, atomically.

    Args:
        path: the HDF5 file.
        stars: what goes into it.
        units: units of ``stars.columns``, as far as they have one.
        spectra: APOGEE spectra of the same stars.

    Raises:
        ValueError: ``spectra`` has another number of stars.
    """
    own = {
        "source_id": "",
        "xp": XP_UNITS[stars.representation],
        "xp_error": XP_UNITS[stars.representation],
        "g_mag": "mag",
        "labels": ", ".join(label.unit for label in stars.label_table),
        "label_error": ", ".join(label.unit for label in stars.label_table),
    }
    with replace_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["representation"] = stars.representation
        file.attrs["release"] = stars.release
        file.attrs["n_bp"] = stars.n_bp
        write_labels(file, stars.label_table)
        file.attrs["cuts"] = json.dumps(stars.cuts)
        file.attrs["provenance"] = json.dumps(dict(stars.provenance))
        if stars.wavelength is not None:
            file.attrs["wavelength"] = stars.wavelength
        for name, unit in own.items():
            file[name] = getattr(stars, name)
            file[name].attrs["unit"] = unit
        write_columns(file, stars.columns, units)
        if spectra is not None:
            _write_spectra(file, spectra, len(stars))


def _write_spectra(file: h5py.File, spectra: SpectraSource, stars: int) -> None:
    datasets = [
        file.create_dataset(
            name,
            (stars, N_PIXELS),
            np.float32,
            chunks=(min(stars, SPECTRA_ROWS), N_PIXELS),
        )
        for name in ("spectra", "spectra_error")
    ]
    row = 0
    for block in spectra.blocks():
        for dataset, values in zip(datasets, block, strict=True):
            dataset[row : row + len(values)] = values
        row += len(block[0])
    if row != stars:
        raise ValueError(f"{row} APOGEE spectra for {stars} stars")
    for dataset in datasets:
        dataset.attrs["unit"] = ""
        dataset.attrs["log10_start"] = LOG10_START
        dataset.attrs["log10_step"] = LOG10_STEP
        dataset.attrs["record"] = json.dumps(dict(spectra.record()))


def read_training_store(path: Path) -> TrainingSet:
    """Read a training store.

    Args:
        path: of the store.

    Returns:
        All its stars, without APOGEE spectra, in memory.

    Raises:
        InputError: see :func:`aspgap_jax.files.hdf5.open_store`.
    """
    with open_store(path, FORMAT, FORMAT_VERSION, cure="`aspgap prepare`") as file:
        wavelength = file.attrs.get("wavelength")
        return TrainingSet(
            **{
                name: file[name][()]
                for name in ("source_id", "xp", "xp_error", "g_mag", "labels", "label_error")
            },
            representation=str(file.attrs["representation"]),
            wavelength=None if wavelength is None else np.asarray(wavelength),
            columns=read_columns(file),
            release=str(file.attrs["release"]),
            n_bp=int(file.attrs["n_bp"]),
            cuts=tuple(Cut(*cut) for cut in json.loads(file.attrs["cuts"])),
            provenance=json.loads(file.attrs["provenance"]),
            label_table=read_labels(file),
        )


def read_store_ids(path: Path) -> np.ndarray:
    """Source ids of a training store, in the order of its rows, and nothing else of it.

    Args:
        path: of the store.

    Returns:
        ``[star]``, int64.
    """
    with open_store(path, FORMAT, FORMAT_VERSION, cure="`aspgap prepare`") as file:
        return np.asarray(file["source_id"][()])


def has_spectra(path: Path) -> bool:
    """Whether a training store holds APOGEE spectra beside its labels.

    Args:
        path: of the store.

    Returns:
        True where a decoder can be trained on them.
    """
    with open_store(path, FORMAT, FORMAT_VERSION, cure="`aspgap prepare`") as file:
        return "spectra" in file
