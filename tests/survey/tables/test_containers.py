"""Every container gives the same columns; several tables in one are all read."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from aspgap_jax.errors import InputError
from aspgap_jax.survey.tables import Remarks, Wanted, read_blocks, read_whole
from aspgap_jax.survey.tables import source as source_module
from support.foreign_files import write_foreign
from support.table_files import (
    CONTAINERS,
    arrow,
    several_fits,
    stars,
    text,
    votable,
)

STARS = stars()
IDS = Wanted("source_id", ("source_id",), "id")
G = Wanted("phot_g_mean_mag", ("phot_g_mean_mag",), kind="magnitude")
PARALLAX = Wanted("parallax", ("parallax",), kind="parallax", required=False)
NAME = Wanted("designation", ("designation",), "text", required=False)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_container_gives_the_same_columns(tmp_path: Path, container: str, seed: int) -> None:
    columns = stars(5, seed)
    path = CONTAINERS[container](tmp_path / "table", columns)
    remarks = Remarks()
    found = read_whole(path, [IDS, G, PARALLAX, NAME], remarks).columns
    np.testing.assert_array_equal(found["source_id"], columns["source_id"])
    np.testing.assert_array_equal(found["phot_g_mean_mag"], columns["phot_g_mean_mag"])
    np.testing.assert_array_equal(found["parallax"], columns["parallax"])
    if not container.startswith("HDF5, pandas"):
        # pandas pickles its text.
        assert found["designation"].tolist() == columns["designation"].tolist()
    assert remarks.lines == ()


@pytest.mark.parametrize("write", [several_fits, votable])
def test_several_tables_are_all_read_and_others_are_named(tmp_path: Path, write: object) -> None:
    first, second = stars(3, 1), stars(4, 2)
    path = write(tmp_path / "joined", first, {"wavelength": np.arange(3.0)}, second)  # type: ignore[operator]
    remarks = Remarks()
    whole = read_whole(path, [IDS, G], remarks)
    ids = np.concatenate([first["source_id"], second["source_id"]])
    np.testing.assert_array_equal(whole.columns["source_id"], ids)
    kind = "HDU" if write is several_fits else "TABLE"
    assert whole.place(4) == f"{path}, {kind} 3, row 2"
    assert remarks.lines == (
        f"{path}: rows of 2 tables: {kind} 1, {kind} 3",
        f"{path}, {kind} 2: left out: no column of source_id; accepted is source_id in any case, "
        f"the table has wavelength, nor phot_g_mean_mag",
    )
    path = write(tmp_path / "none", {"a": np.arange(2)}, {"source_id": np.arange(2)})  # type: ignore[operator]
    with pytest.raises(InputError, match=r"no column of phot_g_mean_mag; .* closest of 2 tables"):
        read_whole(path, [IDS, G], Remarks())


def test_many_tables_in_a_votable_are_parsed_once(tmp_path: Path) -> None:
    tables = [stars(2, seed) for seed in range(25)]
    path = votable(tmp_path / "many.xml", *tables)
    found = read_whole(path, [G, IDS], Remarks()).columns
    expected = np.concatenate([table["source_id"] for table in tables])
    np.testing.assert_array_equal(found["source_id"], expected)


def test_an_optional_column_of_one_table_is_missing_in_the_others(tmp_path: Path) -> None:
    first, second = stars(2, 1), stars(3, 2)
    del second["parallax"], first["designation"]
    path = several_fits(tmp_path / "two.fits", first, second)
    found = read_whole(path, [IDS, PARALLAX, NAME], Remarks()).columns
    np.testing.assert_array_equal(found["parallax"], [*first["parallax"], np.nan, np.nan, np.nan])
    assert found["designation"].tolist() == ["", "", *second["designation"]]


@pytest.mark.parametrize("container", ["comma", "FITS", "Parquet", "HDF5, astropy", "VOTable"])
def test_a_table_without_rows_has_its_columns(tmp_path: Path, container: str) -> None:
    columns = {name: values[:0] for name, values in STARS.items()}
    if container == "Parquet":
        path = tmp_path / "empty.parquet"
        pq.write_table(arrow(STARS)[:0], path)
    else:
        path = CONTAINERS[container](tmp_path / "empty", columns)
    found = read_whole(path, [IDS, G, NAME], Remarks()).columns
    assert {name: values.shape for name, values in found.items()} == {
        "source_id": (0,),
        "phot_g_mean_mag": (0,),
        "designation": (0,),
    }


@pytest.mark.parametrize(
    "container", ["comma", "FITS", "ColFITS", "Parquet", "HDF5, vaex", "VOTable"]
)
def test_blocks_are_small_and_know_their_rows(
    tmp_path: Path, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("fits", "votable", "arrow", "hdf5"):
        name = f"aspgap_jax.survey.tables.{module}"
        __import__(name)
        monkeypatch.setattr(sys.modules[name], "BLOCK_ROWS", 2)
    assert source_module.BLOCK_ROWS > 2
    path = CONTAINERS[container](tmp_path / "table", STARS)
    blocks = list(read_blocks(path, [IDS, NAME], Remarks()))
    ids = np.concatenate([block.columns["source_id"] for block in blocks])
    np.testing.assert_array_equal(ids, STARS["source_id"])
    if container != "comma":
        assert [block.row for block in blocks] == [1, 3, 5]
        assert blocks[1].place(1) == f"{path}, row 4"


def test_masked_cells_of_every_container_are_missing(tmp_path: Path) -> None:
    mask = np.arange(5) == 3
    table = Table(STARS, masked=True)
    table["source_id"] = MaskedColumn(STARS["source_id"], mask=mask)
    table["parallax"] = MaskedColumn(STARS["parallax"], mask=mask)
    table.write(tmp_path / "a.fits")
    table.write(tmp_path / "a.xml", format="votable", tabledata_format="binary2")
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    table.write(tmp_path / "a.h5", format="hdf5", path="t", serialize_meta=True)
    columns = {
        n: [None if m else v for v, m in zip(c.tolist(), mask, strict=True)]
        for n, c in STARS.items()
    }
    ids = pd.array(columns.pop("source_id"), dtype="Int64")
    frame = pd.DataFrame({"source_id": ids} | columns)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.fillna({"source_id": 0}).to_csv(tmp_path / "b.csv", index=False, na_rep="null")
    files = sorted(tmp_path.iterdir())
    assert len(files) == 7
    for path in files:
        found = read_whole(path, [IDS, PARALLAX], Remarks()).columns
        np.testing.assert_array_equal(found["source_id"], np.where(mask, -1, STARS["source_id"]))
        np.testing.assert_array_equal(found["parallax"], np.where(mask, np.nan, STARS["parallax"]))


def test_pandas_itself(tmp_path: Path) -> None:
    pytest.importorskip("tables", reason="pandas writes HDF5 with PyTables")
    frame = pd.DataFrame({name: STARS[name] for name in ("source_id", "phot_g_mean_mag")})
    frame["phot_g_mean_mag"] = frame["phot_g_mean_mag"].astype("float32")
    for kind, options in (("fixed", {}), ("table", {}), ("table", {"data_columns": True})):
        path = tmp_path / f"{kind}{len(options)}.h5"
        frame.to_hdf(path, key="stars", format=kind, **options)
        found = read_whole(path, [IDS, G], Remarks()).columns
        np.testing.assert_array_equal(found["source_id"], STARS["source_id"])
        np.testing.assert_allclose(found["phot_g_mean_mag"], STARS["phot_g_mean_mag"], rtol=1e-6)


def test_an_hdf5_layout_that_is_not_read_is_described(tmp_path: Path) -> None:
    path = tmp_path / "image.h5"
    with h5py.File(path, "w") as file:
        file["model/weight"] = np.float32(3.0)
    with pytest.raises(InputError, match=r"unknown HDF5 layout: found /model/weight \(\) float32"):
        read_whole(path, [IDS], Remarks())
    with h5py.File(path, "w") as file:
        file.create_group("nothing")
    with pytest.raises(InputError, match="unknown HDF5 layout: found no dataset"):
        read_whole(path, [IDS], Remarks())


def test_a_folder_is_read_in_any_depth_and_foreign_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    text(tmp_path / "a/b/one.csv", stars(2, 1))
    several_fits(tmp_path / "two.fits", stars(3, 2))
    text(tmp_path / "three.csv", {"colour": np.arange(3)})
    for name in ("thumbnail.png", "notes.md", ".hidden.csv", "_MD5SUM.txt", "manifest.json"):
        (tmp_path / name).write_bytes(b"?")
    remarks = Remarks()
    found = read_whole(tmp_path, [IDS], remarks)
    expected = np.concatenate([stars(2, 1)["source_id"], stars(3, 2)["source_id"]])
    np.testing.assert_array_equal(found.columns["source_id"], expected)
    assert found.place(2) == f"{tmp_path / 'two.fits'}, row 1"
    foreign, unfit = remarks.lines
    assert foreign == (f"{tmp_path}: left out: no tables: notes.md, thumbnail.png (2); hidden: 1")
    assert unfit.startswith(f"{tmp_path / 'three.csv'}: left out: no column of source_id")


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    cases = {
        b"PK\x03\x04zip": "is a ZIP archive: unpack it",
        b"BZh91": "compressed with bzip2",
        b"<html><body>error 500</body></html>": "no table but an HTML or XML page",
        b"<?xml version='1.0'?><VOTABLE></VOTABLE>": "a VOTable without a TABLE",
        b"\x00\x01\x02 binary": "a binary file of unknown format",
        b"": "the file is empty",
        b"# only a comment\n": "no header line",
    }
    for number, (content, words) in enumerate(cases.items()):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(content)
        with pytest.raises(InputError, match=words) as caught:
            read_whole(path, [IDS], Remarks())
        assert str(caught.value).startswith(str(path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the folder holds no tables"):
        read_whole(tmp_path / "empty", [IDS], Remarks())
    (tmp_path / "empty/collection.properties").write_text("obs_collection=x\n")
    with pytest.raises(InputError, match="names no hats_primary_table_url"):
        read_whole(tmp_path / "empty", [IDS], Remarks())
    hdu = fits.BinTableHDU(Table(STARS).as_array())
    hdu.header["ZTABLE"] = True
    hdu.writeto(tmp_path / "packed.fits")
    with pytest.raises(InputError, match=r"packed\.fits, HDU 1: a compressed table: `funpack` it"):
        read_whole(tmp_path / "packed.fits", [IDS], Remarks())


def test_what_holds_no_such_table_in_a_folder_is_left_out_by_name(tmp_path: Path) -> None:
    names = write_foreign(tmp_path / "gaia")
    # What is in an archive is not known: it is not passed over.
    with pytest.raises(InputError, match=r"tables\.zip: is a ZIP archive: unpack it"):
        read_whole(tmp_path / "gaia", [IDS, G], Remarks())
    (tmp_path / "gaia" / "tables.zip").unlink()
    remarks = Remarks()
    found = read_whole(tmp_path / "gaia", [IDS, G], remarks)
    tables = [name for name in names if name.startswith(("gaia_source", "joined", "xp_summary"))]
    assert len(found.columns["source_id"]) == 3 * len(tables)
    left_out = [line for line in remarks.lines if "left out" in line]
    assert len(left_out) == 3
    assert any("apStar-dr17.fits: left out: a FITS file without a table" in x for x in left_out)
    with pytest.raises(InputError, match="a FITS file without a table"):
        read_whole(tmp_path / "gaia" / "apStar-dr17.fits", [IDS, G], Remarks())
