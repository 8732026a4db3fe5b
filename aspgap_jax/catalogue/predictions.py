"""Predicted labels in memory, with what is known of the stars, and their HDF5 file.

Layout of the file (format version 2)::

    /source_id     int64   (star)         Gaia source id
    /fold          int16   (star)         fold the star was predicted out of, or -1
    /prediction    float32 (star, label)  predicted labels in physical units
    /sigma         float32 (star, label)  their calibrated 1-sigma uncertainties
    /aleatoric     float32 (star, label)  part of it that the spectrum leaves open, uncalibrated
    /epistemic     float32 (star, label)  part that the training leaves open, uncalibrated
    /flags         int32   (star)         quality bits (aspgap_jax.flags)
    /truth         float32 (star, label)  reference labels, NaN where unknown
    /truth_error   float32 (star, label)  their 1-sigma errors, NaN where unknown
    /g_mag         float32 (star)         Gaia G [mag]
    /columns/NAME  any     (star)         further per-star columns
    attributes: format, format_version, label_names; label_table (JSON) where they are not
    the paper's

Each dataset carries its unit in the attribute ``unit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Int, Int64

from aspgap_jax.files.atomic import replace_file
from aspgap_jax.files.hdf5 import (
    open_store,
    read_columns,
    read_labels,
    write_columns,
    write_labels,
)
from aspgap_jax.labels import LABELS, LabelSet, index, names

__all__ = ["Predictions", "read_predictions", "write_predictions"]

FORMAT = "aspgap predictions"
FORMAT_VERSION = 2
CURE = "`aspgap crossval` or `aspgap demo`, into another folder"
DTYPES = {
    "source_id": np.int64,
    "fold": np.int16,
    "prediction": np.float32,
    "sigma": np.float32,
    "aleatoric": np.float32,
    "epistemic": np.float32,
    "flags": np.int32,
    "truth": np.float32,
    "truth_error": np.float32,
    "g_mag": np.float32,
}
PER_STAR = ("source_id", "fold", "flags", "g_mag")
"""The rest has a label axis."""


@dataclass(frozen=True)
class Predictions:
    """Predicted labels of stars, host side (NumPy), in the units of the label table.

    Attributes:
        source_id: Gaia source ids, int64 ``[star]``.
        fold: the fold a star was predicted out of, that is, by a model that has
            not seen it; -1 where the model has no fold.
        prediction: ``[star, label]``.
        sigma: 1-sigma uncertainty of ``prediction``, calibrated on stars of the other folds.
        aleatoric: what the networks say of it themselves, not calibrated.
        epistemic: standard deviation over the networks, not calibrated.
        flags: quality bits of :data:`aspgap_jax.flags.FLAGS` ``[star]``.
        truth: reference labels ``[star, label]``, NaN where unknown.
        truth_error: their 1-sigma errors, NaN where unknown.
        g_mag: Gaia G, mag.
        columns: further per-star columns by name (``phot_bp_mean_mag``, ``snr``).
        label_table: what the labels are.

    Raises:
        ValueError: an array has another number of stars or labels than the others.
    """

    source_id: Int64[np.ndarray, " star"]
    fold: Int[np.ndarray, " star"]
    prediction: Float[np.ndarray, "star label"]
    sigma: Float[np.ndarray, "star label"]
    aleatoric: Float[np.ndarray, "star label"]
    epistemic: Float[np.ndarray, "star label"]
    flags: Int[np.ndarray, " star"]
    truth: Float[np.ndarray, "star label"]
    truth_error: Float[np.ndarray, "star label"]
    g_mag: Float[np.ndarray, " star"]
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    label_table: LabelSet = LABELS

    def __post_init__(self) -> None:
        per_star, per_label = (len(self),), (len(self), len(self.label_table))
        for name in DTYPES:
            shape = per_star if name in PER_STAR else per_label
            if (found := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} must have the shape {shape}, it has {found}")
        for name, values in self.columns.items():
            if len(values) != len(self):
                raise ValueError(f"column {name} has {len(values)} rows for {len(self)} stars")

    def __len__(self) -> int:
        return len(self.source_id)

    def where(self, keep: np.ndarray) -> Predictions:
        """The stars selected by a mask or by row numbers."""
        return replace(
            self,
            **{name: getattr(self, name)[keep] for name in DTYPES},
            columns={name: values[keep] for name, values in self.columns.items()},
        )

    def only(self, table: LabelSet) -> Predictions:
        """Some of the labels, in another order.

        Args:
            table: labels, all of which these predictions have.

        Returns:
            The same stars; the other labels are gone.
        """
        rows = [index(name, self.label_table) for name in names(table)]
        of_labels = [name for name in DTYPES if name not in PER_STAR]
        return replace(
            self,
            **{name: getattr(self, name)[:, rows] for name in of_labels},
            label_table=tuple(self.label_table[row] for row in rows),
        )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write ``predictions`` to the HDF5 file ``path``, atomically.

    Args:
        path: the file.
        predictions: of a run.
    """
    label_units = ", ".join(label.unit for label in predictions.label_table)
    units = dict.fromkeys(DTYPES, label_units) | dict.fromkeys(PER_STAR, "") | {"g_mag": "mag"}
    with replace_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        write_labels(file, predictions.label_table)
        for name, dtype in DTYPES.items():
            file.create_dataset(name, data=getattr(predictions, name), dtype=dtype)
            file[name].attrs["unit"] = units[name]
        write_columns(file, predictions.columns)


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file.

    Args:
        path: ``predictions.h5`` of a run.

    Returns:
        A row a star, in the order of the training set.

    Raises:
        InputError: see :func:`aspgap_jax.files.hdf5.open_store`.
    """
    with open_store(path, FORMAT, FORMAT_VERSION, cure=CURE) as file:
        return Predictions(
            **{name: file[name][()] for name in DTYPES},
            columns=read_columns(file),
            label_table=read_labels(file),
        )
