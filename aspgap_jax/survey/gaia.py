"""Tables of Gaia sources: CSV, ECSV, FITS and VOTable, whatever the archive delivers."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.table import Table

from aspgap_jax.columns import COLUMNS
from aspgap_jax.errors import InputError
from aspgap_jax.survey.fits_files import (
    UNREADABLE,
    check_gzip,
    is_gzip,
    open_fits,
    strict_about_length,
)

__all__ = [
    "COLUMN_NAMES",
    "G_MAG",
    "PREFIX",
    "SOURCE_ID",
    "UNITS",
    "column_names",
    "find_column",
    "gaia_columns",
    "integer_column",
    "numeric_column",
    "read_gaia_tables",
    "read_source_ids",
    "read_table",
    "source_ids",
]

SOURCE_ID = "source_id"
G_MAG = "phot_g_mean_mag"
# APOGEE's allStar gives Gaia's columns this prefix.
PREFIX = "gaiaedr3_"
COLUMN_NAMES: tuple[str, ...] = (
    *("ra", "dec", "l", "b"),
    *("parallax", "parallax_error", "pmra", "pmra_error", "pmdec", "pmdec_error", "ruwe"),
    *(G_MAG, "phot_bp_mean_mag", "phot_rp_mean_mag"),
    *("radial_velocity", "radial_velocity_error"),
)
"""Columns of ``gaia_source`` that are kept where a table has them; all are numbers.
Their units and types are those of the catalogue's table."""

_SPECS = {spec.name: spec for spec in COLUMNS if spec.name in COLUMN_NAMES}
UNITS: dict[str, str] = {name: _SPECS[name].unit for name in COLUMN_NAMES}


def read_table(path: Path) -> Table | fits.FITS_rec:
    """The table in a file; its format is told by the content.

    FITS: the first table extension, of which columns are read when they are
    asked for. Else VOTable, ECSV, or CSV with a header line; all may be gzipped.

    Raises:
        InputError: the file cannot be read, or holds no table.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with strict_about_length():
            check_gzip(path)
            head = _head(path)
            if head.startswith(b"SIMPLE  ="):
                return _fits_table(path)
            if head.lstrip().startswith((b"<?xml", b"<VOTABLE")):
                return parse_single_table(path).to_table(use_names_over_ids=True)
            if head.startswith(b"# %ECSV"):
                return Table.read(path, format="ascii.ecsv")
            # Not ascii.csv, which fills up lines that were cut short.
            return Table.read(path, format="ascii.basic", delimiter=",")
    except InputError:
        raise
    # The parsers of astropy and expat have no base class of errors in common.
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(
            f"{path}: no readable table ({reason}); pass CSV, ECSV, FITS or VOTable"
        ) from error


def _head(path: Path) -> bytes:
    with gzip.open(path) if is_gzip(path) else path.open("rb") as stream:
        return stream.read(512)


def _fits_table(path: Path) -> fits.FITS_rec:
    with open_fits(path, "table") as hdus:
        for hdu in hdus:
            if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and len(hdu.columns):
                # The data outlive the file: astropy keeps the memory map open.
                return hdu.data
    raise InputError(f"{path}: a FITS file without a table; pass a table of stars")


def column_names(table: Table | fits.FITS_rec) -> tuple[str, ...]:
    """Names of the columns of either kind of table."""
    return tuple(table.colnames if isinstance(table, Table) else table.columns.names)


def find_column(table: Table | fits.FITS_rec, name: str, prefixed_only: bool = False) -> str | None:
    """The column called ``name``, in any case, with allStar's prefix or without."""
    accepted = (PREFIX + name,) if prefixed_only else (name, PREFIX + name)
    return next((found for found in column_names(table) if found.lower() in accepted), None)


def numeric_column(table: Table | fits.FITS_rec, column: str, path: Path) -> np.ndarray:
    """A column of numbers as float64 ``[row]``, missing values as NaN.

    Raises:
        InputError: it holds text, or arrays; the first such row is named.
    """
    try:
        values = table[column]
    except UNREADABLE as error:
        raise InputError(f"{path}: column {column} cannot be read ({error})") from error
    if np.ndim(values) != 1:
        raise InputError(f"{path}: column {column} holds arrays where numbers belong")
    missing = np.zeros(len(values), bool) | np.ma.getmaskarray(values)
    data = np.ma.getdata(values)
    if data.dtype.kind not in "OSUfiub":
        raise InputError(f"{path}: column {column} holds no numbers")
    if data.dtype.kind in "OSU":
        return _parsed(data, missing, column, path)
    return np.where(missing, np.nan, data.astype(np.float64))


