"""A whole run on made-up stars: its folder, its interruptions, its errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest

from aspgap_jax import bundle as bundles
from aspgap_jax import crossval, pipeline
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.cli import main
from aspgap_jax.config import Config, CrossValidation, Data, Model, Pretrain, Train
from aspgap_jax.errors import InputError
from aspgap_jax.pipeline import Settings
from aspgap_jax.sampling import fold_of
from aspgap_jax.survey.predictions import read_predictions
from aspgap_jax.survey.store import write_training_store
from made_up import made_up_stars

CFG = Config(
    model=Model(
        encoder=(16,),
        latent=8,
        hallucinator=(4,),
        xp_decoder=(8,),
        apogee_decoder=(4,),
        dropout=0.1,
    ),
    data=Data(magnitude_exponent=0.4),
    train=Train(epochs=6, batch_size=64, patience=6),
    pretrain=Pretrain(n_spectra=20, epochs=2, batch_size=8),
    cv=CrossValidation(seeds=2),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "made_up.h5"
    write_training_store(path, made_up_stars())
    return path


@pytest.fixture(scope="module")
def settings(store: Path) -> Settings:
    return Settings(data=str(store), select="usable", folds=True, config=CFG)


@pytest.fixture(scope="module")
def run(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cross-validation."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    pipeline.cross_validate(folder, settings)
    return folder


def test_every_star_is_predicted_by_members_that_have_not_seen_it(
    run: Path, settings: Settings
) -> None:
    predictions = read_predictions(run / "predictions.h5")
    bundle, info = bundles.load_bundle(run)
    stars = made_up_stars()
    assert info.members == tuple(
        crossval.Assignment(0, fold, seed) for fold in (0, 1) for seed in (0, 1)
    )
    np.testing.assert_array_equal(predictions.source_id, stars.source_id)
    np.testing.assert_array_equal(predictions.fold, fold_of(stars.source_id, 2))
    # Members 0 and 1 hold out fold 0. Average them by hand.
    estimate = pipeline.predict_in_batches(bundle, stars.xp, stars.g_mag, CFG)
    rows = predictions.fold == 0
    np.testing.assert_allclose(
        predictions.prediction[rows], estimate.mean[:2, rows].mean(axis=0), rtol=1e-5
    )
    variance = (estimate.sigma[:2, rows] ** 2).mean(axis=0) + estimate.mean[:2, rows].var(axis=0)
    np.testing.assert_allclose(predictions.sigma[rows], np.sqrt(variance), rtol=1e-4)


def test_held_out_stars_have_no_influence(run: Path, settings: Settings, tmp_path: Path) -> None:
    """Spoil the stars of fold 0: the members that hold them out must not change."""
    stars = made_up_stars()
    out = fold_of(stars.source_id, 2) == 0
    stars.xp[out] *= 3.0
    stars.labels[out] = stars.labels[out][::-1]
    write_training_store(tmp_path / "spoilt.h5", stars)
    spoilt = replace(settings, data=str(tmp_path / "spoilt.h5"))
    pipeline.train(tmp_path / "run", spoilt)
    before, _ = bundles.load_bundle(run)
    after, _ = bundles.load_bundle(tmp_path / "run")
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(a[:2], b[:2])
        assert not np.array_equal(a[2:], b[2:])


@pytest.mark.parametrize("where", ["emulation", "training", "after training"])
def test_interrupted_run_ends_like_the_whole_one(
    where: str, run: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "CHECKPOINT_SECONDS", 0.0)
    folder = tmp_path / "run"

    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    def interrupt_epoch_4(epoch: int, *args: object) -> list[dict]:
        if epoch == 4:
            raise KeyboardInterrupt
        return records(epoch, *args)

    records = pipeline.records
    target, name, replacement = {
        "emulation": (pipeline, "emulated_spectra", interrupt),
        "training": (pipeline, "records", interrupt_epoch_4),
        "after training": (bundles, "save_bundle", interrupt),
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(target, name, replacement)
        with pytest.raises(KeyboardInterrupt):
            pipeline.cross_validate(folder, settings)
    assert not (folder / "bundle" / "bundle.json").exists()
    if where == "training":
        # A kill in the middle of a line.
        with (folder / "log.jsonl").open("a") as log:
            log.write('{"epoch": 4, "memb')
    pipeline.cross_validate(folder, settings)

    whole, _ = bundles.load_bundle(run)
    resumed, _ = bundles.load_bundle(folder)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (folder / "log.jsonl").read_text() == (run / "log.jsonl").read_text()


def test_evaluate_writes_all_that_it_names(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run)]) == 0
    printed = capsys.readouterr().out
    for name in (
        "report.html", "predictions.h5", "metrics.json", "catalogue.fits", "catalogue.h5",
        "bundle", "config.json", "log.jsonl",
    ):  # fmt: skip
        assert (run / name).exists()
        assert str(run / name) in printed
    assert {path.stem for path in (run / "figures").iterdir()} == {
        "figure02_training_set", "figure05_one_to_one", "figure06_one_to_one_by_sigma",
        "figure08_chi", "learning_curves",
    }  # fmt: skip
    table = json.loads((run / "metrics.json").read_text())
    assert set(table) == {"all", "g_lt_14"}
    predictions = read_predictions(run / "predictions.h5")
    residual = predictions.prediction[:, 0].astype(float) - predictions.truth[:, 0]
    row = table["all"]["teff"]
    assert set(row) == {"n", "rms", "scatter_mad", "mae", "bias", "outlier_rate", "chi_sigma"}
    np.testing.assert_allclose(row["rms"], np.sqrt((residual**2).mean()), rtol=1e-6)
    assert "emulated" in (run / "report.html").read_text()


def test_train_then_predict(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.json"
    config.write_text(json.dumps(json.loads(pipeline.config.to_json(CFG)) | {"cv": {"seeds": 1}}))
    out = tmp_path / "run"
    train = ["train", "--data", str(store), "--select", "usable", "--out", str(out)]
    assert main([*train, "--config", str(config)]) == 0
    predict = ["predict", str(store), "--bundle", str(out), "--out"]
    assert main([*predict, str(tmp_path / "labels.h5")]) == 0
    predictions = read_predictions(tmp_path / "labels.h5")
    assert (predictions.fold == -1).all()
    assert len(predictions) == len(made_up_stars())
    # Stars that APOGEE has not measured are what prediction is for.
    unknown = made_up_stars(30, seed=1)
    unknown.labels[:20] = np.nan
    unknown.label_error[:20] = np.nan
    write_training_store(tmp_path / "unknown.h5", unknown)
    new = ["predict", str(tmp_path / "unknown.h5"), "--bundle", str(out), "--out"]
    assert main([*new, str(tmp_path / "unknown_labels.h5")]) == 0
    labels = read_predictions(tmp_path / "unknown_labels.h5")
    assert len(labels) == 30
    assert np.isfinite(labels.prediction).all()
    assert main([*predict, str(tmp_path / "labels.fits")]) == 0
    assert (tmp_path / "labels.fits").stat().st_size > 0
    assert main([*predict, str(tmp_path / "labels.txt")]) == 2
    assert "suffix must be .h5" in capsys.readouterr().err


def test_a_store_with_apogee_spectra_pre_trains_on_them(tmp_path: Path) -> None:
    stars = made_up_stars()
    path = tmp_path / "with_spectra.h5"
    write_training_store(path, stars)
    rng = np.random.default_rng(0)
    flux = rng.uniform(0.5, 1.0, (len(stars), N_PIXELS)).astype(np.float32)
    flux[::2] = np.nan  # stars without a spectrum
    flux[:, 7] = np.nan  # a bad pixel
    with h5py.File(path, "a") as file:
        file["spectra"], file["spectra_error"] = flux, np.full_like(flux, 0.01)
    settings = Settings(str(path), "usable", True, CFG)
    # As after a selection: the run's stars are some of the store's, in another order.
    chosen = np.random.default_rng(1).permutation(len(stars))[:700]
    run_stars = stars.where(chosen)
    splits = crossval.all_splits(CFG, folds=True)
    rows = crossval.split_rows(run_stars, CFG, splits)
    at, spectra, what = pipeline.decoder_spectra(tmp_path, settings, run_stars, rows)
    assert what.startswith("real")
    assert spectra.shape == (2, CFG.pretrain.n_spectra, N_PIXELS)
    for split in range(2):
        for label, spectrum in zip(at[split], spectra[split], strict=True):
            star = np.flatnonzero((run_stars.labels == label).all(axis=1)).item()
            assert star in rows[split].fit
            expected = flux[chosen[star]]
            np.testing.assert_array_equal(spectrum, np.where(np.isfinite(expected), expected, 1))
    flux[:] = np.nan
    with h5py.File(path, "a") as file:
        file["spectra"][:] = flux
    with pytest.raises(InputError, match="0 training stars of a fold have an APOGEE spectrum"):
        pipeline.decoder_spectra(tmp_path, settings, run_stars, rows)


def test_a_run_folder_of_another_config(run: Path, settings: Settings, tmp_path: Path) -> None:
    other = replace(settings, config=replace(CFG, train=replace(CFG.train, epochs=7)))
    with pytest.raises(InputError, match=r"config.train.epochs is 6 there and 7 here"):
        pipeline.train(run, other)
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="not empty and no run"):
        pipeline.train(tmp_path, settings)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="no valid JSON"):
        pipeline.train(tmp_path, settings)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "column 5 of xp (1 such) has no finite value: leave it out"),
        (0.0, "column 5 of the training set with zero percentile range"),
    ],
)
def test_a_column_that_says_nothing_is_named(
    value: float, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stars = made_up_stars()
    stars.xp[:, 5] = value
    write_training_store(tmp_path / "stars.h5", stars)
    train = ["train", "--data", str(tmp_path / "stars.h5"), "--select", "usable"]
    assert main([*train, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_corrupt_checkpoint_is_one_clear_line(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "CHECKPOINT_SECONDS", 0.0)

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bundles, "save_bundle", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train(tmp_path / "run", settings)
    for path in (tmp_path / "run" / "checkpoints").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match=r"checkpoint cannot be read .*delete that folder") as info:
        pipeline.train(tmp_path / "run", settings)
    assert "\n" not in str(info.value)


def test_a_corrupt_bundle_is_one_clear_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished bundle there"):
        bundles.load_bundle(tmp_path)
    copy = tmp_path / "bundle"
    shutil.copytree(run / "bundle", copy)
    for path in (copy / "arrays").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="arrays cannot be read") as info:
        bundles.load_bundle(copy)
    assert "\n" not in str(info.value)
    (copy / "bundle.json").write_text("{}")
    with pytest.raises(InputError, match="no valid bundle description"):
        bundles.load_bundle(copy)


def test_spectra_of_another_width_are_refused(run: Path) -> None:
    bundle, info = bundles.load_bundle(run)
    with pytest.raises(InputError, match="takes sampled spectra of 24 values"):
        pipeline.predict_stars(made_up_stars(n_xp=30), bundle, info)


FIVE_LABELS = """
import sys
from dataclasses import replace
from pathlib import Path

