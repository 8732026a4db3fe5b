from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.flags import bit, decode
from aspgap_jax.prediction.bundle import Bundle
from aspgap_jax.prediction.labelling import LabelOptions, StarBatch, StarLabels, label_stars
from aspgap_jax.prediction.spectra import FLUX_UNIT, instrument_matrix, to_samples
from aspgap_jax.preprocessing.snr import band_snrs
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.xp import instrument, read_xp
from support.bundles import (
    WHITENED as CFG,
)
from support.bundles import (
    batch_of,
    bundle_of,
    made_up_set,
    mixture,
    networks_of,
    predicted_by_hand,
)

SAMPLED = LabelOptions("sampled")


@pytest.fixture(scope="module")
def stars() -> TrainingSet:
    return made_up_set()


@pytest.fixture(scope="module")
def bundle(stars: TrainingSet) -> Bundle:
    return bundle_of(stars, cfg=CFG)[0]


def has(found: StarLabels, name: str) -> list[bool]:
    return ((np.asarray(found.flags) & bit(name)) > 0).tolist()


def test_labels_are_those_of_the_members_combined(bundle: Bundle, stars: TrainingSet) -> None:
    found = label_stars(bundle, batch_of(stars, slice(6)), CFG, SAMPLED)
    members = predicted_by_hand(networks_of(stars, CFG), stars.xp[:6], stars.g_mag[:6], CFG)
    mean, sigma = mixture(*members, np.ones((2, 6), bool))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.hypot(found.aleatoric, found.epistemic), sigma, rtol=1e-3)
    np.testing.assert_allclose(found.epistemic, np.std(members[0], axis=0), rtol=1e-2, atol=1e-3)
    # The calibration by hand: ln SNR is minus half the ln of the mean noise variance, and
    # the ln of the mean of flux over error.
    c, scaler = bundle.calibration, bundle.domain.scaler
    factor = 10 ** (0.4 * (15 - stars.g_mag[:6].astype(float)))[:, None]
    noise = np.square(stars.xp_error[:6] / factor / np.asarray(scaler.scale)).mean(axis=1)
    ratio = np.abs(stars.xp[:6] / stars.xp_error[:6]).mean(axis=1)
    excess = np.stack([-0.5 * np.log(noise), np.log(ratio)], axis=1) - np.asarray(c.reference)
    expected = np.exp(
        np.asarray(c.offset) + np.asarray(c.slope) * np.log(sigma)
        + excess @ np.asarray(c.snr_slope)
    )  # fmt: skip
    np.testing.assert_allclose(found.sigma, expected, rtol=2e-3)
    knots, matrix = (np.asarray(a) for a in bundle.correlation)
    between = [np.interp(mean[:, 0], knots, matrix[:, 0, k]) for k in range(4)]
    np.testing.assert_allclose(found.correlation[:, 0], np.transpose(between), atol=1e-4)
    np.testing.assert_allclose(
        found.covariance[:, 0, 1],
        found.correlation[:, 0, 1] * found.sigma[:, 0] * found.sigma[:, 1],
        rtol=1e-5,
    )
    assert not np.asarray(found.propagated).any()


def test_members_count_by_their_weight(bundle: Bundle, stars: TrainingSet) -> None:
    members = predicted_by_hand(networks_of(stars, CFG), stars.xp[:6], stars.g_mag[:6], CFG)
    weight = jnp.asarray([[1.0, 0.0, 0.25] * 2, [0.0, 1.0, 0.75] * 2])
    found = label_stars(bundle, batch_of(stars, slice(6)), CFG, SAMPLED, weight)
    expected = np.einsum("ms,msl->sl", weight, members[0])
    np.testing.assert_allclose(found.mean, expected, rtol=1e-4, atol=1e-5)
    # Alone, a member has nobody to disagree with.
    np.testing.assert_array_equal(np.asarray(found.epistemic)[[0, 1, 3, 4]], 0.0)