def _parsed(data: np.ndarray, missing: np.ndarray, column: str, path: Path) -> np.ndarray:
    """Text as numbers: empty cells and the usual words for "missing" are NaN."""
    numbers = np.full(len(data), np.nan)
    for row, cell in enumerate(data):
        text = (cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)).strip()
        if missing[row] or text.lower() in ("", "null", "nan", "none", "--"):
            continue
        try:
            numbers[row] = float(text)
        except ValueError:
            raise InputError(
                f"{path}, row {row + 1}: column {column} is {text[:40]!r}, not a number; "
                f"correct the row or remove it"
            ) from None
    return numbers


def integer_column(table: Table | fits.FITS_rec, column: str, path: Path) -> np.ndarray:
    """A column of integers as int64 ``[row]``; missing values are -1.

    Raises:
        InputError: the column holds anything else. Source ids have 19 digits,
            of which floats keep 16: a rounded id would belong to another star.
    """
    try:
        values = table[column]
    except UNREADABLE as error:
        raise InputError(f"{path}: column {column} cannot be read ({error})") from error
    data = np.ma.getdata(values)
    if data.dtype.kind == "f":
        raise InputError(
            f"{path}: column {column} is of type {data.dtype}, which rounds 19-digit ids; "
            f"write the table again with 64-bit integers"
        )
    if data.dtype.kind not in "iu" or data.ndim != 1:
        for row, cell in enumerate(data.ravel()):
            text = cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)
            if not text.strip().isdigit():
                raise InputError(
                    f"{path}, row {row + 1}: column {column} is {text[:40]!r}, not an integer; "
                    f"correct the row or remove it"
                )
        raise InputError(f"{path}: column {column} is text; write the table again with integers")
    return np.where(np.ma.getmaskarray(values), -1, data.astype(np.int64))


def _required(table: Table | fits.FITS_rec, name: str, path: Path) -> str:
    column = find_column(table, name)
    if column is None:
        found = column_names(table)
        shown = ", ".join(found[:6]) + (", ..." if len(found) > 6 else "")
        raise InputError(
            f"{path}: no column {name}; accepted is {name} or {PREFIX}{name} in any case, "
            f"the table has {shown}"
        )
    return column


def source_ids(table: Table | fits.FITS_rec, path: Path) -> np.ndarray:
    """The column of source ids, int64 ``[row]``, -1 where missing.

    Raises:
        InputError: there is none, or it holds something else than integers.
    """
    return integer_column(table, _required(table, SOURCE_ID, path), path)


def read_source_ids(path: Path) -> np.ndarray:
    """Gaia source ids of a table, int64 ``[row]``; rows without an id are left out.

    Args:
        path: any table with a column ``source_id``; APOGEE's allStar is one too.

    Raises:
        InputError: the table cannot be read, or has no such column, or no id.
    """
    ids = source_ids(read_table(path), path)
    ids = ids[ids > 0]
    if not len(ids):
        raise InputError(f"{path}: no row has a Gaia source id")
    return ids


def gaia_columns(
    table: Table | fits.FITS_rec, path: Path, *, prefixed_only: bool = False
) -> dict[str, np.ndarray]:
    """The columns of :data:`COLUMN_NAMES` that a table has, ``[row]``.

    Args:
        table: the table.
        path: how errors call it.
        prefixed_only: leave out columns without allStar's prefix, because in
            allStar those are other surveys' values.

    Raises:
        InputError: a column holds something else than numbers.
    """
    found = {name: find_column(table, name, prefixed_only) for name in COLUMN_NAMES}
    return {
        name: numeric_column(table, column, path).astype(_SPECS[name].dtype)
        for name, column in found.items()
        if column is not None
    }


def read_gaia_tables(
    paths: Iterable[Path], wanted: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Gaia's columns for the stars ``wanted``, from one table or several.

    Args:
        paths: the tables; a star may be in several, if they agree.
        wanted: source ids, ascending, int64 ``[star]``.

    Returns:
        Whether a table has the star ``[star]``, and each column ``[star]``, NaN
        where no table has it.

    Raises:
        InputError: a table cannot be read, lacks source_id or G, or two rows
            contradict each other about the G of a star.
    """
    found = np.zeros(len(wanted), bool)
    columns: dict[str, np.ndarray] = {}
    for path in paths:
        table = read_table(path)
        ids = source_ids(table, path)
        _required(table, G_MAG, path)
        place = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
        rows = np.flatnonzero(wanted[place] == ids)
        place = place[rows]
        for name, values in gaia_columns(table, path).items():
            column = columns.setdefault(name, np.full(len(wanted), np.nan, values.dtype))
            before = column[place]
            column[place] = values[rows]
            if name == G_MAG:
                # Either an earlier table, or an earlier row of this one.
                clash = (found[place] & _differ(before, values[rows])) | _differ(
                    column[place], values[rows]
                )
                if clash.any():
                    star = wanted[place[clash][0]]
                    raise InputError(
                        f"{path}: source_id {star} occurs twice with different {G_MAG}; "
                        f"remove one of the rows"
                    )
        found[place] = True
    return found, columns


def _differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray((one != other) & ~(np.isnan(one) & np.isnan(other)))
