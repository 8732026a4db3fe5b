from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import truncnorm

from aspgap_jax import labels
from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.preprocessing.stars import TrainingSet
from support.experiments import load_experiment

N_LABELS = len(labels.LABELS)
competitors = load_experiment("studies/competitors")
# A script finds its neighbours by itself; a module that is loaded by its path does not.
sys.modules["competitors"] = competitors
sealed = load_experiment("studies/sealed")


def predictions(n_stars: int = 4000) -> Predictions:
    """Stars of one place in the label space whose residuals are normal, as their sigma says."""
    rng = np.random.default_rng(0)
    truth = np.tile([4600.0, 2.2, -0.1, 0.1], (n_stars, 1))
    sigma = np.tile([40.0, 0.1, 0.05, 0.02], (n_stars, 1)) * rng.uniform(0.5, 2.0, (n_stars, 1))
    return Predictions(
        source_id=np.arange(n_stars),
        fold=np.zeros(n_stars, np.int16),
        prediction=truth + sigma * rng.normal(size=truth.shape),
        sigma=sigma,
        aleatoric=sigma,
        epistemic=np.zeros_like(sigma),
        flags=np.zeros(n_stars, np.int32),
        truth=truth,
        truth_error=np.zeros_like(truth),
        g_mag=np.full(n_stars, 13.0),
    )


def test_the_gate_keeps_the_smaller_uncertainties_without_flags() -> None:
    stars = predictions()
    flagged = np.arange(4000) % 100 == 0
    kept = sealed.gate(replace(stars, flags=flagged.astype(np.int32)))
    assert kept.mean() == pytest.approx(sealed.KEPT, abs=1e-3)
    assert not kept[flagged].any()
    plain = ~flagged
    assert (
        stars.sigma[kept].max(axis=0) <= stars.sigma[plain & ~kept].min(axis=0) * (1 + 1e-9)
    ).all()


def test_right_uncertainties_are_right_in_every_bin_and_cell() -> None:
    stars = predictions()
    bins = sealed.by_snr(stars, np.arange(4000.0))
    assert len(bins) == sealed.SNR_BINS
    for found in bins:
        np.testing.assert_allclose(found["chi_sigma"], 1.0, atol=0.08)
        np.testing.assert_allclose(found["coverage_68"], 0.683, atol=0.04)
    cells = sealed.by_cell(stars)
    assert cells
    for cell in cells:
        assert cell["n"] >= sealed.CELL_STARS
        inside = np.ones(4000, bool)
        for (name, size), low in zip(sealed.CELL.items(), cell["from"], strict=True):
            value = stars.prediction[:, labels.index(name)]
            inside &= (value >= low) & (value < low + size)
        assert inside.sum() == cell["n"]
        chi = (stars.prediction - stars.truth)[inside] / stars.sigma[inside]
        np.testing.assert_allclose(cell["chi_sigma"], chi.std(axis=0), rtol=1e-6)


def test_normal_residuals_have_no_tails() -> None:
    stars = predictions(20_000)
    found = sealed.tails(stars)
    np.testing.assert_allclose(found["half_width_68"], 1.0, atol=0.03)
    # The standard deviation of the inner 99% of a normal distribution.
    np.testing.assert_allclose(found["chi_sigma_99"], truncnorm.std(-2.576, 2.576), atol=0.02)


def test_intervals_hold_the_statistic() -> None:
    residual = np.random.default_rng(1).normal(size=(2000, N_LABELS))
    found = sealed.intervals(residual, draws=50)
    for interval in found.values():
        assert (interval.low < 1.0).all()
        assert (interval.high > 1.0).all()
    table = sealed.markdown({"one": found})
    assert table.splitlines()[2].startswith("| one | 1.0 +- ")


def test_competitors_see_test_stars_by_the_measure_of_the_training_stars() -> None:
    rng = np.random.default_rng(3)
    n_stars, n_xp = 400, 130
    g_mag = rng.uniform(13.0, 16.0, n_stars)
    flux = rng.uniform(1.0, 2.0, (n_stars, n_xp)) * 10 ** (0.4 * (15 - g_mag[:, None]))
    stars = TrainingSet(
        source_id=np.arange(n_stars),
        xp=flux,
        xp_error=0.01 * flux,
        g_mag=g_mag,
        labels=np.zeros((n_stars, N_LABELS)),
        label_error=np.ones((n_stars, N_LABELS)),
        representation="sampled",
    )
    known, test = stars.where(np.arange(n_stars) < 300), stars.where(np.arange(n_stars) >= 300)
    of_known, of_test = competitors.arrays(known, test)
    normalised = flux / 10 ** (0.4 * (15 - g_mag[:, None]))
    np.testing.assert_allclose(
        of_test["flux"], normalised[300:] / np.median(normalised[:300], axis=0), rtol=1e-5
    )
    assert of_known["inputs"].shape == (300, 110)
    assert of_test["colours"].shape == (100, 110 + competitors.BANDS - 1)


@pytest.mark.parametrize("name", ["ridge", "nearest neighbours", "kernel ridge"])
def test_competitors_learn_a_smooth_function(name: str) -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(800, 24)) * np.linspace(3.0, 0.1, 24)
    truth = np.stack([inputs[:, 0], inputs[:, 1] + 0.1 * inputs[:, 0] ** 2], axis=1)
    train, test = ({"inputs": inputs[rows]} for rows in (slice(600), slice(600, None)))
    found = competitors.COMPETITORS[name](train, test, truth[:600])
    explained = 1 - np.var(found - truth[600:], axis=0) / np.var(truth[600:], axis=0)
    assert (explained > (0.3 if name == "nearest neighbours" else 0.9)).all()
