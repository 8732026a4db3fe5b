"""The stars least like the others: a card each, to be looked at (beyond the paper)."""

from __future__ import annotations

import numpy as np

from aspgap_jax import plots
from aspgap_jax.errors import InputError
from aspgap_jax.labels import names
from aspgap_jax.prediction.bundle import load_bundle
from aspgap_jax.prediction.out_of_fold import label_unseen
from aspgap_jax.preprocessing.folds import unseen_stars
from aspgap_jax.suite.star_card import hallucinator_in
from aspgap_jax.suite.study import Drawn, Inputs, Missing, Result, Study
from aspgap_jax.survey.inputs import as_chunk
from aspgap_jax.validation.metrics import normalised_residual
from aspgap_jax.validation.star import RATIOS, describe_star, strangeness

__all__ = ["STUDIES", "strangest_stars"]

SHOWN = 10


def strangest_stars(inputs: Inputs) -> Result:
    """The stars of a run whose spectra are farthest from the domain, by networks unseen.

    Args:
        inputs: of a finished run.

    Returns:
        Figures, numbers and notes for the report.

    Raises:
        Missing: the run has no bundle, not its stars, or no network that has not seen them.
    """
    try:
        bundle, info = load_bundle(inputs.folder)
    except InputError as error:
        raise Missing(f"needs the bundle of the run: {error}") from error
    if info.label_names != names():
        raise Missing(f"needs networks of {', '.join(names())}, and no further labels")
    stars = inputs.stars
    unseen = unseen_stars(stars.source_id, info.members, info.config)
    rows = np.flatnonzero(unseen.any(axis=0))
    if not len(rows):
        raise Missing("needs stars that a network has not seen: a run of `aspgap crossval`")
    found = label_unseen(bundle, stars.where(rows), unseen[:, rows], info.config)
    scores = np.asarray(found.scores, np.float64)
    how_strange = strangeness(scores, np.asarray(bundle.domain.thresholds, np.float64))
    p = inputs.predictions
    chi = normalised_residual(p.prediction, p.sigma, p.truth, p.truth_error)[rows]
    hallucinator = hallucinator_in(inputs.folder)
    figures, numbers = [], {}
    for place, row in enumerate(np.argsort(how_strange)[::-1][:SHOWN], start=1):
        card = describe_star(
            bundle,
            info,
            as_chunk(stars.where(rows[row : row + 1])),
            training=stars,
            hallucinator=hallucinator,
        )
        score = max(card.unusual, key=lambda name: np.nan_to_num(card.unusual[name]))
        worst = float(np.nanmax(np.abs(chi[row]))) if np.isfinite(chi[row]).any() else np.nan
        numbers[f"star {place}"] = {
            "source_id": str(card.source_id),
            "over_the_limit": card.unusual[score],
            "by_score": score,
            "largest_chi": worst,
        }
        figures.append(
            Drawn(
                f"strangest_{place:02d}",
                plots.star_card(card),
                f"Strangest star {place}: Gaia {card.source_id}, {card.unusual[score]:.3g} times "
                f"the limit of the score '{score}'; its labels are {worst:.1f} sigma off at worst.",
            )
        )
    beyond = float((how_strange > 1.0).mean())
    return Result(
        numbers={"share_beyond_a_limit": beyond, **numbers},
        figures=tuple(figures),
        notes=(
            f"Strange is a star whose largest score ({', '.join(RATIOS)}) over its limit is "
            "largest; every star is scored by networks that have not seen it.",
        ),
    )


STUDIES = (
    Study(
        name="strangest",
        title="The ten strangest stars",
        needs="the bundle and the spectra of a cross-validation",
        run=strangest_stars,
    ),
)
