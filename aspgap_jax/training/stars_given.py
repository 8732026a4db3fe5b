"""A training set from what is in memory: a table of spectra and labels, or arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy import units
from jaxtyping import Float

from aspgap_jax.errors import InputError
from aspgap_jax.labels import LABELS, Label
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.inputs import read_given
from aspgap_jax.survey.sentinels import kind_of, without_sentinels
from aspgap_jax.survey.xp import WAVELENGTH, BadRow, XPChunk
from aspgap_jax.survey.xp.cells import scalar_cells
from aspgap_jax.survey.xp.chunk import BASES
from aspgap_jax.survey.xp.memory import InMemory, in_memory
from aspgap_jax.survey.xp.names import Names

__all__ = ["StarsGiven", "stars_of_arrays", "stars_of_table"]

TABLE = Path("the table")
LABEL_TABLE = Path("the labels")
ROWS = 4096
# What the selections and the figures of a run read beside the labels.
FURTHER = ("snr", "phot_bp_mean_mag", "phot_rp_mean_mag", "ak_targ", "ruwe")


class StarsGiven(NamedTuple):
    """A training set, and what there is to say of it.

    Attributes:
        stars: the training set.
        notes: what was left out, converted, replaced or guessed, a line each.
    """

    stars: TrainingSet
    notes: tuple[str, ...]


def stars_of_table(
    table: Any, y: Any = None, y_error: Any = None, wanted: Sequence[Label] = LABELS
) -> StarsGiven:
    """The stars of a table, whose spectra are read as prediction reads them.

    Args:
        table: see :class:`aspgap_jax.prediction.predictor.Predictor`.
        y: labels, a row a star: an array ``[star, label]`` in the order of the label table, or
            a table with columns of these names. ``None``: columns of ``table``.
        y_error: their 1-sigma errors: such an array, or one number a label. ``None``: columns
            ``e_teff``, ``teff_err`` or ``teff_error``, beside the labels.
        wanted: the labels, in order.

    Returns:
        All stars that can be read.

    Raises:
        InputError: no spectra, no labels or no errors of them.
    """
    given = in_memory(table, TABLE)
    bad: list[BadRow] = []
    notes: list[str] = []
    begun: list[int] = []
    chunks = list(
        read_given(
            given.table,
            TABLE,
            chunk_size=ROWS,
            correlations=False,
            on_bad_row=bad.append,
            on_note=notes.append,
            on_stars=begun.extend,
        )
    )
    if not chunks:
        raise InputError(
            f"{TABLE}: none of its rows can be read" + "".join(f" ({b})" for b in bad[:1])
        )
    chunk = XPChunk.concatenate(chunks)
    rows = np.setdiff1d(begun, [row.row for row in bad]) - 1
    if bad:
        notes.append(f"{len(bad):,} of {len(begun):,} rows are left out; the first: {bad[0]}")
    columns = NumberColumns(given, TABLE, notes)
    values = _labels_of(columns, y, y_error, wanted, notes)
    further = {name: columns.find((name,)) for name in FURTHER}
    first = np.sort(np.unique(chunk.source_id, return_index=True)[1])
    if len(first) < len(chunk):
        notes.append(
            f"{len(chunk) - len(first):,} rows of stars that were there already are left out"
        )
    rows, chunk = rows[first], chunk[first]
    stars = TrainingSet(
        source_id=chunk.source_id,
        xp=chunk.coefficients.astype(np.float32),
        xp_error=chunk.errors.astype(np.float32),
        g_mag=chunk.g_mag.astype(np.float32),
        labels=values[0][rows].astype(np.float32),
        label_error=values[1][rows].astype(np.float32),
        representation=chunk.representation,
        wavelength=chunk.wavelength,
        columns={n: v[rows].astype(np.float32) for n, v in further.items() if v is not None},
        release=chunk.release,
        n_bp=chunk.n_bp or BASES,
        provenance={"labels": "given in memory"},
        label_table=tuple(wanted),
    )
    return StarsGiven(stars, tuple(f"{TABLE}: {note}" for note in notes))


def stars_of_arrays(
    xp: Float[np.ndarray, "star xp"],
    y: Any,
    *,
    xp_error: Float[np.ndarray, "star xp"] | None,
    y_error: Any,
    g_mag: Float[np.ndarray, " star"] | None,
    source_id: Any = None,
    wanted: Sequence[Label] = LABELS,
) -> StarsGiven:
    """The stars of arrays.

    Args:
        xp: coefficients, BP then RP, or 343 sampled fluxes in W m^-2 nm^-1.
        y: labels, as :func:`stars_of_table` has them.
        xp_error: 1-sigma errors of ``xp``.
        y_error: of the labels, likewise.
        g_mag: Gaia G, mag.
        source_id: by which folds are told apart; row numbers by default.
        wanted: the labels, in order.

    Returns:
        All stars.

    Raises:
        InputError: an array is missing, or has another shape.
    """
    count = len(xp)
    for name, values, shape in (
        ("xp_error", xp_error, xp.shape),
        ("g_mag", g_mag, (count,)),
        ("source_id", np.arange(count) if source_id is None else source_id, (count,)),
    ):
        if values is None or np.shape(values) != shape:
            found = "missing" if values is None else f"of the shape {np.shape(values)}"
            raise InputError(f"{name} is {found}; pass an array of the shape {shape}")
    sampled = xp.shape[1] == len(WAVELENGTH)
    values = _labels_of(None, y, y_error, wanted, [])
    if len(values[0]) != count:
        raise InputError(
            f"{count:,} spectra and the labels of {len(values[0]):,} stars; pass as many"
        )
    ids = np.arange(count) if source_id is None else np.asarray(source_id)
    if ids.dtype.kind not in "iu" or len(np.unique(ids)) < count:
        raise InputError("source_id must be whole numbers, each once")
    stars = TrainingSet(
        source_id=ids.astype(np.int64),
        xp=np.asarray(xp, np.float32),
        xp_error=np.asarray(xp_error, np.float32),
        g_mag=np.asarray(g_mag, np.float32),
        labels=values[0].astype(np.float32),
        label_error=values[1].astype(np.float32),
        representation="sampled" if sampled else "continuous",
        wavelength=WAVELENGTH if sampled else None,
        provenance={"labels": "given in memory"},
        label_table=tuple(wanted),
    )
    return StarsGiven(stars, ())


class NumberColumns:
    """Columns of numbers of a table, by any of their names."""

    def __init__(self, given: InMemory, where: Path, notes: list[str]) -> None:
        self.where = where
        self.rows = given.rows
        self._table = given.table
        self._names = Names(given.table.names, where)
        self._units = {column.name: column.unit for column in given.table.columns}
        self._notes = notes

    def find(self, names: Sequence[str], unit: str = "") -> Float[np.ndarray, " row"] | None:
        """The first of the names that is there, NaN where it is missing; or ``None``."""
        found = next((column for name in names if (column := self._names.find(name))), None)
        if found is None:
            return None
        cells: list[Any] = []
        for batch in self._table.rows([found], ROWS):
            cells += list(scalar_cells(found, batch[found]))
        values = np.full(len(cells), np.nan)
        for row, cell in enumerate(cells):
            try:
                values[row] = np.nan if cell is None else cell
            except (TypeError, ValueError):
                raise InputError(
                    f"{self.where}, row {row + 1}: {found} is {str(cell)[:40]!r}, not a number"
                ) from None
        cleaned = without_sentinels(values, kind_of(names[0]))
        if cleaned.replaced:
            self._notes.append(f"{found} is {cleaned}, which stand for missing values")
        return cleaned.values * _factor(self._units[found], unit, f"{self.where}: {found}")


def _factor(stated: str, unit: str, where: str) -> float:
    """From the unit of a column to that of a label; log g is written in dex of its unit."""
    if not stated or not unit or stated == unit or (unit == "dex" and "cm" in stated):
        return 1.0
    try:
        return float(units.Unit(stated).to(units.Unit(unit)))
    except (units.UnitsError, ValueError, TypeError):
        raise InputError(f"{where} is in {stated}; pass it in {unit}") from None


def _labels_of(
    columns: NumberColumns | None,
    y: Any,
    y_error: Any,
    wanted: Sequence[Label],
    notes: list[str],
) -> tuple[Float[np.ndarray, "row label"], Float[np.ndarray, "row label"]]:
    """Labels and errors, a row a row of the table."""
    rows = None if columns is None else columns.rows
    if _is_array(y):
        values = _array(y, "y", rows, wanted)
    else:
        if y is not None:
            columns = NumberColumns(in_memory(y, LABEL_TABLE), LABEL_TABLE, notes)
        if columns is None:
            raise InputError("y is missing: pass the labels, an array or a table with a row a star")
        if rows is not None and columns.rows != rows:
            raise InputError(
                f"{columns.where}: have {columns.rows:,} rows, the spectra {rows:,}; pass as many"
            )
        values = _stacked(columns, wanted, _names_of_label)
    if y_error is not None:
        return values, _array(y_error, "y_error", len(values), wanted)
    if columns is None:
        raise InputError(
            "y_error is missing: pass the 1-sigma errors of the labels, an array or one number a "
            "label"
        )
    return values, _stacked(columns, wanted, _names_of_error)


def _names_of_label(row: Label) -> tuple[str, ...]:
    return tuple(dict.fromkeys((row.name, row.apogee.lower())))


def _names_of_error(row: Label) -> tuple[str, ...]:
    return f"e_{row.name}", f"{row.name}_err", f"{row.name}_error"


def _stacked(
    columns: NumberColumns, wanted: Sequence[Label], names: Any
) -> Float[np.ndarray, "row label"]:
    found = []
    for row in wanted:
        values = columns.find(names(row), row.unit)
        if values is None and names is _names_of_error and row.error is not None:
            values = np.full(columns.rows, row.error)
        if values is None:
            raise InputError(
                f"{columns.where}: no column {' or '.join(names(row))} [{row.unit}]; "
                f"pass the labels and their errors as columns, or as y and y_error"
            )
        found.append(values)
    return np.stack(found, axis=1)


def _is_array(y: Any) -> bool:
    plain = isinstance(y, list | tuple) and len(y) > 0 and not isinstance(y[0], dict)
    return plain or (isinstance(y, np.ndarray) and y.dtype.names is None)


def _array(
    y: Any, name: str, rows: int | None, wanted: Sequence[Label]
) -> Float[np.ndarray, "row label"]:
    try:
        values = np.asarray(y, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds something else than numbers") from None
    if name == "y_error" and values.shape == (len(wanted),) and rows is not None:
        values = np.tile(values, (rows, 1))
    if values.ndim != 2 or values.shape[1] != len(wanted) or rows not in (None, len(values)):
        raise InputError(
            f"{name} has the shape {values.shape}; pass {'any' if rows is None else rows} rows of "
            f"{', '.join(row.name for row in wanted)}"
        )
    return values
