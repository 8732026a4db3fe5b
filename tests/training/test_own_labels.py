"""Networks for other labels than the paper's: trained, kept, loaded, used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from astropy.table import Table

from aspgap_jax import labels, synthesis
from aspgap_jax.catalogue.predictions import read_predictions
from aspgap_jax.cli import main
from aspgap_jax.config import Config, to_json
from aspgap_jax.prediction.bundle import load_bundle, load_networks
from aspgap_jax.prediction.predictor import Predictor
from aspgap_jax.suite.study import Missing, open_inputs
from aspgap_jax.survey.store import write_training_store
from support.made_up import made_up_stars, quick_spectra
from support.tiny import TINY

CFG = replace(TINY, train=replace(TINY.train, epochs=2), data=replace(TINY.data))
OWN = '[age]\nunit = "Gyr"\noutlier = 2.0\nerror = 0.5\ndescription = "Age"\n'


@pytest.fixture(scope="module", autouse=True)
def quick_synthesis() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "synthesize_in_batches", quick_spectra)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose stars have ages too, a few unknown; the settings; the label table."""
    folder = tmp_path_factory.mktemp("own")
    stars = made_up_stars()
    age = (5.0 + 10.0 * stars.labels[:, 3]).astype(np.float32)
    age[::9] = np.nan
    store = replace(stars, columns={**stars.columns, "age": age})
    write_training_store(folder / "stars.h5", store)
    (folder / "own.toml").write_text(OWN)
    (folder / "settings.json").write_text(to_json(CFG))
    return folder


def crossval(folder: Path, out: str, names: str, *more: str) -> Path:
    words = ["crossval", "--out", str(folder / out), "--data", str(folder / "stars.h5")]
    words += ["--labels", names, "--label-table", str(folder / "own.toml")]
    words += ["--config", str(folder / "settings.json"), "--select", "usable", *more]
    assert main(words) == 0
    return folder / out


def test_a_fifth_label_from_the_store_to_the_catalogue(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = "teff,logg,age,m_h,alpha_m"
    run = crossval(folder, "five", names, "--data.missing-labels", "keep")
    printed = capsys.readouterr()
    assert "age: trained by the XP branch alone" in printed.out + printed.err
    _, info = load_bundle(run)
    assert ",".join(info.label_names) == names
    assert info.config.labels[2].unit == "Gyr"
    assert info.config.taught == ("teff", "logg", "m_h", "alpha_m")
    found = read_predictions(run / "predictions.h5")
    assert found.label_table == info.config.labels
    assert np.isnan(found.truth[:, 2]).sum() == 89
    assert np.isfinite(found.prediction).all()

    assert main(["evaluate", str(run)]) == 0
    metrics = json.loads((run / "metrics.json").read_text())["all"]
    assert {name: row["n"] for name, row in metrics.items()} == dict.fromkeys(
        names.split(","), 800
    ) | {"age": 711}
    catalogue = Table.read(run / "catalogue.fits")
    assert str(catalogue["e_age_xp"].unit) == "Gyr"
    np.testing.assert_array_equal(catalogue["age_xp"], found.prediction[:, 2])

    stars = made_up_stars()
    predicted = Predictor(run).arrays(
        stars.xp[:3], stars.xp_error[:3], g_mag=stars.g_mag[:3], representation="sampled"
    )
    assert str(predicted["age_xp"].unit) == "Gyr"
    assert "moh_xp" in predicted.colnames
    assert np.isfinite(predicted["age_xp"]).all()

    # What judges the paper's claims does so for its labels, without what needs their networks.
    inputs = open_inputs(run)
    assert inputs.predictions.label_table == labels.LABELS
    np.testing.assert_array_equal(inputs.predictions.truth, found.truth[:, [0, 1, 3, 4]])
    np.testing.assert_array_equal(inputs.stars.labels, inputs.predictions.truth)
    with pytest.raises(Missing, match="and no further labels"):
        _ = inputs.networks


def test_labels_without_the_papers_four_train_the_xp_branch_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = crossval(folder, "two", "age,teff")
    assert not (run / "emulated_spectra.h5").exists()
    networks, info = load_networks(run)
    assert info.config.taught == ()
    assert info.config.model.n_labels == 2
    assert info.apogee_spectra.startswith("nothing")
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert all(row["train_branch"] == 0.0 for row in log)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(networks.decoder))
    found = read_predictions(run / "predictions.h5")
    assert labels.names(found.label_table) == ("age", "teff")
    assert len(found) == 711
    assert main(["evaluate", str(run)]) == 0
    capsys.readouterr()
    assert main(["validate", str(run)]) == 2
    assert "has no logg, m_h, alpha_m: what is judged here" in capsys.readouterr().err
    assert main(["train", "--out", str(folder / "x"), "--labels", "teff,mg_fe", "--data",
                 str(folder / "stars.h5"), "--select", "usable"]) == 2  # fmt: skip
    assert "stars.h5: no column mg_fe: leave that label out" in capsys.readouterr().err


def test_a_config_whose_networks_do_not_fit_its_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="n_labels is 4 and there are 3 labels"):
        Config(labels=labels.LABELS[:3])
    with pytest.raises(ValueError, match="taught has age, which are no labels"):
        Config(taught=("age",))
