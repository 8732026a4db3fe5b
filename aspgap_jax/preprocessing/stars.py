"""The stars of a training set on the host: every column, in physical units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from aspgap_jax.columns import Columns
from aspgap_jax.errors import InputError
from aspgap_jax.files.label_tables import near_names
from aspgap_jax.labels import LABELS, LabelSet, names

__all__ = ["Cut", "TrainingSet"]


class Cut(NamedTuple):
    """One selection: what it asks, and how many stars are left after it."""

    name: str
    left: int


@dataclass(frozen=True)
class TrainingSet:
    """Stars with XP spectra and labels, host side (NumPy), in physical units.

    Attributes:
        source_id: Gaia source ids, int64 ``[star]``, unique.
        xp: spectra, float32 ``[star, xp]``: 110 coefficients (55 BP, 55 RP) or
            343 fluxes in W m^-2 nm^-1; not yet normalised by magnitude.
        xp_error: 1-sigma errors of ``xp``, same shape and unit.
        g_mag: Gaia G, float32 ``[star]``, mag.
        labels: ``[star, label]`` in the units of the label table.
        label_error: their 1-sigma errors, same shape.
        representation: ``continuous`` or ``sampled``.
        wavelength: ``[xp]`` in nm for ``sampled``, else ``None``.
        columns: further per-star columns by name (``snr``, ``phot_bp_mean_mag``).
        release: the Gaia release of coefficients; empty where unknown, and for ``sampled``.
        n_bp: how many of the ``xp`` columns are BP's, for ``continuous``.
        cuts: the selections that led here, in order.
        provenance: input files, checksums, versions.
        label_table: what the labels are.
    """

    source_id: np.ndarray
    xp: np.ndarray
    xp_error: np.ndarray
    g_mag: np.ndarray
    labels: np.ndarray
    label_error: np.ndarray
    representation: str
    wavelength: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    release: str = ""
    n_bp: int = 55
    cuts: tuple[Cut, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    label_table: LabelSet = LABELS

    def __len__(self) -> int:
        return len(self.source_id)

    def table(self) -> Columns:
        """Every column by its name: labels by their key, ``teff``, their errors ``e_teff``."""
        keys = names(self.label_table)
        return {
            **self.columns,
            "source_id": self.source_id,
            "xp": self.xp,
            "xp_error": self.xp_error,
            "g_mag": self.g_mag,
            **dict(zip(keys, self.labels.T, strict=True)),
            **{f"e_{n}": row for n, row in zip(keys, self.label_error.T, strict=True)},
        }

    def with_labels(self, wanted: LabelSet, *, table: str = "the training set") -> TrainingSet:
        """The same stars with other labels, which are columns here under their names.

        Args:
            wanted: what is to be inferred. The labels of now that are not among them become
                columns, on which cuts may go on.
            table: what errors call it, such as the file it is from.

        Returns:
            The stars; these very ones where the names are the same.

        Raises:
            InputError: no column has the name of a label, or its errors; near names are told.
        """
        if names(wanted) == names(self.label_table):
            return replace(self, label_table=wanted)
        have = self.table()
        values, errors = [], []
        for label in wanted:
            error = f"e_{label.name}"
            if label.name not in have:
                numeric = [n for n, v in have.items() if v.ndim == 1 and v.dtype.kind == "f"]
                raise InputError(
                    f"{table}: no column {label.name}{near_names(label.name, numeric)}: leave that "
                    "label out, or prepare the table with it (`aspgap prepare --labels`)"
                )
            if error not in have and label.error is None:
                raise InputError(
                    f"{table}: no column {error}, the errors of {label.name}: give one error for "
                    "all stars in the label table (error = ...)"
                )
            value = have[label.name].astype(np.float32)
            values.append(value)
            errors.append(
                have[error].astype(np.float32)
                if error in have
                else np.full(len(value), label.error, np.float32)
            )
        taken = {e + n for n in names(wanted) for e in ("", "e_")}
        old = {e + n for n in names(self.label_table) for e in ("", "e_")}
        return replace(
            self,
            labels=np.stack(values, axis=1),
            label_error=np.stack(errors, axis=1),
            label_table=wanted,
            columns={
                n: v for n, v in have.items() if n in old | self.columns.keys() and n not in taken
            },
        )

    def where(self, keep: np.ndarray) -> TrainingSet:
        """The stars selected by a mask or by row numbers."""
        per_star = ("source_id", "xp", "xp_error", "g_mag", "labels", "label_error")
        return replace(
            self,
            **{name: getattr(self, name)[keep] for name in per_star},
            columns={name: values[keep] for name, values in self.columns.items()},
        )
