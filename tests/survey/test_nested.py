"""Spectra inside a column: as LSDB and nested-pandas write them, and as others do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from aspgap_jax.survey.nested import flat_columns
from aspgap_jax.survey.tables import Remarks, Wanted, read_whole
from aspgap_jax.survey.xp import WAVELENGTH, XPChunk, read_xp
from support.xp_files import Row, sampled_star, star

SAMPLED = [sampled_star(n) for n in range(1, 6)]
CONTINUOUS = [star(n) for n in range(1, 6)]
BANDS = ("bp", "rp")


def one_struct(rows: list[Row], name: str, keys: dict[str, str]) -> pa.Array:
    """A struct of lists."""
    return pa.array([{new: row[old].tolist() for new, old in keys.items()} for row in rows])


def one_list(rows: list[Row], name: str, keys: dict[str, str]) -> pa.Array:
    """A list of structs, a value of each spectrum after another."""

    def cell(row: Row) -> list[dict[str, float]]:
        values = zip(*(row[key].tolist() for key in keys.values()), strict=True)
        return [dict(zip(keys, each, strict=True)) for each in values]

    return pa.array([cell(row) for row in rows])


def write(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=2)
    else:
        feather.write_feather(table, path, chunksize=2)
    return path


def read(path: Path) -> XPChunk:
    chunks = list(read_xp(path, chunk_size=2, on_note=lambda line: None))
    return XPChunk.concatenate(chunks)


@pytest.mark.parametrize("nest", [one_struct, one_list])
@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_sampled_spectra_in_a_column(tmp_path, nest, suffix):
    rows = [row | {"wavelength": WAVELENGTH} for row in SAMPLED]
    keys = {name: name for name in ("wavelength", "flux", "flux_error")}
    ids = pa.array([row["source_id"] for row in rows])
    table = pa.table({"source_id": ids, "spectrum": nest(rows, "spectrum", keys)})
    chunk = read(write(tmp_path / f"a{suffix}", table))
    np.testing.assert_array_equal(chunk.source_id, ids)
    np.testing.assert_array_equal(chunk.coefficients, [row["flux"] for row in rows])
    np.testing.assert_array_equal(chunk.errors, [row["flux_error"] for row in rows])


@pytest.mark.parametrize("nest", [one_struct, one_list])
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_coefficients_in_a_column_a_band(tmp_path, nest, case):
    keys = ("coefficients", "coefficient_errors")
    columns = {
        case(band): nest(CONTINUOUS, band, {case(key): f"{band}_{key}" for key in keys})
        for band in BANDS
    }
    ids = pa.array([row["source_id"] for row in CONTINUOUS])
    chunk = read(write(tmp_path / "a.parquet", pa.table({case("source_id"): ids} | columns)))
    expected = [np.concatenate([row[f"{b}_coefficients"] for b in BANDS]) for row in CONTINUOUS]
    np.testing.assert_array_equal(chunk.coefficients, expected)


@pytest.mark.parametrize("nest", [one_struct, one_list])
def test_a_missing_spectrum_is_missing(tmp_path, nest):
    keys = {name: name for name in ("flux", "flux_error")}
    values = nest(SAMPLED, "xp", keys).to_pylist()
    values[1] = None
    ids = pa.array([row["source_id"] for row in SAMPLED])
    table = pa.table({"source_id": ids, "xp": pa.array(values)})
    chunk = read(write(tmp_path / "a.parquet", table))
    assert chunk.source_id.tolist() == [1, 2, 3, 4, 5]
    assert chunk.finite.all(axis=1).tolist() == [True, False, True, True, True]
    np.testing.assert_array_equal(chunk.coefficients[2], SAMPLED[2]["flux"])


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_numbers_of_a_star_in_a_column(tmp_path, suffix):
    gaia = pa.array([{"source_id": n, "phot_g_mean_mag": 10.0 + n} for n in range(1, 5)])
    table = pa.table({"gaia": gaia, "other": pa.array([{"ra": 1.0}] * 4)})
    wanted = [Wanted("source_id", ("source_id",), "id"), Wanted("g", ("phot_g_mean_mag",))]
    found = read_whole(write(tmp_path / f"a{suffix}", table), wanted, Remarks()).columns
    assert found["source_id"].tolist() == [1, 2, 3, 4]
    assert found["g"].tolist() == [11.0, 12.0, 13.0, 14.0]


def test_names_that_several_structs_have_are_told_apart():
    inner = pa.struct([("flux", pa.list_(pa.float64())), ("ra", pa.float64())])
    schema = pa.schema([("xp", inner), ("sdss", inner), ("ra", pa.float64()), ("bp", inner)])
    names = [each.name for each in flat_columns(schema)]
    assert names == [*("xp_flux", "xp_ra", "sdss_flux", "sdss_ra", "ra", "bp_flux", "bp_ra")]
