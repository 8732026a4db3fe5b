"""The tables of an HDF5 file, in the layouts that programs write.

- one dataset a column, in the file or in groups of it, arrays flat or 2-D (mirrors of the
  bulk files, and most people's own);
- astropy: a dataset with named fields, units in a second one in YAML;
- vaex: ``columns/NAME/data``, with ``mask`` and ``indices``;
- pandas, ``format="fixed"``: ``block0_items``, ``block0_values``; ``format="table"``: a dataset
  with named fields, several columns of one type in one field.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.damage import reading
from aspgap_jax.survey.xp.ecsv import described
from aspgap_jax.survey.xp.plan import NoSpectra
from aspgap_jax.survey.xp.table import Column, RawBatch, Stated, Table

__all__ = ["hdf5_tables"]

# What stands in an HDF5 file that only its program can read.
PICKLED = "Python objects (pickle)"
GRID = ("wavelength", "wavelengths", "sampling")
META = ".__table_column_meta__"
DEEPEST = 6


def hdf5_tables(file: h5py.File, path: Path) -> Iterator[Table]:
    """The tables of an open HDF5 file.

    Args:
        file: the open file.
        path: the name to show in messages.

    Returns:
        An iterator of tables.

    Raises:
        InputError: it is damaged, or no layout fits.
    """
    with reading(path, "HDF5 file"):
        found = list(_walk(file, "", DEEPEST))
    if not found:
        with reading(path, "HDF5 file"):
            names = _inside(file)
        raise NoSpectra(
            f"{path}: unknown HDF5 layout: it holds {names or 'nothing'}; pass one dataset a "
            f"column, or what astropy, vaex or pandas writes",
            foreign=True,
        )
    for place, columns in found:
        with reading(f"{path}, {place}", "HDF5 table"):
            table = columns.table(place if len(found) > 1 else "", path)
        yield table


class _Columns:
    """Columns of a table, wherever they lie.

    Attributes:
        parts: column -> dataset, and the field of it (and the place in this).
        units: of columns.
        stated: for the whole table.
        rows: their number.
    """

    def __init__(self, group: h5py.Group | h5py.Dataset, rows: int) -> None:
        self.rows = rows
        self.parts: dict[str, _Part] = {}
        self.units: dict[str, str] = {}
        self.stated: dict[str, Stated] = {}
        for name, value in group.attrs.items():
            if np.size(value) and not isinstance(value, h5py.Empty):
                self.stated[str(name).lower()] = Stated(
                    value.decode("utf-8", "replace") if isinstance(value, bytes) else value
                )

    def table(self, place: str, path: Path) -> Table:
        where = f"{path}, {place}" if place else str(path)
        columns = tuple(Column(name, self.units.get(name, "")) for name in self.parts)

        def batches(names: Sequence[str], size: int) -> Iterator[RawBatch]:
            for name in names:
                if (fault := self.parts[name].fault(self.rows)) is not None:
                    raise InputError(f"{where}: dataset {name} {fault}")
            for start in range(0, self.rows, size):
                stop = min(start + size, self.rows)
                with reading(f"{where} after row {start}", "HDF5 data"):
                    batch = {name: self.parts[name].rows(start, stop, self.rows) for name in names}
                yield batch

        return Table(place, columns, batches, self.stated)


class _Part:
    """Where the values of a column lie.

    Args:
        dataset: the values.
        field: name of the field, for a dataset with named fields.
        item: place in an array field, or column of a 2-D dataset; ``None``: all of it.
        mask: where values are missing, or ``None``.
        labels: what the values are places in, or ``None``.
    """

    def __init__(
        self,
        dataset: h5py.Dataset,
        field: str | None = None,
        item: int | None = None,
        mask: h5py.Dataset | None = None,
        labels: h5py.Dataset | None = None,
    ) -> None:
        self._dataset = dataset
        self._field = field
        self._item = item
        self._mask = mask
        self._labels = labels

    def fault(self, rows: int) -> str | None:
        """What is wrong with the size of a column, if anything."""
        dtype = self._dataset.dtype
        if dtype.kind == "V" and self._field is None:
            return "has fields of its own; pass a column of numbers"
        if self._field is not None or self._item is not None:
            return None
        size, length = self._dataset.size or 0, self._dataset.shape[0] if self._dataset.ndim else 0
        if length == rows or (rows and self._dataset.ndim == 1 and size % rows == 0):
            return None
        return f"has {size} values for {rows} stars; get the file again"

    def rows(self, start: int, stop: int, total: int) -> Any:
        """The values of some rows, an array a row for array columns."""
        data = self._dataset
        if self._field is not None:
            # By field: h5py reads the other fields of a row no further.
            values = data.fields(self._field)[start:stop]
        elif self._item is not None and data.ndim == 2:
            values = data[start:stop, self._item]
            return np.asarray(values)
        elif data.ndim == 1 and data.dtype.kind != "O" and data.shape[0] != total:
            width = data.shape[0] // total
            values = np.reshape(data[start * width : stop * width], (stop - start, width))
        else:
            values = data[start:stop]
        values = np.asarray(values)
        if self._item is not None:
            values = values[:, self._item]
        if self._labels is not None:
            values = np.asarray(self._labels[()])[values]
        if self._mask is not None:
            masked = np.asarray(self._mask[start:stop], bool)
            if masked.any():
                values = np.where(masked, np.nan, values.astype(np.float64))
        return list(values) if values.dtype.kind == "O" else values


def _walk(group: h5py.Group, place: str, depth: int) -> Iterator[tuple[str, _Columns]]:
    """All tables in a group and in the groups in it."""
    kind = _text(group.attrs.get("pandas_type", ""))
    if kind == "frame":
        yield place or "/", _pandas_fixed(group)
        return
    if kind == "frame_table" and isinstance(group.get("table"), h5py.Dataset):
        yield place or "/", _pandas_table(group["table"])
        return
    if _is_vaex(group):
        yield place or "/", _vaex(group)
        return
    if (columns := _flat(group)) is not None:
        yield place or "/", columns
    for name, item in group.items():
        inner = f"{place}/{name}"
        if isinstance(item, h5py.Dataset) and item.dtype.names and item.ndim == 1:
            if not name.endswith(META):
                yield inner, _structured(item, group.get(name + META))
        elif isinstance(item, h5py.Group) and depth:
            yield from _walk(item, inner, depth - 1)


def _flat(group: h5py.Group) -> _Columns | None:
    """One dataset a column; the shortest ones have a value a star, others state the grid."""
    data = {
        name: item
        for name, item in group.items()
        if isinstance(item, h5py.Dataset) and not item.dtype.names and item.ndim
    }
    first = next((name for name in data if name.lower() in ("source_id", "source_id_1")), None)
    if not data or (first is None and len(data) < 2):
        return None
    rows = len(data[first]) if first is not None else max(len(item) for item in data.values())
    columns = _Columns(group, rows)
    width = _width(data, rows)
    for name, item in data.items():
        if name.lower() in GRID and item.ndim == 1 and len(item) == width:
            # One grid of wavelengths, beside the stars.
            columns.stated[name.lower()] = Stated(item[()], _unit(item))
            continue
        columns.parts[name] = _Part(item)
        columns.units[name] = _unit(item)
    return columns


def _width(data: Mapping[str, h5py.Dataset], rows: int) -> int:
    """How many samples a star has; 0 where it has one, or the file says it in no dataset."""
    flux = next((item for name, item in data.items() if name.lower() == "flux"), None)
    if flux is None or not rows or (flux.ndim == 1 and flux.size == rows):
        return 0
    return int(flux.size // rows)


def _structured(data: h5py.Dataset, meta: Any) -> _Columns:
    """A dataset with named fields, as astropy writes it."""
    columns = _Columns(data, len(data))
    columns.parts = {name: _Part(data, name) for name in data.dtype.names}
    if isinstance(meta, h5py.Dataset):
        says = described("\n".join(_text(line) for line in np.ravel(meta[()])), data.name)
        columns.units |= says.units
        columns.stated |= says.stated
    return columns


def _is_vaex(group: h5py.Group) -> bool:
    inner = group.get("columns")
    return isinstance(inner, h5py.Group) and any(
        (isinstance(item, h5py.Group) and "data" in item) or isinstance(item, h5py.Dataset)
        for item in inner.values()
    )


def _vaex(group: h5py.Group) -> _Columns:
    rows = 0
    parts, unit = {}, {}
    for name, item in group["columns"].items():
        indexed = isinstance(item, h5py.Group) and "indices" in item
        data = item if isinstance(item, h5py.Dataset) else item["indices" if indexed else "data"]
        mask = item.get("mask") if isinstance(item, h5py.Group) else None
        labels = item["dictionary"] if indexed and "dictionary" in item else None
        parts[name] = _Part(data, mask=mask, labels=labels)
        unit[name] = _unit(item)
        rows = max(rows, len(data))
    columns = _Columns(group, rows)
    columns.parts, columns.units = parts, unit
    return columns


def _pandas_fixed(group: h5py.Group) -> _Columns:
    """Blocks of columns of one type: ``[row, column]``."""
    columns = _Columns(group, len(group["axis1"]))
    for name in group:
        if not name.endswith("_items"):
            continue
        values = group[name.removesuffix("_items") + "_values"]
        items = [_text(item) for item in np.ravel(group[name][()])]
        pickled = values.dtype.kind == "O" or "PSEUDOATOM" in values.attrs
        for place, item in enumerate(items):
            columns.parts[item] = _Pickled(values) if pickled else _Part(values, item=place)
    return columns


def _pandas_table(data: h5py.Dataset) -> _Columns:
    columns = _Columns(data, len(data))
    for field in data.dtype.names:
        if not field.startswith("values_block_"):
            columns.parts[field] = _Part(data, field)
            continue
        names = _names_of_block(data.attrs.get(f"{field}_kind", b""))
        for place, name in enumerate(names):
            columns.parts[name] = _Part(data, field, item=place)
    return columns


class _Pickled(_Part):
    """A column that cannot be read."""

    def fault(self, rows: int) -> str | None:
        return f"holds {PICKLED}; write one number a column, or Parquet"


class _NoClasses(pickle.Unpickler):
    """Pandas keeps lists of names pickled: plain types alone, nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain type")


def _names_of_block(pickled: Any) -> list[str]:
    data = pickled if isinstance(pickled, bytes) else np.asarray(pickled).tobytes()
    found = _NoClasses(io.BytesIO(data)).load()
    return [str(name) for name in found]


def _unit(item: h5py.Group | h5py.Dataset) -> str:
    return next((_text(item.attrs[key]) for key in ("unit", "units") if key in item.attrs), "")


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else value.tolist()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _inside(file: h5py.File) -> str:
    """The first things in a file."""
    names: list[str] = []

    def note(name: str) -> str | None:
        names.append(name)
        return name if len(names) > 6 else None

    file.visit(note)
    kinds: Mapping[str, str] = {
        name: "group" if isinstance(file[name], h5py.Group) else str(file[name].dtype)
        for name in names[:6]
    }
    shown = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    return shown + (", ..." if len(names) > 6 else "")
