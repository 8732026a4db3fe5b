from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from aspgap_jax import labels, synthesis
from aspgap_jax.apstar import N_PIXELS, in_chips
from aspgap_jax.config import Pretrain
from aspgap_jax.errors import InputError
from aspgap_jax.survey.cannon import cannon_spectra, load_cannon
from aspgap_jax.training import decoder_spectra
from aspgap_jax.training.decoder_spectra import (
    CANNON,
    EMULATED,
    REAL,
    cannon_emulated,
    draw_labels,
    emulated_spectra,
    real_spectra,
)
from aspgap_jax.training.spectra_batches import training_count
from support.cannon_files import made_up_cannon

N_ROWS = 240


@pytest.fixture(scope="module")
def flux() -> np.ndarray:
    """Of a store: every third star has no spectrum, and pixel 7 is bad."""
    flux = np.random.default_rng(0).uniform(0.5, 1.0, (N_ROWS, N_PIXELS)).astype(np.float32)
    flux[::3] = np.nan
    flux[:, 7] = np.nan
    return flux


@pytest.fixture(scope="module")
def store(flux: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spectra") / "store.h5"
    with h5py.File(path, "w") as file:
        file["spectra"] = flux
    return path


def test_real_spectra_are_those_of_the_training_stars(store: Path, flux: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    # A run of 200 of the store's stars, in another order.
    row_of = rng.permutation(N_ROWS)[:200]
    truth = rng.normal(size=(200, 4)).astype(np.float32)
    candidates = [np.arange(0, 200, 2), np.arange(1, 200, 2)]
    count = 40
    spectra = real_spectra(store, row_of, truth, candidates, count, seed=0)
    assert spectra.what == REAL
    assert spectra.shape == (2, count, N_PIXELS)
    n_train = training_count(count)
    read = spectra.read([(0, 10), (10, 11), (25, n_train), (n_train, count)])
    at = np.r_[0:11, 25:count]
    for split in range(2):
        rows = spectra.rows[split]
        assert len(set(rows)) == count
        assert (rows % 3 != 0).all(), "stars without a spectrum are not drawn"
        assert (np.diff(rows[:n_train]) > 0).all()
        assert (np.diff(rows[n_train:]) > 0).all()
        stars = [np.flatnonzero(row_of == row).item() for row in rows]
        assert set(stars) <= set(candidates[split])
        np.testing.assert_array_equal(spectra.labels[split], truth[stars])
        expected = np.where(np.isfinite(flux[rows[at]]), flux[rows[at]], 1.0)
        np.testing.assert_array_equal(read[split], expected)
    again = real_spectra(store, row_of, truth, candidates, count, seed=0)
    np.testing.assert_array_equal(again.rows, spectra.rows)
    other = real_spectra(store, row_of, truth, candidates, count, seed=1)
    assert not np.array_equal(other.rows, spectra.rows)


def test_held_out_spectra_are_a_random_tenth(store: Path) -> None:
    """And not the last ones of the store, which may be of one part of the sky."""
    everyone = np.arange(N_ROWS)
    truth = np.zeros((N_ROWS, 4), np.float32)
    spectra = real_spectra(store, everyone, truth, [everyone], 160, seed=3)
    held_out = spectra.rows[0, training_count(160) :]
    assert len(held_out) == 16
    assert held_out.min() < N_ROWS / 2 < held_out.max()


def test_fewer_are_taken_where_fewer_have_one(store: Path) -> None:
    row_of = np.arange(N_ROWS)
    truth = np.zeros((N_ROWS, 4), np.float32)
    some, few = np.arange(90), np.arange(60)
    spectra = real_spectra(store, row_of, truth, [some, few], 1000, seed=0)
    assert spectra.shape[:2] == (2, 40), "as many as the split with the fewest has"
    with pytest.raises(InputError, match="18 training stars of a fold have an APOGEE spectrum"):
        real_spectra(store, row_of, truth, [some, np.arange(27)], 1000, seed=0)


def test_rows_far_apart_are_read_too(store: Path, flux: np.ndarray) -> None:
    with h5py.File(store) as file:
        for rows in ([1, 2, 4], [1, 100, 239], [5]):
            read = decoder_spectra._read_ascending(file["spectra"], np.array(rows))
            np.testing.assert_array_equal(read, flux[rows])


def test_emulated_spectra_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def synthesize(at: np.ndarray, lines: object, progress: bool) -> np.ndarray:
        asked.append(len(at))
        return np.tile(at[:, :1], N_PIXELS).astype(np.float32)

    monkeypatch.setattr(synthesis, "load_lines", lambda: None)
    monkeypatch.setattr(synthesis, "synthesize_in_batches", synthesize)
    monkeypatch.setattr(decoder_spectra, "SYNTHESIS_ROWS", 25)
    at = np.random.default_rng(0).normal(size=(2, 30, len(labels.LABELS))).astype(np.float32)
    path = tmp_path / "emulated.h5"
    for _ in range(2):
        spectra = emulated_spectra(path, at)
        assert spectra.what == EMULATED
        np.testing.assert_array_equal(spectra.read([(4, 30)])[:, :, 5], at[:, 4:, 0])
        assert asked == [25, 25, 10]
    emulated_spectra(path, at + 1)
    assert len(asked) == 6, "other labels, other spectra"


def test_labels_are_drawn_inside_the_range_and_shaken() -> None:
    truth = np.random.default_rng(2).normal(size=(50, 4)).astype(np.float32)
    cfg = Pretrain(n_spectra=500, label_jitter=0.1)
    drawn = draw_labels(truth, cfg, np.random.default_rng(0))
    assert drawn.shape == (500, 4)
    assert (drawn >= truth.min(axis=0)).all()
    assert (drawn <= truth.max(axis=0)).all()
    assert not np.isin(drawn[:, 0], truth[:, 0]).all()
    still = draw_labels(truth, replace(cfg, label_jitter=0.0), np.random.default_rng(0))
    assert {tuple(row) for row in still} <= {tuple(row) for row in truth}


def test_a_cannon_emulates_at_labels_inside_its_box(tmp_path: Path) -> None:
    """The edge of the box is no number of float32: the labels stay inside it all the same."""
    cannon = load_cannon(made_up_cannon(tmp_path / "cannon.npz"))
    rng = np.random.default_rng(0)
    at = rng.uniform([3900, 0.8, -1.1, 0], [5100, 3, 0.3, 0.3], (2, 20, 4)).astype(np.float32)
    within = ((at >= cannon.low) & (at <= cannon.high)).all(axis=-1)
    assert 5 < within.sum() < 38
    path = tmp_path / "emulated.h5"
    spectra, moved = cannon_emulated(path, at, cannon)
    assert moved == 40 - within.sum()
    assert spectra.what == CANNON
    np.testing.assert_array_equal(spectra.labels[within], at[within])
    np.testing.assert_allclose(spectra.labels, np.clip(at, cannon.low, cannon.high), rtol=1e-6)
    expected = cannon_spectra(cannon, spectra.labels[1].astype(np.float64))
    read = spectra.read([(0, 20)])[1]
    np.testing.assert_allclose(read[:, in_chips], expected[:, in_chips], rtol=1e-6)
    assert (read[:, ~in_chips] == 1.0).all(), "between the chips there is nothing to read"
    np.testing.assert_array_equal(spectra.scatter[in_chips], cannon.scatter.astype(np.float32))
    assert not spectra.scatter[~in_chips].any()
    # Made once; anew for another Cannon.
    written = path.stat().st_mtime_ns
    cannon_emulated(path, at, cannon)
    assert path.stat().st_mtime_ns == written
    cannon_emulated(path, at, cannon._replace(theta=cannon.theta * 2.0))
    assert path.stat().st_mtime_ns > written


def test_a_cannon_of_other_stars_is_refused(tmp_path: Path) -> None:
    cannon = load_cannon(made_up_cannon(tmp_path / "cannon.npz"))
    dwarfs = np.tile(np.float32([5500, 4.5, 0.0, 0.0]), (2, 10, 1))
    with pytest.raises(InputError, match=r"20 of the 20 labels .* outside of the Cannon's box"):
        cannon_emulated(tmp_path / "emulated.h5", dwarfs, cannon)
    assert not (tmp_path / "emulated.h5").exists()
