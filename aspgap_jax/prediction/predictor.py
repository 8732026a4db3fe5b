"""Labels in a notebook: a table of stars in, a table of labels out.

::

    from aspgap_jax.prediction.predictor import Predictor
    predictor = Predictor()
    labels = predictor(table)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.table import Column, Table
from jaxtyping import Float, Int64

from aspgap_jax import flags
from aspgap_jax.config import PredictOptions
from aspgap_jax.errors import InputError
from aspgap_jax.prediction.batches import DEFAULT, BatchLabeller, LabelColumns
from aspgap_jax.prediction.bundle import load_bundle
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.inputs import as_chunk
from aspgap_jax.survey.xp import BadRow, XPChunk
from aspgap_jax.survey.xp.assemble import Assembler
from aspgap_jax.survey.xp.chunk import layout_of

__all__ = ["Predictor"]

# How errors call a table that is in no file.
TABLE = Path("the table")


class Predictor:
    """A bundle, ready to predict.

    Args:
        bundle: folder of a bundle or of a run; ``None``: the released one.
        options: how to predict.

    Attributes:
        info: what the bundle is.

    Raises:
        InputError: there is no bundle, or it is damaged.
    """

    def __init__(self, bundle: str | Path | None = None, options: PredictOptions = DEFAULT) -> None:
        model, self.info = load_bundle(None if bundle is None else Path(bundle))
        self._labeller = BatchLabeller(model, self.info, options)
        self._columns = LabelColumns(options)

    def __call__(self, table: Any) -> Any:
        """Labels of the stars of a table with the columns of the Gaia archive.

        Args:
            table: a pandas DataFrame or an astropy Table (or a mapping of columns)
                with ``source_id`` and the coefficients of BP and RP with their
                errors, or ``flux`` and ``flux_error``; array columns hold an array
                or the archive's text ``(1.0, 2.0, ...)`` in each row.
                ``phot_g_mean_mag`` (or ``g_mag``) and ``ruwe`` are used where given.

        Returns:
            A row for each row of ``table``, in its order; what cannot be predicted
            has NaN labels and a flag that says why. A DataFrame with the index of
            ``table`` where that is one, else an astropy Table with units and
            descriptions.

        Raises:
            InputError: the columns are missing, or no bundle takes such spectra.
        """
        names = [str(name) for name in (table.keys() if hasattr(table, "keys") else table.columns)]
        layout = layout_of(names, TABLE, correlations=self._labeller.options.propagate == "full")
        columns = {name: _cells(table[name]) for name in (*layout.arrays, *layout.scalars)}
        rows = len(columns["source_id"])
        ruwe = _numbers(_cells(table["ruwe"])) if "ruwe" in names else np.full(rows, np.nan)
        bad: list[BadRow] = []
        assembler = Assembler(TABLE, layout, max(rows, 1), bad.append)
        assembler.add(columns, range(1, rows + 1))
        chunks = list(assembler.rest())
        lost = {row.row - 1: row.source_id for row in bad}
        good = np.array([row for row in range(rows) if row not in lost], np.int64)
        found = self._predict(XPChunk.concatenate(chunks), ruwe[good]) if chunks else {}
        whole = {}
        for spec in self._columns.specs:
            # Rows that no spectrum could be read from.
            fill = flags.bit("NOT_FINITE") if spec.name == "flags" else np.nan
            out = np.full(rows, -1 if spec.name == "source_id" else fill, spec.dtype)
            out[good] = found[spec.name] if found else out[good]
            whole[spec.name] = out
        for row, source_id in lost.items():
            whole["source_id"][row] = source_id
        return self._table(whole, table)

    def arrays(
        self,
        xp: Float[np.ndarray, "star xp"],
        xp_error: Float[np.ndarray, "star xp"],
        *,
        source_id: Int64[np.ndarray, " star"] | None = None,
        g_mag: Float[np.ndarray, " star"] | None = None,
        ruwe: Float[np.ndarray, " star"] | None = None,
        representation: Literal["continuous", "sampled"] = "continuous",
    ) -> Table:
        """Labels of the stars of arrays, in their order.

        Args:
            xp: coefficients, BP then RP, or sampled fluxes in W m^-2 nm^-1.
            xp_error: their 1-sigma errors; NaN where unknown.
            source_id: row numbers by default.
            g_mag: Gaia G, mag; by default it is taken from the spectra.
            ruwe: Gaia's ruwe, for the flag of poor astrometry.
            representation: ``continuous`` for coefficients, or ``sampled``.

        Returns:
            An astropy Table with units and descriptions.

        Raises:
            InputError: the bundle takes no such spectra.
        """
        stars = len(xp)
        unknown = np.full(stars, np.nan)
        chunk = as_chunk(
            TrainingSet(
                source_id=np.arange(stars) if source_id is None else source_id,
                xp=xp,
                xp_error=xp_error,
                g_mag=unknown if g_mag is None else g_mag,
                labels=unknown,
                label_error=unknown,
                representation=representation,
            )
        )
        return self._table(self._predict(chunk, unknown if ruwe is None else ruwe), None)

    def _predict(self, chunk: XPChunk, ruwe: np.ndarray) -> dict[str, np.ndarray]:
        self._labeller.check(chunk)
        size = self._labeller.batch_size
        blocks = []
        for start in range(0, len(chunk), size):
            part, rows = chunk[start : start + size], slice(start, start + size)
            found = self._labeller(part, part.g_mag, ruwe[rows])
            blocks.append(self._columns.of(part.source_id, part.g_mag, ruwe[rows], found))
        if not blocks:
            return {spec.name: np.empty(0, spec.dtype) for spec in self._columns.specs}
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def _table(self, columns: Mapping[str, np.ndarray], like: Any) -> Any:
        if hasattr(like, "to_numpy") and hasattr(like, "index"):
            # A DataFrame, so pandas is installed.
            return type(like)(dict(columns), index=like.index)
        return Table(
            [
                Column(
                    columns[spec.name],
                    name=spec.name,
                    unit=spec.unit or None,
                    description=spec.description,
                )
                for spec in self._columns.specs
            ]
        )


def _cells(column: Any) -> list[Any] | np.ndarray:
    """A column as the readers hand theirs over: numbers, or arrays and ``None``."""
    values = column.to_numpy() if hasattr(column, "to_numpy") else column
    if np.ma.isMaskedArray(values):
        values = values.filled(np.nan) if values.dtype.kind == "f" else values.tolist()
    if not isinstance(values, np.ndarray) or values.dtype.kind == "O":
        return [_cell(value) for value in values]
    if values.dtype.kind in "US":
        return [_cell(str(value)) for value in values]
    return values.astype(values.dtype.newbyteorder("="))


def _cell(value: Any) -> Any:
    if np.ma.isMaskedArray(value):
        value = value.filled(np.nan)
    if isinstance(value, str):
        return _from_text(value)
    missing = value is None or value is np.ma.masked or (np.ndim(value) == 0 and value != value)
    return None if missing else value


def _from_text(text: str) -> np.ndarray | None:
    """An array as the archive's CSV writes it: ``[1.0, null]`` or ``(1.0, 2.0)``."""
    inside = text.strip().removeprefix("[").removeprefix("(").removesuffix("]").removesuffix(")")
    if not inside or inside.lower() in ("null", "nan"):
        return None
    try:
        return np.array(json.loads(f"[{inside}]"), np.float64)
    except ValueError:
        raise InputError(
            f"{TABLE}: a cell of an array column is {text[:40]!r}; pass arrays of numbers"
        ) from None


def _numbers(values: list[Any] | np.ndarray) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)
