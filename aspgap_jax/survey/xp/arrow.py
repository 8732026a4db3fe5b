"""The table of a Parquet or Feather (Arrow) file, lists as pandas, polars and LSDB write them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aspgap_jax.survey.nested import flat_columns, flat_values
from aspgap_jax.survey.xp.damage import reading
from aspgap_jax.survey.xp.table import Column, RawBatch, Stated, Table

__all__ = ["arrow_in_memory", "arrow_tables", "arrow_values"]

ATTRIBUTES = b"PANDAS_ATTRS"
UNIT = (b"unit", b"units")


def arrow_tables(file: Path, path: Path) -> Iterator[Table]:
    """The one table of a Parquet or Feather file.

    Args:
        file: the file.
        path: the name to show in messages.

    Returns:
        An iterator of one table.

    Raises:
        InputError: it is damaged.
    """
    with file.open("rb") as raw:
        magic = raw.read(6)
        raw.seek(0)
        if magic.startswith(b"PAR1"):
            yield _parquet(raw, path)
        else:
            yield _feather(raw, path, magic)


def arrow_in_memory(table: pa.Table, where: Path) -> Table:
    """A table of Arrow that is in no file.

    Args:
        table: of Arrow.
        where: the name to show in messages.

    Returns:
        The table.
    """

    def batches(names: Sequence[str], size: int) -> Iterator[RawBatch]:
        for part in table.select(_tops(table.schema, names)).to_batches(size):
            yield _batch(part, names, table.schema)

    return _table(table.schema, batches, where)


def _parquet(raw: Any, path: Path) -> Table:
    with reading(path, "Parquet file"):
        opened = pq.ParquetFile(raw, memory_map=False)
        schema = opened.schema_arrow

    def batches(names: Sequence[str], size: int) -> Iterator[RawBatch]:
        row = 0
        stream = opened.iter_batches(size, columns=_tops(schema, names))
        while True:
            with reading(f"{path} after row {row}", "Parquet file"):
                part = next(stream, None)
                if part is None:
                    return
                batch = _batch(part, names, schema)
            row += len(part)
            yield batch

    return _table(schema, batches, path)


def _feather(raw: Any, path: Path, magic: bytes) -> Table:
    with reading(path, "Feather file"):
        if magic.startswith(b"FEA1"):
            from pyarrow import feather

            table = feather.read_table(raw)
            schema, parts = table.schema, iter(table.to_batches())
        else:
            opened = pa.ipc.open_file(raw)
            schema = opened.schema
            parts = (opened.get_batch(n) for n in range(opened.num_record_batches))

    def batches(names: Sequence[str], size: int) -> Iterator[RawBatch]:
        row = 0
        while True:
            with reading(f"{path} after row {row}", "Feather file"):
                part = next(parts, None)
            if part is None:
                return
            for start in range(0, len(part), size):
                with reading(f"{path} after row {row}", "Feather file"):
                    batch = _batch(part.slice(start, size), names, schema)
                row += min(size, len(part) - start)
                yield batch

    return _table(schema, batches, path)


def _table(schema: pa.Schema, batches: Any, path: Path) -> Table:
    with reading(path, "schema"):
        units = _votable_units(schema.metadata or {})
        columns = tuple(
            Column(name, _unit(field.metadata or {}) or units.get(name, ""))
            for name, field, *_ in flat_columns(schema)
        )
        stated = _stated(schema.metadata or {})
    return Table("", columns, batches, stated)


def _tops(schema: pa.Schema, names: Sequence[str]) -> list[str]:
    """The columns of the table that have those of the names."""
    return list(dict.fromkeys(each.top for each in flat_columns(schema) if each.name in names))


def _batch(part: pa.RecordBatch, names: Sequence[str], schema: pa.Schema) -> dict[str, Any]:
    where = {each.name: each for each in flat_columns(schema)}
    return {
        name: arrow_values(
            flat_values(
                part.column(part.schema.get_field_index(where[name].top)), where[name].inside
            )
        )
        for name in names
    }


def arrow_values(column: pa.Array) -> Any:
    """An Arrow column as NumPy: rows of equal length as one 2-D array.

    Args:
        column: of numbers, text, or lists.

    Returns:
        An array, or a list of cells with ``None`` where one is missing.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if _is_list(kind):
        return _lists(column)
    if pa.types.is_integer(kind) and column.null_count == 0:
        return column.to_numpy(zero_copy_only=False)
    if pa.types.is_floating(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
    return column.to_pylist()


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _lists(column: Any) -> Any:
    kind = column.type
    numbers = pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    if not numbers:
        return column.to_pylist()
    if column.null_count == 0:
        flat = column.flatten()
        sizes = np.asarray(column.value_lengths())
        if len(sizes) and (sizes == sizes[0]).all():
            values = np.asarray(flat.to_numpy(zero_copy_only=False), np.float64)
            return values.reshape(len(sizes), -1)
    return [
        None if cell is None else np.array([np.nan if v is None else v for v in cell], np.float64)
        for cell in column.to_pylist()
    ]


def _unit(metadata: dict[bytes, bytes]) -> str:
    found = next((metadata[key] for key in UNIT if key in metadata), b"")
    return found.decode("utf-8", "replace")


def _votable_units(metadata: dict[bytes, bytes]) -> dict[str, str]:
    """Units in the VOTable that VOParquet keeps in the metadata."""
    content = metadata.get(b"IVOA.VOTable-Parquet.content")
    if not content:
        return {}
    from xml.etree import ElementTree

    return {
        str(field.get("name")): str(field.get("unit"))
        for field in ElementTree.fromstring(content).iter()
        if field.tag.endswith("FIELD") and field.get("unit")
    }


def _stated(metadata: dict[bytes, bytes]) -> dict[str, Stated]:
    """What the metadata of the file, and pandas' `DataFrame.attrs`, say of the table."""
    found: dict[str, Stated] = {}
    for key, value in metadata.items():
        name, text = key.decode("utf-8", "replace"), value.decode("utf-8", "replace")
        if name in ("pandas", "ARROW:schema") or name.startswith("IVOA"):
            attributes = json.loads(text).get("attributes", {}) if name == "pandas" else {}
        elif key == ATTRIBUTES:
            attributes = json.loads(text)
        else:
            attributes = {name: text}
        if isinstance(attributes, dict):
            found |= {str(n).lower(): Stated(v) for n, v in attributes.items()}
    return found
