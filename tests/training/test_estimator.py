"""``fit``, ``predict``, ``save``, ``load``: the run of ``aspgap train`` on the same stars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

import aspgap_jax as ag
from aspgap_jax import labels
from aspgap_jax.prediction.bundle import load_bundle
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.store import write_training_store
from aspgap_jax.training.run import Settings, train
from support.made_up import made_up_stars
from support.tiny import TINY

CFG = replace(TINY, train=replace(TINY.train, epochs=2))


def made() -> TrainingSet:
    stars = made_up_stars(500, n_xp=343)
    return replace(stars, wavelength=np.arange(336.0, 1021.0, 2.0))


def table_of(stars: TrainingSet) -> Table:
    table = Table(
        {
            "SOURCE_ID": stars.source_id.astype(str),
            "flux": stars.xp,
            "flux_error": stars.xp_error,
            "phot_g_mean_mag": stars.g_mag,
            "snr": stars.columns["snr"],
        }
    )
    for row, values, errors in zip(labels.LABELS, stars.labels.T, stars.label_error.T, strict=True):
        table[row.apogee] = values
        table[f"{row.name}_err"] = errors
    table["TEFF"].unit = "K"
    table["LOGG"].unit = "dex(cm / s2)"
    return table


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ag.AspGap:
    return ag.fit(table_of(made()), config=CFG, out=tmp_path_factory.mktemp("fit") / "run")


def test_it_is_the_run_of_aspgap_train(model: ag.AspGap, tmp_path: Path) -> None:
    write_training_store(tmp_path / "stars.h5", made())
    expected, info, _ = train(
        tmp_path / "run", Settings(str(tmp_path / "stars.h5"), "usable", False, CFG)
    )
    found, same_info = load_bundle(model.bundle)
    assert same_info == info
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_predict_save_and_load(model: ag.AspGap, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "source_id": made().source_id[:3],
            "flux": list(made().xp[:3]),
            "flux_error": list(made().xp_error[:3]),
        }
    )
    found = model.predict(frame)
    assert isinstance(found, pd.DataFrame)
    assert np.isfinite(found["teff_xp"]).all()
    model.save(tmp_path / "bundle")
    again = ag.AspGap.load(tmp_path / "bundle")
    pd.testing.assert_frame_equal(again.predict(frame), found)
    pd.testing.assert_frame_equal(ag.Predictor(tmp_path / "bundle")(frame), found)
    assert "2 networks" in repr(again) or "1 networks" in repr(again)
    with pytest.raises(ag.InputError, match="something is there"):
        model.save(tmp_path / "bundle")


def test_arrays_give_what_the_table_gives(model: ag.AspGap) -> None:
    stars = made()
    other = ag.AspGap(config=CFG).fit(
        stars.xp,
        pd.DataFrame(dict(zip(labels.names(), stars.labels.T, strict=True))),
        xp_error=stars.xp_error,
        y_error=stars.label_error,
        g_mag=stars.g_mag,
        source_id=stars.source_id,
    )
    for a, b in zip(
        jax.tree.leaves(load_bundle(other.bundle)[0]),
        jax.tree.leaves(load_bundle(model.bundle)[0]),
        strict=True,
    ):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    folder = other.bundle
    assert folder is not None
    del other
    assert not folder.exists()


def test_a_finished_run_is_opened(model: ag.AspGap, small_run: Path) -> None:
    assert model.bundle is not None
    run = ag.load_run(model.bundle.parent)
    assert run.labels == labels.names()
    assert run.config == CFG
    assert "trained on all stars" in repr(run)
    assert len(run.stars) == 500
    with pytest.raises(ag.InputError, match="no out-of-fold predictions"):
        _ = run.predictions
    with pytest.raises(ag.InputError, match=r"metrics\.json: no such file"):
        _ = run.metrics
    crossed = ag.load_run(small_run)
    found = crossed.predictions
    assert len(found) == len(crossed.stars)
    rows = np.argsort(crossed.stars.source_id)
    table = found[np.argsort(found["source_id"])]
    np.testing.assert_array_equal(table["teff"], crossed.stars.labels[rows, 0])
    assert str(table["e_teff_xp"].unit) == "K"
    assert set(table["fold"]) == {0, 1}
    assert crossed.networks.scalers.labels.centre.shape[0] == len(crossed.info.members)
    assert "cross-validated in 2 folds" in repr(crossed)
    with pytest.raises(ag.InputError, match="pass the folder of a run"):
        ag.load_run(small_run.parent)


def test_what_cannot_be_trained_on_is_one_line(tmp_path: Path, model: ag.AspGap) -> None:
    table = table_of(made())[:5]
    with pytest.raises(ag.InputError, match="no preset 'best_'"):
        ag.fit(table, preset="best_")
    with pytest.raises(ag.InputError, match="no selection 'all'"):
        ag.AspGap(select="all")
    with pytest.raises(ag.InputError, match="nothing is trained yet"):
        ag.AspGap().predict(table)
    table.remove_column("LOGG")
    with pytest.raises(ag.InputError, match=r"no column logg \[dex\]; pass the labels"):
        ag.fit(table)
    table = table_of(made())[:5]
    table["TEFF"].unit = "m"
    with pytest.raises(ag.InputError, match="TEFF is in m; pass it in K"):
        ag.fit(table)
    table = table_of(made())[:5]
    with pytest.raises(ag.InputError, match=r"y has the shape \(5, 3\); pass 5 rows of teff, logg"):
        ag.fit(table, np.ones((5, 3)))
    with pytest.raises(ag.InputError, match="the labels: have 4 rows, the spectra 5"):
        ag.fit(table, table[:4])
    with pytest.raises(ag.InputError, match="g_mag is missing"):
        ag.fit(np.ones((5, 343)), np.ones((5, 4)), xp_error=np.ones((5, 343)), y_error=[1, 1, 1, 1])
    assert model.bundle is not None
    with pytest.raises(ag.InputError, match="holds a run on other stars"):
        ag.fit(table_of(made())[:50], config=CFG, out=model.bundle.parent)


def test_rows_that_are_lost_are_told(model: ag.AspGap) -> None:
    from aspgap_jax.training.stars_given import stars_of_table

    table = table_of(made())[:6]
    table["SOURCE_ID"][1] = "x"
    table["SOURCE_ID"][4] = table["SOURCE_ID"][3]
    table["TEFF"][2] = -9999.0
    found = stars_of_table(table)
    assert found.stars.source_id.tolist() == [int(table["SOURCE_ID"][n]) for n in (0, 2, 3, 5)]
    np.testing.assert_array_equal(np.isnan(found.stars.labels[:, 0]), [False, True, False, False])
    np.testing.assert_array_equal(found.stars.labels[3], made().labels[5])
    assert found.notes == (
        "the table: 1 of 6 rows are left out; the first: row 2: source_id is 'x', not a positive "
        "integer",
        "the table: TEFF is 1 times -9999, which stand for missing values",
        "the table: 1 rows of stars that were there already are left out",
    )
    # Errors of one number a label, and another unit of a label.
    table = table_of(made())[:6]
    table["TEFF"] = table["TEFF"] / 1000
    table["TEFF"].unit = "kK"
    given = stars_of_table(table, y_error=[50.0, 0.1, 0.05, 0.03])
    np.testing.assert_allclose(given.stars.labels, made().labels[:6], rtol=1e-6)
    np.testing.assert_array_equal(given.stars.label_error[4], np.float32([50.0, 0.1, 0.05, 0.03]))


def test_the_labels_are_those_of_the_config() -> None:
    from aspgap_jax.training.stars_given import stars_of_table

    carbon = next(row for row in labels.KNOWN if row.name == "c_fe")
    wanted = (replace(carbon, error=0.05), labels.LABELS[0])
    table = table_of(made())[:6]
    table["C_FE"] = np.linspace(-0.2, 0.3, 6)
    given = stars_of_table(table, wanted=wanted).stars
    assert given.label_table == wanted
    np.testing.assert_allclose(given.labels[:, 0], np.linspace(-0.2, 0.3, 6), rtol=1e-6)
    np.testing.assert_array_equal(given.labels[:, 1], made().labels[:6, 0])
    # One error for all stars, where the label table states it and the stars do not.
    np.testing.assert_array_equal(given.label_error[:, 0], np.full(6, np.float32(0.05)))
    np.testing.assert_array_equal(given.label_error[:, 1], made().label_error[:6, 0])
