"""Disks, halo populations, clusters and the red clump, by hand-counted stars."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from aspgap_jax.validation.clusters import cluster_means
from aspgap_jax.validation.disks import DIVIDING_LINE, DividingLine, confusion, in_disk_range
from aspgap_jax.validation.dynamics import trend
from aspgap_jax.validation.halo import (
    high_alpha_map,
    is_ges,
    is_loose,
    is_precise_giant,
    share_below,
)
from aspgap_jax.validation.red_clump import around_the_clump, density, peak


def test_confusion_by_counting() -> None:
    truth = np.array([False] * 10 + [True] * 5)
    called = np.array([False] * 8 + [True] * 2 + [True] * 4 + [False])
    found = confusion(truth, called)
    assert found[:4] == (8, 2, 1, 4)
    assert found.low_precision == pytest.approx(8 / 9)
    assert found.low_recall == pytest.approx(8 / 10)
    assert found.high_precision == pytest.approx(4 / 6)
    assert found.high_recall == pytest.approx(4 / 5)
    assert np.isnan(confusion(truth[:10], called[:10]).high_recall)


def test_the_papers_counts_give_the_papers_table() -> None:
    """8,808 of 9,434 called high are, out of 9,343 (appendix B): 0.93 and 0.94."""
    called_high, high, both = 9434, 9343, 8808
    # How many stars are low-alpha is not printed; a recall of 0.96 implies about this.
    low = 15_650
    truth = np.arange(low + high) >= low
    called = truth.copy()
    called[low : low + high - both] = False
    called[: called_high - both] = True
    found = confusion(truth, called)
    assert round(found.high_precision, 2) == 0.93
    assert round(found.high_recall, 2) == 0.94
    assert round(found.low_precision, 2) == 0.97
    assert round(found.low_recall, 2) == 0.96


def test_dividing_line_and_range() -> None:
    line = DividingLine(0.1, -0.2)
    moh, aom = np.array([-0.5, -0.5, 0.0]), np.array([0.19, 0.21, 0.11])
    assert line.above(moh, aom).tolist() == [False, True, True]
    assert in_disk_range(np.array([-0.95, -0.9, -0.5, 0.0, 0.1])).tolist() == [
        *(False, False, True, False, False)
    ]
    # Between the sequences of APOGEE's giants at [M/H] = -0.4: 0.06 and 0.27 dex.
    assert 0.1 < DIVIDING_LINE.at(np.array([-0.4]))[0] < 0.2


def test_shares_below_the_line() -> None:
    moh = np.array([-1.0, -1.0, -1.0, -1.0, np.nan])
    aom = DIVIDING_LINE.intercept - DIVIDING_LINE.slope + np.array([-0.1, -0.05, -0.03, 0.2, 0.0])
    found = share_below(moh, aom, draws=2000, seed=0)
    assert (found.n, found.below) == (4, 0.75)
    # The standard error of a share: sqrt(p (1 - p) / n).
    assert found.error == pytest.approx(np.sqrt(0.75 * 0.25 / 4), rel=0.1)
    assert found.offset == pytest.approx(-0.04)
    assert share_below(moh[4:], aom[4:], draws=10, seed=0).n == 0
    assert np.isnan(share_below(moh[:1], aom[:1], draws=10, seed=0).error)


def test_selections_of_section_4_5_3() -> None:
    energy = np.array([-1.1e5, -1.3e5, -1.1e5])
    assert is_ges(energy, np.array([-400.0, 100.0, 600.0])).tolist() == [True, False, False]
    assert is_loose(np.array([0.8, 0.8, 0.7]), np.array([11.0, 9.0, 11.0])).tolist() == [
        *(True, False, False)
    ]
    keep = is_precise_giant(
        np.array([0.05, 0.2, 0.05, 0.05]),
        np.array([0.01, 0.01, 0.1, 0.01]),
        np.array([1.5, 1.5, 1.5, 2.5]),
    )
    assert keep.tolist() == [True, False, False, False]


def test_map_of_high_alpha_stars() -> None:
    apocentre = np.array([1.0] * 6 + [3.0] * 4)
    eccentricity = np.array([0.2] * 6 + [0.9] * 4)
    high = np.array([True, True, True, False, False, False] + [True] * 4)
    edges = np.array([0.0, 2.0, 4.0]), np.array([0.0, 0.5, 1.0])
    found = high_alpha_map(apocentre, eccentricity, high, *edges, least=5)
    assert found[0, 0] == 0.5
    assert np.isnan([found[1, 1], found[0, 1], found[1, 0]]).all()


def test_trend_means_and_errors() -> None:
    rng = np.random.default_rng(0)
    alpha = rng.uniform(0, 0.2, 2000)
    quantity = 10 * alpha + rng.normal(size=2000)
    quantity[0] = np.nan
    found = trend(alpha, quantity, np.array([0.0, 0.1, 0.2, 0.3]), draws=400, seed=1)
    assert len(found.mean) == 2
    for index, (low, high) in enumerate(((0.0, 0.1), (0.1, 0.2))):
        inside = quantity[(alpha >= low) & (alpha < high) & np.isfinite(quantity)]
        assert found.n[index] == len(inside)
        assert found.mean[index] == pytest.approx(inside.mean())
        # The error of a mean, known in closed form.
        assert found.error[index] == pytest.approx(inside.std() / np.sqrt(len(inside)), rel=0.15)
    assert len(trend(alpha[:0], quantity[:0], np.array([0.0, 1.0]), draws=5, seed=0).n) == 0


def test_cluster_means() -> None:
    cluster = np.array(["M 67", "M 67", "M 67", "NGC 188", "NGC 188", "lost"])
    moh = np.array([0.0, 0.1, 0.2, -0.1, np.nan, np.nan])
    m67, ngc188 = cluster_means(cluster, moh)
    assert (m67.name, m67.n) == ("M 67", 3)
    assert (m67.mean, m67.scatter, m67.error) == pytest.approx((0.1, 0.1, 0.1 / np.sqrt(3)))
    assert (ngc188.n, ngc188.mean) == (1, -0.1)
    assert np.isnan(ngc188.scatter)


def test_red_clump_against_scipys_kernel_density() -> None:
    rng = np.random.default_rng(3)
    logg = np.concatenate([rng.normal(2.45, 0.08, 3000), rng.uniform(1.5, 3.5, 3000)])
    grid = np.linspace(1.9, 3.1, 61)
    kernel = gaussian_kde(logg, bw_method=0.06 / logg.std(ddof=1))
    np.testing.assert_allclose(density(logg, grid), kernel(grid), rtol=5e-3)
    fine = np.arange(1.9, 3.1, 0.001)
    assert peak(logg) == pytest.approx(fine[np.argmax(kernel(fine))], abs=0.0051)
    assert np.isnan(peak(np.array([1.0, 4.0])))
    assert around_the_clump(np.array([4400.0, 4800.0, 5200.0])).tolist() == [False, True, False]
