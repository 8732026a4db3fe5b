"""Tables written block by block, read back by astropy, pyarrow, h5py, DuckDB and ourselves."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from aspgap_jax.columns import ColumnSpec
from aspgap_jax.errors import InputError
from aspgap_jax.files.tables import parquet_table, write_table

SPECS = (
    ColumnSpec("source_id", "", "Unique identifier for star", np.int64, "meta.id;meta.main"),
    ColumnSpec("ra", "deg", "Right <Ascension> & more", np.float64, "pos.eq.ra"),
    ColumnSpec("teff_xp", "K", "Effective temperature", np.float32),
    ColumnSpec("flags", "", "Quality bits", np.int32),
)


def rows(n: int = 1000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    values = {
        "source_id": rng.integers(0, 2**62, n),
        "ra": rng.uniform(0, 360, n),
        "teff_xp": rng.normal(5000, 500, n).astype(np.float32),
        "flags": rng.integers(0, 2**14, n).astype(np.int32),
    }
    values["teff_xp"][3] = np.nan
    return values


def write(path: Path, blocks: int = 7) -> dict[str, np.ndarray]:
    whole = rows()
    with write_table(path, SPECS) as table:
        for part in np.array_split(np.arange(len(whole["ra"])), blocks):
            table.append({name: values[part] for name, values in whole.items()})
    return whole


@pytest.mark.parametrize("suffix", ["fits", "parquet", "ecsv", "vot", "xml", "csv"])
def test_astropy_reads_what_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    whole = write(path)
    formats = {"parquet": "parquet.votable", "ecsv": "ascii.ecsv", "vot": "votable"}
    read = Table.read(path, format=formats.get(suffix))
    assert read.colnames == [spec.name for spec in SPECS]
    for spec in SPECS:
        column = read[spec.name]
        values = column
        if isinstance(column, MaskedColumn) and spec.name == "teff_xp":
            values = column.filled(np.nan)
        if suffix == "csv":
            # Names and numbers alone.
            assert column.dtype.kind == np.dtype(spec.dtype).kind
            assert np.float32(values[0]) == np.float32(whole[spec.name][0])
            values = np.asarray(values, spec.dtype)
        else:
            assert column.dtype.newbyteorder("=") == spec.dtype
            assert str(column.unit or "") == spec.unit
            # astropy takes the description of FITS from its own metadata alone.
            assert suffix == "fits" or column.description == spec.description
        np.testing.assert_array_equal(values, whole[spec.name])
    if suffix in ("ecsv", "vot", "xml"):
        assert read["ra"].meta["ucd"] == "pos.eq.ra"


@pytest.mark.parametrize("suffix", ["ecsv", "vot", "csv"])
def test_a_table_without_rows(tmp_path: Path, suffix: str) -> None:
    with write_table(tmp_path / f"t.{suffix}", SPECS):
        pass
    read = Table.read(tmp_path / f"t.{suffix}")
    assert (len(read), read.colnames) == (0, [spec.name for spec in SPECS])


def test_fits_conforms_and_keeps_everything(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.fits")
    with fits.open(tmp_path / "t.fits", checksum=True) as hdus:
        # Warnings are errors, so a wrong checksum fails here.
        hdus.verify("exception")
        hdu = hdus[1]
        assert hdu.header["NAXIS2"] == 1000
        assert [hdu.header[f"TFORM{n}"] for n in (1, 2, 3, 4)] == ["K", "D", "E", "J"]
        assert (hdu.header["TUNIT2"], hdu.header["TUNIT3"]) == ("deg", "K")
        assert hdu.header["TCOMM2"] == "Right <Ascension> & more"
        assert (hdu.header["TUCD2"], "TUCD3" in hdu.header) == ("pos.eq.ra", False)
        assert "CHECKSUM" in hdu.header
        for name, values in whole.items():
            np.testing.assert_array_equal(hdu.data[name], values)
    assert (tmp_path / "t.fits").stat().st_size % 2880 == 0


def test_a_fits_table_without_rows(tmp_path: Path) -> None:
    with write_table(tmp_path / "t.fits", SPECS):
        pass
    with fits.open(tmp_path / "t.fits", checksum=True) as hdus:
        hdus.verify("exception")
        assert len(hdus[1].data) == 0


def test_parquet_through_pyarrow_and_as_votable_parquet(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    for name, values in whole.items():
        np.testing.assert_array_equal(table[name].to_numpy(), values)
    assert table.field("ra").metadata[b"unit"] == b"deg"
    assert table.field("ra").metadata[b"description"] == b"Right <Ascension> & more"
    # What TOPCAT reads: IVOA's VOParquet.
    read = Table.read(tmp_path / "t.parquet", format="parquet.votable")
    assert str(read["ra"].unit) == "deg"
    assert str(read["teff_xp"].unit) == "K"
    assert read["ra"].description == "Right <Ascension> & more"
    np.testing.assert_array_equal(read["source_id"], whole["source_id"])


def test_parquet_through_duckdb(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    whole = write(tmp_path / "t.parquet")
    query = f"select count(*), sum(source_id), max(flags) from '{tmp_path}/t.parquet'"
    count, total, largest = duckdb.sql(query).fetchall()[0]
    assert (count, largest) == (1000, whole["flags"].max())
    assert total == sum(int(value) for value in whole["source_id"])


def test_row_groups_have_their_length(tmp_path: Path) -> None:
    whole = rows()
    with parquet_table(tmp_path / "t.parquet", SPECS, group_rows=300) as table:
        for start in range(0, 1000, 100):
            table.append({name: values[start : start + 100] for name, values in whole.items()})
    metadata = pq.read_metadata(tmp_path / "t.parquet")
    groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert groups == [300, 300, 300, 100]


def test_hdf5_has_units(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.h5")
    with h5py.File(tmp_path / "t.h5") as file:
        for name, values in whole.items():
            np.testing.assert_array_equal(file[name][()], values)
        assert file["ra"].attrs["unit"] == "deg"
        assert file["ra"].attrs["ucd"] == "pos.eq.ra"


@pytest.mark.parametrize("suffix", ["fits", "h5", "parquet", "csv", "ecsv", "vot"])
def test_what_fails_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    def fails() -> None:
        with write_table(tmp_path / f"t.{suffix}", SPECS) as table:
            table.append(rows(10))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"\.fits, \.fit, \.h5, \.hdf5, \.parquet"),
        write_table(tmp_path / "t.txt", SPECS),
    ):
        pass
