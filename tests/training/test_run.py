"""A whole run on made-up stars: its folder, its interruptions, its errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
from astropy.table import Table

from aspgap_jax import labels, synthesis
from aspgap_jax.apstar import N_PIXELS, in_chips
from aspgap_jax.catalogue.predictions import read_predictions
from aspgap_jax.cli import main
from aspgap_jax.config import (
    CrossValidation,
    Execution,
    to_json,
)
from aspgap_jax.errors import InputError
from aspgap_jax.prediction.bundle import load_bundle, load_networks
from aspgap_jax.preprocessing import folds
from aspgap_jax.preprocessing.folds import fold_of
from aspgap_jax.survey.store import write_training_store
from aspgap_jax.training import log, loop
from aspgap_jax.training import run as running
from aspgap_jax.training.run import Settings, cross_validate, decoder_spectra, train
from aspgap_jax.training.spectra_batches import training_count
from aspgap_jax.training.step import EpochSummary, TrainState
from support.bundles import mixture, predicted_by_hand
from support.cannon_files import made_up_cannon
from support.made_up import made_up_stars, quick_spectra
from support.tiny import TINY

CFG = replace(
    TINY,
    model=replace(TINY.model, hallucinator=(4,), xp_decoder=(8,), apogee_decoder=(4,)),
    pretrain=replace(TINY.pretrain, n_spectra=20),
    cv=CrossValidation(seeds=2),
)
ALWAYS = Execution(devices=1, checkpoint_seconds=0.0)
"""Save after every epoch."""


@pytest.fixture(scope="module", autouse=True)
def quick_synthesis() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "synthesize_in_batches", quick_spectra)
        yield


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
    cross_validate(folder, settings, ALWAYS)
    return folder


def test_every_star_is_predicted_by_members_that_have_not_seen_it(
    run: Path, settings: Settings
) -> None:
    predictions = read_predictions(run / "predictions.h5")
    networks, info = load_networks(run)
    stars = made_up_stars()
    assert info.members == tuple(
        folds.Assignment(0, fold, seed) for fold in (0, 1) for seed in (0, 1)
    )
    np.testing.assert_array_equal(predictions.source_id, stars.source_id)
    np.testing.assert_array_equal(predictions.fold, fold_of(stars.source_id, 2))
    # Members 0 and 1 hold out fold 0. Average them by hand.
    members = predicted_by_hand(networks, stars.xp, stars.g_mag, CFG)
    fold = predictions.fold
    use = np.stack([fold == 0, fold == 0, fold == 1, fold == 1])
    mean, sigma = mixture(*members, use)
    scale = stars.labels.std(axis=0)
    np.testing.assert_allclose(predictions.prediction / scale, mean / scale, atol=1e-5)
    raw = np.hypot(predictions.aleatoric, predictions.epistemic)
    np.testing.assert_allclose(raw, sigma, rtol=1e-3)
    # Calibrated: about as wide as the residuals are. The networks of the two folds have hardly
    # been trained, and what fits the residuals of one fits those of the other by and large.
    chi = (mean - stars.labels) / np.hypot(predictions.sigma, stars.label_error)
    np.testing.assert_allclose(np.sqrt(np.square(chi).mean(axis=0)), 1.0, atol=0.45)
    assert 0 < (predictions.flags > 0).mean() < 0.1


def test_held_out_stars_have_no_influence(run: Path, settings: Settings, tmp_path: Path) -> None:
    """Spoil the stars of fold 0: the members that hold them out must not change."""
    stars = made_up_stars()
    out = fold_of(stars.source_id, 2) == 0
    stars.xp[out] *= 3.0
    stars.labels[out] = stars.labels[out][::-1]
    write_training_store(tmp_path / "spoilt.h5", stars)
    spoilt = replace(settings, data=str(tmp_path / "spoilt.h5"))
    train(tmp_path / "run", spoilt, ALWAYS)
    trained = [load_networks(folder)[0] for folder in (run, tmp_path / "run")]
    for a, b in zip(*map(jax.tree.leaves, trained), strict=True):
        np.testing.assert_array_equal(a[:2], b[:2])
        assert not np.array_equal(a[2:], b[2:])


@pytest.mark.parametrize("where", ["emulation", "pre-training", "training", "after training"])
def test_interrupted_run_ends_like_the_whole_one(
    where: str, run: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    def interrupt_epoch_4(epoch: int, *args: object) -> list[dict]:
        if epoch == 4:
            raise KeyboardInterrupt
        return records(epoch, *args)

    def interrupt_before_training(*args: object, **kwargs: object) -> None:
        # With the pre-training's checkpoints on disk.
        assert (folder / "checkpoints" / "pretraining" / "2").is_dir()
        raise KeyboardInterrupt

    records = log.records
    target, name, replacement = {
        "emulation": (running, "emulated_spectra", interrupt),
        "pre-training": (running, "decoder_precision", interrupt_before_training),
        "training": (log, "records", interrupt_epoch_4),
        "after training": (running, "save_bundle", interrupt),
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(target, name, replacement)
        with pytest.raises(KeyboardInterrupt):
            cross_validate(folder, settings, ALWAYS)
    assert not (folder / "bundle" / "bundle.json").exists()
    if where == "training":
        # A kill in the middle of a line.
        with (folder / "log.jsonl").open("a") as file:
            file.write('{"epoch": 4, "memb')
    cross_validate(folder, settings, ALWAYS)

    whole, _ = load_bundle(run)
    resumed, _ = load_bundle(folder)
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


def test_stars_that_lack_labels_train_what_they_have(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half lack [alpha/M], one in ten everything but Teff: all are kept, predicted and scored."""
    stars = made_up_stars()
    truth = stars.labels.copy()
    truth[::2, 3] = np.nan
    truth[::10, 1:] = np.nan
    path = tmp_path / "gaps.h5"
    write_training_store(path, replace(stars, labels=truth))
    kept = replace(CFG, data=replace(CFG.data, missing_labels="keep"))
    found = cross_validate(tmp_path / "run", replace(settings, data=str(path), config=kept), ALWAYS)
    assert len(found.prediction) == len(stars)
    assert np.isfinite(found.prediction).all()
    assert np.isfinite(found.sigma).all()
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    table = json.loads((tmp_path / "run" / "metrics.json").read_text())["all"]
    assert [table[name]["n"] for name in labels.names()] == [800, 720, 720, 400]
    # Chi of labels that the networks have not seen, of stars without the others.
    assert 0.5 < table["alpha_m"]["chi_sigma"] < 2.0
    truth[40:, 3] = np.nan
    write_training_store(path, replace(stars, labels=truth))
    with pytest.raises(InputError, match="have alpha_m, at least 20 are needed"):
        train(tmp_path / "other", replace(settings, data=str(path), config=kept), ALWAYS)


