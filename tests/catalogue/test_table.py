"""The catalogue is read back by astropy and h5py, and compared with Table 2."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.catalogue.table import catalogue_table, write_catalogue
from aspgap_jax.columns import COLUMNS, TRUST
from aspgap_jax.errors import InputError
from aspgap_jax.labels import LABELS

# Table 2 of the paper, typed off: column and unit.
TABLE_2 = {
    "source_id": "",
    "ra": "deg",
    "dec": "deg",
    "teff_xp": "K",
    "logg_xp": "dex",
    "moh_xp": "dex",
    "aom_xp": "dex",
    "e_teff_xp": "K",
    "e_logg_xp": "dex",
    "e_moh_xp": "dex",
    "e_aom_xp": "dex",
    "snr_rp": "",
    "l": "deg",
    "b": "deg",
    "parallax": "mas",
    "parallax_error": "mas",
    "pmra": "mas yr-1",
    "pmra_error": "mas yr-1",
    "pmdec": "mas yr-1",
    "pmdec_error": "mas yr-1",
    "ruwe": "",
    "phot_g_mean_mag": "mag",
    "phot_bp_mean_mag": "mag",
    "phot_rp_mean_mag": "mag",
    "bp_rp": "mag",
    "radial_velocity": "km s-1",
    "radial_velocity_error": "km s-1",
}
# Of a run whose spectra have no S/N of their own in BP.
BESIDE = [f"{p}_{n}_xp" for p in ("spread", "noise") for n in ("teff", "logg", "moh", "aom")]
BESIDE += ["flags"]
CORRELATIONS = [f"{a}_{b}_corr_xp" for a, b in combinations(("teff", "logg", "moh", "aom"), 2)]
GAIA = [name for name, *_ in COLUMNS if name not in ("source_id", "phot_g_mean_mag", "bp_rp")]
GAIA = [name for name in GAIA if not name.endswith("_xp")]


def predictions_with(columns: dict[str, np.ndarray], n: int = 7) -> Predictions:
    rng = np.random.default_rng(1)
    per_label = (n, len(LABELS))
    return Predictions(
        # Above 2^53: a detour through float64 would change it.
        source_id=np.arange(n) + 6_917_528_997_577_384_321,
        fold=np.zeros(n, np.int8),
        prediction=rng.normal(size=per_label).astype(np.float32),
        sigma=rng.uniform(0.1, 1.0, size=per_label).astype(np.float32),
        aleatoric=rng.uniform(0.1, 1.0, size=per_label).astype(np.float32),
        epistemic=rng.uniform(0.1, 1.0, size=per_label).astype(np.float32),
        flags=np.arange(n, dtype=np.int32),
        truth=np.full(per_label, np.nan),
        truth_error=np.full(per_label, np.nan),
        g_mag=rng.uniform(9, 17, size=n).astype(np.float32),
        columns=columns,
    )


@pytest.fixture
def full() -> Predictions:
    rng = np.random.default_rng(2)
    # Float64 throughout: the table must bring each to the type of the Gaia archive.
    return predictions_with({name: rng.normal(size=7) for name in (*GAIA, *CORRELATIONS)})


def test_columns_are_those_of_table_2_in_its_order() -> None:
    assert {spec.name: spec.unit for spec in COLUMNS} == TABLE_2
    assert [spec.name for spec in COLUMNS] == list(TABLE_2)
    words = {spec.name: spec.description for spec in COLUMNS}
    assert words["teff_xp"] == "Effective temperature from AspGap"
    assert words["e_aom_xp"] == "Error in alpha-element abundance from AspGap"


def test_table_holds_the_data_and_names_what_is_absent(full: Predictions) -> None:
    table, absent = catalogue_table(full)
    assert absent == ()
    assert table.colnames == [*TABLE_2, *BESIDE[:-1], *CORRELATIONS, "flags"]
    np.testing.assert_array_equal(table["logg_xp"], full.prediction[:, 1])
    np.testing.assert_array_equal(table["e_aom_xp"], full.sigma[:, 3])
    np.testing.assert_array_equal(table["spread_moh_xp"], full.epistemic[:, 2])
    np.testing.assert_array_equal(table["noise_teff_xp"], full.aleatoric[:, 0])
    np.testing.assert_array_equal(table["flags"], full.flags)
    specs = [spec for spec in (*COLUMNS, *TRUST) if spec.name not in ("snr_bp", "g_synthetic")]
    assert [table[spec.name].dtype for spec in specs] == [spec.dtype for spec in specs]

    bare, absent = catalogue_table(predictions_with({}))
    assert bare.colnames == ["source_id", *list(TABLE_2)[3:11], "phot_g_mean_mag", *BESIDE]
    assert set(bare.colnames).isdisjoint(absent)
    assert set(bare.colnames) - set(BESIDE) | set(absent) == set(TABLE_2)


def test_colour_is_derived_unless_given() -> None:
    bands = {"phot_bp_mean_mag": np.full(7, 15.5), "phot_rp_mean_mag": np.full(7, 14.0)}
    assert catalogue_table(predictions_with(bands)).table["bp_rp"][3] == 1.5
    given = catalogue_table(predictions_with(bands | {"bp_rp": np.full(7, 1.25)}))
    assert given.table["bp_rp"][3] == 1.25
    del bands["phot_rp_mean_mag"]
    assert "bp_rp" in catalogue_table(predictions_with(bands)).absent


def test_fits_carries_units_descriptions_and_checksums(tmp_path: Path, full: Predictions) -> None:
    table, _ = catalogue_table(full)
    path = tmp_path / "catalogue.fits"
    write_catalogue(path, table)
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        header = hdus["CATALOGUE"].header
        for number, spec in enumerate(COLUMNS, start=1):
            assert header[f"TTYPE{number}"] == spec.name
            # The standard of units does not list dex.
            unit, more = ("", " [dex]") if spec.unit == "dex" else (spec.unit, "")
            assert header.get(f"TUNIT{number}", "") == unit
            assert header[f"TCOMM{number}"] == spec.description + more
            np.testing.assert_array_equal(hdus[1].data[spec.name], table[spec.name])
        assert hdus[1].data["source_id"].dtype.kind == "i"
    # A warning would be an error here.
    again = Table.read(path)
    assert again["pmra"].unit == "mas / yr"
    assert again["moh_xp"].unit is None
    assert again["teff_xp"].unit == "K"


def test_hdf5_is_one_flat_dataset_a_column(tmp_path: Path, full: Predictions) -> None:
    table, _ = catalogue_table(full)
    path = tmp_path / "catalogue.h5"
    write_catalogue(path, table)
    with h5py.File(path) as file:
        assert set(file) == {*TABLE_2, *BESIDE, *CORRELATIONS}
        for spec in COLUMNS:
            dataset = file[spec.name]
            assert dataset.dtype == spec.dtype
            assert dataset.attrs["unit"] == spec.unit
            assert dataset.attrs["description"] == spec.description
            np.testing.assert_array_equal(dataset[()], table[spec.name])


@pytest.mark.parametrize("suffix", [".fits", ".hdf5"])
def test_no_star_is_a_valid_catalogue(tmp_path: Path, suffix: str) -> None:
    table, _ = catalogue_table(predictions_with({}, n=0))
    path = tmp_path / f"empty{suffix}"
    write_catalogue(path, table)
    if suffix == ".fits":
        assert fits.getheader(path, 1)["NAXIS2"] == 0
    else:
        with h5py.File(path) as file:
            assert file["teff_xp"].shape == (0,)


def test_further_columns_are_written_too(tmp_path: Path, full: Predictions) -> None:
    table, _ = catalogue_table(full)
    table["class"] = np.arange(7, dtype=np.int32)
    write_catalogue(tmp_path / "with.fits", table)
    header = fits.getheader(tmp_path / "with.fits", 1)
    number = len(TABLE_2) + len(BESIDE) + len(CORRELATIONS) + 1
    assert header[f"TTYPE{number}"] == "class"
    assert f"TUNIT{number}" not in header
    np.testing.assert_array_equal(fits.getdata(tmp_path / "with.fits")["class"], np.arange(7))


@pytest.mark.parametrize("name", ["catalogue.txt", "catalogue"])
def test_unknown_suffix_names_the_accepted_ones(
    tmp_path: Path, full: Predictions, name: str
) -> None:
    with pytest.raises(InputError, match=r"\.fits, \.fit, \.h5, \.hdf5"):
        write_catalogue(tmp_path / name, catalogue_table(full).table)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, full: Predictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, _ = catalogue_table(full)
    path = tmp_path / "catalogue.fits"
    write_catalogue(path, table)
    before = path.read_bytes()

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(fits.BinTableHDU, "add_checksum", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_catalogue(path, table[:3])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