def test_other_rows_and_padding_change_nothing(bundle: Bundle, stars: TrainingSet) -> None:
    batch = batch_of(stars, slice(6))
    whole = label_stars(bundle, batch, CFG, SAMPLED)
    spoilt = batch._replace(xp=batch.xp.at[3:].set(jnp.nan), g_mag=batch.g_mag.at[4].set(jnp.nan))
    found = label_stars(bundle, spoilt, CFG, SAMPLED)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(np.asarray(a)[:3], np.asarray(b)[:3])


def test_one_compilation_for_all_batches_of_a_shape(bundle: Bundle, stars: TrainingSet) -> None:
    label_stars(bundle, batch_of(stars, slice(6)), CFG, SAMPLED)
    before = label_stars._cache_size()
    label_stars(bundle, batch_of(stars, slice(6, 12)), CFG, LabelOptions("sampled"))
    assert label_stars._cache_size() == before


def test_without_g_it_is_synthesised(bundle: Bundle, stars: TrainingSet) -> None:
    batch = batch_of(stars, slice(6))
    known = label_stars(bundle, batch, CFG, SAMPLED)
    found = label_stars(bundle, batch._replace(g_mag=jnp.full(6, jnp.nan)), CFG, SAMPLED)
    assert has(found, "NO_G") == [True] * 6
    assert has(known, "NO_G") == [False] * 6
    np.testing.assert_allclose(found.mean, known.mean, rtol=0.02, atol=0.02)
    # And it is the brightness that counts: the same spectra ten times brighter.
    brighter = batch._replace(
        xp=10 * batch.xp, xp_error=10 * batch.xp_error, g_mag=jnp.full(6, jnp.nan)
    )
    ten = label_stars(bundle, brighter, CFG, SAMPLED)
    np.testing.assert_allclose(ten.mean, found.mean, rtol=1e-3, atol=1e-3)


def test_g_of_another_star_is_flagged(bundle: Bundle, stars: TrainingSet) -> None:
    batch = batch_of(stars, slice(6))
    synthetic = np.asarray(label_stars(bundle, batch, CFG, SAMPLED).g_synthetic)
    tolerance = float(bundle.photometry.tolerance)
    given = synthetic + tolerance * np.array([0.0, 0.98, -0.98, 1.02, -1.02, np.nan])
    found = label_stars(bundle, batch._replace(g_mag=jnp.asarray(given)), CFG, SAMPLED)
    assert has(found, "G_MISMATCH") == [False, False, False, True, True, False]
    # Where the spectrum has no G, a given one cannot be its own; where a band is missing, or
    # a value, there is nothing to compare with.
    odd = batch._replace(
        xp=batch.xp.at[0].multiply(-1.0).at[1, 3].set(jnp.nan),
        present=batch.present.at[2, 0].set(False),
        g_mag=jnp.full(6, 3.0),
    )
    found = label_stars(bundle, odd, CFG, SAMPLED)
    assert has(found, "G_MISMATCH") == [True, False, False, True, True, True]
    assert np.isnan(found.g_synthetic).tolist() == [True, False, True, False, False, False]


def test_facts_are_flagged(bundle: Bundle, stars: TrainingSet) -> None:
    batch = batch_of(stars, slice(6))
    found = label_stars(
        bundle,
        batch._replace(
            ruwe=jnp.asarray([1.0, 1.5, jnp.nan, 1.4, 1.0, 1.0]),
            xp=batch.xp.at[4, 3].set(jnp.nan),
            present=batch.present.at[5, 0].set(False),
        ),
        CFG,
        SAMPLED,
    )
    assert has(found, "POOR_ASTROMETRY") == [False, True, False, False, False, False]
    assert has(found, "NOT_FINITE") == [False] * 4 + [True, False]
    assert has(found, "MISSING_BAND") == [False] * 5 + [True]
    # A hole is filled, a missing band is not.
    assert np.isfinite(found.mean[:5]).all()
    assert np.isnan(found.mean[5]).all()
    assert np.isnan(found.sigma[5]).all()
    assert decode(int(found.flags[5])) == ("MISSING_BAND",)


