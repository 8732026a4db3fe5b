"""Labels as the caller's kind of table: pandas for pandas, astropy for astropy, Arrow for Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table

from aspgap_jax.columns import Columns, ColumnSpec
from aspgap_jax.files.tables import arrow_schema

__all__ = ["REASON", "as_given", "as_table"]

REASON = ColumnSpec("reason", "", "Why the star has no labels; empty where it has some", np.str_)
"""Stands beside the columns of the catalogue."""


def as_given(columns: Columns, specs: Sequence[ColumnSpec], like: Any, *, one: bool) -> Any:
    """Columns as the kind of table that the caller has given.

    Args:
        columns: by name, ``[star]``.
        specs: their order, units and meanings.
        like: what the caller has given.
        one: whether it was one row.

    Returns:
        A DataFrame for one, with its index where there is a star a row; an Arrow or polars
        table for one; a structured array for one; a list of dictionaries for a list of rows;
        for one row such a row; for all else an astropy Table.
    """
    columns = {spec.name: columns[spec.name] for spec in specs}
    if hasattr(like, "colnames"):
        parent = like.table if one else like
        kind = QTable if isinstance(parent, QTable) else Table
        table = as_table(columns, specs, kind=kind, masked=bool(parent.has_masked_columns))
        return table[0] if one else table
    if hasattr(like, "iloc"):
        if one:
            return type(like)(_rows(columns)[0], name=like.name, dtype=object)
        whole = len(like) == len(columns[REASON.name])
        return type(like)(columns, index=like.index if whole else None)
    if isinstance(like, pa.RecordBatch) or hasattr(like, "__arrow_c_stream__"):
        schema = arrow_schema([spec for spec in specs if spec != REASON]).append(
            pa.field(REASON.name, pa.string(), metadata={"description": REASON.description})
        )
        batch = pa.record_batch(
            [pa.array(v, f.type) for v, f in zip(columns.values(), schema, strict=True)], schema
        )
        if isinstance(like, pa.RecordBatch):
            return batch
        table = pa.Table.from_batches([batch])
        return type(like)(table) if type(like).__module__.startswith("polars") else table
    if isinstance(like, np.ndarray | np.void | fits.fitsrec.FITS_record):
        array = np.empty(
            len(columns[REASON.name]), [(name, values.dtype) for name, values in columns.items()]
        )
        for name, values in columns.items():
            array[name] = values
        return array[0] if one else array
    if one or isinstance(like, list | tuple):
        rows = _rows(columns)
        return rows[0] if one else rows
    return as_table(columns, specs)


def as_table(
    columns: Columns, specs: Sequence[ColumnSpec], *, kind: type = Table, masked: bool = False
) -> Table:
    """Columns as a table of astropy.

    Args:
        columns: by name, ``[star]``.
        specs: their order, units and meanings.
        kind: ``Table`` or ``QTable``.
        masked: whether to mask what is NaN.

    Returns:
        The table.
    """
    found = []
    for spec in specs:
        values = columns[spec.name]
        about: Mapping[str, Any] = {
            "name": spec.name,
            "unit": spec.unit or None,
            "description": spec.description or None,
        }
        if masked and values.dtype.kind == "f":
            found.append(MaskedColumn(values, mask=np.isnan(values), **about))
        else:
            found.append(Column(values, **about))
    return kind(found)


def _rows(columns: Columns) -> list[dict[str, Any]]:
    lists = {name: values.tolist() for name, values in columns.items()}
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
