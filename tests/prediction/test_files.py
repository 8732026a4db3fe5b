"""Streaming prediction: the labels of label_stars, every row accounted for, nothing done twice."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table

from aspgap_jax.catalogue.parts import (
    PartRecord,
    Predicted,
    read_manifest,
    read_part_record,
)
from aspgap_jax.cli import main
from aspgap_jax.config import PredictOptions
from aspgap_jax.errors import InputError
from aspgap_jax.files.locks import Holder
from aspgap_jax.flags import bit
from aspgap_jax.prediction import files
from aspgap_jax.prediction.bundle import save_bundle
from aspgap_jax.prediction.files import predict_files
from aspgap_jax.prediction.labelling import LabelOptions, StarBatch, label_stars
from aspgap_jax.prediction.shares import Share
from aspgap_jax.survey import inputs
from aspgap_jax.survey.store import write_training_store
from aspgap_jax.survey.tables import Remarks
from aspgap_jax.survey.xp import WAVELENGTH, read_xp
from aspgap_jax.survey.xp.store import write_store
from support.bundles import CFG, flat_star, gaia_bundle
from support.foreign_files import write_foreign
from support.held_locks import held_by_another
from support.made_up import made_up_stars
from support.xp_files import sampled_star, star, without, write_bulk, write_fits

SMALL = PredictOptions(batch_size=8)
LABELS = ("teff_xp", "logg_xp", "moh_xp", "aom_xp")


def predict(given: list[str] | list[Path], out: Path, **options) -> Predicted:
    bundle, info = gaia_bundle()
    options = {"options": SMALL} | options
    return predict_files([str(path) for path in given], out, bundle, info, **options)


def part(out: Path, source: str | Path) -> Table:
    return Table.read(out / f"{Path(source).name}.parquet", format="parquet")


def stars(first: int, count: int) -> list[dict]:
    return [flat_star(first + n) for n in range(count)]


@pytest.fixture(scope="module")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of 3, 8, 19 and 20 stars: below, at, and above a batch of 8."""
    folder = tmp_path_factory.mktemp("bulk")
    sizes = (3, 8, 19, 20)
    return [
        write_bulk(folder / f"part_{n}.csv.gz", stars(1000 * n + 1, size))
        for n, size in enumerate(sizes)
    ]


def assert_reconciled(done: Predicted, out: Path) -> None:
    """Counts of the manifest against each other and against the rows of the parts."""
    for record in done.files:
        assert record.read == record.predicted + record.failed
        assert record.failed == record.unpredicted + record.damaged
        if record.status == "failed":
            assert not (out / record.part).exists()
            assert record.predicted == 0
        else:
            table = Table.read(out / record.part, format="parquet")
            known = np.isfinite(table["teff_xp"])
            assert len(table) == record.predicted + record.unpredicted
            assert record.predicted == known.sum()
            assert record.flagged == (known & (table["flags"] != 0)).sum()
    totals = json.loads(done.manifest.read_text())["totals"] if done.manifest else {}
    for name, total in totals.items():
        if not name.startswith("files_"):
            assert total == sum(getattr(record, name) for record in done.files)