def test_scores_flag_what_they_are_of(bundle: Bundle, stars: TrainingSet) -> None:
    batch = batch_of(stars)
    clean = label_stars(bundle, batch, CFG, SAMPLED)
    outliers = sum(map(bit, ("OUT_OF_RANGE", "LATENT_OUTLIER", "SPECTRUM_OUTLIER",
                             "PATHS_DISAGREE", "MEMBERS_DISAGREE", "LARGE_SIGMA")))  # fmt: skip
    # 1% of the 400 stars that set the thresholds have any of all scores' flags.
    assert np.mean((np.asarray(clean.flags) & outliers) > 0) <= 0.0125
    noisy = batch._replace(xp=batch.xp + 30 * jnp.roll(batch.xp_error, 1, axis=1)
                           * jax.random.normal(jax.random.key(0), batch.xp.shape))  # fmt: skip
    found = label_stars(bundle, noisy, CFG, SAMPLED)
    assert np.mean(has(found, "SPECTRUM_OUTLIER")) > 0.9
    other_path = bundle._replace(
        params=bundle.params._replace(
            second=jax.tree.map(lambda leaf: leaf + 3.0, bundle.params.second)
        )
    )
    disagree = label_stars(other_path, batch, CFG, SAMPLED)
    assert all(has(disagree, "PATHS_DISAGREE"))
    not_asked = label_stars(other_path, batch, CFG, replace(SAMPLED, second_path=False))
    assert not any(has(not_asked, "PATHS_DISAGREE"))
    np.testing.assert_array_equal(not_asked.mean, clean.mean)


def test_bfloat16_is_close(bundle: Bundle, stars: TrainingSet) -> None:
    batch = batch_of(stars, slice(50))
    exact = label_stars(bundle, batch, CFG, SAMPLED)
    found = label_stars(bundle, batch, CFG, replace(SAMPLED, compute="bfloat16"))
    assert found.mean.dtype == jnp.float32
    difference = np.abs(np.asarray(found.mean - exact.mean)) / np.asarray(exact.sigma)
    assert 0 < difference.max() < 0.1


def test_propagation_of_noise_agrees_with_draws(bundle: Bundle, stars: TrainingSet) -> None:
    batch = batch_of(stars, slice(1))
    batch = batch._replace(xp_error=batch.xp_error / 5)
    found = label_stars(bundle, batch, CFG, replace(SAMPLED, propagate="diagonal"))
    rng = np.random.default_rng(0)
    drawn = np.asarray(batch.xp) + rng.normal(size=(4_000, 24)) * np.asarray(batch.xp_error)
    many = StarBatch(*(jnp.repeat(leaf, 4_000, axis=0) for leaf in batch[:5]))
    labels = label_stars(bundle, many._replace(xp=jnp.asarray(drawn, jnp.float32)), CFG, SAMPLED)
    np.testing.assert_allclose(found.propagated[0], np.std(labels.mean, axis=0), rtol=0.05)


def test_full_covariance_needs_correlations(bundle: Bundle, stars: TrainingSet) -> None:
    with pytest.raises(InputError, match="needs coefficients with their correlations"):
        label_stars(bundle, batch_of(stars, slice(6)), CFG, replace(SAMPLED, propagate="full"))


def test_snr_of_coefficients_is_that_of_figure_1(bundle: Bundle, stars: TrainingSet) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 24)) * np.exp(-0.5 * (np.arange(24) % 12))
    errors = np.exp(rng.uniform(-6, 0, (200, 1))) * np.full(24, 0.02)
    # Twelve coefficients a band: ten low and two high ones.
    snrs = band_snrs(values, errors, 12)
    below = [snrs[f"snr_{b}_low"] <= 100 for b in ("bp", "rp")]
    below += [snrs[f"snr_{b}_high"] <= 1 for b in ("bp", "rp")]
    expected = np.any(below, axis=0)
    batch = batch_of(stars, slice(200))._replace(
        xp=jnp.asarray(values, jnp.float32), xp_error=jnp.asarray(errors, jnp.float32)
    )
    found = label_stars(bundle, batch, CFG, LabelOptions("continuous", n_bp=12))
    assert 20 < expected.sum() < 180
    np.testing.assert_array_equal(has(found, "LOW_SNR"), expected)