def test_train_then_predict(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.json"
    config.write_text(json.dumps(json.loads(to_json(CFG)) | {"cv": {"seeds": 1}}))
    out = tmp_path / "run"
    command = ["train", "--data", str(store), "--select", "usable", "--out", str(out)]
    command += ["--devices", "1"]
    assert main([*command, "--config", str(config)]) == 0
    # Stars that APOGEE has not measured are what prediction is for.
    unknown = made_up_stars(30, seed=1)
    unknown.labels[:20] = np.nan
    unknown.label_error[:20] = np.nan
    write_training_store(tmp_path / "unknown.h5", unknown)
    labels = tmp_path / "labels"
    predict = ["predict", str(store), str(tmp_path / "unknown.h5"), "--batch-size", "64"]
    assert main([*predict, "--bundle", str(out), "--out", str(labels)]) == 0
    assert "830 rows read: 830 predicted" in capsys.readouterr().out
    table = Table.read(labels / "unknown.h5.parquet", format="parquet")
    np.testing.assert_array_equal(table["source_id"], unknown.source_id)
    assert np.isfinite(table["teff_xp"]).all()
    assert main(["catalogue", str(labels), "--out", str(tmp_path / "labels.h5")]) == 0
    with h5py.File(tmp_path / "labels.h5") as file:
        assert len(file["teff_xp"]) == len(np.unique(made_up_stars().source_id)) + 30


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
    splits = folds.all_splits(CFG, folds=True)
    rows = folds.split_rows(run_stars, CFG, splits)
    found = decoder_spectra(tmp_path, settings, run_stars, rows)
    assert found.what.startswith("real")
    assert found.shape == (2, CFG.pretrain.n_spectra, N_PIXELS)
    n_train = training_count(CFG.pretrain.n_spectra)
    spectra = found.read([(0, n_train), (n_train, CFG.pretrain.n_spectra)])
    for split in range(2):
        for label, spectrum in zip(found.labels[split], spectra[split], strict=True):
            star = np.flatnonzero((run_stars.labels == label).all(axis=1)).item()
            assert star in rows[split].fit
            expected = flux[chosen[star]]
            np.testing.assert_array_equal(spectrum, np.where(np.isfinite(expected), expected, 1))
    flux[:] = np.nan
    with h5py.File(path, "a") as file:
        file["spectra"][:] = flux
    with pytest.raises(InputError, match="0 training stars of a fold have an APOGEE spectrum"):
        decoder_spectra(tmp_path, settings, run_stars, rows)


def test_a_run_folder_of_another_config(run: Path, settings: Settings, tmp_path: Path) -> None:
    other = replace(settings, config=replace(CFG, train=replace(CFG.train, epochs=7)))
    with pytest.raises(InputError, match=r"config.train.epochs is 6 there and 7 here"):
        train(run, other, ALWAYS)
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="not empty and no run"):
        train(tmp_path, settings, ALWAYS)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="no valid JSON"):
        train(tmp_path, settings, ALWAYS)


