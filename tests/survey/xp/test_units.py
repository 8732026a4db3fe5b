"""Units stated in files: converted exactly, or refused in one line."""

from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import WAVELENGTH
from aspgap_jax.survey.xp.units import check_coefficients, flux_factor, to_nm
from support.xp_files import bulk_text, star
from support.xp_habits import (
    arrow_table,
    noted,
    sampled,
    table_of,
    write_arrow,
    write_tables_fits,
    write_tables_votable,
    write_vaex,
)

SPEED_OF_LIGHT, PLANCK = 299_792_458.0, 6.626_070_15e-34
# The unit, and by hand what one of it is in W m^-2 nm^-1 at a wavelength in nm.
FLUX_UNITS = {
    "W.m**-2.nm**-1": lambda w: 1.0,
    "W/(m2 nm)": lambda w: 1.0,
    "erg/s/cm2/A": lambda w: 1e-7 / 1e-4 / 0.1,
    "erg Angstrom-1 s-1 cm-2": lambda w: 1e-2,
    "1e-17 erg/s/cm^2/Ang": lambda w: 1e-19,
    "erg s^{-1} cm^{-2} A^{-1}": lambda w: 1e-2,
    "uW/cm2/um": lambda w: 1e-6 / 1e-4 / 1e3,
    # F_lambda = F_nu c / lambda^2.
    "Jy": lambda w: 1e-26 * SPEED_OF_LIGHT / (w * 1e-9) ** 2 * 1e-9,
    # A photon has h c / lambda.
    "photon/s/m2/nm": lambda w: PLANCK * SPEED_OF_LIGHT / (w * 1e-9),
}


@pytest.mark.parametrize("unit", FLUX_UNITS)
def test_flux_converts_as_by_hand(unit):
    expected = FLUX_UNITS[unit](WAVELENGTH) * np.ones(343)
    found = flux_factor(unit, WAVELENGTH, "flux") * np.ones(343)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("unit", ["mag", "e-/s", "flux", "W/m2", "nm", "erg/s/cm2/A/sr", "((", "1"])
def test_what_is_no_spectral_flux_density_is_refused(unit):
    with pytest.raises(InputError, match=r"my flux .*(no unit of a spectral|cannot be read)"):
        flux_factor(unit, WAVELENGTH, "my flux")


def test_wavelengths_come_in_any_length():
    for unit, scale in (("nm", 1), ("", 1), ("Angstrom", 0.1), ("A", 0.1), ("um", 1e3), ("m", 1e9)):
        np.testing.assert_allclose(to_nm(np.array([5.0]), unit, "w"), 5 * scale, rtol=1e-14)
    with pytest.raises(InputError, match="no unit of wavelength"):
        to_nm(np.array([5.0]), "s", "w")


def test_coefficients_have_one_unit():
    for unit in ("", "e-/s", "electron / s", "'electron'.s**-1"):
        check_coefficients(unit, "bp")
    with pytest.raises(InputError, match="pass coefficients in e-/s"):
        check_coefficients("W", "bp")


CGS = "erg/s/cm2/A"


def ecsv(path, rows, units):
    table_of(rows, units).write(path, format="ascii.ecsv")


WRITERS = {
    "fits": lambda path, rows, units: write_tables_fits(path, [table_of(rows, units)]),
    "votable": lambda path, rows, units: write_tables_votable(path, [table_of(rows, units)]),
    "ecsv": ecsv,
    "astropy hdf5": lambda path, rows, units: table_of(rows, units).write(
        path, format="hdf5", path="data", serialize_meta=True
    ),
    "vaex": write_vaex,
    "parquet": lambda path, rows, units: write_arrow(path, with_units(rows, units), "parquet"),
}


def with_units(rows, units):
    table = arrow_table(rows)
    for place, name in enumerate(table.column_names):
        if name in units:
            field = table.schema.field(name).with_metadata({"unit": units[name]})
            table = table.set_column(place, field, table.column(name))
    return table


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("unit", ["erg / (Angstrom s cm2)", "Jy"])
def test_a_unit_in_a_file_is_converted_and_said(tmp_path, writer, unit):
    rows = sampled(11, 12)
    factor = {"Jy": FLUX_UNITS["Jy"](WAVELENGTH), "erg / (Angstrom s cm2)": 1e-2}[unit]
    scaled = [
        row | {"flux": row["flux"] / factor, "flux_error": row["flux_error"] / factor}
        for row in rows
    ]
    path = tmp_path / "file"
    WRITERS[writer](path, scaled, {"flux": unit, "flux_error": unit})
    chunk, bad, notes = noted(path)
    assert not bad
    np.testing.assert_allclose(chunk.coefficients, [row["flux"] for row in rows], rtol=1e-12)
    np.testing.assert_allclose(chunk.errors, [row["flux_error"] for row in rows], rtol=1e-12)
    assert notes == ["fluxes were converted from the unit stated to W m^-2 nm^-1 (2 stars)"]


def test_no_word_where_the_unit_is_the_archives(tmp_path):
    unit = {"flux": "W.m**-2.nm**-1", "flux_error": "W.m**-2.nm**-1"}
    WRITERS["votable"](tmp_path / "a.xml", sampled(1, 2), unit)
    assert noted(tmp_path / "a.xml")[2] == []


@pytest.mark.parametrize("writer", ["fits", "parquet"])
def test_units_that_cannot_be_used_are_refused(tmp_path, writer):
    for units, what in (
        ({"flux": "mag", "flux_error": "mag"}, "flux is in mag"),
        ({"flux": "erg / (Angstrom s cm2)"}, "flux_error states no unit"),
        ({"phot_g_mean_mag": "Jy"}, "pass Gaia's G in magnitudes"),
    ):
        WRITERS[writer](tmp_path / "file", sampled(1, 2), units)
        with pytest.raises(InputError, match=what) as caught:
            noted(tmp_path / "file")
        assert "\n" not in str(caught.value)


def test_coefficients_in_another_unit_are_refused(tmp_path):
    row = star(1)
    write_tables_fits(tmp_path / "a.fits", [table_of([row], {"bp_coefficients": "W"})])
    with pytest.raises(InputError, match="bp_coefficients is in W; pass coefficients in e-/s"):
        noted(tmp_path / "a.fits")
    (tmp_path / "a.csv").write_text(bulk_text([row]))
    assert noted(tmp_path / "a.csv")[0].n_bp == 55
