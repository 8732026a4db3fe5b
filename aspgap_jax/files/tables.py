"""Tables written block by block, with units and descriptions, in any format of astronomers.

A file appears whole at the end, or not at all, and memory does not grow with its
length. All formats hold the same columns:

- FITS: one binary table as TOPCAT writes them: TTYPEn, TFORMn, TUNITn, the description
  in TCOMMn, the UCD in TUCDn; CHECKSUM and DATASUM.
- HDF5: one flat dataset a column with the attributes ``unit``, ``description``, ``ucd``.
- Parquet: the same three in the metadata of the fields, and, as the
  IVOA note VOParquet 1.0 (2025) has it, a VOTable without data in the metadata of
  the file, from which TOPCAT and astropy (``format="parquet.votable"``) take them.
- VOTable (:mod:`aspgap_jax.files.votable`) and ECSV (:mod:`aspgap_jax.files.text_tables`),
  the same in their own words; CSV has names alone.

``dex``, which astronomers write and the standard of units (VOUnits) does not list,
stands in the description of FITS and VOTable columns: readers warn of a unit that
they do not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from aspgap_jax.columns import Columns, ColumnSpec
from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import replace_file
from aspgap_jax.files.text_tables import TextTable
from aspgap_jax.files.votable import VOTable, in_standard_units, votable

__all__ = [
    "SUFFIXES",
    "ParquetTable",
    "TableWriter",
    "arrow_schema",
    "check_suffix",
    "parquet_table",
    "write_table",
]

FITS_SUFFIXES = (".fits", ".fit")
HDF5_SUFFIXES = (".h5", ".hdf5")
PARQUET_SUFFIXES = (".parquet",)
TEXT_SUFFIXES = (".csv", ".ecsv")
VOTABLE_SUFFIXES = (".vot", ".xml")
SUFFIXES = FITS_SUFFIXES + HDF5_SUFFIXES + PARQUET_SUFFIXES + TEXT_SUFFIXES + VOTABLE_SUFFIXES
# Rows of a chunk of HDF5: large enough to compress, small enough to page through.
CHUNK_ROWS = 65_536
# Rows of a row group of Parquet, the unit in which readers skip; 6 MB of a catalogue.
GROUP_ROWS = 65_536
BLOCK = 2880  # bytes of FITS
# NumPy type: TFORM of FITS.
FORMATS = {"i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}


class TableWriter(Protocol):
    """What takes the blocks of a table."""

    def append(self, columns: Columns) -> None:
        """Append rows; every column of the table must be there, ``[row]``."""


@contextmanager
def write_table(path: Path, specs: Sequence[ColumnSpec]) -> Iterator[TableWriter]:
    """Write a table in the format that the suffix of ``path`` names.

    Args:
        path: file to write; see :data:`SUFFIXES`.
        specs: its columns.

    Returns:
        What takes the blocks, for a ``with`` statement.

    Raises:
        InputError: no format has this suffix.
    """
    suffix = check_suffix(path)
    if suffix in PARQUET_SUFFIXES:
        with parquet_table(path, specs) as table:
            yield table
        return
    with replace_file(path) as temporary:
        if suffix in HDF5_SUFFIXES:
            with h5py.File(temporary, "w") as store:
                yield _Hdf5Table(store, specs)
            return
        with temporary.open("w+b") as file:
            written: _FitsTable | VOTable | TextTable
            if suffix in FITS_SUFFIXES:
                written = _FitsTable(file, specs)
            elif suffix in VOTABLE_SUFFIXES:
                written = VOTable(file, specs)
            else:
                written = TextTable(file, specs, described=suffix == ".ecsv")
            yield written
            written.finish()
        if suffix in FITS_SUFFIXES:
            _add_checksums(temporary)


def check_suffix(path: Path) -> str:
    """The suffix of a table to be written.

    Args:
        path: of the table.

    Returns:
        One of :data:`SUFFIXES`.

    Raises:
        InputError: no format has it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: no catalogue format has the suffix {suffix!r}; use one of "
            f"{', '.join(SUFFIXES)}"
        )
    return suffix


