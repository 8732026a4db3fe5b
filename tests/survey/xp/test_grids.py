"""Wavelength grids that files state: resampled where they cover the archive's, else refused."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.io.votable.tree import Param

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import WAVELENGTH, read_xp
from aspgap_jax.survey.xp.grids import MAX_STEP, resampling, same_grid
from support.xp_habits import (
    arrow_table,
    noted,
    sampled,
    smooth_star,
    table_of,
    write_arrow,
    write_tables_fits,
)

FINE = np.arange(330.0, 1030.5, 0.5)
SHIFTED = np.arange(335.0, 1023.0, 2.0)
NARROW = np.linspace(400.0, 1000.0, 343)
RESAMPLED = "spectra on another wavelength grid were resampled to the archive's (2 stars)"


def test_cubics_are_resampled_exactly_and_errors_between_their_neighbours():
    grid = np.sort(np.random.default_rng(1).permutation(np.arange(330, 1030, 1.0))[::-1])
    x = (grid - 650) / 300
    y = (WAVELENGTH - 650) / 300
    how = resampling(grid + 0.25, WAVELENGTH, "grid")
    x = x + 0.25 / 300
    flux, error = how((1 + x - 2 * x**2 + 3 * x**3)[None], (2 + x)[None])
    np.testing.assert_allclose(flux[0], 1 + y - 2 * y**2 + 3 * y**3, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(error[0], 2 + y, rtol=1e-12)


def test_shared_wavelengths_keep_their_values_and_holes_stay_where_they_are():
    values = np.random.default_rng(2).normal(size=(1, len(FINE)))
    values[0, FINE == 500.5] = np.nan
    flux, error = resampling(FINE, WAVELENGTH, "grid")(values, values)
    expected = values[:, np.isin(FINE, WAVELENGTH)]
    np.testing.assert_array_equal(flux, expected)
    np.testing.assert_array_equal(error, expected)
    values[0, FINE == 500.0] = np.nan
    flux, _ = resampling(FINE, WAVELENGTH, "grid")(values, values)
    assert WAVELENGTH[np.isnan(flux[0])].tolist() == [500.0]


def test_order_does_not_matter_and_the_same_grid_is_no_resampling():
    assert resampling(WAVELENGTH + 1e-9, WAVELENGTH, "grid") is None
    assert same_grid(WAVELENGTH, WAVELENGTH)
    row = smooth_star(5, SHIFTED)
    there = resampling(SHIFTED, WAVELENGTH, "grid")(row["flux"][None], row["flux_error"][None])
    back = resampling(SHIFTED[::-1].copy(), WAVELENGTH, "grid")(
        row["flux"][None, ::-1], row["flux_error"][None, ::-1]
    )
    np.testing.assert_array_equal(there[0], back[0])
    np.testing.assert_allclose(there[0][0], smooth_star(5)["flux"], rtol=1e-6)


@pytest.mark.parametrize(
    ("grid", "what"),
    [
        (NARROW, "covers 400 to 1000 nm, not 336 to 1020 nm"),
        (np.arange(336.0, 1020.0, 1.0), "covers 336 to 1019 nm"),
        (np.arange(3360.0, 10201.0, 20.0), "covers 3360 to 10200 nm"),
        (np.append(FINE, 500.0), "wavelength 500 nm twice"),
        (FINE[(FINE < 600) | (FINE > 605)], "no sample between 599.5 and 605.5 nm"),
        (np.arange(330.0, 1030.0, MAX_STEP + 1), "resampling needs steps of"),
        (np.where(FINE == 400, np.nan, FINE), "missing or not positive"),
        (np.array([]), "covers nothing"),
    ],
)
def test_a_grid_that_does_not_do_is_refused(grid, what):
    with pytest.raises(InputError, match=f"my grid .*{what}"):
        resampling(grid, WAVELENGTH, "my grid")


# --- in files


def on_grid(grid):
    return [smooth_star(n, grid) for n in (21, 22)]


def wavelength_column(path, grid):
    rows = [row | {"wavelength": grid} for row in on_grid(grid)]
    write_tables_fits(path, [table_of(rows)])


def angstrom_column(path, grid):
    rows = [row | {"WAVE": grid * 10} for row in on_grid(grid)]
    write_arrow(path, with_unit(arrow_table(rows), "WAVE", "Angstrom"), "parquet")


def with_unit(table, name, unit):
    place = table.column_names.index(name)
    field = table.schema.field(name).with_metadata({"unit": unit})
    return table.set_column(place, field, table.column(name))


def votable_param(path, grid):
    document = from_table(table_of(on_grid(grid)))
    table = document.resources[0].tables[0]
    table.params.append(
        Param(document, name="sampling", datatype="double", arraysize="*", value=list(grid))
    )
    document.to_xml(str(path))


def votable_param_in_um(path, grid):
    document = from_table(table_of(on_grid(grid)))
    param = Param(
        document, name="wavelength", datatype="double", arraysize="*", value=list(grid / 1000)
    )
    param.unit = "um"
    document.resources[0].params.append(param)
    document.to_xml(str(path), tabledata_format="binary")


def ecsv_meta(path, grid):
    table = table_of(on_grid(grid))
    table.meta["sampling"] = grid.tolist()
    table.write(path, format="ascii.ecsv")


def fits_keyword(path, grid):
    # As GaiaXPy writes it.
    hdu = fits.BinTableHDU(table_of(on_grid(grid)))
    hdu.header["SAMPLING"] = str(tuple(grid.tolist()))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


def hdf5_dataset(path, grid):
    with h5py.File(path, "w") as file:
        for name, values in table_of(on_grid(grid)).columns.items():
            file[name] = np.asarray(values)
        file["wavelength"] = grid


def pandas_attrs(path, grid):
    attrs = {b"PANDAS_ATTRS": json.dumps({"sampling": grid.tolist()}).encode()}
    write_arrow(path, arrow_table(on_grid(grid), metadata=attrs), "parquet")


def names_of_columns(path, grid):
    lines = [
        ",".join(["source_id", *(f"flux_{w}" for w in grid), *(f"err_flux_{w}" for w in grid)])
    ]
    for row in on_grid(grid):
        numbers = [*row["flux"].tolist(), *row["flux_error"].tolist()]
        lines.append(",".join(map(str, [row["source_id"], *numbers])))
    path.write_text("\n".join(lines) + "\n")


def gaiaxpy_csv(path, grid):
    lines = ["source_id,flux,flux_error"]
    for row in on_grid(grid):
        lists = [f'"{tuple(row[name].tolist())}"' for name in ("flux", "flux_error")]
        lines.append(",".join([str(row["source_id"]), *lists]))
    path.write_text("\n".join(lines) + "\n")
    beside = path.with_name(f"{path.stem}_sampling.csv")
    beside.write_text(f'pos\n"{tuple(grid.tolist())}"\n')


STATED = {
    f.__name__: f
    for f in (
        *(wavelength_column, angstrom_column, votable_param, votable_param_in_um),
        *(ecsv_meta, fits_keyword, hdf5_dataset, pandas_attrs, names_of_columns, gaiaxpy_csv),
    )
}


@pytest.mark.parametrize("stated", STATED)
@pytest.mark.parametrize("grid", [FINE, SHIFTED], ids=["fine", "shifted"])
def test_a_grid_that_covers_is_resampled_and_counted(tmp_path, stated, grid):
    STATED[stated](tmp_path / "spectra.dat", grid)
    chunk, bad, notes = noted(tmp_path / "spectra.dat")
    assert not bad
    assert RESAMPLED in notes
    assert chunk.wavelength is not None
    assert chunk.finite.all()
    expected = [smooth_star(n) for n in (21, 22)]
    for found, name in ((chunk.coefficients, "flux"), (chunk.errors, "flux_error")):
        np.testing.assert_allclose(found, [row[name] for row in expected], rtol=1e-5)


@pytest.mark.parametrize("stated", STATED)
def test_a_grid_that_does_not_cover_is_never_taken_for_the_archives(tmp_path, stated):
    STATED[stated](tmp_path / "spectra.dat", NARROW)
    # Nobody collects bad rows: a grid of its own in each row is told at the first.
    chunks = read_xp(tmp_path / "spectra.dat", on_note=[].append)
    with pytest.raises(InputError, match="covers 400 to 1000 nm, not 336 to 1020 nm"):
        list(chunks)


@pytest.mark.parametrize("stated", STATED)
def test_the_archives_own_grid_needs_no_word(tmp_path, stated):
    STATED[stated](tmp_path / "spectra.dat", WAVELENGTH)
    chunk, _, notes = noted(tmp_path / "spectra.dat")
    assert not [note for note in notes if "resampled" in note]
    np.testing.assert_array_equal(chunk.coefficients, [r["flux"] for r in on_grid(WAVELENGTH)])


def test_each_star_may_have_its_own_grid(tmp_path):
    grids = {1: SHIFTED, 2: FINE, 3: NARROW[:-1], 4: WAVELENGTH}
    rows = [smooth_star(n, grid) | {"wavelength": grid} for n, grid in grids.items()]
    write_arrow(tmp_path / "a.parquet", arrow_table(rows), "parquet")
    chunk, bad, notes = noted(tmp_path / "a.parquet")
    assert chunk.source_id.tolist() == [1, 2, 4]
    assert [(row.row, row.source_id) for row in bad] == [(3, 3)]
    assert notes == [RESAMPLED]
    np.testing.assert_allclose(chunk.coefficients[1], smooth_star(2)["flux"], rtol=1e-5)


def test_a_grid_of_another_length_than_the_spectra_is_refused(tmp_path):
    table = table_of(sampled(1, 2))
    table.meta["sampling"] = FINE.tolist()
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    with pytest.raises(InputError, match=r"spectra have 343 samples, the .* grid .* has 1401"):
        noted(tmp_path / "a.ecsv")


def test_spectra_of_one_band_as_gaiaxpys_convert_writes_them_are_refused(tmp_path):
    rows = [row | {"xp": "BP"} for row in sampled(1, 2)]
    write_tables_fits(tmp_path / "a.fits", [table_of(rows)])
    with pytest.raises(InputError, match=r"`convert` writes them; pass what its `calibrate`"):
        noted(tmp_path / "a.fits")
