"""The join of XP, Gaia and APOGEE into a training store, and its bad inputs."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from aspgap_jax import labels
from aspgap_jax.apstar import in_chips
from aspgap_jax.cli import main
from aspgap_jax.config import Training, to_json
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.cuts import apply_cuts, format_cuts
from aspgap_jax.preprocessing.selection import SELECTIONS
from aspgap_jax.preprocessing.snr import LeastSNR
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.gaia import read_source_ids
from aspgap_jax.survey.prepare import Prepared
from aspgap_jax.survey.sample import load_sample
from aspgap_jax.survey.store import has_spectra, read_training_store, write_training_store
from aspgap_jax.survey.xp import read_xp
from support.apogee_files import (
    IDS,
    Inputs,
    allstar_columns,
    gaia_table,
    normalised_spectrum,
    star_name,
    write_allstar,
    write_aspcapstar,
    write_gaia,
    write_xp,
    xp_columns,
)
from support.foreign_files import write_foreign
from support.table_files import CONTAINERS, text
from support.tiny import TINY


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path)


def removed(prepared: Prepared) -> dict[str, int]:
    """Stars that each cut removed, those that removed none left out."""
    left = [cut.left for cut in prepared.cuts]
    counts = {
        cut.name: before - after
        for cut, (before, after) in zip(prepared.cuts[1:], itertools.pairwise(left), strict=True)
    }
    return {name: count for name, count in counts.items() if count}


def test_everything_arrives_beside_its_star(inputs: Inputs) -> None:
    prepared = inputs.prepare()
    assert (prepared.stars, prepared.repeated, prepared.bad_rows) == (6, 0, ())
    stars = read_training_store(inputs.out)
    assert stars.source_id.tolist() == sorted(IDS)
    row = [IDS.index(star) for star in stars.source_id]
    sent = xp_columns(IDS)
    for block, column in (
        (stars.xp[:, :55], "bp_coefficients"),
        (stars.xp[:, 55:], "rp_coefficients"),
        (stars.xp_error[:, :55], "bp_coefficient_errors"),
    ):
        np.testing.assert_array_equal(block, sent[column][row].astype(np.float32))
    np.testing.assert_array_equal(stars.g_mag, gaia_table(IDS)["phot_g_mean_mag"][row])
    assert [name.decode() for name in stars.columns["apogee_id"]] == [star_name(i) for i in row]
    np.testing.assert_array_equal(stars.columns["parallax"], 2.0)
    np.testing.assert_allclose(stars.columns["snr_rp_low"], 1000.0, rtol=1e-6)
    np.testing.assert_allclose(stars.columns["snr_bp_high"], 5.0, rtol=1e-6)
    assert "phot_g_mean_mag" not in stars.columns
    assert stars.cuts == prepared.cuts


def test_the_release_of_the_spectra_is_kept_and_two_do_not_mix(
    inputs: Inputs, tmp_path: Path
) -> None:
    inputs.prepare()
    stored = read_training_store(inputs.out)
    assert (stored.release, stored.n_bp) == ("dr3", 55)
    write_xp(inputs.xp, xp_columns(IDS[3:]))
    other = Table(xp_columns(IDS[:3]), meta={"TITLE": "mean spectra of Gaia DR4"})
    other.write(tmp_path / "other.fits")
    with pytest.raises(
        InputError,
        match=r"other.fits: has 55 \+ 55 coefficients of Gaia DR4, the files before it 55 \+ 55 "
        "coefficients of Gaia DR3",
    ):
        inputs.prepare(xp=[inputs.xp, tmp_path / "other.fits"])


def test_tables_without_spectra_beside_the_spectra_are_left_out_by_name(
    inputs: Inputs, tmp_path: Path
) -> None:
    foreign = write_foreign(tmp_path / "mine")
    inputs.xp.rename(tmp_path / "mine" / "xp.fits")
    prepared = inputs.prepare(xp=[tmp_path / "mine"])
    assert prepared.stars == 6
    remark = next(line for line in prepared.remarks if "no XP spectra" in line)
    assert remark.startswith(f"left out: no XP spectra: {tmp_path / 'mine' / foreign[0]}, ")
    assert remark.endswith(f"({len(foreign)})")
    with pytest.raises(InputError, match="no Gaia XP table"):
        inputs.prepare(xp=[tmp_path / "mine" / "xp.fits", tmp_path / "mine" / "gaia_source.csv"])


@pytest.mark.parametrize("spoilt", ["id", "length"])
def test_the_status_says_that_a_row_was_left_out(
    inputs: Inputs, spoilt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spectra = xp_columns(IDS)
    if spoilt == "id":
        spectra["source_id"] = np.append(spectra["source_id"][:-1], -5)
        write_xp(inputs.xp, spectra)
        place = "xp.fits, row 6"
    else:
        rows = {name: list(values) for name, values in spectra.items()}
        rows["bp_coefficients"][2] = rows["bp_coefficients"][2][:50]
        inputs.xp = inputs.xp.with_suffix(".parquet")
        pq.write_table(pa.table(rows), inputs.xp)
        place = "xp.parquet, row 3"
    command = ["prepare", str(inputs.xp), "--allstar", str(inputs.allstar)]
    command += ["--gaia", str(inputs.gaia), "--out", str(inputs.out), "--select", "usable"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert f"aspgap: left out: {tmp_path}/{place}" in said.err
    assert f"wrote 5 stars to {inputs.out}" in said.out
    assert len(read_training_store(inputs.out)) == 5


def test_provenance_and_units(inputs: Inputs) -> None:
    inputs.prepare()
    with h5py.File(inputs.out) as file:
        assert file["columns/parallax"].attrs["unit"] == "mas"
        assert file["xp"].attrs["unit"] == "e-/s"
        provenance = json.loads(file.attrs["provenance"])
        cuts = json.loads(file.attrs["cuts"])
    assert [entry["file"] for entry in provenance["xp"]] == ["xp.fits"]
    assert len(provenance["allstar"]["sha256"]) == 64
    assert provenance["gaia"][0]["bytes"] == inputs.gaia.stat().st_size
    assert provenance["select"] == "table_1"
    assert provenance["min_snr_low"] == 100.0
    assert set(provenance["versions"]) >= {"aspgap-jax", "numpy"}
    assert cuts[0] == ["rows of allStar", 6]


def test_every_cut_counts_the_stars_it_removes(inputs: Inputs) -> None:
    """Six stars, of which five fail, each at another cut."""
    columns = allstar_columns(IDS)
    columns["ASPCAPFLAG"][0] = 1 << 16
    columns["LOGG"][1] = 5.0
    columns["M_H_ERR"][2] = 0.03
    columns["SNR"][3] = 200.0
    write_allstar(inputs.allstar, columns)
    spectra = xp_columns(IDS)
    spectra["rp_coefficients"][4, :10] /= 20.0
    write_xp(inputs.xp, spectra)
    prepared = inputs.prepare()
    assert removed(prepared) == {
        "no ASPCAP flag TEFF_WARN or TEFF_BAD": 1,
        "on the main sequence or the RGB (Table 1, condition 5)": 1,
        "error of m_h <= 0.02 dex": 1,
        "S/N > 200": 1,
        "S/N of RP coefficients 1-10 > 100": 1,
    }
    assert read_training_store(inputs.out).source_id.tolist() == [IDS[5]]
    assert "S/N of RP coefficients 1-10 > 100" in format_cuts(prepared.cuts)
    # 1000 / 20 = 50 passes another bound.
    assert inputs.prepare(least=LeastSNR(min_snr_low=49.0)).stars == 2


def test_stars_that_a_table_lacks_are_counted(inputs: Inputs) -> None:
    write_xp(inputs.xp, xp_columns(IDS[:5]))
    gaia_table(IDS[1:]).write(inputs.gaia, overwrite=True)
    prepared = inputs.prepare()
    assert removed(prepared) == {"with an XP spectrum": 1, "and with Gaia's columns": 1}
    assert prepared.stars == 4


def test_several_files_and_repeated_stars(inputs: Inputs) -> None:
    """Of a repeated star the first spectrum counts, within a file and across files."""
    other = write_xp(inputs.folder / "b.fits", xp_columns([*IDS[2:], IDS[4], 1], seed=9))
    first = write_xp(inputs.folder / "a.fits", xp_columns(IDS[:3]))
    prepared = inputs.prepare(xp=[first, other])
    assert prepared.repeated == 2
    stars = read_training_store(inputs.out)
    at = stars.source_id.tolist().index
    early, late = xp_columns(IDS[:3]), xp_columns([*IDS[2:], IDS[4], 1], seed=9)
    for star, sent, row in ((IDS[2], early, 2), (IDS[4], late, 2), (IDS[5], late, 3)):
        np.testing.assert_array_equal(
            stars.xp[at(star), :55], np.float32(sent["bp_coefficients"][row])
        )


def test_gaia_columns_of_allstar_serve_where_no_table_is_given(inputs: Inputs) -> None:
    inputs.prepare(gaia=[])
    stars = read_training_store(inputs.out)
    np.testing.assert_array_equal(stars.g_mag, np.float32(12.5))
    np.testing.assert_array_equal(stars.columns["parallax"], 1.5)
    # RA of allStar is 2MASS's, not Gaia's.
    assert "ra" not in stars.columns


def test_a_star_without_a_band_does_not_pass(inputs: Inputs) -> None:
    columns = xp_columns(IDS)
    for name in ("bp_coefficients", "bp_coefficient_errors"):
        columns[name][2] = np.nan
    write_xp(inputs.xp, columns)
    assert removed(inputs.prepare()) == {"finite spectrum, errors > 0, G known": 1}


def test_damaged_xp_rows_are_left_out_and_reported(inputs: Inputs) -> None:
    path = inputs.folder / "xp.csv"
    sent = xp_columns(IDS)
    names = [name for name in sent if "coefficient" in name]
    lines = [",".join(["source_id", *names])]
    for row, star in enumerate(IDS):
        arrays = [sent[name][row].tolist() for name in names]
        cells = ['"(' + ", ".join(map(repr, values)) + ')"' for values in arrays]
        lines.append(f"{star}," + ",".join(cells))
    lines[3] = lines[3].replace(", ", ", oops, ", 1)
    path.write_text("\n".join(lines) + "\n")
    prepared = inputs.prepare(xp=[path])
    assert prepared.stars == 5
    assert len(prepared.bad_rows) == 1
    assert f"{path}, row 3 (source_id {IDS[2]})" in prepared.bad_rows[0]


def test_spectra_lie_beside_their_stars(inputs: Inputs) -> None:
    # The star with the lowest id, the first of the join, is cut.
    write_allstar(inputs.allstar, allstar_columns(IDS, SNR=[250.0] * 5 + [50.0]))
    folder = inputs.folder / "spectra"
    for row in (0, 4):
        write_aspcapstar(
            folder / "apo25m" / "000+02" / f"aspcapStar-dr17-{star_name(row)}.fits",
            *normalised_spectrum(row),
        )
    prepared = inputs.prepare(spectra_dir=folder)
    assert prepared.spectra is not None
    assert prepared.spectra["without a file"] == 3
    ids = read_training_store(inputs.out).source_id.tolist()
    assert has_spectra(inputs.out)
    with h5py.File(inputs.out) as file:
        assert json.loads(file["spectra"].attrs["record"]) == prepared.spectra
        assert file["spectra"].attrs["log10_start"] == 4.179
        flux, error = file["spectra"][()], file["spectra_error"][()]
    has = np.isfinite(flux).any(axis=1)
    assert {star for star, found in zip(ids, has, strict=True) if found} == {IDS[0], IDS[4]}
    for row in (0, 4):
        sent, sigma = (np.float32(array)[in_chips] for array in normalised_spectrum(row))
        place = ids.index(IDS[row])
        np.testing.assert_array_equal(flux[place, in_chips], sent)
        np.testing.assert_array_equal(error[place, in_chips], sigma)
    assert np.isnan(flux[:, ~in_chips]).all()


def test_a_store_without_spectra(inputs: Inputs) -> None:
    inputs.prepare()
    assert not has_spectra(inputs.out)


def test_large_provenance_fits(inputs: Inputs) -> None:
    """Attributes of HDF5 end at 64 kB, unless they are text of variable length."""
    inputs.prepare()
    files = [f"XpContinuousMeanSpectrum_{i:06d}-{i:06d}.csv.gz" for i in range(3386)]
    stars = replace(read_training_store(inputs.out), provenance={"xp": files})
    write_training_store(inputs.out, stars)
    assert read_training_store(inputs.out).provenance == {"xp": files}


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "xml", "plain.xml"])
def test_real_xp_files(inputs: Inputs, shared: Path, suffix: str) -> None:
    """Two real Gaia stars in each format, with made-up APOGEE rows."""
    name = "_plain.xml" if suffix == "plain.xml" else f".{suffix}"
    path = shared / "data/xp_formats" / f"XP_CONTINUOUS_RAW{name}"
    chunk = next(read_xp(path))
    ids = chunk.source_id.tolist()
    write_allstar(inputs.allstar, allstar_columns([*ids, 17]))
    prepared = inputs.prepare(xp=[path], gaia=[], least=LeastSNR(0.0, 0.0))
    stars = read_training_store(inputs.out)
    assert prepared.stars == len(ids) == 2
    for row, star in enumerate(stars.source_id):
        values = chunk.coefficients[ids.index(star)]
        np.testing.assert_array_equal(stars.xp[row], values.astype(np.float32))
        low = np.linalg.norm(values[55:65]) / np.linalg.norm(chunk.errors[ids.index(star)][55:65])
        assert stars.columns["snr_rp_low"][row] == pytest.approx(low, rel=1e-6)


def test_sampled_spectra(inputs: Inputs) -> None:
    """The S/N of the paper is one of coefficients: no such cut on fluxes."""
    rng = np.random.default_rng(1)
    flux = rng.uniform(1e-17, 1e-16, (6, 343))
    table = Table({"source_id": np.array(IDS), "flux": flux, "flux_error": 0.01 * flux})
    table.write(inputs.xp, overwrite=True)
    prepared = inputs.prepare()
    stars = read_training_store(inputs.out)
    assert stars.representation == "sampled"
    assert stars.wavelength is not None
    np.testing.assert_array_equal(stars.wavelength[[0, -1]], [336.0, 1020.0])
    assert not [cut.name for cut in prepared.cuts if "coefficients" in cut.name]


@pytest.fixture(scope="module")
def sample() -> TrainingSet:
    """Every 40th star of the real sample."""
    try:
        stars = load_sample()
    except InputError as error:
        pytest.skip(str(error))
    return stars.where(np.arange(0, len(stars), 40))


def write_sample(inputs: Inputs, sample: TrainingSet) -> None:
    """Real XP fluxes and APOGEE labels, in the structure of the archives' files."""
    Table({"source_id": sample.source_id, "flux": sample.xp, "flux_error": sample.xp_error}).write(
        inputs.xp, overwrite=True
    )
    columns = allstar_columns(sample.source_id.tolist())
    columns |= {
        "GAIAEDR3_PHOT_G_MEAN_MAG": sample.g_mag,
        "SNR": sample.columns["snr"],
        "APOGEE_ID": sample.columns["apogee_id"],
    }
    for index, label in enumerate(labels.LABELS):
        columns[label.apogee] = sample.labels[:, index]
        columns[f"{label.apogee}_ERR"] = sample.label_error[:, index]
    write_allstar(inputs.allstar, columns)