class _FitsTable:
    """A binary table whose number of rows is known at the end."""

    def __init__(self, file: Any, specs: Sequence[ColumnSpec]) -> None:
        self._file = file
        self._specs = specs
        self._dtype = np.dtype([(s.name, np.dtype(s.dtype).newbyteorder(">")) for s in specs])
        self._rows = 0
        self._head = fits.PrimaryHDU().header.tostring().encode("ascii")
        file.write(self._head)
        file.write(self._header())

    def _header(self) -> bytes:
        header = fits.Header(
            [
                ("XTENSION", "BINTABLE", "binary table extension"),
                ("BITPIX", 8),
                ("NAXIS", 2),
                ("NAXIS1", self._dtype.itemsize, "bytes of a row"),
                ("NAXIS2", self._rows, "rows"),
                ("PCOUNT", 0),
                ("GCOUNT", 1),
                ("TFIELDS", len(self._specs)),
                ("EXTNAME", "CATALOGUE"),
            ]
        )
        for number, spec in enumerate(self._specs, start=1):
            header[f"TTYPE{number}"] = spec.name
            header[f"TFORM{number}"] = FORMATS[np.dtype(spec.dtype).str[1:]]
            unit, description = in_standard_units(spec)
            if unit:
                header[f"TUNIT{number}"] = unit
            if description:
                header[f"TCOMM{number}"] = description
            if spec.ucd:
                header[f"TUCD{number}"] = spec.ucd
        # Their place: adding cards later could make the header a block longer.
        header["CHECKSUM"] = "0" * 16
        header["DATASUM"] = "0".ljust(10)
        return bytes(header.tostring().encode("ascii"))

    def append(self, columns: Columns) -> None:
        rows = np.empty(len(columns[self._specs[0].name]), self._dtype)
        for spec in self._specs:
            rows[spec.name] = columns[spec.name]
        self._file.write(rows.tobytes())
        self._rows += len(rows)

    def finish(self) -> None:
        self._file.write(b"\0" * (-self._rows * self._dtype.itemsize % BLOCK))
        self._file.seek(len(self._head))
        self._file.write(self._header())


def _add_checksums(path: Path) -> None:
    with fits.open(path, mode="update", memmap=True) as hdus:
        hdus[1].add_checksum()


class _Hdf5Table:
    def __init__(self, file: h5py.File, specs: Sequence[ColumnSpec]) -> None:
        self._file = file
        self._specs = specs
        file.attrs["format"] = "aspgap catalogue"

    def append(self, columns: Columns) -> None:
        rows = len(columns[self._specs[0].name])
        if not len(self._file):
            # A short table shall not be stored in one long chunk.
            self._create(min(max(rows, 1), CHUNK_ROWS))
        for name, dataset in self._file.items():
            start = len(dataset)
            dataset.resize(start + rows, axis=0)
            dataset[start:] = columns[name]

    def _create(self, chunk: int) -> None:
        for spec in self._specs:
            dataset = self._file.create_dataset(
                spec.name, (0,), spec.dtype, maxshape=(None,), chunks=(chunk,)
            )
            dataset.attrs["unit"] = spec.unit
            dataset.attrs["description"] = spec.description
            dataset.attrs["ucd"] = spec.ucd


class ParquetTable:
    """Collects rows into row groups; made by :func:`parquet_table`."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, group_rows: int) -> None:
        self._writer = writer
        self._schema = schema
        self._group_rows = group_rows
        self._held: list[pa.RecordBatch] = []
        self._waiting = 0
        self.rows = 0

    def append(self, columns: Columns) -> None:
        """Append rows; the arrays must not change afterwards."""
        batch = pa.record_batch(
            [pa.array(columns[f.name], f.type) for f in self._schema], schema=self._schema
        )
        self._held.append(batch)
        self._waiting += len(batch)
        self.rows += len(batch)
        if self._waiting >= self._group_rows:
            self.flush()

    def annotate(self, metadata: Mapping[str, str]) -> None:
        """Add to the metadata of the file."""
        self._writer.add_key_value_metadata(dict(metadata))

    def flush(self) -> None:
        """Write what is held as row groups."""
        if self._held:
            table = pa.Table.from_batches(self._held)
            self._writer.write_table(table, row_group_size=self._group_rows)
        self._held, self._waiting = [], 0


@contextmanager
def parquet_table(
    path: Path, specs: Sequence[ColumnSpec], *, group_rows: int = GROUP_ROWS
) -> Iterator[ParquetTable]:
    """Write a Parquet file, atomically.

    Args:
        path: file to write.
        specs: its columns.
        group_rows: rows of a row group.

    Returns:
        What takes the blocks, for a ``with`` statement.
    """
    schema = arrow_schema(specs)
    # Noise does not compress: dictionaries and codecs would only cost time.
    layout = {"compression": "none", "use_dictionary": False}
    with replace_file(path) as temporary, pq.ParquetWriter(temporary, schema, **layout) as writer:
        table = ParquetTable(writer, schema, group_rows)
        yield table
        table.flush()


def arrow_schema(specs: Sequence[ColumnSpec]) -> pa.Schema:
    """The schema of a Parquet file with these columns, and its metadata.

    Args:
        specs: the columns, in their order.

    Returns:
        Types, units and descriptions, with a VOTable header as VOParquet has it.
    """
    return pa.schema(
        [
            pa.field(
                spec.name,
                pa.from_numpy_dtype(np.dtype(spec.dtype)),
                metadata={"unit": spec.unit, "description": spec.description, "ucd": spec.ucd},
            )
            for spec in specs
        ],
        metadata={
            "IVOA.VOTable-Parquet.version": "1.0",
            "IVOA.VOTable-Parquet.content": votable(specs),
        },
    )
