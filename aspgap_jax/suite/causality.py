"""Is [alpha/M] measured, or inferred from what goes with it? Beyond the paper (section 4.5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from aspgap_jax import labels, plots
from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.preprocessing import folds
from aspgap_jax.preprocessing.device import to_device
from aspgap_jax.suite.study import Drawn, Inputs, Missing, Result, Study
from aspgap_jax.survey.sky import galactic
from aspgap_jax.survey.xp.instrument import instrument_model
from aspgap_jax.validation import attribution
from aspgap_jax.validation.bootstrap import bootstrap
from aspgap_jax.validation.conditional import (
    conditional_permutation,
    matched_pair_test,
    matched_pairs,
    quadratic,
)
from aspgap_jax.validation.trends import colour_excess, residual_trend

__all__ = ["STUDIES", "alpha_attribution", "alpha_information", "residual_trends"]

ALPHA = labels.index("alpha_m")
OTHERS = [i for i in range(len(labels.LABELS)) if i != ALPHA]
# Stars of a pair agree to about an error of APOGEE, and differ by more than one of XP.
TOLERANCE = {"teff": 30.0, "logg": 0.1, "m_h": 0.05}
REDDENING_TOLERANCE = 0.05  # mag, of the colour excess
DIFFERENCE = 0.1  # dex
MAX_PAIRS = 400  # a member


def complete(predictions: Predictions) -> Predictions:
    """The stars with every label known."""
    keep = np.isfinite(predictions.truth).all(axis=1)
    if not keep.any():
        raise Missing("needs reference labels, and no star has all of them")
    return predictions.where(keep)


def reddening(predictions: Predictions) -> np.ndarray | None:
    """Excess of BP - RP at given Teff, log g and [M/H] (mag), where the run has the colours."""
    columns = predictions.columns
    if not {"phot_bp_mean_mag", "phot_rp_mean_mag"} <= set(columns):
        return None
    colour = np.asarray(columns["phot_bp_mean_mag"], np.float64) - columns["phot_rp_mean_mag"]
    return colour_excess(colour, predictions.truth[:, OTHERS].astype(np.float64))


def tolerances() -> np.ndarray:
    """Of the labels other than [alpha/M], in their order."""
    return np.array([TOLERANCE[labels.names()[i]] for i in OTHERS])


def pairs_of(predictions: Predictions, excess: np.ndarray | None) -> np.ndarray:
    """Matched pairs: equal Teff, log g, [M/H] and reddening, different [alpha/M]."""
    conditions, tolerance = predictions.truth[:, OTHERS].astype(np.float64), tolerances()
    rows = np.arange(len(predictions))
    if excess is not None:
        rows = np.flatnonzero(np.isfinite(excess))
        conditions = np.column_stack([conditions, excess])[rows]
        tolerance = np.append(tolerance, REDDENING_TOLERANCE)
    truth = predictions.truth[rows, ALPHA].astype(np.float64)
    return np.asarray(rows[matched_pairs(truth, conditions, tolerance, difference=DIFFERENCE)])


def remapped(truth: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[alpha/M] as a cubic function of other labels: a prediction without spectra."""
    z = (others - others.mean(axis=0)) / others.std(axis=0)
    count = z.shape[1]
    cubes = [
        z[:, i] * z[:, j] * z[:, k]
        for i in range(count)
        for j in range(i, count)
        for k in range(j, count)
    ]
    design = np.column_stack([quadratic(others), *cubes])
    return np.asarray(design @ np.linalg.lstsq(design, truth, rcond=None)[0])


