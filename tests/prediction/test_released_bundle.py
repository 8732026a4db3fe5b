"""The bundle that comes with the package, on real spectra."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax import labels
from aspgap_jax.flags import FLAGS, bit, decode
from aspgap_jax.prediction.assess import fit_magnitudes
from aspgap_jax.prediction.bundle import Bundle, BundleInfo, load_bundle, released_bundle
from aspgap_jax.prediction.labelling import LabelOptions, StarBatch, StarLabels, label_stars
from aspgap_jax.prediction.spectra import instrument_matrix
from aspgap_jax.preprocessing.folds import fold_of
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.sample import load_sample
from aspgap_jax.survey.xp import read_xp
from aspgap_jax.training.run import load_stars
from support.bundles import batch_of


@pytest.fixture(scope="module")
def released() -> tuple[Bundle, BundleInfo]:
    return load_bundle()


@pytest.fixture(scope="module")
def giants() -> TrainingSet:
    """Every tenth giant of the sample."""
    stars = load_stars("sample", "giants")
    return stars.where(fold_of(stars.source_id, 10, 2_000) == 0)


def of_file(path: Path, released: tuple[Bundle, BundleInfo], propagate: str) -> StarLabels:
    bundle, info = released
    continuous = "CONTINUOUS" in path.name
    chunk = next(read_xp(path, correlations=continuous))
    count = len(chunk)
    batch = StarBatch(
        xp=jnp.asarray(chunk.coefficients, jnp.float32),
        xp_error=jnp.asarray(chunk.errors, jnp.float32),
        g_mag=jnp.asarray(chunk.g_mag, jnp.float32),
        present=jnp.asarray(chunk.present if continuous else np.ones((count, 2), bool)),
        ruwe=jnp.full(count, jnp.nan),
        correlations=jnp.asarray(chunk.correlations, jnp.float32) if continuous else None,
    )
    options = LabelOptions(chunk.representation, propagate=propagate)
    return label_stars(bundle, batch, info.config, options)


def test_it_fits_the_package_and_has_a_card(released: tuple[Bundle, BundleInfo]) -> None:
    files = [path for path in released_bundle().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 15_000_000
    card = (released_bundle() / "README.md").read_text()
    assert "MIT" in card
    assert all(f"| {flag.bit} | {flag.name} |" in card for flag in FLAGS)
    assert f"{len(released[1].members)} networks" in card


def test_it_knows_the_stars_of_the_sample(
    released: tuple[Bundle, BundleInfo], giants: TrainingSet
) -> None:
    """Stars it was trained on: the bound is that of an intact file, no measure of quality."""
    bundle, info = released
    found = label_stars(bundle, batch_of(giants), info.config, LabelOptions("sampled"))
    rms = np.sqrt(np.square(np.asarray(found.mean) - giants.labels).mean(axis=0))
    assert (rms < [150, 0.26, 0.16, 0.065]).all()
    names = [name for flags in np.asarray(found.flags) for name in decode(flags)]
    assert len(names) < 0.06 * len(giants)
    # Without G the labels stay within a tenth of their uncertainty, mostly.
    nameless = batch_of(replace(giants, g_mag=np.full(len(giants), np.nan, np.float32)))
    without = label_stars(bundle, nameless, info.config, LabelOptions("sampled"))
    difference = np.abs(np.asarray(without.mean - found.mean)) / np.asarray(found.sigma)
    assert (np.median(difference, axis=0) < 0.1).all()
    assert (np.asarray(without.flags) & bit("NO_G")).all()


def test_coefficients_and_samples_of_the_same_stars(
    released: tuple[Bundle, BundleInfo], shared: Path
) -> None:
    folder = shared / "data/xp_formats"
    coefficients = of_file(folder / "XP_CONTINUOUS_RAW.fits", released, "none")
    samples = of_file(folder / "XP_SAMPLED_RAW_dr3int6.fits", released, "none")
    np.testing.assert_allclose(coefficients.mean, samples.mean, rtol=1e-3, atol=2e-3)
    # An extreme M giant and a star bluer than any of the sample: neither is trusted.
    for flags in np.asarray(coefficients.flags):
        assert "SPECTRUM_OUTLIER" in decode(flags)
        assert "NO_G" in decode(flags)
    assert "HOT_STAR" in decode(coefficients.flags[1])


def test_a_star_without_bp_has_no_labels(released: tuple[Bundle, BundleInfo], shared: Path) -> None:
    path = shared / "data/xp_formats/XP_CONTINUOUS_RAW_with_missing_BP.ecsv"
    found = of_file(path, released, "full")
    assert np.isnan(found.mean).all(axis=1).tolist() == [False, True, False]
    assert "MISSING_BAND" in decode(found.flags[1])
    assert (np.asarray(found.propagated)[[0, 2]] > 0).all()


@pytest.fixture(scope="module")
def sample() -> TrainingSet:
    """Every tenth star of the sample, whether it was trained on or not."""
    stars = load_sample()
    return stars.where(fold_of(stars.source_id, 10, 2_001) == 0)


@pytest.fixture(scope="module")
def reconstructed(sample: TrainingSet) -> TrainingSet:
    """Coefficients whose spectra are those of the sample, to the noise of the fit."""
    unit = 1e-18
    solve = np.linalg.pinv(instrument_matrix() / unit, rcond=1e-6)
    return replace(
        sample,
        representation="continuous",
        wavelength=None,
        release="dr3",
        xp=(sample.xp / unit @ solve.T).astype(np.float32),
        xp_error=np.sqrt((sample.xp_error / unit) ** 2 @ (solve.T) ** 2).astype(np.float32),
    )


@pytest.mark.parametrize("kind", ["sample", "reconstructed"])
def test_g_of_another_survey_or_star_is_flagged(
    kind: str, released: tuple[Bundle, BundleInfo], request: pytest.FixtureRequest
) -> None:
    bundle, info = released
    stars: TrainingSet = request.getfixturevalue(kind)
    options = LabelOptions(stars.representation)

    def mismatch(g_mag: np.ndarray) -> np.ndarray:
        batch = batch_of(replace(stars, g_mag=g_mag.astype(np.float32)))
        flags = np.asarray(label_stars(bundle, batch, info.config, options).flags)
        return flags & bit("G_MISMATCH") > 0

    labels_are_good = (stars.columns["snr"] > 50) & np.isfinite(stars.labels).all(axis=1)
    right = mismatch(stars.g_mag)
    # 1% of the stars that the threshold is of; more of the faint and blended ones.
    assert 0.002 < right[labels_are_good].mean() < 0.03
    assert right.mean() < 0.06
    for offset in (0.1, -0.1, 0.3, -3.0):
        assert mismatch(stars.g_mag + offset).mean() > 0.95
    # Pan-STARRS' g is fainter the redder the star.
    colour = stars.columns["phot_bp_mean_mag"] - stars.columns["phot_rp_mean_mag"]
    assert mismatch(stars.g_mag + 0.1 + 0.5 * np.nan_to_num(colour)).mean() > 0.95
    # The G of the next row: flagged wherever it is another.
    other = np.roll(stars.g_mag, 1)
    apart = np.abs(other - stars.g_mag) > 0.15
    assert apart.mean() > 0.8
    assert mismatch(other)[apart].mean() > 0.97
    for impossible in (-4.5, 45.0, 0.0):
        assert mismatch(np.full(len(stars), impossible)).all()
    assert not mismatch(np.full(len(stars), np.nan)).any()


def test_synthetic_g_is_that_of_gaia(
    released: tuple[Bundle, BundleInfo], sample: TrainingSet, reconstructed: TrainingSet
) -> None:
    bundle, info = released
    for stars in (sample, reconstructed):
        options = LabelOptions(stars.representation)
        found = label_stars(bundle, batch_of(stars), info.config, options)
        difference = np.asarray(found.g_synthetic) - sample.g_mag
        assert 1.4826 * np.nanmedian(np.abs(difference)) < 0.010
        assert np.isfinite(difference).mean() > 0.999


def test_its_photometry_is_fitted_to_its_training_stars(
    released: tuple[Bundle, BundleInfo],
) -> None:
    bundle, info = released
    fitted = fit_magnitudes(load_stars("sample", "broad"))
    np.testing.assert_allclose(bundle.photometry.weights, fitted.weights, rtol=1e-3)
    np.testing.assert_allclose(bundle.photometry.tolerance, fitted.tolerance, rtol=1e-3)
    assert info.release == ""


def test_order_of_labels_is_that_of_the_table(released: tuple[Bundle, BundleInfo]) -> None:
    assert released[1].label_names == labels.names()
