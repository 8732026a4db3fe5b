"""Statistics against hand-counted cases and against SciPy and the standard library."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest
import scipy.stats

from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.labels import LABELS, Outlier
from aspgap_jax.validation import metrics
from aspgap_jax.validation.metrics import (
    format_table,
    metrics_table,
    normalised_residual,
    residual_statistics,
)
from aspgap_jax.validation.paper import PAPER

KEYS = {"n", "rms", "scatter_mad", "mae", "bias", "outlier_rate", "chi_sigma"}


def sample(n: int = 400, seed: int = 5) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = rng.normal([4500, 2, -0.5, 0.1], [300, 0.5, 0.4, 0.1], (n, len(LABELS)))
    sigma = rng.uniform(0.5, 2.0, truth.shape) * [40, 0.1, 0.06, 0.03]
    return Predictions(
        source_id=np.arange(n),
        fold=np.zeros(n, np.int8),
        prediction=(truth + sigma * rng.standard_t(4, truth.shape)).astype(np.float32),
        sigma=sigma.astype(np.float32),
        aleatoric=(0.8 * sigma).astype(np.float32),
        epistemic=(0.6 * sigma).astype(np.float32),
        flags=np.zeros(n, np.int32),
        truth=truth.astype(np.float32),
        truth_error=np.full(truth.shape, 0.01, np.float32),
        g_mag=rng.uniform(11, 17, n).astype(np.float32),
    )


def test_a_case_counted_by_hand() -> None:
    truth = np.array([1.0, 2.0, 0.0, np.nan, -2.0])
    prediction = np.array([1.5, 2.0, 0.0, 9.0, -3.0])  # residuals 0.5, 0, 0, left out, -1
    result = residual_statistics(
        prediction,
        sigma=np.array([0.3, 1.0, 1.0, 1.0, 0.0]),
        truth=truth,
        truth_error=np.array([0.4, 0.0, 0.0, 0.0, 0.5]),
        outlier=Outlier(0.5),
    )
    assert result.n == 4
    assert result.rms == pytest.approx((1.25 / 4) ** 0.5)
    assert result.mae == pytest.approx(1.5 / 4)
    assert result.bias == pytest.approx(-0.5 / 4)
    # Median residual 0; absolute deviations 0, 0, 0.5, 1: median 0.25.
    assert result.scatter_mad == pytest.approx(1.4826 * 0.25)
    # Eq. 5 says "> 1": a residual of 0.5 at a bound of 0.5 is inside.
    assert result.outlier_rate == 0.25
    # chi is truth - prediction: -1, 0, 0, 2.
    assert result.chi_mean == pytest.approx(0.25)
    assert result.chi_sigma == pytest.approx((5 / 4 - 0.25**2) ** 0.5)


def test_relative_bound_scales_with_the_true_value() -> None:
    # 15 % of 1000, 1000, -1, -1, and of log g = 0, where any residual is an outlier.
    truth = np.array([1000.0, 1000.0, -1.0, -1.0, 0.0])
    prediction = np.array([1149.0, 1151.0, -1.1, -1.2, 0.01])
    one = np.ones(5)
    result = residual_statistics(prediction, one, truth, one, Outlier(0.15, relative=True))
    assert result.outlier_rate == 0.6


@pytest.mark.parametrize("column", range(len(LABELS)))
def test_against_independent_implementations(column: int) -> None:
    stars = sample()
    arrays = [
        getattr(stars, name)[:, column] for name in ("prediction", "sigma", "truth", "truth_error")
    ]
    result = residual_statistics(*arrays, LABELS[column].outlier)
    prediction, sigma, truth, error = (values.astype(float).tolist() for values in arrays)
    residual = [p - t for p, t in zip(prediction, truth, strict=True)]
    chi = [
        (t - p) / (e * e + s * s) ** 0.5
        for p, s, t, e in zip(prediction, sigma, truth, error, strict=True)
    ]
    assert result.bias == pytest.approx(statistics.fmean(residual), abs=1e-12)
    assert result.mae == pytest.approx(statistics.fmean(map(abs, residual)))
    # rms^2 = variance + bias^2.
    assert result.rms**2 == pytest.approx(statistics.pvariance(residual) + result.bias**2)
    assert result.scatter_mad == pytest.approx(
        scipy.stats.median_abs_deviation(residual, scale="normal"), rel=1e-4
    )
    assert result.chi_mean == pytest.approx(statistics.fmean(chi), abs=1e-12)
    assert result.chi_sigma == pytest.approx(statistics.pstdev(chi))
    np.testing.assert_allclose(normalised_residual(*arrays), chi, rtol=1e-12)


def test_outliers_count_in_chi_sigma_and_hardly_in_the_mad() -> None:
    rng = np.random.default_rng(6)
    truth, one, zero = np.zeros(20_000), np.ones(20_000), np.zeros(20_000)
    clean = rng.normal(size=20_000)
    spoilt = np.where(np.arange(20_000) % 100 == 0, 30.0, clean)
    before = residual_statistics(clean, one, truth, zero, Outlier(3.0))
    after = residual_statistics(spoilt, one, truth, zero, Outlier(3.0))
    assert before.chi_sigma == pytest.approx(1.0, abs=0.02)
    assert before.scatter_mad == pytest.approx(1.0, abs=0.03)
    assert before.outlier_rate == pytest.approx(0.0027, abs=0.0015)
    assert after.chi_sigma > 3.0
    assert after.scatter_mad == pytest.approx(1.0, abs=0.04)


def test_an_unusable_prediction_is_not_left_out_silently() -> None:
    one = np.ones(3)
    result = residual_statistics(np.array([1.0, np.nan, 1.0]), one, one, one, Outlier(0.1))
    assert result.n == 3
    assert np.isnan(result.rms)
    assert result.outlier_rate == pytest.approx(1 / 3)


def test_truth_without_an_error_has_residuals_and_no_chi() -> None:
    one, unknown = np.ones(3), np.full(3, np.nan)
    result = residual_statistics(2 * one, one, one, unknown, Outlier(0.1))
    assert result.rms == 1.0
    assert np.isnan(result.chi_sigma)


def test_table_groups_labels_and_keys() -> None:
    stars = sample()
    stars.truth[:10, 1] = np.nan
    stars.g_mag[0] = np.nan
    table = metrics_table(stars)
    assert list(table) == ["all", "g_lt_14"]
    for group in table.values():
        assert list(group) == ["teff", "logg", "m_h", "alpha_m"]
        assert all(set(row) == KEYS for row in group.values())
    # A star without a magnitude is one of all stars, and not a bright one.
    assert table["all"]["teff"]["n"] == 400
    assert table["all"]["logg"]["n"] == 390
    bright = np.flatnonzero(stars.g_mag < 14)
    assert table["g_lt_14"]["m_h"]["n"] == len(bright)
    alone = metrics_table(stars.where(bright))
    assert alone["all"] == table["g_lt_14"]
    assert table["g_lt_14"] != table["all"]


def test_group_without_stars_is_null_in_json() -> None:
    faint = sample()
    faint = faint.where(faint.g_mag > 14)
    text = json.dumps(metrics_table(faint), allow_nan=False)
    row = json.loads(text)["g_lt_14"]["teff"]
    assert row == {"n": 0} | dict.fromkeys(KEYS - {"n"})
    assert json.loads(text)["all"]["teff"]["n"] == len(faint)


def test_printed_table_is_aligned_and_rounded_by_the_label_table() -> None:
    row = {
        "n": 24_900,
        "rms": 48.04,
        "scatter_mad": 40.0,
        "mae": 33.26,
        "bias": -1.25,
        "outlier_rate": 0.00051,
        "chi_sigma": 1.302,
    }
    nothing = {"n": 0} | dict.fromkeys(KEYS - {"n"})
    groups = {label.name: row for label in LABELS}
    text = format_table({"all": groups, "g_lt_14": dict.fromkeys(groups, nothing)})
    lines = text.splitlines()
    assert lines[0] == "all stars"
    assert lines[2].split()[:7] == ["teff", "K", "24,900", "48.0", "40.0", "33.3", "-1.2"]
    assert lines[2].endswith(" 0.05 %        1.30")
    assert lines[4].split()[:4] == ["m_h", "dex", "24,900", "48.040"]
    assert lines[7] == "G < 14"
    # A bias that rounds to zero has no sign.
    tiny = format_table({"all": {n: row | {"bias": -1e-9} for n in groups}, "g_lt_14": groups})
    assert "-0.0" not in tiny
    assert lines[9].split() == ["teff", "K", "0", *["-"] * 6]
    assert len({len(line) for line in lines[1:6]}) == 1


def test_the_papers_numbers_fit_the_table() -> None:
    assert set(PAPER) == set(metrics.GROUPS)
    for rows in PAPER.values():
        assert list(rows) == [label.name for label in LABELS]
        assert all(set(row) <= set(metrics.STATISTICS) for row in rows.values())
    assert [float(row["rms"]) for row in PAPER["all"].values()] == [48, 0.12, 0.07, 0.03]
    assert [float(row["rms"]) for row in PAPER["g_lt_14"].values()] == [46, 0.10, 0.06, 0.021]