def alpha_information(inputs: Inputs) -> Result:
    """Conditional permutation and matched pairs at fixed labels.

    Args:
        inputs: of a finished run.

    Returns:
        Figures, numbers and notes for the report.
    """
    stars = complete(inputs.predictions)
    excess = reddening(stars)
    if excess is not None:
        known = np.isfinite(excess)
        stars, excess = stars.where(known), excess[known]
    truth = stars.truth[:, ALPHA].astype(np.float64)
    others = stars.truth[:, OTHERS].astype(np.float64)
    own = stars.prediction[:, OTHERS].astype(np.float64)
    predicted = {
        "AspGap": stars.prediction[:, ALPHA].astype(np.float64),
        "function of AspGap's other labels": remapped(truth, own),
        "function of APOGEE's other labels": remapped(truth, others),
    }
    sets = {"other labels": others, "other labels,\nalso AspGap's": np.column_stack([others, own])}
    if excess is not None:
        more = np.column_stack([others, excess, stars.g_mag])
        sets["other labels,\ncolour and G"] = more
    tests = {
        fixed: {
            name: conditional_permutation(truth, values, conditions, seed=inputs.seed)
            for name, values in predicted.items()
        }
        for fixed, conditions in sets.items()
    }
    pairs = pairs_of(stars, excess)
    matched = others if excess is None else np.column_stack([others, excess])
    found = {
        name: matched_pair_test(
            truth, values, matched, pairs, draws=max(inputs.draws, 999), seed=inputs.seed
        )
        for name, values in predicted.items()
    }
    numbers: dict[str, Any] = {
        "conditional_permutation": {
            fixed.replace("\n", " "): {name: test._asdict() for name, test in by_name.items()}
            for fixed, by_name in tests.items()
        },
        "matched_pairs": {
            name: test._asdict() | {"slope": test.slope.numbers()} for name, test in found.items()
        },
    }
    ours = predicted["AspGap"]
    low, high = pairs.T
    fixed = "Teff, log g, [M/H]" + ("" if excess is None else " and colour excess")
    figure, narrow = (
        plots.conditional_information(
            tests, truth[high] - truth[low], ours[high] - ours[low], found["AspGap"], narrow=each
        )
        for each in (False, True)
    )
    caption = (
        "Information on [alpha/M] at fixed labels. Bars: partial correlation of what is predicted "
        f"with APOGEE's. Points: pairs of stars of equal {fixed}."
    )
    return Result(
        numbers=numbers,
        figures=(Drawn("alpha_information", figure, caption, narrow),),
        notes=(
            "A function of the other labels has no information of its own: where the other "
            "labels of APOGEE are fixed, its correlation is the floor that imperfect matching "
            "leaves; the one of AspGap's labels is what their errors tell of [alpha/M].",
            "What goes with [alpha/M] at fixed conditions, [C/N] or age, counts as information.",
        ),
    )


def alpha_attribution(inputs: Inputs) -> Result:
    """Integrated gradients from low- to high-alpha stars of equal other labels.

    Args:
        inputs: of a finished run.

    Returns:
        Figures, numbers and notes for the report.

    Raises:
        Missing: no network has not seen the stars, or none are alike but for [alpha/M].
    """
    (networks, info), stars = inputs.networks, inputs.stars
    if any(member.fold < 0 for member in info.members):
        raise Missing("needs stars that a network has not seen: a run of `aspgap crossval`")
    unseen = folds.unseen_stars(stars.source_id, info.members, info.config)
    known = np.isfinite(inputs.predictions.truth).all(axis=1)
    xp = np.asarray(to_device(stars, info.config.data.magnitude_exponent).xp, np.float64)
    matrix = None
    wavelength = stars.wavelength
    if wavelength is None:
        instrument = instrument_model()
        matrix, wavelength = instrument.matrix, instrument.wavelength
    excess = reddening(inputs.predictions)
    gradients, differences, changes, truths, errors = [], [], [], [], []
    for number in range(len(info.members)):
        held_out = np.flatnonzero(unseen[number] & known)
        of = None if excess is None else excess[held_out]
        pairs = held_out[pairs_of(inputs.predictions.where(held_out), of)]
        if len(pairs) > MAX_PAIRS:
            chosen = np.random.default_rng(inputs.seed).permutation(len(pairs))[:MAX_PAIRS]
            pairs = pairs[chosen]
        if not len(pairs):
            raise Missing("needs stars of equal labels and different [alpha/M]; there are none")
        low, high = xp[pairs[:, 0]], xp[pairs[:, 1]]
        gradient, change = attribution.label_gradients(
            networks, info.config, number, "alpha_m", low, high
        )
        difference = high - low
        errors.append((gradient * difference).sum(axis=1) - change)
        if matrix is not None:
            gradient = attribution.gradients_by_flux(gradient, matrix)
            difference = difference @ matrix.T
        gradients.append(gradient)
        differences.append(difference)
        changes.append(change)
        truths.append(np.diff(inputs.predictions.truth[pairs, ALPHA], axis=1)[:, 0])
    gradient, difference, change, truth, error = (
        np.concatenate(parts) for parts in (gradients, differences, changes, truths, errors)
    )
    shares = attribution.split_shares(gradient, difference, wavelength)
    features = bootstrap(
        lambda rows: shares.features[rows].mean(axis=0),
        len(change),
        draws=inputs.draws,
        seed=inputs.seed,
    )
    bands = attribution.band_shares(
        shares.features, wavelength, draws=inputs.draws, seed=inputs.seed
    )
    whole = (gradient * difference).mean(axis=0)
    numbers: dict[str, Any] = {
        "pairs": len(change),
        "true_change": float(truth.mean()),
        "predicted_change": float(change.mean()),
        "broad": float(shares.broad.mean()),
        "features": float(features.value.sum()),
        "completeness_error_rms": float(np.sqrt(np.square(error).mean())),
        # How often over the shares by wavelength cancel before they are split.
        "cancellation": float(np.abs(whole).sum() / abs(whole.sum())),
        "bands": {name: interval.numbers() for name, interval in bands.items()},
    }
    flux = (xp if matrix is None else xp @ matrix.T).mean(axis=0)
    broad = attribution.smooth(difference.mean(axis=0)[None], wavelength)[0]
    figure, narrow = (
        plots.attribution(
            wavelength,
            features,
            (difference.mean(axis=0) - broad) / flux,
            numbers["broad"],
            numbers["predicted_change"],
            narrow=each,
        )
        for each in (False, True)
    )
    caption = (
        "Where [alpha/M] is seen: integrated gradients between stars of equal other labels, less "
        "the broad shape, and the flux difference that they act on. Shaded: 95% intervals."
    )
    return Result(
        numbers=numbers,
        figures=(Drawn("alpha_attribution", figure, caption, narrow),),
        notes=(
            "Every pair is attributed by networks that have seen neither star.",
            "Shares say what the network uses, which need not be what an atom causes: "
            "neighbouring samples of XP spectra are correlated, and a network may weigh them "
            "against each other.",
        ),
    )


