"""XP files as users write them: other containers, units, grids, names, text, archives."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.io.votable.tree import Param, Resource, TableElement, VOTableFile
from astropy.table import Table
from astropy.units import UnitsWarning

from aspgap_jax.survey.xp import WAVELENGTH
from support.xp_files import Row

__all__ = [
    "arrow_table",
    "fits_bytes",
    "long_rows",
    "noted",
    "numpy_text",
    "sampled",
    "save_votable",
    "smooth_star",
    "table_of",
    "write_arrow",
    "write_colfits",
    "write_combined",
    "write_tables_fits",
    "write_tables_votable",
    "write_vaex",
    "zip_of",
]


def smooth_star(source_id: int, wavelength: np.ndarray = WAVELENGTH) -> Row:
    """A made-up star whose spectrum is a smooth function, on any grid."""
    rng = np.random.default_rng(source_id)
    height, centre, width = rng.uniform(1, 4), rng.uniform(500, 800), rng.uniform(150, 300)
    shape = np.exp(-(((wavelength - centre) / width) ** 2)) + 0.3
    return {
        "source_id": source_id,
        "flux": 1e-16 * height * shape,
        "flux_error": 1e-18 * (1.0 + wavelength / 1000.0),
    }


def sampled(*ids: int, g_mag: bool = True) -> list[Row]:
    """Smooth stars on the archive's grid."""
    rows = [smooth_star(source_id) for source_id in ids]
    return [row | {"phot_g_mean_mag": 10.0 + n / 8} if g_mag else row for n, row in enumerate(rows)]


def table_of(rows: Sequence[Row], units: Mapping[str, str] | None = None) -> Table:
    """An astropy table of rows."""
    table = Table({name: [row[name] for row in rows] for name in rows[0]})
    for name, unit in (units or {}).items():
        table[name].unit = unit
    return table


def long_rows(rows: Sequence[Row], *names: str) -> Table:
    """A row a wavelength, stars one after the other; ``names`` are repeated in each row."""
    sizes = [len(row["flux"]) for row in rows]
    columns = {name: np.repeat([row[name] for row in rows], sizes) for name in names}
    grids = [row.get("wavelength", WAVELENGTH) for row in rows]
    columns["wavelength"] = np.concatenate(grids)
    for name in ("flux", "flux_error"):
        columns[name] = np.concatenate([row[name] for row in rows])
    return Table(columns)


def write_tables_fits(path: Path, tables: Sequence[Table]) -> Path:
    """A FITS file with one extension a table."""
    hdus = [fits.PrimaryHDU(), *(fits.BinTableHDU(table) for table in tables)]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def write_tables_votable(
    path: Path, tables: Sequence[Table], kind: str = "binary2", *, resources: bool = False
) -> Path:
    """A VOTable with several tables, in one RESOURCE or in one each."""
    document = VOTableFile()
    for table in tables:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnitsWarning)
            (resource,) = from_table(table).resources
        if resources or not document.resources:
            document.resources.append(resource)
        else:
            document.resources[0].tables.append(resource.tables[0])
    save_votable(document, path, kind)
    return path


def save_votable(document: VOTableFile, path: Path, kind: str) -> None:
    """Write a VOTable; of units that the standard deprecates astropy would warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)
        document.to_xml(str(path), tabledata_format=kind)


def write_combined(
    path: Path, rows: Sequence[Row], kind: str = "binary2", *, resources: bool = True
) -> Path:
    """DataLink's structure COMBINED: a TABLE a star, its id in a PARAM."""
    document = VOTableFile()
    for row in rows:
        (resource,) = from_table(long_rows([row])).resources
        table: TableElement = resource.tables[0]
        table.params.append(
            Param(document, name="source_id", datatype="long", value=str(row["source_id"]))
        )
        if resources or not document.resources:
            document.resources.append(resource)
        else:
            first: Resource = document.resources[0]
            first.tables.append(table)
    document.to_xml(str(path), tabledata_format=kind)
    return path


def write_colfits(path: Path, rows: Sequence[Row]) -> Path:
    """STILTS' colfits: one row, each cell of which is a column."""
    columns = []
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        code = {"i": "K", "f": "D"}[values.dtype.kind]
        shape = tuple(reversed(values.shape))
        dim = str(shape).replace(" ", "").replace(",)", ")")
        columns.append(
            fits.Column(name=name, format=f"{values.size}{code}", dim=dim, array=values[None])
        )
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


def write_vaex(path: Path, rows: Sequence[Row], units: Mapping[str, str] | None = None) -> Path:
    """HDF5 as vaex writes it."""
    with h5py.File(path, "w") as file:
        for name in rows[0]:
            group = file.create_group(f"table/columns/{name}")
            group["data"] = np.array([row[name] for row in rows])
            if units and name in units:
                group.attrs["units"] = units[name]
    return path


def arrow_table(rows: Sequence[Row], *, fixed: bool = False, metadata: Any = None) -> pa.Table:
    """An Arrow table with list columns, of a fixed size or not."""
    arrays = {}
    for name, value in rows[0].items():
        values = [row[name] for row in rows]
        if isinstance(value, np.ndarray):
            kind = pa.list_(pa.float64(), len(value)) if fixed else pa.list_(pa.float64())
            arrays[name] = pa.array([None if v is None else v.tolist() for v in values], kind)
        else:
            arrays[name] = pa.array(values)
    table = pa.table(arrays)
    return table.replace_schema_metadata(metadata) if metadata else table


def write_arrow(path: Path, table: pa.Table, kind: str) -> Path:
    """A Parquet or Feather file."""
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=3)
    else:
        feather.write_feather(table, path, version={"feather": 2}[kind])
    return path


def numpy_text(values: np.ndarray) -> str:
    """An array as NumPy prints it, and pandas writes it into csv: with line ends."""
    return np.array2string(values, max_line_width=75, threshold=10_000, precision=16)


def zip_of(path: Path, files: Mapping[str, bytes]) -> Path:
    """A zip archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def noted(path: Path, **options: Any) -> tuple[Any, list[Any], list[str]]:
    """What a file gives: its stars as one chunk (or ``None``), bad rows, notes."""
    from aspgap_jax.survey.xp import BadRow, XPChunk, read_xp

    bad: list[BadRow] = []
    notes: list[str] = []
    chunks = list(read_xp(path, on_bad_row=bad.append, on_note=notes.append, **options))
    return (XPChunk.concatenate(chunks) if chunks else None), bad, notes


def fits_bytes(table: Table) -> bytes:
    """A table as the bytes of a FITS file."""
    out = io.BytesIO()
    table.write(out, format="fits")
    return out.getvalue()
