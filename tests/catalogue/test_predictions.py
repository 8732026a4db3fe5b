"""The predictions file gives back what was written, and explains what it cannot read."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from aspgap_jax.catalogue.predictions import Predictions, read_predictions, write_predictions
from aspgap_jax.errors import InputError
from aspgap_jax.labels import LABELS


@pytest.fixture
def predictions() -> Predictions:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(5, len(LABELS))).astype(np.float32)
    truth[1, 2] = np.nan
    return Predictions(
        source_id=np.arange(5) + 6_917_528_997_577_384_321,
        fold=np.array([0, 1, 0, 1, -1], np.int8),
        prediction=rng.normal(size=truth.shape).astype(np.float32),
        sigma=rng.uniform(size=truth.shape).astype(np.float32),
        aleatoric=rng.uniform(size=truth.shape).astype(np.float32),
        epistemic=rng.uniform(size=truth.shape).astype(np.float32),
        flags=np.array([0, 1, 2**13, 5, 0], np.int32),
        truth=truth,
        truth_error=np.full_like(truth, 0.02),
        g_mag=rng.uniform(9, 17, size=5).astype(np.float32),
        columns={"snr": np.arange(5.0), "apogee_id": np.array([f"2M{i}" for i in range(5)])},
    )


def test_round_trip_is_exact(tmp_path: Path, predictions: Predictions) -> None:
    path = tmp_path / "predictions.h5"
    write_predictions(path, predictions)
    again = read_predictions(path)
    for name in (
        "source_id", "fold", "prediction", "sigma", "aleatoric", "epistemic", "flags", "truth",
        "truth_error", "g_mag",
    ):  # fmt: skip
        np.testing.assert_array_equal(getattr(again, name), getattr(predictions, name))
    np.testing.assert_array_equal(again.columns["snr"], np.arange(5.0))
    assert again.columns["apogee_id"].tolist() == [b"2M0", b"2M1", b"2M2", b"2M3", b"2M4"]


def test_the_file_says_what_it_is(tmp_path: Path, predictions: Predictions) -> None:
    path = tmp_path / "predictions.h5"
    # Wider types than the layout promises.
    wide = dataclasses.replace(
        predictions, prediction=predictions.prediction.astype(np.float64), columns={}
    )
    write_predictions(path, wide)
    with h5py.File(path) as file:
        assert file.attrs["format"] == "aspgap predictions"
        assert file.attrs["format_version"] == 2
        assert list(file.attrs["label_names"]) == ["teff", "logg", "m_h", "alpha_m"]
        assert file["sigma"].attrs["unit"] == "K, dex, dex, dex"
        assert file["g_mag"].attrs["unit"] == "mag"
        assert file["flags"].attrs["unit"] == ""
        assert file["flags"].dtype == np.int32
        assert file["prediction"].dtype == np.float32
        assert file["fold"].dtype == np.int16
        assert file["source_id"].dtype == np.int64
    assert read_predictions(path).columns == {}


def test_where_keeps_the_rows_of_every_column(predictions: Predictions) -> None:
    some = predictions.where(predictions.fold == 1)
    assert len(some) == 2
    np.testing.assert_array_equal(some.sigma, predictions.sigma[[1, 3]])
    assert some.columns["snr"].tolist() == [1.0, 3.0]


def test_arrays_must_agree(predictions: Predictions) -> None:
    with pytest.raises(ValueError, match="column snr has 4 rows for 5 stars"):
        dataclasses.replace(predictions, columns={"snr": np.arange(4.0)})
    # The label axis agrees among the arrays, and not with the label table.
    three = {
        name: getattr(predictions, name)[:, :3]
        for name in ("prediction", "sigma", "aleatoric", "epistemic", "truth", "truth_error")
    }
    with pytest.raises(ValueError, match=r"prediction must have the shape \(5, 4\)"):
        dataclasses.replace(predictions, **three)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.h5: no readable HDF5 file") as caught:
        read_predictions(tmp_path / "absent.h5")
    assert "\n" not in str(caught.value)


def test_not_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "text.h5"
    path.write_text("teff,logg\n")
    with pytest.raises(InputError, match="no readable HDF5 file"):
        read_predictions(path)


def test_another_kind_of_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(3)
    with pytest.raises(InputError, match="not an aspgap predictions file"):
        read_predictions(path)


def test_another_version(tmp_path: Path, predictions: Predictions) -> None:
    path = tmp_path / "predictions.h5"
    write_predictions(path, predictions)
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 1
    cure = "of version 1, this release reads version 2; write it again with `aspgap crossval`"
    with pytest.raises(InputError, match=cure) as caught:
        read_predictions(path)
    assert "\n" not in str(caught.value)


def test_own_labels_are_carried_by_the_file(tmp_path: Path, predictions: Predictions) -> None:
    table = (*LABELS[1:], replace(LABELS[0], name="age", unit="Gyr", catalogue="age_xp"))
    own = replace(predictions, label_table=table)
    path = tmp_path / "predictions.h5"
    write_predictions(path, own)
    with h5py.File(path) as file:
        assert file["sigma"].attrs["unit"] == "dex, dex, dex, Gyr"
    found = read_predictions(path)
    assert found.label_table == table
    two = found.only((table[3], table[0]))
    assert two.label_table == (table[3], table[0])
    np.testing.assert_array_equal(two.truth, predictions.truth[:, [3, 0]])
    assert two.sigma.shape == (len(predictions), 2)
    with h5py.File(path, "a") as file:
        del file.attrs["label_table"]
    with pytest.raises(InputError, match="labels logg, m_h, alpha_m, age and does not say what"):
        read_predictions(path)