def residual_trends(inputs: Inputs) -> Result:
    """Residuals against brightness, reddening and place on the sky.

    Args:
        inputs: of a finished run.

    Returns:
        Figures, numbers and notes for the report.
    """
    stars = complete(inputs.predictions)
    residual = np.asarray(stars.prediction, np.float64) - stars.truth
    quantities = {"g_mag": ("$G$ [mag]", np.asarray(stars.g_mag, np.float64))}
    excess = reddening(stars)
    if excess is not None:
        quantities["colour_excess"] = (r"excess of BP$-$RP [mag]", excess)
    longitude, latitude = galactic(stars.source_id, stars.columns)
    quantities["galactic_latitude"] = ("Galactic latitude [deg]", latitude)
    # The axis is cut at the anticentre, where stars are fewer.
    longitude = (longitude + 180.0) % 360.0 - 180.0
    quantities["galactic_longitude"] = ("Galactic longitude [deg]", longitude)
    trends = {
        name: residual_trend(values, residual, draws=inputs.draws, seed=inputs.seed)
        for name, (_, values) in quantities.items()
    }
    numbers = {
        name: {
            "stars": trend.n_stars,
            "centre": trend.centre.tolist(),
            "labels": {
                label: {
                    "mean": trend.mean.value[:, i].tolist(),
                    "error": trend.mean.error[:, i].tolist(),
                    "slope": float(trend.slope.value[i]),
                    "slope_error": float(trend.slope.error[i]),
                    "amplitude": float(trend.amplitude[i]),
                }
                for i, label in enumerate(labels.names())
            },
        }
        for name, trend in trends.items()
    }
    named = {quantities[name][0]: trends[name] for name in trends}
    figure, narrow = (plots.residual_trends(named, narrow=each) for each in (False, True))
    caption = (
        "Mean residuals (prediction minus APOGEE) against what is no label, with bootstrap errors."
    )
    return Result(
        numbers=numbers,
        figures=(Drawn("residual_trends", figure, caption, narrow),),
        notes=(
            "The proxy of extinction is the excess of BP - RP over the bluest stars of the same "
            "Teff, log g and [M/H]; its zero point is arbitrary.",
            "A prediction is an average over what a spectrum allows, so residuals go with the "
            "truth; a trend with the place on the sky says first where which stars are.",
        ),
    )


STUDIES = (
    Study(
        name="alpha_information",
        title="[alpha/M] at fixed Teff, log g and [M/H]",
        needs="predictions with the truth",
        run=alpha_information,
    ),
    Study(
        name="alpha_attribution",
        title="Which wavelengths carry [alpha/M]",
        needs="the bundle and the spectra of a cross-validation",
        run=alpha_attribution,
    ),
    Study(
        name="residual_trends",
        title="Residuals against brightness, reddening and sky position",
        needs="predictions with the truth",
        run=residual_trends,
    ),
)
