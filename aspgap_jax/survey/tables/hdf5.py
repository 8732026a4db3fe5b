"""Tables in HDF5 as different software lays them out.

What lies in a file tells which of them it is::

    flat       one dataset a column, in the root or in a group (h5py; this package)
    astropy    one dataset of a compound type a table; masks in a field NAME.mask
    vaex       /table/columns/NAME/data, with indices for text and a mask
    pandas     fixed: blockN_items and blockN_values; table: a compound dataset, in which the
               columns of one type may share a field
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.survey.tables.opened import Opened
from aspgap_jax.survey.tables.source import BLOCK_ROWS, Raw, SourceTable

__all__ = ["open_hdf5"]

META = ("__table_column_meta__", "_i_table")
# pandas pickles lists of names; of these, the strings in protocol 0. Nothing is unpickled.
PICKLED = re.compile(rb"(?:^|\n)a?V([^\n]*)")


class _Column(NamedTuple):
    rows: int
    read: Callable[[int, int], Raw]


@contextmanager
def open_hdf5(opened: Opened, path: Path) -> Iterator[list[SourceTable]]:
    """The tables of an HDF5 file, named by their group or dataset.

    Args:
        opened: the file.
        path: its name in messages.

    Returns:
        The tables, for a ``with`` statement.

    Raises:
        InputError: nothing in it is laid out as a table; says what was found.
    """
    with h5py.File(opened.path, "r") as file:
        tables = list(_tables(file))
        if not tables:
            raise InputError(
                f"{path}: unknown HDF5 layout: found {_found(file)}; read are one dataset a "
                f"column, and tables as astropy, vaex and pandas write them"
            )
        yield tables


def _tables(group: h5py.Group) -> Iterator[SourceTable]:
    kind = group.attrs.get("pandas_type")
    if kind in (b"frame", "frame"):
        yield _table(group.name, _pandas_fixed(group))
        return
    if kind in (b"frame_table", "frame_table"):
        yield _table(f"{group.name}/table", _pandas_table(group["table"]))
        return
    items = {name: group[name] for name in group if not any(m in name for m in META)}
    groups = {name: item for name, item in items.items() if isinstance(item, h5py.Group)}
    if "columns" in groups and (vaex := _vaex(groups["columns"])):
        yield _table(group.name, vaex)
        del groups["columns"]
    datasets = {name: item for name, item in items.items() if isinstance(item, h5py.Dataset)}
    for item in datasets.values():
        if item.dtype.names and item.ndim == 1:
            yield _table(item.name, _compound(item))
    if flat := _flat({n: d for n, d in datasets.items() if not d.dtype.names and d.ndim}):
        yield _table(group.name, flat)
    for item in groups.values():
        yield from _tables(item)


def _table(name: str, columns: dict[str, _Column]) -> SourceTable:
    keys = tuple(columns)
    length = min((column.rows for column in columns.values()), default=0)

    def blocks(places: Sequence[int]) -> Iterator[list[Raw]]:
        for start in range(0, length, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, length)
            yield [columns[keys[place]].read(start, stop) for place in places]

    # h5py gives names that are no UTF-8 as bytes.
    return SourceTable(_decoded(name).strip("/"), tuple(map(_decoded, keys)), blocks)


def _rows_of(dataset: h5py.Dataset) -> Callable[[int, int], Raw]:
    return lambda start, stop: dataset[start:stop]


def _flat(datasets: dict[str, h5py.Dataset]) -> dict[str, _Column]:
    """The datasets that share the most frequent length."""
    if not datasets:
        return {}
    lengths = Counter(len(dataset) for dataset in datasets.values())
    rows = max(lengths, key=lambda length: (lengths[length], -length))
    return {n: _Column(rows, _rows_of(d)) for n, d in datasets.items() if len(d) == rows}


def _compound(dataset: h5py.Dataset) -> dict[str, _Column]:
    names = dataset.dtype.names

    def column(name: str) -> _Column:
        def read(start: int, stop: int) -> Raw:
            values = dataset.fields(name)[start:stop]
            if f"{name}.mask" in names:
                return np.ma.array(values, mask=dataset.fields(f"{name}.mask")[start:stop])
            return values

        return _Column(len(dataset), read)

    return {name: column(name) for name in names if not name.endswith(".mask")}


def _vaex(group: h5py.Group) -> dict[str, _Column]:
    columns = {}
    for name in group:
        item = group[name]
        if isinstance(item, h5py.Group) and "data" in item:
            columns[name] = _vaex_text(item) if "indices" in item else _vaex_numbers(item)
    return columns


def _vaex_numbers(group: h5py.Group) -> _Column:
    data = group["data"]

    def read(start: int, stop: int) -> Raw:
        values = data[start:stop]
        if "mask" in group:
            return np.ma.array(values, mask=group["mask"][start:stop].astype(bool))
        return values

    return _Column(len(data), read)


def _vaex_text(group: h5py.Group) -> _Column:
    data, indices = group["data"], group["indices"]

    def read(start: int, stop: int) -> Raw:
        ends = indices[start : stop + 1].astype(np.int64)
        text = data[ends[0] : ends[-1]].tobytes()
        ends -= ends[0]
        return np.array([text[a:b] for a, b in pairwise(ends)], dtype=object)

    return _Column(len(indices) - 1, read)


def _pandas_fixed(group: h5py.Group) -> dict[str, _Column]:
    columns = {}
    for block in range(int(group.attrs["nblocks"])):
        values = group[f"block{block}_values"]
        if values.dtype.kind == "O" or values.ndim != 2:
            # Text is pickled there: such columns are not read.
            continue
        for place, name in enumerate(group[f"block{block}_items"][()]):
            columns[_decoded(name)] = _Column(len(values), _cells(values, place))
    return columns


def _cells(values: h5py.Dataset, place: int) -> Callable[[int, int], Raw]:
    return lambda start, stop: values[start:stop, place]


def _pandas_table(dataset: h5py.Dataset) -> dict[str, _Column]:
    columns = _compound(dataset)
    for field in dataset.dtype.names:
        if not field.startswith("values_block_"):
            continue
        block = columns.pop(field)
        names = PICKLED.findall(bytes(dataset.attrs[f"{field}_kind"]))
        for place, name in enumerate(names):
            columns[name.decode("raw-unicode-escape")] = _Column(block.rows, _part(block, place))
    columns.pop("index", None)
    return columns


def _part(block: _Column, place: int) -> Callable[[int, int], Raw]:
    def read(start: int, stop: int) -> Raw:
        values = block.read(start, stop)
        return values[:, place] if values.ndim > 1 else values

    return read


def _decoded(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _found(file: h5py.File) -> str:
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and len(found) < 4:
            found.append(f"/{name} {item.shape} {item.dtype}")

    file.visititems(visit)
    return ", ".join(found) or "no dataset"
