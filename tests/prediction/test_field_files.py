"""Files as users have them, through ``aspgap predict``: labels as from the plain layout."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from aspgap_jax.cli import main
from aspgap_jax.flags import bit
from aspgap_jax.prediction.bundle import save_bundle
from aspgap_jax.survey.inputs import Source, read_source
from aspgap_jax.survey.store import read_training_store, write_training_store
from aspgap_jax.survey.xp import WAVELENGTH, read_xp
from aspgap_jax.survey.xp.instrument import Instrument, as_sampled, write_instrument
from support.bundles import bundle_of
from support.made_up import made_up_stars
from support.xp_files import star, write_bulk
from support.xp_habits import table_of

LABELS = ("teff_xp", "logg_xp", "moh_xp", "aom_xp")
# Without a G magnitude of their own.
NO_G = (
    *("combined.xml", "text_cells.vot", "g_minus_999.fits"),
    "XP_SAMPLED-Gaia DR3 1220235706700177024.fits",
    "XP_SAMPLED-Gaia DR3 508436480459671680.csv",
    "XP_SAMPLED-Gaia DR3 5853409652766724096.csv",
)
WITH_G = (
    *("several_tables.xml", "upper_case.fits", "topcat_join.fits", "list_columns.parquet"),
    *("astropy_table.h5", "vaex_layout.hdf5", "cgs_units.fits"),
)
REFUSED = ("other_grid_wavelength_column.fits", "other_grid_param.xml")


def predicted(out: Path, capsys) -> tuple[dict[str, Table], str]:
    """The tables of the parts, by the name of the input, and what the command said."""
    said = capsys.readouterr()
    records = json.loads((out / "manifest.json").read_text())["files"]
    tables = {
        Path(record["file"]).name: Table.read(out / record["part"], format="parquet")
        for record in records
        if record["status"] != "failed"
    }
    return tables, said.out + said.err


def test_field_files_get_the_labels_of_the_plain_layout(shared, tmp_path, capsys):
    field = shared / "data/field"
    if not field.is_dir():
        pytest.skip("the shared folder has no data/field")
    plain = Table.read(field / "reference.fits")
    plain.remove_column("phot_g_mean_mag")
    plain.write(tmp_path / "no_g.fits")
    names = (*NO_G, *WITH_G, *REFUSED, "exploded_110_columns.csv", "reference.fits")
    files = [str(field / name) for name in names] + [str(tmp_path / "no_g.fits")]
    status = main(
        [
            *("predict", *files, "--out", str(tmp_path / "labels")),
            *("--batch-size", "64", "--no-second-path", "--show", "0"),
        ]
    )
    # Two files are refused; each is named.
    assert status == 1
    tables, said = predicted(tmp_path / "labels", capsys)
    for name in REFUSED:
        assert name not in tables
        assert f"{name}" in said
    assert said.count("covers 400 to 1000 nm, not 336 to 1020 nm") == 2
    assert "G is -999, which stands for a missing one: read as none (12 stars)" in said
    for kind, like in ((NO_G, "no_g.fits"), (WITH_G, "reference.fits")):
        right = tables[like]
        place = {int(i): n for n, i in enumerate(right["source_id"])}
        for name in kind:
            found = tables[name]
            rows = [place[int(i)] for i in found["source_id"]]
            for label in LABELS:
                expected = np.asarray(right[label])[rows]
                np.testing.assert_allclose(found[label], expected, rtol=2e-5, atol=2e-5)
            np.testing.assert_array_equal(found["flags"], right["flags"][rows])
            no_g = (np.asarray(found["flags"]) & bit("NO_G")) > 0
            assert no_g.all() == (kind is NO_G)
    # Real stars of DR3, which the bundle samples itself.
    assert np.isfinite(tables["exploded_110_columns.csv"]["teff_xp"]).all()


@pytest.fixture(scope="module")
def other_release(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Made-up coefficients, 60 + 50 a star, their matrix, and the same spectra sampled."""
    folder = tmp_path_factory.mktemp("dr4")
    # Smooth functions on a grid, so that the spectra look like spectra.
    rng = np.random.default_rng(8)
    centres = np.linspace(300, 1050, 110)
    matrix = 1e-20 * np.exp(-(((WAVELENGTH[:, None] - centres) / 40) ** 2))
    rows = []
    for n in range(1, 6):
        row = star(n, sizes=(60, 50))
        for band in ("bp", "rp"):
            values = row[f"{band}_coefficients"]
            row[f"{band}_coefficients"] = rng.uniform(500, 3000, len(values))
        rows.append(row)
    path = write_bulk(folder / "coefficients.csv.gz", rows)
    write_instrument(folder / "dr4.npz", Instrument("dr4", 60, matrix))
    (chunk,) = read_xp(path)
    sampled = as_sampled(chunk, Instrument("dr4", 60, matrix))
    table_of(
        [
            {"source_id": int(i), "flux": flux, "flux_error": error}
            for i, flux, error in zip(
                sampled.source_id, sampled.coefficients, sampled.errors, strict=True
            )
        ]
    ).write(folder / "sampled.fits")
    return path, folder / "dr4.npz", folder / "sampled.fits"