from aspgap_jax import labels

# The one row, added before anything else of the package is imported.
labels.LABELS += (
    labels.Label(
        name="c_m", symbol="[C/M]", unit="dex", outlier=labels.Outlier(0.1),
        catalogue="com_xp", description="Carbon abundance", sample="c_m", apogee="C_M",
        limits=(-0.6, 0.6), max_error=0.05, decimals=3,
    ),
)
from aspgap_jax import evaluation, pipeline
from aspgap_jax.config import from_json
from aspgap_jax.survey.store import write_training_store
from made_up import made_up_stars

folder = Path(sys.argv[1])
write_training_store(folder / "five.h5", made_up_stars())
settings = pipeline.Settings(str(folder / "five.h5"), "usable", True, from_json(sys.argv[2]))
predictions = pipeline.cross_validate(folder / "run", settings)
print(predictions.prediction.shape)
print(evaluation.evaluate(folder / "run"))
"""


def test_another_label_is_one_row_and_no_other_change(tmp_path: Path) -> None:
    cfg = replace(CFG, cv=CrossValidation(), train=replace(CFG.train, epochs=2))
    done = subprocess.run(
        [sys.executable, "-c", FIVE_LABELS, str(tmp_path), pipeline.config.to_json(cfg)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"({len(made_up_stars())}, 5)" in done.stdout
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert list(metrics["all"]) == ["teff", "logg", "m_h", "alpha_m", "c_m"]
    with h5py.File(tmp_path / "run" / "catalogue.h5") as file:
        assert {"com_xp", "e_com_xp"} <= set(file)
