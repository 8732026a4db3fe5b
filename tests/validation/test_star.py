"""The numbers of a star's card, against the networks and the stars it is made of."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax import flags
from aspgap_jax.errors import InputError
from aspgap_jax.prediction.batches import DEFAULT, label_options
from aspgap_jax.prediction.bundle import hallucinator_of
from aspgap_jax.prediction.domain import SCORES
from aspgap_jax.prediction.labelling import label_stars
from aspgap_jax.preprocessing.folds import Assignment, unseen_stars
from aspgap_jax.preprocessing.scaling import normalise
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.inputs import as_chunk
from aspgap_jax.survey.xp import WAVELENGTH
from aspgap_jax.validation.star import NEIGHBOURS, RATIOS, StarCard, describe_star, strangeness
from support.bundles import batch_of, bundle_of, gaia_bundle, gaia_set, made_up_set, networks_of

ROW = 7


@pytest.fixture(scope="module")
def stars() -> TrainingSet:
    return gaia_set()


@pytest.fixture(scope="module")
def card(stars: TrainingSet) -> StarCard:
    """Of a star that is not among the training stars."""
    others = stars.where(np.arange(len(stars)) != ROW)
    return describe_star(*gaia_bundle(), one(stars), training=others)


def one(stars: TrainingSet, row: int = ROW):
    return as_chunk(stars.where(np.array([row])))


def test_labels_are_those_of_a_prediction(card: StarCard, stars: TrainingSet) -> None:
    bundle, info = gaia_bundle()
    options = label_options(one(stars), DEFAULT)
    found = label_stars(bundle, batch_of(stars), info.config, options)
    np.testing.assert_allclose(card.mean, found.mean[ROW], rtol=1e-4)
    np.testing.assert_allclose(card.sigma, found.sigma[ROW], rtol=1e-4)
    # What is unknown of a star in a file.
    assert np.isnan(card.truth).all()
    names = flags.decode(card.flags)
    assert tuple(flag.name for flag in card.raised) == names
    limits = np.asarray(bundle.domain.thresholds)
    for score, value, limit in zip(SCORES, found.scores[ROW], limits, strict=True):
        if score.name in RATIOS and limit > 0:
            assert card.unusual[score.name] == pytest.approx(float(value / limit), rel=1e-3)
    whole = strangeness(np.asarray(found.scores), limits)
    assert whole[ROW] == pytest.approx(max(card.unusual.values()), rel=1e-3)


def test_shares_add_up_to_the_change_of_a_label(card: StarCard) -> None:
    change = card.mean - card.reference
    total = card.shares.broad + card.shares.features.sum(axis=1)
    # The rule has 64 points, and the networks have kinks.
    np.testing.assert_allclose(total, change, atol=0.02 * np.abs(change).max())


def test_the_covariance_is_that_of_the_prediction(card: StarCard, stars: TrainingSet) -> None:
    bundle, info = gaia_bundle()
    found = label_stars(bundle, batch_of(stars), info.config, label_options(one(stars), DEFAULT))
    sigma = np.asarray(found.sigma[ROW], np.float64)
    expected = np.diag(sigma) @ np.asarray(found.correlation[ROW], np.float64) @ np.diag(sigma)
    np.testing.assert_allclose(card.covariance, expected, rtol=1e-3)
    np.testing.assert_allclose(np.sqrt(np.diag(card.covariance)), card.sigma, rtol=1e-6)


def test_neighbours_are_the_nearest_in_the_components(card: StarCard, stars: TrainingSet) -> None:
    domain = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), gaia_bundle()[0].domain)
    spectra, error = (normalise(v, stars.g_mag, 0.4) for v in (stars.xp, stars.xp_error))
    at = (spectra - domain.scaler.centre) / domain.scaler.scale @ domain.basis[:, :10]
    noise = np.square(error[ROW] / domain.scaler.scale).mean()
    variance = domain.intrinsic[:10] + domain.noise[:10] * noise
    distance = np.sqrt((np.square(at - at[ROW]) / variance).mean(axis=1))
    nearest = [row for row in np.argsort(distance) if row != ROW][:NEIGHBOURS]
    assert card.neighbours is not None
    assert card.neighbours.source_id.tolist() == stars.source_id[nearest].tolist()
    np.testing.assert_allclose(card.neighbours.distance, distance[nearest], rtol=1e-3)
    np.testing.assert_allclose(card.neighbours.flux, spectra[nearest], rtol=1e-5)


def test_a_training_star_is_labelled_by_networks_that_have_not_seen_it(stars: TrainingSet) -> None:
    bundle, info = gaia_bundle()
    config = replace(info.config, cv=replace(info.config.cv, folds=2))
    info = replace(info, config=config, members=(Assignment(0, 0, 0), Assignment(0, 1, 0)))
    card = describe_star(bundle, info, one(stars), training=stars)
    weight = unseen_stars(stars.source_id, info.members, config).astype(np.float32)
    found = label_stars(
        bundle, batch_of(stars), config, label_options(one(stars), DEFAULT), jnp.asarray(weight)
    )
    np.testing.assert_allclose(card.mean, found.mean[ROW], rtol=1e-4)
    assert card.truth.tolist() == stars.labels[ROW].astype(float).tolist()
    assert card.neighbours is not None
    assert stars.source_id[ROW] not in card.neighbours.source_id
    assert "by networks that have not seen it" in " ".join(card.notes)


def test_a_star_without_a_band_has_no_labels_and_nothing_that_decided(stars: TrainingSet) -> None:
    lost = one(stars)
    lost.coefficients[:, WAVELENGTH < 640] = np.nan
    card = describe_star(*gaia_bundle(), lost, training=stars)
    assert np.isnan(card.mean).all()
    assert card.neighbours is None
    assert not card.shares.features.any()
    assert np.isnan(card.flux[0])
    assert np.isfinite(card.flux[-1])
    assert "MISSING_BAND" in [flag.name for flag in card.raised]


def test_what_is_absent_is_said(stars: TrainingSet) -> None:
    bundle, info = gaia_bundle()
    alone = describe_star(bundle, info, one(stars))
    assert alone.training.shape == (0, 4)
    assert "the bundle has no hallucinator" in " ".join(alone.notes)
    short = describe_star(
        bundle, info, one(stars), hallucinator=hallucinator_of(networks_of(stars))
    )
    assert "9 pixels, apStar 8575" in " ".join(short.notes)
    few = made_up_set()
    with pytest.raises(InputError, match="a card needs wavelengths"):
        describe_star(*bundle_of(few), one(few))
