from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.training import components
from aspgap_jax.training.components import principal_components
from aspgap_jax.training.spectra_batches import ArraySpectra, training_count


def made_up(n_spectra: int = 90, n_pixels: int = 40, rank: int = 5) -> np.ndarray:
    """Spectra of two splits that span ``rank`` components."""
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(2, n_spectra, rank)) * 0.5 ** np.arange(rank)
    return (0.9 + 0.03 * weights @ rng.normal(size=(rank, n_pixels))).astype(np.float32)


def test_components_are_those_of_the_spectra_trained_on_and_whiten_them() -> None:
    flux = made_up()
    n_train = training_count(flux.shape[1])
    spoilt = flux.copy()
    spoilt[:, n_train:] = 7.0
    mean, vectors = principal_components(ArraySpectra(spoilt), 3)
    assert vectors.shape == (2, 3, 40)
    for split in range(2):
        depth = 1.0 - flux[split, :n_train].astype(np.float64)
        np.testing.assert_allclose(mean[split], depth.mean(axis=0), atol=1e-6)
        _, size, rows = np.linalg.svd(depth - depth.mean(axis=0), full_matrices=False)
        expected = size[:3, None] * rows[:3] / np.sqrt(n_train - 1)
        found = vectors[split]
        np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)
        assert (found.max(axis=1) == np.abs(found).max(axis=1)).all()
        z = np.linalg.lstsq(found.T.astype(np.float64), (depth - mean[split]).T, rcond=None)[0]
        np.testing.assert_allclose(np.cov(z), np.eye(3), atol=1e-3)


def test_of_many_spectra_some_are_taken_from_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "ROWS", 64)
    flux = made_up(n_spectra=400)
    mean, _ = principal_components(ArraySpectra(flux), 2)
    few, first = 1.0 - flux[0, :64].mean(axis=0), 1.0 - flux[0, :360].mean(axis=0)
    assert not np.allclose(mean[0], few, atol=1e-4)
    assert not np.allclose(mean[0], first, atol=1e-6)


@pytest.mark.parametrize(
    ("flux", "count", "words"),
    [
        (made_up(), 6, "is 6, the 81 spectra .* span 5 components"),
        (made_up(10, rank=20), 12, "is 12, the 9 spectra .* span 8 components"),
    ],
    ids=["alike", "few"],
)
def test_more_components_than_the_spectra_span_are_one_line(
    flux: np.ndarray, count: int, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        principal_components(ArraySpectra(flux), count)
    assert "--model.hallucinator-basis" in str(caught.value)
    assert "\n" not in str(caught.value)
