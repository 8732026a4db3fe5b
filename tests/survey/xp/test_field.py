"""Real stars in the files of real users: the same spectra as in the plain layout, or one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import XPChunk
from support.xp_habits import noted

CONVERTED = "fluxes were converted from the unit stated to W m^-2 nm^-1 (12 stars)"
SENTINEL = "G is -999, which stands for a missing one: read as none (12 stars)"
# File: stars, whether it has G, what is said.
SAME = {
    "combined.xml": (4, False, []),
    "XP_SAMPLED-Gaia DR3 1220235706700177024.fits": (1, False, []),
    "XP_SAMPLED-Gaia DR3 508436480459671680.csv": (1, False, []),
    "XP_SAMPLED-Gaia DR3 5853409652766724096.csv": (1, False, []),
    "several_tables.xml": (12, True, []),
    "upper_case.fits": (12, True, []),
    "topcat_join.fits": (12, True, []),
    "list_columns.parquet": (12, True, []),
    "astropy_table.h5": (12, True, []),
    "vaex_layout.hdf5": (12, True, []),
    "text_cells.vot": (12, False, []),
    "cgs_units.fits": (12, True, [CONVERTED]),
    "g_minus_999.fits": (12, False, [SENTINEL]),
}


@pytest.fixture(scope="module")
def field(shared) -> Path:
    folder = shared / "data/field"
    if not folder.is_dir():
        pytest.skip("the shared folder has no data/field")
    return folder


@pytest.fixture(scope="module")
def reference(field) -> XPChunk:
    return noted(field / "reference.fits")[0]


@pytest.mark.parametrize("name", SAME)
def test_the_same_spectra_as_in_the_plain_layout(field, reference, name):
    stars, has_g, said = SAME[name]
    chunk, bad, notes = noted(field / name)
    assert (len(chunk), bad, notes) == (stars, [], said)
    place = {int(source_id): n for n, source_id in enumerate(reference.source_id)}
    rows = [place[int(source_id)] for source_id in chunk.source_id]
    np.testing.assert_allclose(chunk.coefficients, reference.coefficients[rows], rtol=1e-12)
    np.testing.assert_allclose(chunk.errors, reference.errors[rows], rtol=1e-12)
    np.testing.assert_array_equal(chunk.g_mag, reference.g_mag[rows] if has_g else np.nan)


@pytest.mark.parametrize("name", ["other_grid_wavelength_column.fits", "other_grid_param.xml"])
def test_another_grid_is_never_taken_for_the_archives(field, name):
    try:
        chunk, bad, _ = noted(field / name)
    except InputError as error:
        lines = [str(error)]
    else:
        assert chunk is None
        lines = [row.what for row in bad]
    assert all("covers 400 to 1000 nm, not 336 to 1020 nm" in line for line in lines)
    assert lines


def test_110_exploded_columns_are_the_archives_coefficients(field, shared):
    chunk, bad, notes = noted(field / "exploded_110_columns.csv")
    assert (bad, len(notes), chunk.release) == ([], 4, "dr3")
    whole = noted(shared / "data/xp_formats/XP_CONTINUOUS_RAW_with_missing_BP.ecsv")[0]
    rows = [whole.source_id.tolist().index(source_id) for source_id in chunk.source_id]
    np.testing.assert_allclose(chunk.coefficients, whole.coefficients[rows], rtol=1e-12)
    np.testing.assert_allclose(chunk.errors, whole.errors[rows], rtol=1e-6)
