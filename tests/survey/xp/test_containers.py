"""Parquet, Feather, HDF5 as programs write it, colfits, arrays as text in binary tables."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from aspgap_jax.errors import InputError
from aspgap_jax.survey.inputs import expand, read_source
from support.xp_files import as_table, read_all, same, sampled_star, star, without
from support.xp_habits import (
    arrow_table,
    noted,
    sampled,
    table_of,
    write_arrow,
    write_colfits,
    write_tables_votable,
    write_vaex,
)

ROWS = sampled(*range(101, 108))


def right(path, rows=ROWS, **options):
    chunk, bad, notes = noted(path, **options)
    assert (bad, notes) == ([], [])
    assert chunk.source_id.tolist() == [row["source_id"] for row in rows]
    np.testing.assert_array_equal(chunk.coefficients, [row["flux"] for row in rows])
    np.testing.assert_array_equal(chunk.errors, [row["flux_error"] for row in rows])
    np.testing.assert_array_equal(chunk.g_mag, [row["phot_g_mean_mag"] for row in rows])


# --- Parquet and Feather


@pytest.mark.parametrize("kind", ["parquet", "feather"])
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("chunk_size", [2, 100])
def test_list_columns(tmp_path, kind, fixed, chunk_size):
    write_arrow(tmp_path / "a", arrow_table(ROWS, fixed=fixed), kind)
    right(tmp_path / "a", chunk_size=chunk_size)


def test_what_pandas_and_polars_write(tmp_path):
    frame = pd.DataFrame(ROWS)
    frame.to_parquet(tmp_path / "a.parquet")
    right(tmp_path / "a.parquet")
    frame.to_feather(tmp_path / "a.feather")
    right(tmp_path / "a.feather")
    polars = pytest.importorskip("polars", reason="it writes the second half of the files")
    lists = {name: [np.asarray(row[name]).tolist() for row in ROWS] for name in ROWS[0]}
    polars.DataFrame(lists).write_parquet(tmp_path / "b.parquet")
    right(tmp_path / "b.parquet")
    polars.DataFrame(lists).write_ipc(tmp_path / "b.arrow", compression="zstd")
    right(tmp_path / "b.arrow")


def test_continuous_spectra_and_missing_bands(tmp_path):
    rows = [star(n) for n in range(1, 6)]
    rows[2] = without(rows[2], "bp") | {"source_id": 3}
    table = arrow_table(rows)
    write_arrow(tmp_path / "a.parquet", table, "parquet")
    chunk = read_all(tmp_path / "a.parquet", correlations=True)
    assert chunk.present[:, 0].tolist() == [True, True, False, True, True]
    expected = np.stack([row["rp_coefficients"] for row in rows])
    np.testing.assert_array_equal(chunk.coefficients[:, 55:], expected)
    assert chunk.n_measurements[2].tolist() == [-1, 955]
    assert chunk.release == "dr3"


def test_lists_of_text_missing_values_and_wrong_lengths(tmp_path):
    rows = [dict(row) for row in ROWS]
    flux = [row["flux"].tolist() for row in rows]
    flux[1][7] = None
    flux[2] = flux[2][:300]
    flux[3] = None
    table = arrow_table(rows)
    table = table.set_column(1, "flux", pa.array(flux))
    write_arrow(tmp_path / "a.parquet", table, "parquet")
    chunk, bad, _ = noted(tmp_path / "a.parquet")
    assert chunk.source_id.tolist() == [101, 102, 105, 106, 107]
    assert np.flatnonzero(~chunk.finite[1]).tolist() == [7]
    assert ["has 300 values" in bad[0].what, "flux is missing" in bad[1].what] == [True, True]
    text = pa.array([str(cell) for cell in flux])
    write_arrow(tmp_path / "b.parquet", table.set_column(1, "flux", text), "parquet")
    assert noted(tmp_path / "b.parquet")[0].source_id.tolist() == [101, 102, 105, 106, 107]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([2**60 + n for n in range(7)], pa.uint64()),
        pa.array([str(2**60 + n) for n in range(7)]),
        pa.array([str(2**60 + n) for n in range(7)]).dictionary_encode(),
        pa.array([2**60 + n for n in range(7)]).cast(pa.decimal128(19)),
    ],
    ids=["unsigned", "text", "dictionary", "decimal"],
)
def test_types_of_ids(tmp_path, ids):
    table = arrow_table(ROWS)
    table = table.set_column(0, "source_id", ids)
    write_arrow(tmp_path / "a.parquet", table, "parquet")
    assert noted(tmp_path / "a.parquet")[0].source_id.tolist() == [2**60 + n for n in range(7)]


def test_ids_that_lost_their_digits_are_told(tmp_path):
    table = arrow_table(ROWS).set_column(0, "source_id", pa.array([float(2**60)] * 6 + [12.0]))
    write_arrow(tmp_path / "a.parquet", table, "parquet")
    chunk, bad, _ = noted(tmp_path / "a.parquet")
    assert chunk.source_id.tolist() == [12]
    assert len(bad) == 6
    assert "lost digits" in bad[0].what


def test_a_damaged_parquet_file_is_one_line(tmp_path):
    whole = (write_arrow(tmp_path / "a.parquet", arrow_table(ROWS), "parquet")).read_bytes()
    for data in (whole[:-10], whole[:100] + bytes(4000) + whole[4100:], b"PAR1"):
        (tmp_path / "b.parquet").write_bytes(data)
        with pytest.raises(InputError, match=r"b\.parquet.*damaged") as caught:
            noted(tmp_path / "b.parquet")
        assert "\n" not in str(caught.value)


def test_a_hats_catalogue_is_its_leaves(tmp_path):
    folder = tmp_path / "catalogue"
    for n, rows in ((5, ROWS[:3]), (40, ROWS[3:])):
        leaf = folder / "dataset" / "Norder=2" / "Dir=0" / f"Npix={n}.parquet"
        leaf.parent.mkdir(parents=True, exist_ok=True)
        write_arrow(leaf, arrow_table(rows), "parquet")
    (folder / "hats.properties").write_text("obs_collection=xp\n")
    (folder / "partition_info.csv").write_text("Norder,Npix\n2,5\n2,40\n")
    sources = expand([str(folder)]).sources
    options = {"chunk_size": 100, "correlations": False, "on_bad_row": [].append}
    chunks = [chunk for source in sources for chunk in read_source(source, **options)]
    ids = sorted(int(i) for chunk in chunks for i in chunk.source_id)
    assert ids == [row["source_id"] for row in ROWS]


# --- HDF5


def astropy_hdf5(path, rows):
    table_of(rows).write(path, format="hdf5", path="data")


def astropy_hdf5_with_meta(path, rows):
    table_of(rows).write(path, format="hdf5", path="deep/er/data", serialize_meta=True)


def vaex_with_masks(path, rows):
    write_vaex(path, rows)
    with h5py.File(path, "a") as file:
        file["table/columns/phot_g_mean_mag/mask"] = np.zeros(len(rows), bool)


HDF5 = {f.__name__: f for f in (astropy_hdf5, astropy_hdf5_with_meta, write_vaex, vaex_with_masks)}


@pytest.mark.parametrize("layout", HDF5)
@pytest.mark.parametrize("chunk_size", [2, 100])
def test_hdf5_layouts(tmp_path, layout, chunk_size):
    HDF5[layout](tmp_path / "a.h5", ROWS)
    right(tmp_path / "a.h5", chunk_size=chunk_size)


@pytest.mark.parametrize("layout", ["astropy_hdf5", "write_vaex"])
def test_hdf5_layouts_of_coefficients(tmp_path, layout):
    rows = [star(n) for n in range(1, 5)]
    HDF5[layout](tmp_path / "a.h5", rows)
    chunk = read_all(tmp_path / "a.h5")
    np.testing.assert_array_equal(chunk.coefficients[:, :55], [r["bp_coefficients"] for r in rows])


def test_vaexs_masks_and_categories(tmp_path):
    write_vaex(tmp_path / "a.h5", ROWS)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["table/columns/phot_g_mean_mag/mask"] = np.arange(7) == 2
        del file["table/columns/source_id"]
        file["table/columns/source_id/indices"] = np.arange(7)[::-1]
        file["table/columns/source_id/dictionary"] = np.arange(1, 8)
    chunk, bad, _ = noted(tmp_path / "a.h5")
    assert not bad
    assert chunk.source_id.tolist() == [7, 6, 5, 4, 3, 2, 1]
    assert np.flatnonzero(np.isnan(chunk.g_mag)).tolist() == [2]


def exploded_frame():
    rows = [star(n, sizes=(6, 5)) for n in range(1, 5)]
    columns = {"source_id": [row["source_id"] for row in rows]}
    for band in ("bp", "rp"):
        for name in ("coefficients", "coefficient_errors"):
            values = np.stack([row[f"{band}_{name}"] for row in rows]).astype(np.float64)
            columns |= {f"{band}_{name}_{n}": values[:, n] for n in range(values.shape[1])}
    return rows, pd.DataFrame(columns)


@pytest.mark.parametrize("options", [{"format": "fixed"}, {"format": "table"}])
@pytest.mark.parametrize("some", [{}, {"data_columns": ["source_id"]}])
def test_pandas_hdf5_with_a_number_a_column(tmp_path, options, some):
    pytest.importorskip("tables", reason="pandas writes HDF5 by PyTables")
    rows, frame = exploded_frame()
    options = options | (some if options["format"] == "table" else {})
    frame.to_hdf(tmp_path / "a.h5", key="spectra", **options)
    chunk, bad, notes = noted(tmp_path / "a.h5")
    assert not bad
    assert len(notes) == 4
    assert chunk.source_id.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(chunk.coefficients[:, :6], [r["bp_coefficients"] for r in rows])


@pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning")
def test_pandas_hdf5_with_arrays_is_pickled_and_refused(tmp_path):
    pytest.importorskip("tables", reason="pandas writes HDF5 by PyTables")
    pd.DataFrame(ROWS).to_hdf(tmp_path / "a.h5", key="spectra")
    with pytest.raises(InputError, match=r"flux.* Python objects \(pickle\); write"):
        noted(tmp_path / "a.h5")


def test_unknown_layouts_say_what_was_found(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["spectra/star1/counts"] = np.ones(5)
    with pytest.raises(
        InputError, match=r"unknown HDF5 layout: it holds spectra \(group\), .*counts \(float64\)"
    ):
        noted(tmp_path / "a.h5")
    h5py.File(tmp_path / "b.h5", "w").close()
    with pytest.raises(InputError, match="it holds nothing"):
        noted(tmp_path / "b.h5")


def test_a_dataset_that_is_too_short_is_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ROWS[0]:
            file[name] = np.array([row[name] for row in ROWS])
        del file["flux"]
        file["flux"] = np.ones((5, 343))
    with pytest.raises(InputError, match="dataset flux has 1715 values for 7 stars"):
        noted(tmp_path / "a.h5")


# --- FITS and VOTable


def test_colfits(tmp_path):
    write_colfits(tmp_path / "a.fits", ROWS)
    right(tmp_path / "a.fits")
    right(tmp_path / "a.fits", chunk_size=3)


def test_colfits_of_coefficients(tmp_path):
    rows = [{n: v for n, v in star(k).items() if "correlations" not in n} for k in range(1, 5)]
    rows = [{n: np.asarray(v, np.float64) if np.ndim(v) else v for n, v in r.items()} for r in rows]
    write_colfits(tmp_path / "a.fits", rows)
    expected = np.stack([row["rp_coefficients"] for row in rows])
    np.testing.assert_array_equal(read_all(tmp_path / "a.fits").coefficients[:, 55:], expected)


@pytest.mark.parametrize("form", ["({})", "[{}]", "{}"])
@pytest.mark.parametrize("container", ["fits", "votable", "binary"])
def test_arrays_as_text(tmp_path, form, container):
    separator = " " if form == "{}" else ", "
    rows = [
        {
            name: form.format(separator.join(map(repr, v.tolist()))) if np.ndim(v) else v
            for name, v in row.items()
        }
        for row in ROWS
    ]
    if container == "fits":
        table_of(rows).write(tmp_path / "a", format="fits")
    else:
        kind = {"votable": "tabledata", "binary": "binary2"}[container]
        write_tables_votable(tmp_path / "a", [table_of(rows)], kind)
    right(tmp_path / "a")


def test_an_ascii_fits_table_and_numbers_that_mean_none(tmp_path):
    rows = sampled(1, 2, 3)
    table = Table({name: [row[name] for row in rows] for name in ("source_id", "phot_g_mean_mag")})
    hdu = fits.TableHDU.from_columns(
        [
            fits.Column("source_id", "I20", array=np.asarray(table["source_id"])),
            fits.Column("flux", "A9000", array=[str(tuple(r["flux"].tolist())) for r in rows]),
            fits.Column("flux_error", "A9000", array=[str(r["flux_error"].tolist()) for r in rows]),
        ]
    )
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(
        read_all(tmp_path / "a.fits").coefficients, [row["flux"] for row in rows]
    )


def test_integers_with_a_null_value_in_fits(tmp_path):
    rows = [star(n) for n in (1, 2)]
    table = as_table(rows)
    hdu = fits.BinTableHDU(table)
    at = table.colnames.index("bp_n_measurements") + 1
    hdu.data["bp_n_measurements"][1] = -999
    hdu.header[f"TNULL{at}"] = -999
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    assert read_all(tmp_path / "a.fits").n_measurements[:, 0].tolist() == [955, -1]


# --- numbers that stand for none


@pytest.mark.parametrize("number", [-999.0, -9999.0, 99.99, 999.0, 1e20, 0.0])
@pytest.mark.parametrize("kind", ["parquet", "fits"])
def test_a_magnitude_that_is_none_is_counted(tmp_path, number, kind):
    rows = [row | {"phot_g_mean_mag": number} for row in ROWS[:2]] + ROWS[2:]
    if kind == "parquet":
        write_arrow(tmp_path / "a", arrow_table(rows), "parquet")
    else:
        table_of(rows).write(tmp_path / "a", format="fits")
    chunk, bad, notes = noted(tmp_path / "a", chunk_size=1)
    assert not bad
    assert np.flatnonzero(np.isnan(chunk.g_mag)).tolist() == [0, 1]
    assert notes == [f"G is {number:g}, which stands for a missing one: read as none (2 stars)"]


@pytest.mark.parametrize("kind", ["parquet", "fits"])
def test_a_negative_magnitude_is_none_of_gaia(tmp_path, kind):
    rows = [row | {"phot_g_mean_mag": -4.5 - n} for n, row in enumerate(ROWS[:2])] + ROWS[2:]
    if kind == "parquet":
        write_arrow(tmp_path / "a", arrow_table(rows), "parquet")
    else:
        table_of(rows).write(tmp_path / "a", format="fits")
    chunk, bad, notes = noted(tmp_path / "a", chunk_size=1)
    assert not bad
    assert np.flatnonzero(np.isnan(chunk.g_mag)).tolist() == [0, 1]
    assert notes == ["G is below zero: read as none (2 stars)"]


def test_fluxes_and_errors_that_are_none_are_masked(tmp_path):
    rows = [
        row | {"flux": row["flux"].copy(), "flux_error": row["flux_error"].copy()} for row in ROWS
    ]
    rows[0]["flux"][3] = -999.0
    rows[1]["flux_error"][4:6] = 0.0
    rows[2]["flux_error"][7] = -9999.0
    write_arrow(tmp_path / "a", arrow_table(rows), "parquet")
    chunk, _, notes = noted(tmp_path / "a")
    assert [np.flatnonzero(~row).tolist() for row in chunk.finite[:4]] == [[3], [4, 5], [7], []]
    assert notes == [
        "fluxes that stand for a missing one were read as none (1 star)",
        "errors of the flux that stand for a missing one were read as none (2 stars)",
    ]


def test_sampled_stars_of_the_archive_stay_as_they_are(tmp_path):
    rows = [sampled_star(n) for n in (1, 2)]
    write_arrow(tmp_path / "a", arrow_table(rows), "parquet")
    pq.write_table(pq.read_table(tmp_path / "a"), tmp_path / "b", compression="gzip")
    same(read_all(tmp_path / "a"), read_all(tmp_path / "b"))