def test_the_labels_are_those_of_label_stars_in_the_order_of_the_file(
    bulk: list[Path], tmp_path: Path
) -> None:
    assert len(jax.local_devices()) == 4  # the batch of 8 is shared by four devices
    done = predict(bulk, tmp_path)
    assert (done.total("read"), done.total("failed")) == (50, 0)
    assert_reconciled(done, tmp_path)
    bundle, info = gaia_bundle()
    for path in bulk:
        (chunk,) = read_xp(path)
        n = len(chunk)
        batch = StarBatch(
            xp=jnp.asarray(chunk.coefficients, jnp.float32),
            xp_error=jnp.asarray(chunk.errors, jnp.float32),
            g_mag=jnp.full(n, jnp.nan),
            present=jnp.ones((n, 2), bool),
            ruwe=jnp.full(n, jnp.nan),
        )
        # Here on one device, unpadded.
        expected = label_stars(bundle, batch, info.config, LabelOptions("continuous"))
        found = part(tmp_path, path)
        np.testing.assert_array_equal(found["source_id"], chunk.source_id)
        np.testing.assert_array_equal(found["flags"], expected.flags)
        for column, name in enumerate(LABELS):
            for prefix, values in (
                ("", expected.mean), ("e_", expected.sigma), ("spread_", expected.epistemic),
                ("noise_", expected.aleatoric),
            ):  # fmt: skip
                np.testing.assert_allclose(
                    found[prefix + name],
                    np.asarray(values)[:, column],
                    rtol=1e-4,
                    atol=1e-5,
                )
        for band, rows in (("bp", slice(0, 55)), ("rp", slice(55, None))):
            ratio = np.linalg.norm(chunk.coefficients[:, rows], axis=1) / np.linalg.norm(
                chunk.errors[:, rows], axis=1
            )
            np.testing.assert_allclose(found[f"snr_{band}"], ratio, rtol=1e-4)


def test_nothing_is_compiled_for_a_second_file(
    bulk: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A shape of its own, which no other test has compiled.
    options = PredictOptions(batch_size=12)
    # For all threads: jax.log_compiles() is for this one alone.
    jax.config.update("jax_log_compiles", True)
    try:
        with caplog.at_level(logging.WARNING):
            predict(bulk, tmp_path, options=options)
    finally:
        jax.config.update("jax_log_compiles", False)
    compiled = [r.getMessage() for r in caplog.records if "Compiling" in r.getMessage()]
    assert len([text for text in compiled if "_label_columns" in text]) == 1, compiled


def test_dropout_is_off(bulk: list[Path], tmp_path: Path) -> None:
    assert CFG.model.dropout == 0.9
    one = write_bulk(tmp_path / "same.csv.gz", [flat_star(7) for _ in range(20)])
    predict([one], tmp_path / "a")
    predict([one], tmp_path / "b", options=replace(SMALL, batch_size=16))
    a, b = (part(tmp_path / folder, one) for folder in "ab")
    for name in LABELS:
        # Every place in every batch gives the same; with dropout none would.
        np.testing.assert_array_equal(a[name], a[name][0])
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5)


