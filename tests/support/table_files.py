"""One small table in every container that users bring, written by the libraries they use."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

Columns = Mapping[str, np.ndarray]


def stars(n: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    """Ids of 19 digits, a magnitude, a quantity that may be negative, and a name."""
    rng = np.random.default_rng(seed)
    return {
        "source_id": np.sort(rng.choice(2**61, n, replace=False)) + 2**61,
        "phot_g_mean_mag": rng.uniform(9, 15, n),
        "parallax": rng.normal(0.5, 1.0, n),
        "designation": np.array([f"Gaia DR3 {i}" for i in range(n)]),
    }


def text(path: Path, columns: Columns, delimiter: str = ",", end: str = "\n") -> Path:
    """Delimited text with a header line."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    lines = [delimiter.join(map(str, row)) for row in (columns.keys(), *rows)]
    path.write_bytes((end.join(lines) + end).encode())
    return path


def several_fits(path: Path, *tables: Columns) -> Path:
    """FITS with a table extension each."""
    hdus = [fits.BinTableHDU(Table(dict(columns)).as_array()) for columns in tables]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
    return path


def colfits(path: Path, columns: Columns) -> Path:
    """FITS with one row, in which each column lies whole, as TOPCAT's colfits writer has it."""
    kinds = {"i": "K", "f": "D"}
    made = []
    for name, values in columns.items():
        n = len(values)
        if values.dtype.kind == "U":
            width = values.dtype.itemsize // 4
            made.append(
                fits.Column(
                    name=name,
                    format=f"{width * n}A",
                    dim=f"({width},{n})",
                    array=values.astype(f"S{width}")[None],
                )
            )
        else:
            kind = kinds[values.dtype.kind]
            made.append(
                fits.Column(name=name, format=f"{n}{kind}", dim=f"({n})", array=values[None])
            )
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made)]).writeto(path)
    return path


VOTABLE_TYPES = {
    "i": 'datatype="long"',
    "f": 'datatype="double"',
    "U": 'datatype="char" arraysize="*"',
}


def votable(path: Path, *tables: Columns) -> Path:
    """VOTable with a TABLE each, all in one RESOURCE.

    Not by astropy, whose writer of this form (8.0.2, tablewriter.c) writes one byte behind
    its buffer where that is just full, so that something else crashes later.
    """
    parts = ['<?xml version="1.0"?>', '<VOTABLE version="1.4"><RESOURCE type="results">']
    for columns in tables:
        parts.append("<TABLE>")
        for name, values in columns.items():
            parts.append(f"<FIELD name={quoteattr(name)} {VOTABLE_TYPES[values.dtype.kind]}/>")
        parts.append("<DATA><TABLEDATA>")
        for row in zip(*(values.tolist() for values in columns.values()), strict=True):
            cells = "".join(f"<TD>{escape(str(cell))}</TD>" for cell in row)
            parts.append(f"<TR>{cells}</TR>")
        parts.append("</TABLEDATA></DATA></TABLE>")
    parts.append("</RESOURCE></VOTABLE>")
    path.write_text("\n".join(parts) + "\n")
    return path


def vaex(path: Path, columns: Columns) -> Path:
    """HDF5 as vaex lays it out: text as bytes and the places where each begins."""
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            group = file.create_group(f"table/columns/{name}")
            if values.dtype.kind == "U":
                cells = [cell.encode() for cell in values.tolist()]
                group["data"] = np.frombuffer(b"".join(cells), np.uint8)
                group["indices"] = np.cumsum([0, *map(len, cells)])
            else:
                group["data"] = values
    return path


def pandas_fixed(path: Path, columns: Columns) -> Path:
    """HDF5 as pandas' format="fixed" lays numbers out: a block a type."""
    with h5py.File(path, "w") as file:
        group = file.create_group("stars")
        group.attrs["pandas_type"] = np.bytes_("frame")
        numbers = {name: v for name, v in columns.items() if v.dtype.kind != "U"}
        kinds = sorted({values.dtype.str for values in numbers.values()})
        group.attrs["nblocks"] = len(kinds)
        group["axis0"] = np.array(list(numbers), "S")
        group["axis1"] = np.arange(len(next(iter(columns.values()))))
        for number, kind in enumerate(kinds):
            names = [name for name, values in numbers.items() if values.dtype.str == kind]
            group[f"block{number}_items"] = np.array(names, "S")
            group[f"block{number}_values"] = np.stack([numbers[name] for name in names], axis=1)
    return path