def test_a_start_that_fails_blocks_nothing(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stars = made_up_stars()
    assert "snr" in stars.columns
    bare = tmp_path / "bare.h5"
    write_training_store(bare, replace(stars, columns={}))
    folder = tmp_path / "run"
    for command, wrong, message in (
        ("train", ["--select", "giants"], "bare.h5 does not have"),
        ("crossval", ["--select", "table_1"], "needs the column snr"),
        (
            "crossval",
            ["--select", "usable", "--data.validation-fraction", "0.0001"],
            "are needed: pass more stars",
        ),
        ("train", ["--select", "usable", "--devices", "7"], "7 devices asked for"),
    ):
        assert main([command, "--data", str(bare), "--out", str(folder), *wrong]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (folder / "config.json").exists()
    # Killed where the settings were written and nothing was done: they may change.
    running.keep_settings(folder, replace(settings, select="giants"))
    _, _, used = train(folder, replace(settings, data=str(bare)), ALWAYS)
    assert len(used) == len(stars)
    assert json.loads((folder / "config.json").read_text())["select"] == "usable"
    with pytest.raises(InputError, match="select is usable there and giants here"):
        train(folder, replace(settings, data=str(bare), select="giants"), ALWAYS)


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
    command = ["train", "--data", str(tmp_path / "stars.h5"), "--select", "usable"]
    command += ["--preset", "compact"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_corrupt_checkpoint_is_one_clear_line(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running, "save_bundle", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", settings, ALWAYS)
    for path in (tmp_path / "run" / "checkpoints" / "training").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match=r"checkpoint cannot be read .*delete that folder") as info:
        train(tmp_path / "run", settings, ALWAYS)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(("first", "then"), [(1, 4), (4, 1)])
def test_a_run_goes_on_with_another_number_of_devices(
    first: int, then: int, run: Path, settings: Settings, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def interrupt_epoch_4(epoch: int, *args: object) -> list[dict]:
        if epoch == 4:
            raise KeyboardInterrupt
        return records(epoch, *args)

    records = log.records
    with monkeypatch.context() as patch:
        patch.setattr(log, "records", interrupt_epoch_4)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", settings, replace(ALWAYS, devices=first))
    train(tmp_path / "run", settings, replace(ALWAYS, devices=then))
    trained = [load_networks(folder)[0] for folder in (run, tmp_path / "run")]
    for a, b in zip(*map(jax.tree.leaves, trained), strict=True):
        # Not one by one: Adam makes much of the rounding of a gradient that is near zero.
        assert np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(b)
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines[::4]] == [1, 2, 3, 4, 5, 6]


def test_of_a_training_that_diverges_the_last_good_state_is_kept(
    run: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*args: object, after_epoch: Callable, **more: object) -> None:
        def stop_in_epoch_3(epoch: int, states: TrainState, summary: EpochSummary) -> None:
            after_epoch(epoch, states, summary)
            if int(states.epoch.max()) == 2:
                raise loop.Diverged("epoch 3: kl (member 1) not finite", states, 3)

        fit(*args, after_epoch=stop_in_epoch_3, **more)

    fit = loop.fit
    folder, rarely = tmp_path / "run", replace(ALWAYS, checkpoint_seconds=1e6)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "fit", diverge)
        with pytest.raises(InputError, match="epoch 3"):
            train(folder, settings, rarely)
    assert [path.name for path in (folder / "checkpoints" / "training").iterdir()] == ["2"]
    assert not (folder / "bundle").exists()
    # The state is good: from there the run ends as ever.
    train(folder, settings, rarely)
    whole, resumed = (load_bundle(path)[0] for path in (run, folder))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_corrupt_bundle_is_one_clear_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished bundle there"):
        load_bundle(tmp_path)
    copy = tmp_path / "bundle"
    shutil.copytree(run / "bundle", copy)
    for path in (copy / "arrays").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="arrays cannot be read") as info:
        load_bundle(copy)
    assert "\n" not in str(info.value)
    (copy / "bundle.json").write_text("{}")
    with pytest.raises(InputError, match="no valid bundle description"):
        load_bundle(copy)


def test_a_run_with_a_basis_and_a_cannon(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The basis is in the networks of the bundle, and hallucinated spectra are made of it."""
    cfg = replace(CFG, model=replace(CFG.model, hallucinator_basis=2), cv=CrossValidation())
    cfg = replace(cfg, train=replace(cfg.train, epochs=2), loss=replace(cfg.loss, prior=0.1))
    file = made_up_cannon(tmp_path / "cannon.npz", training_labels=made_up_stars().labels)
    (tmp_path / "config.json").write_text(to_json(cfg), encoding="utf-8")
    command = ["crossval", "--data", str(store), "--select", "usable"]
    command += ["--config", str(tmp_path / "config.json"), "--out", str(tmp_path / "run")]
    assert main([*command, "--decoder-spectra", str(file)]) == 0
    said = capsys.readouterr().out
    assert "of the 40 labels for emulated spectra were outside of the Cannon's box" in said
    assert "pre-trained on spectra emulated by a Cannon of real spectra" in said
    networks, info = load_networks(tmp_path / "run")
    assert info.apogee_spectra.startswith("spectra emulated by a Cannon of real spectra")
    vectors = networks.decoder["basis"]["vectors"]
    assert vectors.shape == (2, 2, N_PIXELS)
    assert not vectors[..., ~in_chips].any()
    assert networks.params.hallucinator["params"]["Dense_1"]["bias"].shape == (2, 2)
    assert main([*command, "--decoder-spectra", str(tmp_path / "no.npz")]) == 2
    assert main(command) == 2
    assert "decoder_spectra is" in capsys.readouterr().err