def test_damaged_rows_and_files_are_counted_and_the_rest_survives(
    bulk: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = stars(1, 12)
    rows[3] = without(rows[3], "bp")
    rows[5]["bp_coefficients"] = rows[5]["bp_coefficients"][:50]
    rows[7]["source_id"] = "nonsense"
    some = write_bulk(tmp_path / "some.csv.gz", rows)
    torn = tmp_path / "torn.csv.gz"
    torn.write_bytes(bulk[3].read_bytes()[:-3000])
    text = tmp_path / "notes.txt"
    text.write_text("no,spectra\n1,2\n")
    wide = write_bulk(tmp_path / "wide.csv.gz", [star(5, sizes=(60, 55))])
    bundle, info = gaia_bundle()
    save_bundle(tmp_path / "bundle", bundle, info)
    out = tmp_path / "out"
    files = [str(path) for path in (some, bulk[0], torn, text, wide)]
    command = ["predict", *files, "--out", str(out), "--bundle", str(tmp_path / "bundle")]
    assert main([*command, "--batch-size", "8"]) == 1
    said = capsys.readouterr().err
    done = read_manifest(out)
    assert_reconciled(done, out)
    by_name = {Path(record.file).name: record for record in done.files}
    record = by_name["some.csv.gz"]
    assert (record.read, record.predicted, record.unpredicted, record.damaged) == (12, 9, 1, 2)
    assert "row 6" in said
    assert "row 8" in said
    assert "some.csv.gz: 1 of 10 rows got no labels (1 MISSING_BAND" in said
    assert {name for name, r in by_name.items() if r.status == "failed"} == {
        "torn.csv.gz", "notes.txt", "wide.csv.gz",
    }  # fmt: skip
    for name in ("torn.csv.gz", "notes.txt", "wide.csv.gz"):
        assert name in said
    table = part(out, some)
    assert table["source_id"].tolist() == [1, 2, 3, 4, 5, 7, 9, 10, 11, 12]
    lost = table[table["source_id"] == 4]
    assert np.isnan(lost["teff_xp"][0])
    assert lost["flags"][0] & bit("MISSING_BAND")
    # The same command: what is whole is not done again, what failed is tried again.
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert main([*command, "--batch-size", "8"]) == 1
    assert "2 complete before, 3 failed" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")} == before


def test_a_file_without_any_labels_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, info = gaia_bundle()
    save_bundle(tmp_path / "bundle", bundle, info)
    no_bp = write_bulk(tmp_path / "no_bp.csv.gz", [without(row, "bp") for row in stars(1, 5)])
    no_rp = write_bulk(tmp_path / "no_rp.csv.gz", [without(row, "rp") for row in stars(11, 3)])
    good = write_bulk(tmp_path / "good.csv.gz", stars(21, 4))
    out = tmp_path / "out"
    options = ["--out", str(out), "--bundle", str(tmp_path / "bundle"), "--batch-size", "8"]
    # Also where the parts are there already.
    for _ in range(2):
        assert main(["predict", str(no_bp), str(no_rp), str(good), *options]) == 1
        said = capsys.readouterr().err
        assert "no_bp.csv.gz: 5 of 5 rows got no labels (5 MISSING_BAND" in said
        assert "no_rp.csv.gz: 3 of 3 rows got no labels (3 MISSING_BAND" in said
        assert "good.csv.gz: " not in said
    # What was lost there is said of the catalogue too.
    assert main(["catalogue", str(out), "--out", str(tmp_path / "c.h5")]) == 1
    assert "the catalogue lacks what they lost" in capsys.readouterr().err
    assert main(["predict", str(good), *options[:1], str(tmp_path / "two"), *options[2:]]) == 0


def test_the_command_prints_stars(
    bulk: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, info = gaia_bundle()
    save_bundle(tmp_path / "bundle", bundle, info)
    command = ["predict", str(bulk[1]), "--out", str(tmp_path / "out"), "--batch-size", "8"]
    assert main([*command, "--bundle", str(tmp_path / "bundle"), "--show", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["source_id", "teff", "[K]"]
    assert lines[1].split()[0] == "1001"
    assert "+-" in lines[1]
    assert "NO_G" in lines[1]
    assert "8 rows read" in lines[4]


def test_a_changed_input_is_predicted_again_and_another_bundle_is_refused(
    tmp_path: Path,
) -> None:
    path = write_bulk(tmp_path / "x.csv.gz", stars(1, 4))
    out = tmp_path / "out"
    predict([path], out)
    write_bulk(path, stars(50, 5))
    assert predict([path], out).with_status("done")[0].read == 5
    assert part(out, path)["source_id"][0] == 50
    with pytest.raises(InputError, match="another options; choose another --out"):
        predict([path], out, options=replace(SMALL, second_path=False))
    bundle, info = gaia_bundle()
    other = bundle._replace(scalers=jax.tree.map(lambda leaf: leaf * 1.5, bundle.scalers))
    with pytest.raises(InputError, match="another bundle"):
        predict_files([str(path)], out, other, info, SMALL)
    # A file that can no longer be read takes its old part along.
    path.write_bytes(b"")
    assert predict([path], out).with_status("failed")
    assert not list(out.glob("*.parquet"))


def test_shards_share_the_files_and_their_manifests_merge(bulk: list[Path], tmp_path: Path) -> None:
    whole = predict(bulk, tmp_path / "whole")
    for i in (1, 2, 3):
        predict(bulk, tmp_path / "shards", share=Share(i, 3))
    merged = read_manifest(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("manifest-*-of-3.json"))) == 3
    for name in ("read", "predicted", "flagged", "failed"):
        assert merged.total(name) == whole.total(name)
    assert [r.part for r in merged.files] == [r.part for r in whole.files]
    for path in bulk:
        a, b = (part(tmp_path / folder, path) for folder in ("whole", "shards"))
        np.testing.assert_array_equal(a["teff_xp"], b["teff_xp"])
    # What shards have done, a run over all need not.
    assert len(predict(bulk, tmp_path / "shards").with_status("skipped")) == 4


def test_a_share_without_a_file_is_an_error(bulk: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="share 5 of 5 is empty: there are only 4 files"):
        predict(bulk, tmp_path / "out", share=Share(5, 5))
    assert not (tmp_path / "out").exists()


def test_every_kind_of_input(
    bulk: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spectra"
    folder.mkdir()
    write_fits(folder / "sampled.fits", [sampled_star(n) for n in (11, 12, 13)])
    with write_store(folder / "store.h5") as store:
        for chunk in read_xp(bulk[2]):
            store.append(chunk)
    (folder / "_MD5SUM.txt").write_text("not spectra")
    (folder / "notes.md").write_text("not spectra")
    (folder / "deep/er").mkdir(parents=True)
    write_fits(folder / "deep/er/more.fits", [sampled_star(n) for n in (14, 15)])
    training = replace(made_up_stars(30, n_xp=len(WAVELENGTH)), wavelength=WAVELENGTH)
    write_training_store(tmp_path / "train.h5", training)
    monkeypatch.setattr(inputs, "load_sample", lambda: training)
    monkeypatch.setattr(inputs, "sample_path", lambda: bulk[0])
    pattern = str(bulk[0].parent / "part_[01].csv.gz")
    given = [str(folder), pattern, str(tmp_path / "train.h5"), "sample"]
    done = predict(given, tmp_path / "out", remarks=(remarks := Remarks()))
    assert_reconciled(done, tmp_path / "out")
    assert remarks.lines == (f"{folder}: left out: no tables: notes.md (1)",)
    counts = {record.part: record.predicted for record in done.files}
    assert counts == {
        "sample.parquet": 30,
        "more.fits.parquet": 2,
        "sampled.fits.parquet": 3,
        "store.h5.parquet": 19,
        "part_0.csv.gz.parquet": 3,
        "part_1.csv.gz.parquet": 8,
        "train.h5.parquet": 30,
    }
    # A store gives what its file gives, up to float32.
    predict([bulk[2]], tmp_path / "direct")
    a, b = part(tmp_path / "out", "store.h5"), part(tmp_path / "direct", bulk[2])
    for name in LABELS:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-3, atol=1e-4)
    table = part(tmp_path / "out", "train.h5")
    np.testing.assert_array_equal(table["source_id"], training.source_id)
    assert not (table["flags"] & bit("NO_G")).any()


def test_tables_without_spectra_in_a_folder_are_left_out_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = write_foreign(tmp_path / "mine" / "tables")
    good = write_bulk(tmp_path / "mine" / "x.csv.gz", stars(1, 4))
    done = predict([tmp_path / "mine"], tmp_path / "out")
    assert [record.file for record in done.with_status("done")] == [str(good)]
    assert [Path(record.file).name for record in done.with_status("foreign")] == foreign
    assert done.complete
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 1
    assert f"1 files: 1 predicted, 0 complete before, 0 failed\n{done.total('read')}" in str(done)
    assert "left out: no XP spectra: " in str(done)
    assert f", ... ({len(foreign)})" in str(done)
    assert read_manifest(tmp_path / "out").complete
    # A file that was named is not left out, and of a folder without spectra nothing is labelled.
    named = [good, tmp_path / "mine" / "tables" / "gaia_source.csv"]
    assert len(predict(named, tmp_path / "b").with_status("failed")) == 1
    with pytest.raises(InputError, match=f"none of the {len(foreign)} files holds XP spectra: "):
        predict([tmp_path / "mine" / "tables"], tmp_path / "c")
    # Spectra that cannot be used, and damaged files, are failures wherever they lie.
    lacking = Table({"source_id": [1], "flux": [np.ones(343)]})
    lacking.write(tmp_path / "mine" / "no_errors.fits")
    (tmp_path / "mine" / "cut.csv.gz").write_bytes(good.read_bytes()[:-200])
    (tmp_path / "mine" / "empty.csv").touch()
    done = predict([tmp_path / "mine"], tmp_path / "out")
    failed = [Path(record.file).name for record in done.with_status("failed")]
    assert failed == ["cut.csv.gz", "empty.csv", "no_errors.fits"]
    assert not done.complete


def test_gaia_tables_give_g_and_ruwe(tmp_path: Path) -> None:
    path = write_bulk(tmp_path / "x.csv.gz", stars(1, 4))
    table = Table({"source_id": [2, 3], "phot_g_mean_mag": [14.0, 15.0], "ruwe": [1.0, 3.0]})
    table.write(tmp_path / "gaia.csv")
    predict([path], tmp_path / "out", gaia=[tmp_path / "gaia.csv"])
    found = part(tmp_path / "out", path)
    # Where no table has it, G is the spectrum's.
    np.testing.assert_array_equal(found["phot_g_mean_mag"][1:3], [14, 15])
    synthetic = np.asarray(found["g_synthetic"])
    np.testing.assert_array_equal(found["phot_g_mean_mag"][[0, 3]], synthetic[[0, 3]])
    no_g = (found["flags"] & bit("NO_G")) > 0
    poor = (found["flags"] & bit("POOR_ASTROMETRY")) > 0
    assert no_g.tolist() == [True, False, False, True]
    assert poor.tolist() == [False, False, True, False]


@pytest.mark.parametrize(("offset", "asked"), [(0.0, False), (0.1, True), (-2.5, True)])
def test_g_that_is_not_the_spectrums_is_counted_and_asked_about(
    tmp_path: Path, offset: float, asked: bool
) -> None:
    path = write_bulk(tmp_path / "x.csv.gz", [flat_star(n) for n in range(1, 31)])
    first = predict([path], tmp_path / "without")
    assert (first.total("no_g"), first.total("g_mismatch")) == (30, 0)
    assert "G of stars: 30 synthesised from the spectrum (NO_G)" in str(first)
    own = part(tmp_path / "without", path)
    gaia = Table({"source_id": own["source_id"], "phot_g_mean_mag": own["g_synthetic"] + offset})
    gaia.write(tmp_path / "gaia.csv")
    done = predict([path], tmp_path / "with", gaia=[tmp_path / "gaia.csv"])
    assert (done.total("no_g"), done.total("g_mismatch")) == (0, 30 * asked)
    text = (
        f"{path}: G of 30 of 30 stars is not that of their spectra, by {offset:+.2f} mag in the "
        "median (G_MISMATCH): is it Gaia's G of these stars?"
    )
    assert (text in str(done)) == asked
    found = part(tmp_path / "with", path)
    np.testing.assert_allclose(found["g_synthetic"], own["g_synthetic"], rtol=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_gaia_tables_of_other_stars_are_an_error(tmp_path: Path, suffix: str) -> None:
    path = write_bulk(tmp_path / "x.csv.gz", stars(1, 4))
    table = Table({"SOURCE_ID": [12, 13], "phot_g_mean_mag": [14.0, 99.99]})
    table.write(tmp_path / f"gaia.{suffix}")
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"--gaia .*gaia\.\w+: has none of the 4 stars.* removed"):
        predict([path], out, gaia=[tmp_path / f"gaia.{suffix}"])
    assert not list(out.glob("*.parquet"))
    # The right table, under the same name, is not held up by the wrong one.
    table["SOURCE_ID"] = [2, 3]
    table.write(tmp_path / f"gaia.{suffix}", overwrite=True)
    assert predict([path], out, gaia=[tmp_path / f"gaia.{suffix}"]).total("predicted") == 4
    np.testing.assert_array_equal(part(out, path)["phot_g_mean_mag"][1], 14.0)


def test_a_gaia_table_is_known_by_its_content(tmp_path: Path) -> None:
    path = write_bulk(tmp_path / "x.csv.gz", stars(1, 4))
    names, folders = ("gaia.csv", "moved.csv"), (tmp_path / "a", tmp_path / "b")
    for name, folder, g_mag in zip(names, folders, ("14.25", "14.25"), strict=True):
        folder.mkdir()
        (folder / name).write_text(f"source_id,phot_g_mean_mag\n1,{g_mag}\n")
    out = tmp_path / "out"
    assert predict([path], out, gaia=[folders[0] / names[0]]).with_status("done")
    # Moved and renamed it is the same; with as many bytes of other numbers it is another.
    assert predict([path], out, gaia=[folders[1] / names[1]]).with_status("skipped")
    assert predict([path], out, gaia=[folders[1]]).with_status("skipped")
    (folders[0] / names[0]).write_text("source_id,phot_g_mean_mag\n1,14.75\n")
    with pytest.raises(InputError, match="predicted with another gaia"):
        predict([path], out, gaia=[folders[0] / names[0]])
    (folders[1] / "more.csv").write_text("source_id,phot_g_mean_mag\n2,13.75\n")
    with pytest.raises(InputError, match="predicted with another gaia"):
        predict([path], out, gaia=[folders[1]])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["absent.csv"], "absent.csv: no such file"),
        (["*.nothing"], "no file matches"),
        ([], "nothing to predict"),
    ],
)
def test_inputs_that_are_none(given: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        predict(given, tmp_path)


def downloads(folder: Path) -> list[Path]:
    """Files that are all called the same, as DataLink calls them."""
    made = []
    for number, name in enumerate(("a", "b", "c")):
        (folder / name).mkdir(parents=True)
        rows = stars(100 * number + 1, number + 1)
        made.append(write_bulk(folder / name / "XP_CONTINUOUS_RAW.csv.gz", rows))
    return made


def ids(out: Path, record: PartRecord) -> list[int]:
    return Table.read(out / record.part, format="parquet")["source_id"].tolist()


def test_files_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    files = downloads(tmp_path / "in")
    out = tmp_path / "out"
    # In different commands, in one, and again in another order.
    predict(files[:1], out)
    predict(files[1:], out)
    again = predict(files[::-1], out)
    assert [record.status for record in again.files] == ["skipped"] * 3
    expected = [[201, 202, 203], [101, 102], [1]]
    assert [ids(out, record) for record in again.files] == expected
    assert read_manifest(out).total("predicted") == 6
    assert json.loads((out / "manifest.json").read_text())["totals"]["predicted"] == 6
    one = predict(files, tmp_path / "one")
    assert [ids(tmp_path / "one", record) for record in one.files] == expected[::-1]
    # A link is the same file; the same content elsewhere is another.
    (tmp_path / "link").symlink_to(tmp_path / "in/a")
    linked = predict([tmp_path / "link/XP_CONTINUOUS_RAW.csv.gz"], out)
    assert [record.status for record in linked.files] == ["skipped"]
    copy = tmp_path / "copy" / files[0].name
    copy.parent.mkdir()
    copy.write_bytes(files[0].read_bytes())
    assert predict([copy], out).with_status("done")
    assert read_manifest(out).total("predicted") == 7


def test_content_decides_not_the_time_nor_the_place(tmp_path: Path) -> None:
    path, other, _ = downloads(tmp_path / "in")
    out = tmp_path / "out"
    first = predict([path], out)
    os.utime(path, ns=(1, 1))
    assert predict([path], out).with_status("skipped")
    moved = tmp_path / "moved.csv.gz"
    path.rename(moved)
    # It has another name now, but not where only its folder was moved.
    assert predict([moved], out).with_status("done")
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    moved.rename(tmp_path / "elsewhere/a" / path.name)
    again = predict([tmp_path / "elsewhere/a" / path.name], out)
    assert again.with_status("skipped")
    assert f"was {path}" in str(again)
    assert again.files[0].part == first.files[0].part
    # Another content in its place, of the same time: said and done again.
    other = tmp_path / "elsewhere/b" / other.name
    predict([other], tmp_path / "more")
    other.write_bytes((tmp_path / "elsewhere/c" / other.name).read_bytes())
    os.utime(other, ns=(1, 1))
    changed = predict([other], tmp_path / "more")
    assert "its content has changed since it was predicted" in str(changed)
    assert ids(tmp_path / "more", changed.files[0]) == [201, 202, 203]


def test_a_file_that_another_process_predicts_is_left_to_it(
    bulk: list[Path], tmp_path: Path
) -> None:
    part, stranger, mate = tmp_path / "part_1.csv.gz.parquet", Holder(pid=1), Holder(team="7.0")
    for other, status, said in (
        (stranger, "left", "part_1.csv.gz: left to process 1 on"),
        (mate, "shared", "1 with other tasks of this step"),
    ):
        path = str(bulk[1].resolve())
        with held_by_another(part, replace(other, path=path)):
            share = Share(2, 2, "7.0")
            done = predict(bulk[:2], tmp_path, share=share)
        assert [r.status for r in done.files if r.part == part.name] == [status]
        assert done.complete == (status == "shared")
        assert said in str(done)
        assert not part.exists()
    # It was another file of that name: this one gets its own part.
    with held_by_another(part, replace(mate, path="/elsewhere/part_1.csv.gz")):
        done = predict(bulk[1:2], tmp_path, share=Share(1, 2, "7.0"))
    assert done.complete
    assert done.files[0].status == "done"
    assert done.files[0].part != part.name
    assert list(tmp_path.glob(".*")) == []


def test_other_settings_at_the_same_time_are_refused(bulk: list[Path], tmp_path: Path) -> None:
    with (
        held_by_another(tmp_path / ".running/run-elsewhere-1", Holder(pid=1, run="other")),
        pytest.raises(InputError, match="is being written by process 1 on"),
    ):
        predict(bulk[:1], tmp_path)


def test_predictions_of_another_version_are_refused(bulk: list[Path], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(
        json.dumps({"format": "aspgap predictions manifest", "format_version": 1, "files": []})
    )
    for work in (lambda: predict(bulk, tmp_path), lambda: read_manifest(tmp_path)):
        with pytest.raises(InputError, match=r"manifest\.json: .*another version.*another folder"):
            work()


def test_out_must_be_a_folder(bulk: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder of parts"):
        predict(bulk, tmp_path / "labels.fits")


def test_ctrl_c_and_a_full_disk_leave_whole_parts(
    bulk: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stops(files.PartWriter):
        error: BaseException = KeyboardInterrupt()

        def __call__(self, item) -> None:
            if self._records and not isinstance(item, files.EndOfFile):
                super().__call__(item)
                raise self.error
            super().__call__(item)

    monkeypatch.setattr(files, "PartWriter", Stops)
    with pytest.raises(KeyboardInterrupt, match="1 of 4 files are complete"):
        predict(bulk, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["part_0.csv.gz.parquet"]
    Stops.error = OSError(28, "No space left on device")
    with pytest.raises(InputError, match=r"the disk is full.*1 of 4 files"):
        predict(bulk, tmp_path)
    monkeypatch.undo()
    done = predict(bulk, tmp_path)
    assert len(done.with_status("skipped")) == 1
    assert_reconciled(done, tmp_path)
    assert read_part_record(tmp_path / done.files[0].part) is not None


def test_half_precision_and_propagated_errors(bulk: list[Path], tmp_path: Path) -> None:
    exact = replace(SMALL, second_path=False, propagate="diagonal")
    predict(bulk[:1], tmp_path / "exact", options=exact)
    predict(bulk[:1], tmp_path / "half", options=replace(exact, compute="bfloat16"))
    a, b = (part(tmp_path / folder, bulk[0]) for folder in ("exact", "half"))
    for name in LABELS:
        difference = np.abs(a[name] - b[name])
        assert (difference > 0).any()
        assert (difference < 0.5 * a[f"e_{name}"]).all()
        # Errors of the spectrum are propagated in float32 always.
        assert (a[f"prop_{name}"] > 0).all()
        np.testing.assert_allclose(a[f"prop_{name}"], b[f"prop_{name}"], rtol=1e-3)
