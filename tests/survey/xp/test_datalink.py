"""DataLink's structures COMBINED and INDIVIDUAL, long tables, several tables, zip archives."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.io.votable.tree import Param
from astropy.table import Table

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import read_xp
from support.xp_files import bulk_text, star, write_hdf5
from support.xp_habits import (
    fits_bytes,
    long_rows,
    noted,
    sampled,
    smooth_star,
    table_of,
    write_arrow,
    write_combined,
    write_tables_fits,
    write_tables_votable,
    zip_of,
)

IDS = (5853498713190525696, 5762406957886626816, 4123)
ROWS = sampled(*IDS, g_mag=False)


def right(path, rows=ROWS, notes=()):
    chunk, bad, said = noted(path)
    assert bad == []
    assert said == list(notes)
    assert chunk.source_id.tolist() == [row["source_id"] for row in rows]
    np.testing.assert_allclose(chunk.coefficients, [row["flux"] for row in rows], rtol=1e-14)
    np.testing.assert_allclose(chunk.errors, [row["flux_error"] for row in rows], rtol=1e-14)
    assert chunk.finite.all()
    return chunk


# --- COMBINED: one table a star


@pytest.mark.parametrize("kind", ["tabledata", "binary", "binary2"])
@pytest.mark.parametrize("resources", [True, False])
def test_a_table_a_star_with_its_id_in_a_param(tmp_path, kind, resources):
    right(write_combined(tmp_path / "a.xml", ROWS, kind, resources=resources))


def test_stars_of_many_tables_come_in_full_chunks(tmp_path):
    rows = sampled(*range(1, 8), g_mag=False)
    path = write_combined(tmp_path / "a.xml", rows)
    assert [len(chunk) for chunk in read_xp(path, chunk_size=3)] == [3, 3, 1]


def test_continuous_spectra_with_a_table_each(tmp_path):
    rows = [star(n) for n in (1, 2)]
    names = [n for n in rows[0] if n != "source_id"]
    document = None
    for row in rows:
        one = from_table(Table({name: [row[name]] for name in names}))
        param = Param(one, name="source_id", datatype="long", value=str(row["source_id"]))
        one.resources[0].params.append(param)
        if document is None:
            document = one
        else:
            document.resources.append(one.resources[0])
    document.to_xml(str(tmp_path / "a.xml"))
    chunk, bad, notes = noted(tmp_path / "a.xml")
    assert (bad, notes) == ([], [])
    assert chunk.source_id.tolist() == [1, 2]
    np.testing.assert_array_equal(chunk.coefficients[:, :55], [r["bp_coefficients"] for r in rows])


# --- INDIVIDUAL: one file a star, a row a wavelength


@pytest.mark.parametrize("format", ["fits", "votable", "ascii.ecsv", "ascii.csv", "hdf5"])
def test_a_file_a_star(tmp_path, format):
    options = {"path": "data"} if format == "hdf5" else {}
    long_rows(ROWS[:1], "source_id").write(tmp_path / "star", format=format, **options)
    right(tmp_path / "star", ROWS[:1])


def test_the_id_stands_in_a_keyword_a_param_or_the_meta(tmp_path):
    table = long_rows(ROWS[:1])
    hdu = fits.BinTableHDU(table)
    hdu.header["HIERARCH source_id"] = IDS[0]
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    right(tmp_path / "a.fits", ROWS[:1])
    primary = fits.PrimaryHDU()
    primary.header["SOURCEID"] = str(IDS[0])
    fits.HDUList([primary, fits.BinTableHDU(table)]).writeto(tmp_path / "b.fits")
    right(tmp_path / "b.fits", ROWS[:1])
    table.meta["source_id"] = IDS[0]
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    right(tmp_path / "a.ecsv", ROWS[:1])


@pytest.mark.parametrize(
    "name", [f"XP_SAMPLED-Gaia DR3 {IDS[0]}.csv", f"spectrum_{IDS[0]}_2.csv", f"{IDS[0]}.csv"]
)
def test_the_id_is_taken_from_the_name_and_that_is_said(tmp_path, name):
    long_rows(ROWS[:1]).write(tmp_path / name, format="ascii.csv")
    said = "the source id is taken from the name of the file (1 star)"
    right(tmp_path / name, ROWS[:1], [said])


@pytest.mark.parametrize(
    "name", ["my star.csv", f"{IDS[0]}_{IDS[1]}.csv", f"Gaia DR2 {IDS[0]}.csv"]
)
def test_without_an_id_nothing_is_guessed(tmp_path, name):
    long_rows(ROWS[:1]).write(tmp_path / name, format="ascii.csv")
    with pytest.raises(InputError, match="it needs source_id"):
        noted(tmp_path / name)


def test_one_id_is_not_for_several_spectra(tmp_path):
    table = table_of(ROWS)
    del table["source_id"]
    table.write(tmp_path / f"{IDS[0]}.fits")
    with pytest.raises(InputError, match="has 3 spectra and the source id of one"):
        noted(tmp_path / f"{IDS[0]}.fits")


# --- long tables of several stars


@pytest.mark.parametrize("chunk_size", [100, 343, 4096])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_exploded_rows_of_several_stars(tmp_path, chunk_size, ending):
    rows = [row | {"phot_g_mean_mag": 11.5} for row in ROWS]
    table = long_rows(rows, "source_id", "phot_g_mean_mag")
    if ending == "csv":
        table.write(tmp_path / "a.csv", format="ascii.csv")
    else:
        write_arrow(tmp_path / "a.parquet", arrow_table_of(table), "parquet")
    chunk, bad, notes = noted(tmp_path / f"a.{ending}", chunk_size=chunk_size)
    assert (bad, notes) == ([], [])
    assert chunk.source_id.tolist() == list(IDS)
    assert chunk.g_mag.tolist() == [11.5] * 3
    np.testing.assert_allclose(chunk.coefficients, [row["flux"] for row in rows], rtol=1e-14)


def arrow_table_of(table):
    import pyarrow as pa

    return pa.table({name: np.asarray(table[name]) for name in table.colnames})


def test_rows_in_any_order_of_wavelength_but_not_of_stars(tmp_path):
    table = long_rows(ROWS, "source_id")
    shuffled = Table(table)
    for start in range(0, len(table), 343):
        order = np.random.default_rng(start).permutation(343) + start
        for name in table.colnames:
            shuffled[name][start : start + 343] = table[name][order]
    shuffled.write(tmp_path / "a.fits")
    said = "spectra on another wavelength grid were resampled to the archive's (3 stars)"
    right(tmp_path / "a.fits", notes=[said])
    table.sort(["wavelength", "source_id"])
    table.write(tmp_path / "b.fits")
    with pytest.raises(InputError, match="do not stand together; sort the table by source_id"):
        noted(tmp_path / "b.fits")


def test_a_star_with_a_damaged_row_is_left_out_alone(tmp_path):
    table = long_rows(ROWS, "source_id")
    table["flux"] = table["flux"].astype(str).astype(object)
    table["flux"][343 + 5] = "many"
    # The other star lacks a stretch of wavelengths.
    keep = (table["source_id"] != IDS[2]) | (table["wavelength"] > 360)
    table[keep].write(tmp_path / "a.csv", format="ascii.csv")
    chunk, bad, _ = noted(tmp_path / "a.csv")
    assert chunk.source_id.tolist() == [IDS[0]]
    assert [(row.row, row.source_id) for row in bad] == [(344, IDS[1]), (687, IDS[2])]
    assert "'many', not a number" in bad[0].what
    assert "covers 362 to 1020 nm" in bad[1].what


def test_numbers_a_row_without_a_wavelength_are_refused(tmp_path):
    table = long_rows(ROWS, "source_id")
    del table["wavelength"]
    for format in ("fits", "ascii.csv"):
        table.write(tmp_path / format, format=format)
        with pytest.raises(InputError, match="one number a row and no column says of which"):
            noted(tmp_path / format)


# --- several tables in one file


def other():
    return Table({"ra": [1.0], "dec": [2.0]})


def batches():
    rows = sampled(*range(1, 8))
    return rows, [table_of(rows[:3]), other(), table_of(rows[3:4]), table_of(rows[4:])]


WRITE_SEVERAL = {
    "fits": lambda path, tables: write_tables_fits(path, tables),
    "votable": lambda path, tables: write_tables_votable(path, tables),
    "votable of text": lambda path, tables: write_tables_votable(path, tables, "tabledata"),
    "resources": lambda path, tables: write_tables_votable(path, tables, resources=True),
    "hdf5": lambda path, tables: [
        table.write(path, format="hdf5", path=f"part{n}", append=True)
        for n, table in enumerate(tables)
    ],
}


@pytest.mark.parametrize("kind", WRITE_SEVERAL)
def test_all_tables_that_fit_are_read_and_the_others_named(tmp_path, kind):
    rows, tables = batches()
    WRITE_SEVERAL[kind](tmp_path / "file", tables)
    chunk, bad, notes = noted(tmp_path / "file", chunk_size=2)
    assert bad == []
    assert chunk.source_id.tolist() == list(range(1, 8))
    np.testing.assert_allclose(chunk.coefficients, [row["flux"] for row in rows], rtol=1e-14)
    (note,) = notes
    assert note.endswith("holds no XP spectra and was left out: has ra, dec")
    place = {"fits": "extension 2", "hdf5": "/part1"}.get(kind, "table 2")
    assert note.startswith(place)


@pytest.mark.parametrize("kind", ["fits", "votable", "hdf5"])
def test_a_row_is_named_with_its_table(tmp_path, kind):
    rows = sampled(1, 2, 3)
    damaged = table_of(rows[1:])
    damaged["source_id"][1] = -5
    WRITE_SEVERAL[kind](tmp_path / "file", [table_of(rows[:1]), damaged])
    chunk, bad, _ = noted(tmp_path / "file")
    assert chunk.source_id.tolist() == [1, 2]
    place = {"fits": "extension 2", "hdf5": "/part1", "votable": "table 2"}[kind]
    assert str(bad[0]).startswith(f"{place}, row 2: source_id is -5")


def test_spectra_that_cannot_be_used_count_as_damaged_beside_others(tmp_path):
    good, in_mag = table_of(sampled(1, 2)), table_of(sampled(3, 4))
    in_mag["flux"].unit = in_mag["flux_error"].unit = "mag"
    write_tables_fits(tmp_path / "a.fits", [in_mag, good])
    chunk, bad, notes = noted(tmp_path / "a.fits")
    assert chunk.source_id.tolist() == [1, 2]
    assert notes == []
    assert str(bad[0]).startswith("extension 1: flux is in mag, no unit of a spectral flux density")
    with pytest.raises(InputError, match="extension 1: flux is in mag"):
        list(read_xp(tmp_path / "a.fits"))


def test_where_no_table_fits_the_nearest_says_why(tmp_path):
    near = Table({"source_id": [1], "flux": [[1.0, 2.0]]})
    for write in (write_tables_fits, write_tables_votable):
        write(tmp_path / "file", [other(), near])
        with pytest.raises(InputError, match=r"it needs source_id .* and has source_id, flux;"):
            noted(tmp_path / "file")


# --- zip archives


def members():
    rows = sampled(*IDS, g_mag=False)
    individual = {
        f"XP_SAMPLED-Gaia DR3 {row['source_id']}.fits": fits_bytes(long_rows([row]))
        for row in rows[:2]
    }
    return individual | {"more/XP_SAMPLED_RAW.fits": fits_bytes(table_of(rows[2:]))}


def test_all_files_in_an_archive_are_read(tmp_path):
    said = "the source id is taken from the name of the file (2 stars)"
    right(zip_of(tmp_path / "a.zip", members()), notes=[said])
    (tmp_path / "b").write_bytes(gzip.compress((tmp_path / "a.zip").read_bytes()))
    right(tmp_path / "b", notes=[said])


def test_a_bulk_file_in_an_archive(tmp_path):
    packed = gzip.compress(bulk_text([star(1), star(2)]).encode())
    chunk, _, _ = noted(zip_of(tmp_path / "a.zip", {"a.csv.gz": packed}))
    assert chunk.source_id.tolist() == [1, 2]


def test_other_members_are_named_and_damaged_ones_counted(tmp_path):
    files = members()
    first = next(iter(files))
    files |= {first: files[first][:6000], "readme.csv": b"a,b\n1,2\n", "__MACOSX/._x": b"x"}
    chunk, bad, notes = noted(zip_of(tmp_path / "a.zip", files))
    assert chunk.source_id.tolist() == list(IDS[1:])
    assert [(row.row, row.place) for row in bad] == [(0, first)]
    assert "damaged FITS" in str(bad[0])
    assert "1 without XP spectra left out: readme.csv" in notes
    with pytest.raises(InputError, match="damaged FITS"):
        list(read_xp(tmp_path / "a.zip"))


def test_archives_that_give_nothing_are_one_line(tmp_path):
    whole = zip_of(tmp_path / "a.zip", members()).read_bytes()
    one = zip_of(tmp_path / "b.zip", {"a.fits": fits_bytes(table_of(ROWS))}).read_bytes()
    for data, what in (
        (whole[:-100], "damaged ZIP archive"),
        (whole[: len(whole) // 2], "damaged ZIP archive"),
        (zip_of(tmp_path / "b.zip", {}).read_bytes(), "the archive is empty"),
        (zip_of(tmp_path / "b.zip", {"a.csv": b"a,b\n"}).read_bytes(), "no Gaia XP table"),
        (one[:200] + bytes(50) + one[250:], "damaged member of a ZIP archive"),
    ):
        (tmp_path / "file.zip").write_bytes(data)
        with pytest.raises(InputError, match=what) as caught:
            noted(tmp_path / "file.zip")
        assert "\n" not in str(caught.value)


def test_hdf5_with_a_group_a_batch(tmp_path):
    import h5py

    write_hdf5(tmp_path / "a.h5", sampled(1, 2), flat=False)
    with h5py.File(tmp_path / "b.h5", "w") as file, h5py.File(tmp_path / "a.h5") as part:
        for name in ("first", "second"):
            part.copy(part["/"], file, name)
    assert noted(tmp_path / "b.h5")[0].source_id.tolist() == [1, 2, 1, 2]


def test_a_smooth_star_is_what_it_was():
    np.testing.assert_array_equal(smooth_star(7)["flux"], sampled(7)[0]["flux"])
