"""Builds files in the formats of the Gaia archive, from real or from made-up stars."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy.io.votable import from_table, tree
from astropy.table import Table

from aspgap_jax.survey.xp import BadRow, XPChunk, read_xp

# Astropy's writer in C begins with a buffer of 256 bytes and writes past its end where a cell
# is longer, as arrays are: memory of others is spoilt (astropy 8.0.2). That in Python does not.
tree._has_c_tabledata_writer = False

Row = dict[str, Any]

_SCALARS = {
    "basis_function_id": 0,
    "degrees_of_freedom": 900,
    "n_parameters": 55,
    "n_measurements": 955,
    "n_rejected_measurements": 6,
    "standard_deviation": 1.0625,
    "chi_squared": 987.75,
}


def star(source_id: int, seed: int = 0, sizes: Sequence[int] = (55, 55)) -> Row:
    """A made-up star with the structure of a real one."""
    rng = np.random.default_rng([source_id % 2**32, seed])
    row: Row = {"source_id": source_id, "solution_id": 4545469030156206080}
    for band, size in zip(("bp", "rp"), sizes, strict=True):
        row |= {f"{band}_{name}": value for name, value in _SCALARS.items()}
        row |= {
            f"{band}_basis_function_id": 56 if band == "bp" else 57,
            f"{band}_n_parameters": size,
            f"{band}_coefficients": rng.normal(0, 1e3, size),
            f"{band}_coefficient_errors": rng.uniform(0.1, 9, size).astype(np.float32),
            f"{band}_coefficient_correlations": rng.uniform(-1, 1, size * (size - 1) // 2).astype(
                np.float32
            ),
            f"{band}_n_relevant_bases": int(rng.integers(1, size)),
            f"{band}_relative_shrinking": 0.9998003,
        }
    return row


def sampled_star(source_id: int) -> Row:
    """A made-up star with a sampled spectrum."""
    rng = np.random.default_rng(source_id)
    return {
        "source_id": source_id,
        "solution_id": 4545469030156206080,
        "ra": 217.39232147200883,
        "dec": -62.67607511676666,
        "flux": rng.uniform(1e-17, 1e-16, 343).astype(np.float32),
        "flux_error": rng.uniform(1e-19, 1e-18, 343).astype(np.float32),
    }


def without(row: Row, band: str) -> Row:
    """The star with a band missing, all its values null."""
    return {name: None if name.startswith(band) else value for name, value in row.items()}


def cells(row: Mapping[str, Any], *, brackets: str = "[]", separator: str = ",") -> list[str]:
    """A row as the archive writes its cells, lists quoted."""
    written = []
    for value in row.values():
        if value is None:
            written.append("null")
        elif isinstance(value, np.ndarray | list):
            items = separator.join("null" if v is None or v != v else str(v) for v in value)
            written.append(f'"{brackets[0]}{items}{brackets[1]}"')
        else:
            written.append(str(value))
    return written


def bulk_text(rows: Sequence[Row], *, header: bool = True, **style: str) -> str:
    """The text of a bulk file."""
    lines = ["# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:"] if header else []
    lines.append(",".join(rows[0]))
    lines += [",".join(cells(row, **style)) for row in rows]
    return "\n".join(lines) + "\n"


def write_bulk(path: Path, rows: Sequence[Row], **style: str) -> Path:
    """Write a bulk file, with gzip."""
    path.write_bytes(gzip.compress(bulk_text(rows, **style).encode(), 1))
    return path


def real_rows(shared: Path) -> list[Row]:
    """The two real stars of the shared ECSV file, arrays as NumPy arrays."""
    lines = (shared / "data/xp_formats/XP_CONTINUOUS_RAW.ecsv").read_text().splitlines()
    rows: list[Row] = []
    for line in csv.DictReader(line for line in lines if not line.startswith("#")):
        row: Row = dict(line)
        for name, value in line.items():
            if value.startswith("["):
                dtype = np.float64 if name.endswith("coefficients") else np.float32
                row[name] = np.array(value[1:-1].split(","), dtype)
        rows.append(row)
    return rows


def read_all(path: Path, **options) -> XPChunk:
    return XPChunk.concatenate(list(read_xp(path, **options)))


def collect(path: Path, **options) -> tuple[list[XPChunk], list[BadRow]]:
    bad: list[BadRow] = []
    return list(read_xp(path, on_bad_row=bad.append, **options)), bad


def same(a: XPChunk, b: XPChunk) -> None:
    for name in XPChunk.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def as_table(rows) -> Table:
    return Table({name: [row[name] for row in rows] for name in rows[0]})


def write_fits(path: Path, rows) -> None:
    as_table(rows).write(path, format="fits", overwrite=True)


def write_votable(path: Path, rows, kind: str) -> None:
    votable = from_table(as_table(rows))
    votable.to_xml(str(path), tabledata_format=kind)


def write_hdf5(path: Path, rows, *, flat: bool) -> None:
    with h5py.File(path, "w") as file:
        for name, values in as_table(rows).columns.items():
            data = np.asarray(values)
            file[name] = data.ravel() if flat else data


WRITERS = {
    "bulk": lambda path, rows: path.write_bytes(gzip.compress(bulk_text(rows).encode())),
    "ecsv": lambda path, rows: path.write_text(bulk_text(rows)),
    "windows": lambda path, rows: path.write_bytes(bulk_text(rows).replace("\n", "\r\n").encode()),
    "datalink": lambda path, rows: path.write_text(
        bulk_text(rows, header=False, brackets="()", separator=", ")
    ),
    "spaces": lambda path, rows: as_table(rows).write(path, format="ascii.ecsv"),
    "fits": write_fits,
    "fits.gz": lambda path, rows: (
        write_fits(path, rows),
        path.write_bytes(gzip.compress(path.read_bytes())),
    ),
    "votable": lambda path, rows: write_votable(path, rows, "tabledata"),
    "binary": lambda path, rows: write_votable(path, rows, "binary"),
    "binary2": lambda path, rows: write_votable(path, rows, "binary2"),
    "hdf5": lambda path, rows: write_hdf5(path, rows, flat=False),
    "hdf5 flat": lambda path, rows: write_hdf5(path, rows, flat=True),
}