def test_the_real_sample_arrives_as_it_is_read_directly(
    inputs: Inputs, sample: TrainingSet
) -> None:
    write_sample(inputs, sample)
    inputs.prepare(gaia=[], select="giants")
    stars = read_training_store(inputs.out)
    direct = apply_cuts(sample, SELECTIONS["giants"])
    order = np.argsort(direct.source_id)
    assert len(stars) > 400
    for name in ("source_id", "xp", "xp_error", "g_mag", "labels", "label_error"):
        np.testing.assert_array_equal(getattr(stars, name), getattr(direct, name)[order])
    assert stars.wavelength is not None
    np.testing.assert_array_equal(stars.wavelength, sample.wavelength)


def test_ingest_prepare_train_as_a_user_types_it(
    inputs: Inputs, sample: TrainingSet, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = sample.where(np.arange(0, len(sample), 2))
    write_sample(inputs, chosen)
    giants = apply_cuts(chosen, SELECTIONS["giants"])
    for number, name in enumerate(giants.columns["apogee_id"]):
        flux, error = normalised_spectrum(number)
        write_aspcapstar(inputs.folder / "spectra" / f"aspcapStar-dr17-{name}.fits", flux, error)
    store, run = inputs.folder / "xp-store", inputs.folder / "run"
    assert main(["ingest", str(inputs.xp), "--out", str(store), "--processes", "1"]) == 0
    prepare = ["prepare", str(store), "--allstar", str(inputs.allstar), "--out", str(inputs.out)]
    spectra = ["--spectra", str(inputs.folder / "spectra")]
    assert main([*prepare, "--select", "giants", *spectra]) == 0
    printed = capsys.readouterr().out
    assert f"wrote {len(giants):,} stars to {inputs.out}" in printed
    assert "S/N > 50" in printed
    settings = inputs.folder / "tiny.json"
    settings.write_text(to_json(replace(TINY, train=Training(epochs=1, batch_size=32))))
    train = ["train", "--data", str(inputs.out), "--select", "giants", "--out", str(run)]
    assert main([*train, "--config", str(settings)]) == 0
    bundle = json.loads((run / "bundle" / "bundle.json").read_text())
    assert bundle["apogee_spectra"] == "real APOGEE spectra of training stars"
    assert (bundle["representation"], bundle["n_xp"]) == ("sampled", 343)


def test_prepare_tells_what_it_left_out(inputs: Inputs, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["prepare", str(inputs.xp), "--allstar", str(inputs.allstar)]
    assert main([*arguments, "--gaia", str(inputs.gaia), "--out", str(inputs.out)]) == 0
    assert "S/N" in capsys.readouterr().out
    before = inputs.out.read_bytes()
    again = [*arguments, "--min-snr-low", "1e9", "--out", str(inputs.out)]
    assert main(again) == 2
    assert "store.h5: exists already; choose another, or replace it" in capsys.readouterr().err
    assert main([*again, "--overwrite"]) == 2
    assert "no star is left after the cut" in capsys.readouterr().err
    # What was there is lost only to what is whole.
    assert inputs.out.read_bytes() == before
    assert main([*arguments, "--out", str(inputs.out), "--select", "usable", "--overwrite"]) == 0
    assert inputs.out.read_bytes() != before


@pytest.mark.parametrize("kind", ["csv", "ecsv", "xml", "fits"])
def test_gaia_tables_of_every_format(inputs: Inputs, kind: str) -> None:
    table = gaia_table(IDS)
    table["parallax"] = np.ma.MaskedArray(np.full(6, 2.0), mask=[0, 1, 0, 0, 0, 0])
    table.rename_column("phot_bp_mean_mag", "PHOT_BP_MEAN_MAG")
    path = write_gaia(kind, table, inputs.folder)
    inputs.prepare(gaia=[path])
    stars = read_training_store(inputs.out)
    row = [IDS.index(star) for star in stars.source_id]
    np.testing.assert_allclose(stars.g_mag, gaia_table(IDS)["phot_g_mean_mag"][row], rtol=1e-7)
    assert np.isnan(stars.columns["parallax"]).tolist() == [i == 1 for i in row]
    np.testing.assert_allclose(stars.columns["phot_bp_mean_mag"], 12.0)


def test_gaia_in_two_tables(inputs: Inputs) -> None:
    halves = [
        write_gaia(kind, gaia_table(IDS)[cut], inputs.folder)
        for kind, cut in (("csv", slice(0, 4)), ("fits", slice(2, 6)))
    ]
    inputs.prepare(gaia=halves)
    stars = read_training_store(inputs.out)
    expected = gaia_table(IDS)["phot_g_mean_mag"]
    row = [IDS.index(star) for star in stars.source_id]
    np.testing.assert_allclose(stars.g_mag, expected[row], rtol=1e-7)


def test_gaia_tables_that_contradict_each_other(inputs: Inputs) -> None:
    table = gaia_table(IDS)
    first = write_gaia("csv", table, inputs.folder)
    table["phot_g_mean_mag"][4] += 0.5
    with pytest.raises(InputError, match=rf"table\.fits: source_id {IDS[4]} occurs twice"):
        inputs.prepare(gaia=[first, write_gaia("fits", table, inputs.folder)])


def test_source_ids_for_fetch(inputs: Inputs) -> None:
    assert read_source_ids(inputs.allstar).tolist() == IDS
    assert read_source_ids(write_gaia("csv", gaia_table(IDS), inputs.folder)).tolist() == IDS
    table = Table({"source_id": np.array([-1, 0])})
    with pytest.raises(InputError, match="no row has a Gaia source id"):
        read_source_ids(write_gaia("ecsv", table, inputs.folder))


@pytest.mark.parametrize(
    "container", ["semicolon", "ColFITS", "VOTable, binary", "Parquet", "HATS", "HDF5, vaex"]
)
def test_every_table_may_be_in_any_container(
    inputs: Inputs, container: str, tmp_path: Path
) -> None:
    gaia = {name: np.asarray(column) for name, column in gaia_table(IDS).items()}
    gaia["phot_g_mean_mag"] = np.array([11, 12, 99.99, 13, 0, 14], np.float64)
    allstar = {name.lower(): v for name, v in allstar_columns(IDS).items()}
    # Empty text has no width in FITS.
    del allstar["aspcapflags"]
    write = CONTAINERS[container]
    inputs.allstar = write(tmp_path / "stars", allstar)
    prepared = inputs.prepare(gaia=[write(tmp_path / "sources", gaia)], select="usable")
    stars = read_training_store(inputs.out)
    assert sorted(stars.source_id.tolist()) == sorted(np.array(IDS)[[0, 1, 3, 5]].tolist())
    assert sorted(stars.g_mag.tolist()) == [11, 12, 13, 14]
    said = "\n".join(prepared.remarks)
    assert "6 of 6 stars are among its 6" in said
    assert "column phot_g_mean_mag: sentinels taken as missing values: 2" in said


def test_prepare_says_what_it_replaced(inputs: Inputs, capsys: pytest.CaptureFixture[str]) -> None:
    teff = np.full(6, 4800.0, np.float32)
    teff[2] = -999.99
    write_allstar(inputs.allstar, allstar_columns(IDS, TEFF=teff))
    arguments = ["prepare", str(inputs.xp), "--allstar", str(inputs.allstar)]
    assert main([*arguments, "--out", str(inputs.out), "--select", "usable"]) == 0
    assert IDS[2] not in read_training_store(inputs.out).source_id
    said = capsys.readouterr().err
    assert f"aspgap: {inputs.allstar}: column TEFF: sentinels taken as missing values: 1" in said
    assert "HDU 2: left out: no table with the columns APOGEE_ID" in said


def test_dr2_ids_of_allstar_are_mapped(inputs: Inputs, tmp_path: Path) -> None:
    columns = allstar_columns(IDS)
    columns["GAIA_SOURCE_ID"] = columns.pop("GAIAEDR3_SOURCE_ID") + 1
    write_allstar(inputs.allstar, columns)
    pairs = {"dr2_source_id": np.array(IDS) + 1, "dr3_source_id": np.array(IDS)}
    mapping = text(tmp_path / "neighbours.csv", pairs | {"angular_distance": np.zeros(6)})
    command = ["prepare", str(inputs.xp), "--allstar", str(inputs.allstar), "--gaia"]
    command += [str(inputs.gaia), "--out", str(inputs.out)]
    assert main(command) == 2
    assert main([*command, "--id-release", "dr2", "--id-map", str(mapping)]) == 0
    assert sorted(read_training_store(inputs.out).source_id.tolist()) == sorted(IDS)


def test_own_labels_are_kept_beside_the_papers(
    inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """[C/Fe] of the label table, and an age with one error for all from a column of its own."""
    ages = np.linspace(1.0, 11.0, 6)
    columns = allstar_columns(
        IDS, C_FE=np.linspace(-0.2, 0.2, 6), C_FE_ERR=np.full(6, 0.03), AGE_ML=ages
    )
    columns["C_FE"][2] = -9999.0
    write_allstar(inputs.allstar, columns)
    own = tmp_path / "own.toml"
    own.write_text('[age]\nunit = "Gyr"\noutlier = 2.0\ncolumn = "AGE_ML"\nerror = 1.5\n')
    words = ["prepare", str(inputs.xp), "--allstar", str(inputs.allstar), "--out", str(inputs.out)]
    words += ["--label-table", str(own)]
    assert main([*words, "--labels", "teff,c_fe,age"]) == 0
    stars = read_training_store(inputs.out)
    assert labels.names(stars.label_table) == ("teff", "c_fe", "age")
    assert stars.label_table[2].unit == "Gyr"
    row = [IDS.index(star) for star in stars.source_id]
    assert sorted(row) == [0, 1, 3, 4, 5], "one has no [C/Fe]"
    np.testing.assert_array_equal(stars.labels[:, 2], ages[row].astype(np.float32))
    np.testing.assert_array_equal(stars.label_error[0], np.float32([10.0, 0.03, 1.5]))
    # Table 1 went on with what is not trained.
    np.testing.assert_array_equal(stars.columns["m_h"], np.float32(-0.1))
    np.testing.assert_array_equal(stars.columns["e_alpha_m"], np.float32(0.01))
    again = [*words, "--overwrite", "--missing-labels", "keep"]
    assert main([*again, "--labels", "teff,c_fe,age"]) == 0
    assert len(read_training_store(inputs.out)) == 6
    capsys.readouterr()
    assert main([*again, "--labels", "teff,n_fe"]) == 2
    assert "no column N_FE for the label n_fe (near: c_fe" in capsys.readouterr().err
    assert main(again) == 2
    assert "name the labels too, with --labels" in capsys.readouterr().err