def test_samples_of_coefficients_are_those_of_the_instrument_model(shared) -> None:
    pytest.importorskip("gaiaxpy.core.config")
    model = instrument.instrument_model()
    np.testing.assert_array_equal(instrument_matrix(), model.matrix)
    path = shared / "data/xp_formats/XP_CONTINUOUS_RAW.fits"
    chunk = next(read_xp(path))
    expected = instrument.sample_spectra(model, chunk.coefficients, chunk.present)
    matrix = jnp.asarray(instrument_matrix() / FLUX_UNIT, jnp.float32)
    flux, error = to_samples(
        matrix, *(jnp.asarray(a, jnp.float32) for a in (chunk.coefficients, chunk.errors))
    )
    scale = np.abs(expected).max(axis=1, keepdims=True)
    np.testing.assert_allclose(flux / scale, expected / scale, atol=3e-6)
    variance = np.square(model.matrix) @ np.square(chunk.errors.T)
    np.testing.assert_allclose(error, np.sqrt(variance).T, rtol=1e-4)


def sampled_stars(count: int) -> tuple[TrainingSet, np.ndarray, np.ndarray]:
    """Made-up stars on Gaia's grid, from made-up coefficients, and those with errors."""
    rng = np.random.default_rng(5)
    base = made_up_set(count)
    matrix = instrument_matrix()
    decline = np.exp(-0.15 * (np.arange(110) % 55))
    coefficients = rng.normal(size=(count, 110)) * decline
    coefficients[:, [0, 55]] = rng.uniform(20, 60, (count, 2))
    errors = np.full((count, 110), 0.01) * decline
    wavelength = np.arange(336.0, 1021.0, 2.0)
    xp = (coefficients @ matrix.T).astype(np.float32)
    error = np.sqrt(np.square(errors) @ np.square(matrix).T).astype(np.float32)
    stars = replace(base, xp=xp, xp_error=error, wavelength=wavelength)
    return stars, coefficients, errors


def test_coefficients_give_the_labels_of_their_samples() -> None:
    stars, coefficients, errors = sampled_stars(200)
    bundle, info = bundle_of(stars, cfg=CFG)
    assert info.n_coefficients == 110
    sampled = label_stars(bundle, batch_of(stars), CFG, SAMPLED)
    batch = batch_of(stars)._replace(
        xp=jnp.asarray(coefficients, jnp.float32), xp_error=jnp.asarray(errors, jnp.float32)
    )
    found = label_stars(bundle, batch, CFG, LabelOptions("continuous"))
    np.testing.assert_allclose(found.mean, sampled.mean, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.sigma, sampled.sigma, rtol=1e-2)
    # A band of zeros is as good as none, in either representation.
    empty = batch._replace(xp=batch.xp.at[0, :55].set(0.0), xp_error=batch.xp_error.at[1].set(0.1))
    missing = label_stars(bundle, empty, CFG, LabelOptions("continuous"))
    assert has(missing, "MISSING_BAND")[:3] == [True, False, False]
    zeros = batch_of(stars)
    zeros = zeros._replace(xp=zeros.xp.at[0, :150].set(0.0), xp_error=zeros.xp_error.at[1].mul(1e3))
    missing = label_stars(bundle, zeros, CFG, SAMPLED)
    assert has(missing, "MISSING_BAND")[:3] == [True, False, False]
    assert has(missing, "LOW_SNR")[1:3] == [True, False]
    # The last coefficients of a band are NaN in some of Gaia's spectra.
    holes = batch._replace(xp=batch.xp.at[:, 54].set(jnp.nan))
    filled = label_stars(bundle, holes, CFG, LabelOptions("continuous"))
    assert all(has(filled, "NOT_FINITE"))
    np.testing.assert_allclose(filled.mean, found.mean, rtol=0.01, atol=0.05)
