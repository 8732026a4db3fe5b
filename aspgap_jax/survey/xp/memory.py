"""Tables that are in no file, in any of the kinds that Python has for them.

pandas, astropy, Arrow (and what speaks its protocol, such as polars), structured arrays,
mappings of columns, lists of rows, and one row alone become what the readers of files give,
so that names, units, grids, sentinels and ids are read by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from astropy.io import fits

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.arrow import arrow_in_memory, arrow_values
from aspgap_jax.survey.xp.cells import Fault
from aspgap_jax.survey.xp.damage import one_line
from aspgap_jax.survey.xp.names import Names
from aspgap_jax.survey.xp.table import Column, RawBatch, Stated, Table

__all__ = ["KINDS", "InMemory", "in_memory"]

KINDS = (
    "a DataFrame (pandas, polars), an astropy Table, an Arrow table, a structured array, a mapping "
    "of columns, a list of rows, one row, or paths of files"
)
"""What is welcome."""
SOURCE_ID = "source_id"


class InMemory(NamedTuple):
    """A table that is in no file.

    Attributes:
        table: what the readers take.
        rows: number of its rows.
        one: whether it was given as one row, not as a table.
    """

    table: Table
    rows: int
    one: bool = False


class _Values(NamedTuple):
    """A column: its name, what the user has for it, and its unit where that says none."""

    name: str
    values: Any
    unit: str = ""


def in_memory(given: Any, where: Path) -> InMemory:
    """The table that an object is.

    Args:
        given: one of :data:`KINDS`, but paths.
        where: what messages call it.

    Returns:
        The table, and how many rows it has.

    Raises:
        InputError: it is none, or its columns differ in length.
    """
    if hasattr(given, "map_partitions"):
        raise InputError(
            f"{where}: is {_article(given)}, which Dask has not computed; pass the predictor to "
            f"its map_partitions"
        )
    if hasattr(given, "colnames"):
        return _of_astropy(given, where)
    if hasattr(given, "iloc"):
        return _of_pandas(given, where)
    if isinstance(given, pa.RecordBatch):
        given = pa.Table.from_batches([given])
    if hasattr(given, "__arrow_c_stream__"):
        try:
            found = pa.table(given)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InputError(f"{where}: is no table for Arrow ({one_line(error)})") from None
        return InMemory(arrow_in_memory(found, where), found.num_rows)
    if isinstance(given, fits.fitsrec.FITS_record):
        # One row, of which the table knows the units.
        return _of_array(given.array[given.row : given.row + 1], where)._replace(one=True)
    if isinstance(given, np.ndarray | np.void) and given.dtype.names:
        one = given.ndim == 0
        return _of_array(np.ma.atleast_1d(given) if one else given, where)._replace(one=one)
    if hasattr(given, "_asdict"):
        given = given._asdict()
    if isinstance(given, Mapping):
        return _of_mapping(given, where)
    if isinstance(given, list | tuple) and given:
        return _of_rows(given, where)
    raise InputError(
        f"{where}: is {_article(given)}; pass {KINDS}"
        + ("; arrays go to Predictor.arrays" if isinstance(given, np.ndarray) else "")
    )


def _article(given: Any) -> str:
    name = type(given).__name__
    if isinstance(given, Sequence) and not len(given):
        return f"an empty {name}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _of_pandas(given: Any, where: Path) -> InMemory:
    if not hasattr(given, "columns"):
        return _of_mapping(_named(zip(given.index, given.array, strict=True)), where, one=True)
    columns = [_Values(str(name), given.iloc[:, n]) for n, name in enumerate(given.columns)]
    names = {column.name.lower() for column in columns}
    # The ids are often the index.
    columns += [
        _Values(str(name), given.index.get_level_values(level))
        for level, name in enumerate(given.index.names)
        if name is not None and str(name).lower() not in names
    ]
    return _table(columns, len(given), where, given.attrs)


def _of_astropy(given: Any, where: Path) -> InMemory:
    one = hasattr(given, "table")
    if one:
        given = given.table[given.index : given.index + 1]
    columns = [_Values(name, given[name]) for name in given.colnames]
    return _table(columns, len(given), where, given.meta, one=one)


def _of_array(given: Any, where: Path) -> InMemory:
    if given.ndim != 1:
        raise InputError(
            f"{where}: is a structured array of {given.ndim} dimensions; pass one of one"
        )
    units: dict[str, str] = {}
    if isinstance(given, fits.FITS_rec):
        units = {column.name: column.unit or "" for column in given.columns}
    columns = [_Values(name, given[name], units.get(name, "")) for name in given.dtype.names]
    return _table(columns, len(given), where)


def _of_mapping(given: Mapping[Any, Any], where: Path, *, one: bool | None = None) -> InMemory:
    """A mapping of columns; or one row, whose source id is no column."""
    if one is None:
        name = Names([str(name) for name in given], where).find(SOURCE_ID)
        value = next((v for n, v in given.items() if str(n) == name), None)
        one = bool(given) and name is not None and _is_cell(value)
    if one:
        return _of_rows([given], where)._replace(one=True)
    columns = []
    rows: dict[str, int] = {}
    for name, values in given.items():
        if _is_cell(values):
            raise InputError(f"{where}: column {name} is one value; pass one a row")
        columns.append(_Values(str(name), values))
        rows.setdefault(str(name), len(values))
    if len(set(rows.values())) > 1:
        (first, size), *others = rows.items()
        name, other = next(pair for pair in others if pair[1] != size)
        raise InputError(f"{where}: column {first} has {size:,} rows, {name} has {other:,}")
    return _table(columns, next(iter(rows.values()), 0), where)


def _of_rows(given: Sequence[Any], where: Path) -> InMemory:
    """A list of rows: of each column, its cells; ``None`` in rows that lack it."""
    rows = []
    for number, row in enumerate(given, 1):
        if hasattr(row, "iloc") and not hasattr(row, "columns"):
            row = _named(zip(row.index, row.array, strict=True))
        elif hasattr(row, "_asdict"):
            row = row._asdict()
        elif hasattr(row, "colnames"):
            row = {name: _with_unit(row, name) for name in row.colnames}
        elif isinstance(row, np.void) and row.dtype.names:
            row = {name: row[name] for name in row.dtype.names}
        if not isinstance(row, Mapping):
            raise InputError(f"{where}, row {number}: is {_article(row)}; pass {KINDS}")
        rows.append({str(name): value for name, value in row.items()})
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [_Values(name, [row.get(name) for row in rows]) for name in names]
    return _table(columns, len(rows), where)


def _with_unit(row: Any, name: str) -> Any:
    """A cell of a row of astropy, which has left its unit in the table."""
    cell, unit = row[name], getattr(row.table[name], "unit", None)
    bare = unit is None or cell is None or cell is np.ma.masked or hasattr(cell, "unit")
    return cell if bare else cell * unit


def _named(pairs: Iterator[tuple[Any, Any]] | zip[tuple[Any, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if str(name) in found:
            raise InputError(f"the row has {name} twice; rename or remove one of them")
        found[str(name)] = value
    return found


def _in_one_unit(column: _Values, where: Path) -> _Values:
    """A column whose cells may be quantities, in the unit of the first of these."""
    name, values, given = column
    objects = isinstance(values, list | tuple) or getattr(values, "dtype", None) == np.dtype(object)
    if given or _unit(values) or not objects:
        return column
    cells = list(values)
    stated = [getattr(cell, "unit", None) for cell in cells]
    unit = next((unit for unit in stated if unit is not None), None)
    if unit is None:
        return column
    for row, (cell, own) in enumerate(zip(cells, stated, strict=True)):
        if cell is None:
            continue
        if own is None or not own.is_equivalent(unit):
            raise InputError(
                f"{where}, row {row + 1}: {name} is in {own or 'no unit'}, another row's is in "
                f"{unit}; pass all in one unit"
            )
        cells[row] = cell.to_value(unit)
    return _Values(name, cells, str(unit))


def _is_cell(values: Any) -> bool:
    """Whether it is one value, not a column of them."""
    return (
        isinstance(values, str | bytes)
        or not hasattr(values, "__len__")
        or getattr(values, "ndim", 1) == 0
    )


def _table(
    columns: Sequence[_Values],
    rows: int,
    where: Path,
    stated: Mapping[Any, Any] | None = None,
    *,
    one: bool = False,
) -> InMemory:
    columns = [_in_one_unit(column, where) for column in columns]
    described = tuple(Column(c.name, c.unit or _unit(c.values)) for c in columns)
    # Where two have one name, whoever asks for it is told so.
    named = {column.name: column.values for column in columns}

    def batches(names: Sequence[str], size: int) -> Iterator[RawBatch]:
        cells = {name: _cells(name, named[name], where) for name in names}
        for start in range(0, rows, size):
            yield {name: values[start : start + size] for name, values in cells.items()}

    says = {str(name).lower(): _stated(value) for name, value in (stated or {}).items()}
    return InMemory(Table("", described, batches, says), rows, one)


def _unit(values: Any) -> str:
    attributes = getattr(values, "attrs", {})
    unit = getattr(values, "unit", attributes.get("unit", attributes.get("units")))
    return "" if unit is None else str(unit)


def _stated(value: Any) -> Stated:
    unit = _unit(value)
    return Stated(value.value, unit) if unit and hasattr(value, "value") else Stated(value)


def _cells(name: str, column: Any, where: Path) -> Sequence[Any] | np.ndarray:
    """A column as the readers of files hand theirs over."""
    # Of pandas: Arrow's lists and text, and integers that may be missing.
    dtype = getattr(column, "dtype", None)
    if hasattr(dtype, "pyarrow_dtype"):
        column = pa.array(column)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.Array):
        found: Sequence[Any] | np.ndarray = arrow_values(column)
        return found
    if hasattr(column, "unmasked"):
        column = np.ma.array(getattr(column.unmasked, "value", column.unmasked), mask=column.mask)
    if hasattr(column, "isna") and hasattr(column, "to_numpy"):
        missing = np.asarray(column.isna())
        if missing.any() and not isinstance(dtype, np.dtype):
            # As floats, which pandas would give, ids would be rounded.
            cells = zip(column.to_numpy(dtype=object), missing, strict=True)
            return [None if none else _cell(name, value) for value, none in cells]
        values = column.to_numpy()
    elif np.ma.isMaskedArray(column):
        return _masked(name, column, where)
    else:
        values = getattr(column, "value", column)
        if hasattr(values, "__array__"):
            values = np.asarray(values)
        else:
            # Rows of different lengths are no array.
            return [_cell(name, value) for value in values]
    return _numbers(name, values, where)


def _masked(name: str, column: Any, where: Path) -> Sequence[Any] | np.ndarray:
    values, mask = np.ma.getdata(column), np.ma.getmaskarray(column)
    if not mask.any():
        return _numbers(name, np.asarray(values), where)
    if values.ndim == 1 and values.dtype.kind != "f":
        return [None if m else _cell(name, v) for v, m in zip(values.tolist(), mask, strict=True)]
    if values.dtype.kind in "iuf":
        return np.where(mask, np.nan, values.astype(np.float64))
    return _numbers(name, np.asarray(values), where)


def _numbers(name: str, values: np.ndarray, where: Path) -> Sequence[Any] | np.ndarray:
    kind = values.dtype.kind
    if kind in "iuf":
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    if kind in "OSUbT":
        return [_cell(name, value) for value in values]
    raise InputError(f"{where}: column {name} holds {values.dtype}; pass numbers")


def _cell(name: str, value: Any) -> Any:
    """A number, an array, text, ``None`` where it is missing, or a fault."""
    if value is None or value is np.ma.masked or isinstance(value, str | bytes):
        return value if isinstance(value, str | bytes) else None
    if isinstance(value, pa.Scalar):
        return _cell(name, value.as_py())
    if np.ma.isMaskedArray(value):
        value = np.where(np.ma.getmaskarray(value), np.nan, np.ma.getdata(value))
    if hasattr(value, "__len__") and getattr(value, "ndim", 1) != 0:
        return _array(name, value)
    # Of pandas' NA nothing is known, not even whether it is itself.
    itself = value == value
    return value if isinstance(itself, bool | np.bool_) and itself else None


def _array(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        return value
    try:
        if np.iscomplexobj(value):
            raise TypeError
        cells = [np.nan if _cell(name, cell) is None else cell for cell in value]
        return np.array(cells, np.float64) if cells else None
    except (TypeError, ValueError):
        return Fault(f"{name} holds something else than numbers")
