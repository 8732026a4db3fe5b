from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax.flags import bit
from aspgap_jax.labels import LABELS
from aspgap_jax.prediction import domain as domains
from aspgap_jax.prediction.domain import SCORES, Domain, fit_domain, fit_latents, fit_thresholds
from aspgap_jax.prediction.uncertainty import Moments
from aspgap_jax.preprocessing.scaling import RobustScaler

N_XP, RANK = 40, 6


def made_up_spectra(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth spectra of RANK degrees of freedom, with noise of 0.02 to 0.2."""
    rng = np.random.default_rng(seed)
    modes = np.random.default_rng(99).normal(size=(RANK, N_XP))
    noise = np.exp(rng.uniform(np.log(0.02), np.log(0.2), (n, 1))) * np.ones(N_XP)
    xp = 5 + rng.normal(size=(n, RANK)) @ modes
    return (xp + noise * rng.normal(size=xp.shape)).astype(np.float32), noise.astype(np.float32)


@pytest.fixture(scope="module")
def domain() -> Domain:
    xp, error = made_up_spectra(4_000, 0)
    rng = np.random.default_rng(1)
    truth = rng.uniform([4000, 1, -1, 0], [5000, 3, 0, 0.3], (4_000, 4)).astype(np.float32)
    latents = jax.tree.map(lambda leaf: leaf[None], fit_latents(np.zeros(3), np.eye(3)))
    snr = rng.uniform(10, 100, (4_000, 2))
    return fit_domain(xp, error, truth, latents, snr, np.zeros((2, N_XP), bool))


@jax.jit
def spectrum_scores(domain: Domain, xp: np.ndarray, error: np.ndarray) -> domains.SpectrumScores:
    noise = domains.mean_noise(domain.scaler.transform_error(jnp.asarray(error)))
    return domains.spectrum_scores(domain, domain.scaler.transform(jnp.asarray(xp)), noise)


def test_spectra_of_the_same_kind_score_one_whatever_their_noise(domain: Domain) -> None:
    xp, error = made_up_spectra(4_000, 5)
    found = spectrum_scores(domain, xp, error)
    faint = error[:, 0] > 0.06
    for score in (found.leading, found.trailing):
        # A coordinate's square is on average what the model of its variance says.
        assert abs(np.mean(np.asarray(score)[faint]) - 1) < 0.1
        assert abs(np.mean(np.asarray(score)[~faint]) - 1) < 0.1


def test_spectrum_that_the_modes_cannot_make_stands_out(domain: Domain) -> None:
    xp, error = made_up_spectra(500, 6)
    clean = spectrum_scores(domain, xp, error)
    shifted = spectrum_scores(domain, np.roll(xp, 1, axis=1), error)
    assert np.mean(np.asarray(shifted.trailing) > np.quantile(clean.trailing, 0.99)) == 1
    # Brighter by a tenth is far outside no column, so its range stays silent.
    assert float(spectrum_scores(domain, 1.1 * xp, error).range.max()) < 0.7


def test_range_is_the_worst_column_over_its_width(domain: Domain) -> None:
    scaled = np.asarray((domain.low + domain.high) / 2)[None].repeat(2, axis=0)
    scaled[1, 7] = float(domain.high[7] + 3 * (domain.high[7] - domain.low[7]))
    found = domains.spectrum_scores(domain, jnp.asarray(scaled), jnp.ones(2))
    np.testing.assert_allclose(found.range, [-0.5, 3.0], rtol=1e-5)


def test_residual_is_what_least_squares_leaves(domain: Domain) -> None:
    """With fewer components than columns, against a projection by another route."""
    few = domain._replace(
        basis=domain.basis[:, :4], intrinsic=domain.intrinsic[:4], noise=domain.noise[:4]
    )
    xp, error = made_up_spectra(20, 7)
    scaled = np.asarray(domain.scaler.transform(jnp.asarray(xp)), np.float64)
    basis = np.asarray(few.basis, np.float64)
    fit = np.linalg.lstsq(basis, scaled.T, rcond=None)[0]
    rest = np.square(scaled.T - basis @ fit).mean(axis=0)
    noise = np.square(np.asarray(error) / np.asarray(domain.scaler.scale)).mean(axis=1)
    expected = rest / (float(domain.residual[0]) + float(domain.residual[1]) * noise)
    np.testing.assert_allclose(spectrum_scores(few, xp, error).residual, expected, rtol=2e-3)


def test_latent_distance_is_mahalanobis() -> None:
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(5_000, 4)) @ rng.normal(size=(4, 4)) + [1, 2, 3, 4]
    mean, covariance = latents.mean(axis=0), np.cov(latents.T)
    new = rng.normal(size=(10, 4)) * 5
    inverse = np.linalg.inv(covariance)
    expected = np.einsum("ij,jk,ik->i", new - mean, inverse, new - mean) / 4
    found = domains.latent_distance(fit_latents(mean, covariance), jnp.asarray(new, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("n_latents", [3, 8])
def test_absorbed_statistics_give_the_same_distance(n_latents: int) -> None:
    """Of latents, from the hidden layer of 5 before them."""
    rng = np.random.default_rng(2)
    kernel, bias = rng.normal(size=(5, n_latents)), rng.normal(size=n_latents)
    hidden = rng.normal(size=(400, 5)) ** 2
    latents = hidden @ kernel + bias
    statistics = fit_latents(latents.mean(axis=0), np.cov(latents.T))
    encoder = {
        "params": {
            "Dense_0": {},
            "Dense_1": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)},
        }
    }
    absorbed = domains.absorb_latents(encoder, statistics)
    np.testing.assert_allclose(
        domains.latent_distance(absorbed, jnp.asarray(hidden, jnp.float32)),
        domains.latent_distance(statistics, jnp.asarray(latents, jnp.float32)),
        rtol=2e-3,
        atol=2e-3,
    )


def test_latents_keep_the_directions_of_most_variance() -> None:
    variance = np.arange(1.0, 51.0)
    statistics = fit_latents(np.zeros(50), np.diag(variance))
    along = jnp.eye(50)
    distance = np.asarray(domains.latent_distance(statistics, along)) * domains.N_LATENT
    expected = np.where(np.arange(50) >= 50 - domains.N_LATENT, 1 / variance, 0)
    np.testing.assert_allclose(distance, expected, rtol=1e-5, atol=1e-9)


def test_hull_has_forty_directions_and_no_opposite_pair() -> None:
    directions = domains.hull_directions()
    assert directions.shape == (40, 4)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    cosines = directions @ directions.T - 2 * np.eye(40)
    assert np.abs(cosines).max() <= 1 + 1e-9
    assert (cosines > -1 + 1e-9)[~np.eye(40, dtype=bool)].all()


def test_of_many_labels_the_hull_takes_pairs() -> None:
    directions = domains.hull_directions(9)
    assert directions.shape == (9 + 9 * 8, 9)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    cosines = directions @ directions.T
    assert (np.abs(cosines)[~np.eye(81, dtype=bool)] < 1 - 1e-9).all()


def test_the_hull_of_stars_that_lack_labels_is_that_of_those_that_have_them() -> None:
    """Labels 0 and 1 go together; no star has labels 2 and 3 both."""
    x = np.random.default_rng(1).normal(size=2_000)
    scaled = np.stack([x, x, x, -x], axis=1)
    scaled[::2, 2], scaled[1::2, 3] = np.nan, np.nan
    low, high = domains._label_hull(scaled)
    for k, row in enumerate(domains.hull_directions()):
        have = np.isfinite(scaled[:, row != 0]).all(axis=1)
        if not have.any():
            assert (low[k], high[k]) == (-np.inf, np.inf)
            continue
        along = scaled[have][:, row != 0] @ row[row != 0]
        assert low[k] == pytest.approx(np.percentile(along, domains.HULL_TAIL))
        assert high[k] == pytest.approx(np.percentile(along, 100 - domains.HULL_TAIL))


def test_scores_of_labels_that_are_not_there_flag_no_star(domain: Domain) -> None:
    """Three labels without Teff; the second path knows the first alone."""
    table = LABELS[1:]
    three = domain._replace(
        labels=RobustScaler(*(part[1:] for part in domain.labels)),
        hull_low=jnp.full(13, -jnp.inf), hull_high=jnp.full(13, jnp.inf),
    )  # fmt: skip
    mean, sigma = jnp.asarray([[2.0, 0.0, 0.1]]), jnp.ones((1, 3))
    xp, error = (jnp.asarray(part) for part in made_up_spectra(1, 0))
    found = domains.all_scores(
        three, spectrum_scores(three, xp, error), Moments(mean, sigma, 0 * sigma),
        mean + jnp.asarray([[3.0, 1e3, 1e3]]), jnp.ones(1), jnp.ones(1), jnp.ones(1),
        table, ("logg",),
    )  # fmt: skip
    scores = dict(zip([s.name for s in SCORES], np.asarray(found)[0], strict=True))
    assert np.isnan(scores["teff"])
    assert scores["logg"] == 2.0
    assert scores["paths"] == pytest.approx(9.0)


def test_labels_outside_the_hull_but_inside_every_range(domain: Domain) -> None:
    """A corner that no axis-aligned box would notice."""
    rng = np.random.default_rng(2)
    x = rng.uniform(0, 1, 4_000)
    thin = np.stack([4000 + 1000 * x, 1 + 2 * x, -x, 0.3 * x], axis=1).astype(np.float32)
    xp, error = made_up_spectra(4_000, 0)
    narrow = fit_domain(
        xp, error, thin, domain.latents, np.ones((4_000, 2)), np.zeros((2, N_XP), bool)
    )
    mean = jnp.asarray([[4500.0, 2.0, -0.5, 0.15], [4900.0, 1.2, -0.5, 0.15]])
    sigma = jnp.full((2, 4), 0.1)
    found = domains.all_scores(
        narrow, spectrum_scores(narrow, xp[:2], error[:2]), Moments(mean, sigma, sigma), None,
        jnp.ones(2), jnp.ones(2), jnp.ones(2),
    )  # fmt: skip
    labels = np.asarray(found)[:, [s.name for s in SCORES].index("labels")]
    assert labels[0] < 0 < 0.3 < labels[1]


def test_thresholds_keep_the_alarm_rate() -> None:
    rng = np.random.default_rng(0)
    good, new = (rng.normal(size=(20_000, len(SCORES))) for _ in range(2))
    # Scores that say the same must not use the rate up twice.
    good[:, 1], new[:, 1] = good[:, 0], new[:, 0]
    good[:, 3] = np.nan
    thresholds = fit_thresholds(good, 0.01)
    free = np.array([not np.isfinite(s.floor) for s in SCORES]) & (np.arange(len(SCORES)) != 3)
    assert abs((good > thresholds)[:, free].any(axis=1).mean() - 0.01) < 0.002
    assert abs((new > thresholds)[:, free].any(axis=1).mean() - 0.01) < 0.002
    # One tail level for all: no score stands out.
    assert np.ptp((good > thresholds)[:, free].sum(axis=0)) == 0


def test_thresholds_stay_within_their_bounds() -> None:
    names = [score.name for score in SCORES]
    scores = np.full((1_000, len(SCORES)), 1e6)
    top = fit_thresholds(scores)
    assert top[names.index("teff")] == 7000
    assert top[names.index("logg")] == 4
    assert fit_thresholds(-scores)[names.index("residual")] == 1


def test_bits_follow_the_scores(domain: Domain) -> None:
    thresholds = jnp.arange(len(SCORES), dtype=jnp.float32)
    low = jnp.broadcast_to(thresholds, (len(SCORES) + 1, len(SCORES)))
    scores = low.at[jnp.arange(len(SCORES)), jnp.arange(len(SCORES))].add(1.0)
    scores = scores.at[-1, 0].set(jnp.nan)
    found = domains.outlier_bits(domain._replace(thresholds=thresholds), scores)
    assert found.tolist() == [bit(score.flag) for score in SCORES] + [0]


def test_trend_of_sigma_is_the_least_squares_parabola() -> None:
    rng = np.random.default_rng(0)
    ln_snr = rng.uniform(-1, 4, 500)
    log_sigma = 0.3 * ln_snr**2 - ln_snr + 2 + 0.1 * rng.normal(size=500)
    expected = np.polynomial.Polynomial.fit(ln_snr, log_sigma, 2).convert().coef[::-1]
    np.testing.assert_allclose(domains.sigma_trend(log_sigma, ln_snr), expected, rtol=1e-6)
    same = domains.sigma_trend(log_sigma, 3 + 1e-5 * ln_snr)
    np.testing.assert_allclose(same, [0, 0, log_sigma.mean()])
