"""Agreement, precision and coverage against formulas written out here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aspgap_jax.validation.agreement import agreement, equal_bins, inverse_snr, precision
from aspgap_jax.validation.coverage import fit_chi


def test_agreement_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(4500, 300, 501)
    ours = theirs + rng.normal(12, 40, 501)
    ours[0] = np.nan
    found = agreement(ours, theirs)
    d = (ours - theirs)[1:]
    assert found.n == 500
    assert found.rms == pytest.approx((d @ d / 500) ** 0.5)
    assert found.scatter == pytest.approx(stats.tstd(d) * np.sqrt(499 / 500))
    assert found.scatter_mad == pytest.approx(
        stats.median_abs_deviation(d, scale="normal"), rel=1e-4
    )
    assert found.mae == pytest.approx(sum(abs(d)) / 500)
    assert (found.bias, found.bias_median) == pytest.approx((d.sum() / 500, np.percentile(d, 50)))
    # rms^2 = scatter^2 + bias^2, whatever the numbers are.
    assert found.rms**2 == pytest.approx(found.scatter**2 + found.bias**2)


def test_agreement_of_nothing() -> None:
    found = agreement(np.array([np.nan, 1.0]), np.array([1.0, np.nan]))
    assert found.n == 0
    assert np.isnan(found[1:]).all()


def test_bins_hold_equally_many_stars() -> None:
    values = np.append(np.random.default_rng(1).lognormal(4, 1, 1000), [np.nan] * 5)
    edges = equal_bins(values, 10)
    assert np.histogram(values[:1000], edges)[0].tolist() == [100] * 10
    assert len(equal_bins(np.full(10, 3.0), 4)) == 1
    assert len(equal_bins(np.full(10, np.nan), 4)) == 2


def test_precision_follows_the_noise() -> None:
    """Two bins by hand: what is in them, and that formal errors are medians."""
    snr = np.array([10.0, 20.0, 20.0, 100.0, 100.0, np.nan, 100.0])
    residual = np.array([3.0, -4.0, 5.0, 1.0, -1.0, 99.0, 99.0])
    truth = np.array([0.0] * 6 + [np.nan])
    sigma = np.array([1.0, 2.0, 9.0, 0.5, 0.7, 1.0, 1.0])
    curve = precision(snr, residual, sigma, truth, np.array([0.0, 50.0, 60.0, 200.0]))
    assert curve.n.tolist() == [3, 2]
    np.testing.assert_allclose(curve.snr, [20, 100])
    np.testing.assert_allclose(curve.rms, [np.sqrt(50 / 3), 1])
    np.testing.assert_allclose(curve.mae, [4, 1])
    np.testing.assert_allclose(curve.bias, [4 / 3, 0])
    np.testing.assert_allclose(curve.scatter, [np.sqrt(50 / 3 - 16 / 9), 1])
    np.testing.assert_allclose(curve.formal, [2, 0.6])
    # A fifth of the S/N, five times the error.
    np.testing.assert_allclose(inverse_snr(curve), np.sqrt(50 / 3) * np.array([1, 0.2]))
    nothing = precision(snr[:0], residual[:0], sigma[:0], truth[:0], np.array([0.0, 1.0]))
    assert len(inverse_snr(nothing)) == 0


def test_coverage_of_a_wide_normal() -> None:
    chi = 1.3 * stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000) + 0.1
    found = fit_chi(np.append(chi, np.nan))
    assert found.n == 20_000
    assert (found.mean, found.sigma) == pytest.approx(stats.norm.fit(chi))
    assert found.sigma_mad == pytest.approx(1.3, rel=1e-3)
    for bound, share in ((1.0, found.within_1), (stats.norm.ppf(0.975), found.within_2)):
        expected = np.diff(stats.norm(0.1, 1.3).cdf([-bound, bound]))[0]
        assert share == pytest.approx(expected, abs=2e-4)
    assert np.isnan(fit_chi(np.array([np.nan]))[1:]).all()
