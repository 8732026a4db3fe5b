"""Tables as text, written block by block: CSV, and ECSV (astropy's, with units and types).

A missing value (NaN) is an empty cell, which readers of both formats take as missing.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
from astropy.table import Column, Table

from aspgap_jax.columns import Columns, ColumnSpec

__all__ = ["TextTable"]


class TextTable:
    """Takes the blocks of a table.

    Args:
        file: open for bytes.
        specs: columns.
        described: whether units, types, descriptions and UCDs stand on top (ECSV).
    """

    def __init__(self, file: IO[bytes], specs: Sequence[ColumnSpec], *, described: bool) -> None:
        self._file = file
        self._schema = pa.schema(
            [(spec.name, pa.from_numpy_dtype(np.dtype(spec.dtype))) for spec in specs]
        )
        head = _ecsv_head(specs) if described else ",".join(s.name for s in specs) + "\n"
        file.write(head.encode())

    def append(self, columns: Columns) -> None:
        """Append rows, ``[row]``."""
        # Arrow writes the shortest digits that give the same number.
        cells = [pa.array(columns[f.name], f.type, from_pandas=True) for f in self._schema]
        rows = pa.record_batch(cells, schema=self._schema)
        pv.write_csv(rows, self._file, pv.WriteOptions(include_header=False))

    def finish(self) -> None:
        """Nothing stands behind the rows."""


def _ecsv_head(specs: Sequence[ColumnSpec]) -> str:
    table = Table(
        [
            Column(
                np.empty(0, spec.dtype),
                name=spec.name,
                unit=spec.unit or None,
                description=spec.description or None,
                meta={"ucd": spec.ucd} if spec.ucd else None,
            )
            for spec in specs
        ]
    )
    text = io.StringIO()
    table.write(text, format="ascii.ecsv", delimiter=",")
    return text.getvalue()
