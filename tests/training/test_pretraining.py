from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax import model
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.config import Config, Model, Pretrain
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.scaling import RobustScaler, Scalers
from aspgap_jax.training import spectra_batches
from aspgap_jax.training.components import principal_components
from aspgap_jax.training.decoder_spectra import DecoderSpectra
from aspgap_jax.training.pretraining import Pretrained, PretrainState, pretrain, unfilled
from aspgap_jax.training.spectra_batches import (
    ArraySpectra,
    SpectraReader,
    pools_of_epoch,
    read_batches,
    training_count,
)
from support.tiny import TINY

N_SPECTRA = 300
CFG = replace(TINY, pretrain=Pretrain(epochs=3, batch_size=40, snr=50.0))


def made_up(n_splits: int = 2, n_pixels: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Spectra and scaled labels; each split has its own."""
    rng = np.random.default_rng(3)
    labels = rng.normal(size=(n_splits, N_SPECTRA, 4)).astype(np.float32)
    flux = 0.9 + 0.05 * np.tanh(labels @ rng.normal(size=(4, n_pixels)))
    return flux.astype(np.float32), labels


def run(spectra: SpectraReader, labels: np.ndarray, cfg: Config = CFG, **how: Any) -> Pretrained:
    """Pre-training on labels that are scaled already."""
    n_splits = len(labels)
    as_it_is = RobustScaler(jnp.zeros((n_splits, 4)), jnp.ones((n_splits, 4)))
    return pretrain(spectra, labels, Scalers(as_it_is, as_it_is), cfg, **how)


def assert_equal(a: object, b: object) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pools an epoch, and batches that begin in one and end in the next."""
    monkeypatch.setattr(spectra_batches, "BLOCK_ROWS", 8)
    monkeypatch.setattr(spectra_batches, "POOL_ROWS", 64)


@dataclass
class Watched:
    """Remembers the rows that are read; a row's pixels are its number."""

    n_rows: int
    read_rows: list[int]

    @property
    def shape(self) -> tuple[int, int, int]:
        return 1, self.n_rows, 1

    @property
    def scatter(self) -> np.ndarray:
        return np.zeros(1, np.float32)

    def read(self, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        rows = np.concatenate([np.arange(*given) for given in ranges])
        self.read_rows += rows.tolist()
        return rows[None, :, None].astype(np.float32)


@pytest.mark.parametrize("batch_size", [7, 40, 100])
def test_batches_hold_every_row_once_in_the_stated_order(
    small_pools: None, batch_size: int
) -> None:
    source = Watched(270, [])
    pools = pools_of_epoch(270, np.random.default_rng(0))
    order = np.concatenate([pool.rows() for pool in pools])
    np.testing.assert_array_equal(np.sort(order), np.arange(270))
    assert (np.diff(order) != 1).mean() > 0.9, "shuffled"
    batches = list(read_batches(source, pools, batch_size))
    assert [len(batch[0]) for batch in batches] == [batch_size] * (270 // batch_size)
    seen = np.concatenate([batch[0, :, 0] for batch in batches])
    np.testing.assert_array_equal(seen, order[: len(seen)])
    assert sorted(source.read_rows) == list(range(270)), "each row is read once an epoch"


def test_up_to_a_pool_the_order_is_any_permutation() -> None:
    rng = np.random.default_rng(5)
    first = [pools_of_epoch(100, rng)[0].rows()[0] for _ in range(3000)]
    # Uniform: 30 a row, Poisson.
    counts = np.bincount(first, minlength=100)
    assert counts.min() > 30 - 5 * 30**0.5
    assert counts.max() < 30 + 5 * 30**0.5


@pytest.mark.usefixtures("small_pools")
def test_streamed_is_bit_for_bit_what_is_held_in_memory() -> None:
    flux, labels = made_up()
    source = ArraySpectra(flux)
    held, streamed = (run(source, labels, device_bytes=limit) for limit in (flux.nbytes, 0))
    assert_equal(held, streamed)
    # The splits see other spectra and begin with other parameters.
    assert not np.array_equal(held.loss[0], held.loss[1])


@pytest.mark.usefixtures("small_pools")
def test_held_out_spectra_are_not_trained_on_and_state_the_precision() -> None:
    flux, labels = made_up()
    n_train = training_count(N_SPECTRA)
    assert n_train == 270
    trained = run(ArraySpectra(flux), labels)
    other = labels.copy()
    other[:, n_train:] += 1.0
    moved = run(ArraySpectra(flux), other)
    assert_equal(trained.decoder, moved.decoder)
    for split in range(2):
        decoder = jax.tree.map(lambda leaf, split=split: leaf[split], trained.decoder)
        predicted = model.decode_apogee(CFG.model, decoder, jnp.asarray(flux[split, n_train:]))
        residual = np.asarray(predicted) - labels[split, n_train:]
        np.testing.assert_allclose(trained.rms[split], np.sqrt((residual**2).mean(0)), rtol=1e-5)


def test_missing_labels_teach_the_decoder_nothing() -> None:
    """Of every third spectrum all labels but one are missing; of label 3 all."""
    flux, labels = made_up()
    gaps = labels.copy()
    gaps[:, ::3, 1:] = np.nan
    gaps[:, :, 3] = np.nan
    trained = run(ArraySpectra(flux), gaps)
    n_train = training_count(N_SPECTRA)
    for split in range(2):
        decoder = jax.tree.map(lambda leaf, split=split: leaf[split], trained.decoder)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(decoder))
        # Nothing has pushed its bias off 0, where it began.
        assert (np.asarray(decoder["params"]["Dense_1"]["bias"]) != 0).tolist() == [True] * 3 + [
            False
        ]
        predicted = model.decode_apogee(CFG.model, decoder, jnp.asarray(flux[split, n_train:]))
        residual = np.asarray(predicted)[:, :3] - gaps[split, n_train:, :3]
        rms = np.sqrt(np.nanmean(np.square(residual), axis=0))
        np.testing.assert_allclose(trained.rms[split, :3], rms, rtol=1e-5)
    assert np.isnan(trained.rms[:, 3]).all()


def test_it_learns_and_a_resumed_one_ends_the_same() -> None:
    flux, labels = made_up()
    cfg = replace(CFG, pretrain=replace(CFG.pretrain, epochs=12, learning_rate=2e-2))
    states: list[PretrainState] = []
    losses: list[float] = []

    def after_epoch(epoch: int, state: PretrainState, loss: float) -> None:
        assert epoch == int(state.epoch)
        states.append(jax.tree.map(jnp.copy, state))
        losses.append(loss)

    whole = run(ArraySpectra(flux), labels, cfg, after_epoch=after_epoch)
    np.testing.assert_allclose(losses, whole.loss.mean(axis=0), rtol=1e-6)
    assert (whole.loss[:, -1] < 0.85 * whole.loss[:, 0]).all()
    assert [int(state.epoch) for state in states] == list(range(1, 13))
    for start in (states[4], states[-1]):
        resumed = run(ArraySpectra(flux), labels, cfg, start=start)
        assert_equal(whole, resumed)


def test_a_loss_that_is_not_finite_is_named() -> None:
    flux, labels = made_up()
    flux[0, 3] = np.inf
    with pytest.raises(InputError, match=r"epoch 1 of the APOGEE decoder.*learning-rate"):
        run(ArraySpectra(flux), labels)


@pytest.mark.usefixtures("small_pools")
def test_a_store_larger_than_the_limit_takes_bounded_memory(tmp_path: Path) -> None:
    flux, labels = made_up(n_splits=1, n_pixels=N_PIXELS)
    with h5py.File(tmp_path / "store.h5", "w") as file:
        file.create_dataset("spectra", data=flux[0], chunks=(16, N_PIXELS))
    rows = np.arange(N_SPECTRA)[None]
    source = DecoderSpectra(tmp_path / "store.h5", "spectra", rows, labels, "made up")
    cfg = replace(CFG, model=Model(apogee_decoder=(2,)), pretrain=Pretrain(epochs=2, batch_size=8))
    whole = flux.nbytes
    del flux

    def peak(device_bytes: int) -> tuple[int, Pretrained]:
        tracemalloc.start()
        try:
            made = run(source, labels, cfg, device_bytes=device_bytes)
            return tracemalloc.get_traced_memory()[1], made
        finally:
            tracemalloc.stop()

    pool, batch = (4 * n * N_PIXELS for n in (spectra_batches.POOL_ROWS, 8))
    held_peak, held = peak(whole)
    streamed_peak, streamed = peak(whole // 2)
    # A pool, batches (made, waiting, used, begun), and 2 MB for Python's own objects.
    assert streamed_peak < pool + 4 * batch + 2**21 < 0.6 * whole
    assert held_peak > 0.85 * whole
    assert_equal(held, streamed)


def test_the_basis_stands_beside_the_decoder_and_scatter_is_noise() -> None:
    """A basis changes no decoder; scatter does, as much as noise of the same size."""
    flux, labels = made_up()
    with_basis = replace(CFG, model=replace(CFG.model, hallucinator_basis=3))
    plain, found = run(ArraySpectra(flux), labels), run(ArraySpectra(flux), labels, with_basis)
    assert_equal(plain.decoder["params"], found.decoder["params"])
    mean, vectors = principal_components(ArraySpectra(flux), 3)
    np.testing.assert_array_equal(found.decoder["basis"]["mean"], mean)
    np.testing.assert_array_equal(found.decoder["basis"]["vectors"], vectors)
    template = unfilled(with_basis, n_splits=2, n_labels=4, n_pixels=flux.shape[2])
    assert jax.tree.map(jnp.shape, template) == jax.tree.map(jnp.shape, found)

    class Scattered(ArraySpectra):
        @property
        def scatter(self) -> np.ndarray:
            return np.full(self.flux.shape[2], 0.03, np.float32)

    scattered = run(Scattered(flux), labels, replace(CFG, pretrain=replace(CFG.pretrain, snr=25.0)))
    noisy = run(ArraySpectra(flux), labels, replace(CFG, pretrain=replace(CFG.pretrain, snr=20.0)))
    np.testing.assert_allclose(scattered.loss, noisy.loss, rtol=1e-4)
    assert not np.allclose(scattered.loss, plain.loss, rtol=1e-4)