def run(out: Path, *options: object) -> int:
    words = ["predict", *map(str, options), "--out", str(out), "--batch-size", "64"]
    return main([*words, "--no-second-path", "--show", "0"])


def test_another_release_with_its_matrix_gets_the_labels_of_its_samples(
    other_release, tmp_path, capsys
):
    coefficients, matrix, sampled = other_release
    assert run(tmp_path / "a", coefficients, "--instrument", matrix) == 0
    assert run(tmp_path / "b", sampled) == 0
    (one,) = predicted(tmp_path / "a", capsys)[0].values()
    (two,) = predicted(tmp_path / "b", capsys)[0].values()
    assert np.isfinite(one["teff_xp"]).all()
    for label in LABELS:
        np.testing.assert_allclose(one[label], two[label], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(one["flags"], two["flags"])


@pytest.mark.parametrize("options", [[], ["--release", "dr4"]])
def test_without_its_matrix_it_is_refused_with_the_command(
    other_release, tmp_path, capsys, options
):
    assert run(tmp_path / "a", other_release[0], *options) == 1
    said = capsys.readouterr().err
    assert "60 + 50 coefficients of " in said
    assert "aspgap instrument-matrix --release dr4" in said
    assert "pass --instrument dr4.npz" in said


def test_as_many_coefficients_of_another_release_are_not_taken_for_dr3s(tmp_path, capsys):
    path = write_bulk(tmp_path / "a.csv.gz", [star(1), star(2)])
    assert run(tmp_path / "a", path, "--release", "dr4") == 1
    assert "55 + 55 coefficients of Gaia DR4" in capsys.readouterr().err


def test_a_bundle_of_coefficients_takes_those_of_its_release_alone(tmp_path, capsys):
    # Trained on DR3's; the same numbers are said to be DR4's, or of nobody knows which.
    columns = table_of([star(n) for n in range(1, 41)])
    xp, error = (
        np.concatenate([columns[f"{band}_{what}"] for band in ("bp", "rp")], axis=1)
        for what in ("coefficients", "coefficient_errors")
    )
    made = made_up_stars(40, n_xp=110)
    trained = replace(made, xp=xp, xp_error=error, representation="continuous", release="dr3")
    save_bundle(tmp_path / "bundle", *bundle_of(trained))
    path = write_bulk(tmp_path / "a.csv.gz", [star(1), star(2)])
    bundle = ("--bundle", tmp_path / "bundle")
    assert run(tmp_path / "a", path, *bundle) == 0
    assert run(tmp_path / "b", path, "--release", "dr4", *bundle) == 1
    said = capsys.readouterr().err
    assert "55 + 55 coefficients of Gaia DR4; the bundle was trained on those of Gaia DR3" in said
    other = write_bulk(tmp_path / "b.csv.gz", [star(n, sizes=(60, 50)) for n in (1, 2)])
    assert run(tmp_path / "c", other, *bundle) == 1
    assert "60 + 50 coefficients of a release that is not known" in capsys.readouterr().err
    # A training store says of which release it is.
    for release, status in (("dr3", 0), ("dr4", 1)):
        write_training_store(tmp_path / f"{release}.h5", replace(trained, release=release))
        assert run(tmp_path / release, tmp_path / f"{release}.h5", *bundle) == status


def test_a_training_store_keeps_release_and_bands(tmp_path):
    made = made_up_stars(6, n_xp=20)
    stars = replace(made, representation="continuous", release="dr4", n_bp=12)
    write_training_store(tmp_path / "a.h5", stars)
    stored = read_training_store(tmp_path / "a.h5")
    assert (stored.release, stored.n_bp) == ("dr4", 12)
    source = Source("a.h5", tmp_path / "a.h5")
    (chunk,) = read_source(source, chunk_size=9, correlations=False, on_bad_row=print)
    assert (chunk.release, chunk.n_bp) == ("dr4", 12)


def test_options_that_are_none_are_told_before_anything_is_read(tmp_path, capsys):
    assert run(tmp_path / "a", tmp_path / "x.csv", "--release", "dr9") == 2
    assert "no Gaia release 'dr9'" in capsys.readouterr().err
    assert run(tmp_path / "a", tmp_path / "x.csv", "--instrument", tmp_path / "m.npz") == 2
    assert "no instrument matrix" in capsys.readouterr().err