def pandas_table(path: Path, columns: Columns) -> Path:
    """HDF5 as pandas' format="table" lays it out: columns of one type share a field."""
    numbers = {name: v for name, v in columns.items() if v.dtype.kind != "U"}
    kinds = sorted({values.dtype.str for values in numbers.values()})
    names = [[name for name, v in numbers.items() if v.dtype.str == kind] for kind in kinds]
    n = len(next(iter(columns.values())))
    fields = [("index", "<i8")] + [
        (f"values_block_{i}", kind, (len(names[i]),)) for i, kind in enumerate(kinds)
    ]
    rows = np.zeros(n, fields)
    with h5py.File(path, "w") as file:
        group = file.create_group("stars")
        group.attrs["pandas_type"] = np.bytes_("frame_table")
        for i, inside in enumerate(names):
            rows[f"values_block_{i}"] = np.stack([numbers[name] for name in inside], axis=1)
        dataset = group.create_dataset("table", data=rows)
        for i, inside in enumerate(names):
            listed = "".join(
                f"{'' if j == 0 else 'a'}V{x}\np{j + 1}\n" for j, x in enumerate(inside)
            )
            dataset.attrs[f"values_block_{i}_kind"] = np.bytes_(f"(lp0\n{listed}a.")
    return path


def flat_hdf5(path: Path, columns: Columns) -> Path:
    """HDF5 with one dataset a column, in a group."""
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[f"stars/{name}"] = values.astype("S") if values.dtype.kind == "U" else values
    return path


def arrow(columns: Columns) -> pa.Table:
    """As an Arrow table."""
    return pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})


def hats(folder: Path, columns: Columns) -> Path:
    """A HATS catalogue of two pixels, with a margin beside it, in a collection."""
    table = arrow(columns)
    half = len(table) // 2
    for name, parts in (
        ("stars", {"Npix=3": table[:half], "Npix=7": table[half:]}),
        # The rows of the margin are in the catalogue too.
        ("stars_10arcs", {"Npix=3": table[half:]}),
    ):
        inside = folder / name / "dataset" / "Norder=1" / "Dir=0"
        inside.mkdir(parents=True)
        for part, rows in parts.items():
            pq.write_table(rows, inside / f"{part}.parquet")
        pq.write_metadata(table.schema, folder / name / "dataset" / "_common_metadata")
        (folder / name / "hats.properties").write_text("dataproduct_type=object\n")
        (folder / name / "partition_info.csv").write_text("Norder,Npix\n1,3\n")
    (folder / "collection.properties").write_text(
        "obs_collection=stars\nhats_primary_table_url=stars\nall_margins=stars_10arcs\n"
    )
    return folder


def partitioned(folder: Path, columns: Columns) -> Path:
    """Parquet in folders ``region=N``, as Gaia DR4's source table is distributed."""
    table = arrow(columns)
    for region, rows in enumerate((table[:2], table[2:])):
        (folder / f"region={region}").mkdir(parents=True)
        pq.write_table(rows, folder / f"region={region}" / "part-0.parquet")
    (folder / "_SUCCESS").write_text("")
    return folder


def _gz(write: Callable[[Path, Columns], object], suffix: str) -> Callable[[Path, Columns], Path]:
    def packed(path: Path, columns: Columns) -> Path:
        plain = path.with_name(f"plain{suffix}")
        write(plain, columns)
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
        return path

    return packed


def _astropy(kind: str, **options: object) -> Callable[[Path, Columns], Path]:
    def write(path: Path, columns: Columns) -> Path:
        Table(dict(columns)).write(path, format=kind, **options)
        return path

    return write


def _utf16(path: Path, columns: Columns) -> Path:
    path.write_text(text(path, columns).read_text(encoding="utf-8"), encoding="utf-16")
    return path


def _commented(path: Path, columns: Columns) -> Path:
    """The names in a comment, as NumPy's savetxt writes them."""
    path.write_text("# made by hand\n# " + text(path, columns).read_text(encoding="utf-8"))
    return path


def _feather(path: Path, columns: Columns) -> Path:
    feather.write_feather(arrow(columns), path)
    return path


def _parquet(path: Path, columns: Columns) -> Path:
    pq.write_table(arrow(columns), path, row_group_size=2)
    return path


CONTAINERS: dict[str, Callable[[Path, Columns], Path]] = {
    "comma": text,
    "tab": lambda path, columns: text(path, columns, "\t"),
    "semicolon": lambda path, columns: text(path, columns, ";"),
    "bar": lambda path, columns: text(path, columns, " | "),
    "carriage returns": lambda path, columns: text(path, columns, end="\r"),
    "line ends of DOS": lambda path, columns: text(path, columns, end="\r\n"),
    "gzipped text": _gz(text, ".csv"),
    "UTF-16": _utf16,
    "names in a comment": _commented,
    "ECSV": _astropy("ascii.ecsv"),
    "ECSV with commas": _astropy("ascii.ecsv", delimiter=","),
    "FITS": _astropy("fits"),
    "gzipped FITS": _gz(_astropy("fits"), ".fits"),
    "ColFITS": colfits,
    "VOTable": votable,
    "VOTable, binary": _astropy("votable", tabledata_format="binary2"),
    "gzipped VOTable": _gz(votable, ".xml"),
    "Parquet": _parquet,
    "Feather": _feather,
    "HDF5, flat": flat_hdf5,
    "HDF5, astropy": _astropy("hdf5", path="stars", serialize_meta=True),
    "HDF5, vaex": vaex,
    "HDF5, pandas fixed": pandas_fixed,
    "HDF5, pandas table": pandas_table,
    "HATS": hats,
    "partitioned Parquet": partitioned,
}
"""How to write a table, by the name of the container."""
