"""One star: its labels and their covariance, the training stars most like it, and why.

What a star's card shows, as numbers (:mod:`aspgap_jax.plots.star_card` draws it):
its spectrum and those of its neighbours among the training stars; labels with their
covariance; the flags with how far they are exceeded; the wavelengths that moved each label
away from that of the median training star, by integrated gradients
(:mod:`aspgap_jax.validation.attribution`); and the spectrum that the hallucinator makes.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from aspgap_jax import flags, labels, model
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.basis import has_basis
from aspgap_jax.config import Config, Model
from aspgap_jax.errors import InputError
from aspgap_jax.model import Absorbed
from aspgap_jax.prediction.batches import DEFAULT, label_options, star_batch
from aspgap_jax.prediction.bundle import Bundle, BundleInfo, Hallucinator, check_spectra
from aspgap_jax.prediction.domain import SCORES
from aspgap_jax.prediction.hallucination import member_spectra
from aspgap_jax.prediction.labelling import LabelOptions, StarBatch, band_snr, label_stars
from aspgap_jax.prediction.spectra import instrument_matrix, normalised_spectra
from aspgap_jax.preprocessing.folds import unseen_stars
from aspgap_jax.preprocessing.scaling import Scalers, normalise
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.xp import WAVELENGTH, XPChunk
from aspgap_jax.survey.xp.instrument import check_release
from aspgap_jax.typing import XP, Array, Scalar
from aspgap_jax.validation.attribution import (
    Shares,
    gradients_by_flux,
    path_gradients,
    split_shares,
)

__all__ = [
    "NEIGHBOURS",
    "RATIOS",
    "Neighbours",
    "Raised",
    "StarCard",
    "describe_star",
    "strangeness",
]

NEIGHBOURS = 12
COMPONENTS = 10
"""In which stars are alike or not: more of them would tell by noise."""
BP_ENDS = 640.0
"""nm: where the two bands meet."""
STEPS = 64
"""Of the integral of the gradients."""
RATIOS = ("range", "leading", "trailing", "residual", "latents", "paths", "members")
"""Scores whose size over their threshold says something."""


class Raised(NamedTuple):
    """A flag that is set.

    Attributes:
        name: as the catalogue has it.
        meaning: in words.
        excess: the largest of its scores over its threshold; NaN where that says nothing.
    """

    name: str
    meaning: str
    excess: float


class Neighbours(NamedTuple):
    """The training stars whose spectra are most like the star's, nearest first.

    Attributes:
        source_id: Gaia source ids.
        distance: root mean square of the differences in the leading principal components,
            each over the scatter of training stars at that noise.
        flux: normalised by magnitude, W m^-2 nm^-1.
        labels: from APOGEE.
    """

    source_id: np.ndarray
    distance: Float[np.ndarray, " neighbour"]
    flux: Float[np.ndarray, "neighbour sample"]
    labels: Float[np.ndarray, "neighbour label"]


class StarCard(NamedTuple):
    """All that is known of a star; labels in the units of the label table.

    Attributes:
        source_id: Gaia source id.
        g_mag: Gaia G, mag; NaN where the file has none.
        colour: synthetic G_BP - G_RP, mag; NaN where unknown.
        snr: of BP and RP.
        wavelength: of the spectra, nm.
        flux: normalised by magnitude, that is, of the star if it had G = 15, W m^-2 nm^-1.
        flux_error: 1-sigma.
        mean: labels; NaN without one of the bands.
        sigma: calibrated 1-sigma uncertainties.
        covariance: of ``sigma`` and the correlations of the labels' errors among stars like it
            (:mod:`aspgap_jax.prediction.correlation`).
        aleatoric: what the networks say of it themselves.
        epistemic: how far the networks scatter.
        truth: of the training set, NaN for a star that is not in it.
        truth_error: 1-sigma.
        flags: the bit mask.
        raised: the flags that are set.
        unusual: scores of the domain over their thresholds, by name; without those that
            have no threshold.
        reference: labels of the median training star's spectrum, where the shares begin.
        shares: of the change of each label from there: the broad shape ``[label]``, and the
            features ``[label, sample]``.
        training: labels of the training stars ``[star, label]``; no rows where unknown.
        neighbours: ``None`` where the training stars are unknown.
        hallucinated: on the apStar grid, flux over the continuum; ``None`` without a
            hallucinator.
        notes: what is to be known of all this, and why what is absent is absent.
    """

    source_id: int
    g_mag: float
    colour: float
    snr: Float[np.ndarray, "band=2"]
    wavelength: Float[np.ndarray, " sample"]
    flux: Float[np.ndarray, " sample"]
    flux_error: Float[np.ndarray, " sample"]
    mean: Float[np.ndarray, " label"]
    sigma: Float[np.ndarray, " label"]
    covariance: Float[np.ndarray, "label label"]
    aleatoric: Float[np.ndarray, " label"]
    epistemic: Float[np.ndarray, " label"]
    truth: Float[np.ndarray, " label"]
    truth_error: Float[np.ndarray, " label"]
    flags: int
    raised: tuple[Raised, ...]
    unusual: dict[str, float]
    reference: Float[np.ndarray, " label"]
    shares: Shares
    training: Float[np.ndarray, "star label"]
    neighbours: Neighbours | None
    hallucinated: Float[np.ndarray, " pixel"] | None
    notes: tuple[str, ...]


def describe_star(
    bundle: Bundle,
    info: BundleInfo,
    star: XPChunk,
    *,
    training: TrainingSet | None = None,
    hallucinator: Hallucinator | None = None,
    notes: tuple[str, ...] = (),
) -> StarCard:
    """Everything about one star.

    A star of the training set is labelled by the networks that have not seen it.

    Args:
        bundle: what predicts.
        info: what it is.
        star: one star, as a file has it.
        training: the stars that the bundle was trained on, or such as are like them.
        hallucinator: of the same bundle.
        notes: to be shown on the card.

    Returns:
        The numbers of the card.

    Raises:
        InputError: the bundle takes no such spectra, or has other labels than the paper's.
    """
    if info.label_names != labels.names():
        raise InputError(
            f"a card draws {', '.join(labels.names())}; the bundle is for "
            f"{', '.join(info.label_names)}: take another bundle"
        )
    check_release(info.representation, info.release, star)
    check_spectra(info, star.representation, star.coefficients.shape[1])
    cfg, options, said = info.config, label_options(star, DEFAULT), list(notes)
    matrix = _matrix(info, training)
    in_training = np.zeros(0, np.int64)
    if training is not None:
        in_training = np.flatnonzero(training.source_id == star.source_id[0])
    weight = _weights(info, star.source_id, bool(len(in_training)), said)
    host = star_batch(star, star.g_mag, np.full(1, np.nan), DEFAULT)
    batch: StarBatch = jax.tree.map(jnp.asarray, host)
    found = label_stars(bundle, batch, cfg, options, weight[:, None])
    mean, sigma, aleatoric, epistemic, scores = (
        np.asarray(part, np.float64)[0]
        for part in (found.mean, found.sigma, found.aleatoric, found.epistemic, found.scores)
    )
    thresholds = np.asarray(bundle.domain.thresholds, np.float64)
    unusual = {
        score.name: float(value / limit)
        for score, value, limit in zip(SCORES, scores, thresholds, strict=True)
        if score.name in RATIOS and limit > 0
    }
    spectra = normalised_spectra(
        bundle, batch.xp, batch.xp_error, batch.g_mag, cfg.data.magnitude_exponent
    )
    normalised, error = (np.asarray(part, np.float64)[0] for part in (spectra.xp, spectra.error))
    labelled = bool(np.isfinite(mean).all())
    if not labelled:
        said.append("without labels nothing is compared")
    reference, gradient = (
        np.asarray(part, np.float64) for part in _path(bundle, spectra.xp[0], weight, cfg.model)
    )
    difference = _samples(normalised - np.asarray(bundle.domain.scaler.centre), matrix)
    if matrix is not None:
        gradient = gradients_by_flux(gradient, matrix)
    wavelength = WAVELENGTH
    if training is not None and training.wavelength is not None:
        wavelength = training.wavelength
    truth = truth_error = np.full(len(labels.LABELS), np.nan)
    if training is not None and len(in_training):
        truth, truth_error = (
            values[in_training[0]].astype(np.float64)
            for values in (training.labels, training.label_error)
        )
    return StarCard(
        source_id=int(star.source_id[0]),
        g_mag=float(star.g_mag[0]),
        colour=float(spectra.colour[0]) if labelled else np.nan,
        snr=np.asarray(band_snr(bundle, batch, options), np.float64)[0],
        wavelength=wavelength,
        flux=np.where(_seen(batch, options, wavelength), _samples(normalised, matrix), np.nan),
        flux_error=np.sqrt(_samples(error**2, None if matrix is None else matrix**2)),
        mean=mean,
        sigma=sigma,
        covariance=np.asarray(found.covariance[0], np.float64),
        aleatoric=aleatoric,
        epistemic=epistemic,
        truth=truth,
        truth_error=truth_error,
        flags=int(found.flags[0]),
        raised=_raised(int(found.flags[0]), unusual),
        unusual=unusual,
        reference=reference,
        shares=split_shares(
            gradient * labelled, np.tile(difference, (len(gradient), 1)), wavelength
        ),
        training=np.empty((0, len(labels.LABELS)))
        if training is None
        else training.labels.astype(np.float64),
        neighbours=None
        if training is None or not labelled
        else _neighbours(bundle, cfg, training, star.source_id, (normalised, error), matrix),
        hallucinated=_hallucinated(bundle, hallucinator, cfg, weight, spectra.xp, said),
        notes=tuple(said),
    )


def strangeness(
    scores: Float[np.ndarray, "star score"], thresholds: Float[np.ndarray, " score"]
) -> Float[np.ndarray, " star"]:
    """How far stars are from the training stars: the largest score over its threshold.

    Args:
        scores: of :class:`aspgap_jax.prediction.labelling.StarLabels`.
        thresholds: of the domain.

    Returns:
        Above 1 for a star that is flagged as unlike them.
    """
    ratios = [
        scores[:, i] / thresholds[i]
        for i, score in enumerate(SCORES)
        if score.name in RATIOS and thresholds[i] > 0
    ]
    return np.asarray(np.nanmax(np.stack(ratios), axis=0))


def _matrix(
    info: BundleInfo, training: TrainingSet | None
) -> Float[np.ndarray, "sample coeff"] | None:
    """From what the networks take to sampled fluxes; ``None`` where they take those."""
    known = len(WAVELENGTH)
    if training is not None and training.wavelength is not None:
        known = len(training.wavelength)
    if info.representation == "sampled":
        if info.n_xp != known:
            raise InputError(
                f"a card needs wavelengths: the bundle takes {info.n_xp} fluxes, of which "
                f"{known} wavelengths are known"
            )
        return None
    matrix = instrument_matrix()
    if matrix.shape[1] != info.n_xp:
        raise InputError(
            f"a card needs sampled fluxes: the instrument matrix of the package takes "
            f"{matrix.shape[1]} coefficients, the bundle {info.n_xp}"
        )
    return matrix


def _samples(
    values: Float[np.ndarray, " xp"], matrix: Float[np.ndarray, "sample xp"] | None
) -> Float[np.ndarray, " sample"]:
    return values if matrix is None else np.asarray(matrix @ values)


def _seen(
    batch: StarBatch, options: LabelOptions, wavelength: Float[np.ndarray, " sample"]
) -> Bool[np.ndarray, " sample"]:
    """Where the file has a spectrum; the networks see the training stars' median elsewhere."""
    if options.representation == "sampled":
        return np.asarray(jnp.isfinite(batch.xp[0]))
    bp, rp = np.asarray(batch.present[0])
    return np.asarray(np.where(wavelength < BP_ENDS, bp, rp))


def _weights(
    info: BundleInfo, source_id: np.ndarray, in_training: bool, said: list[str]
) -> Float[Array, " member"]:
    """How much each network counts: for a star of the training set, those that have not seen it."""
    unseen = np.ones(len(info.members), bool)
    if in_training:
        unseen = unseen_stars(source_id, info.members, info.config)[:, 0]
        if unseen.any():
            said.append("a star of the training set, labelled by networks that have not seen it")
        else:
            said.append("a star of the training set: all networks have seen it")
            unseen[:] = True
    return jnp.asarray(unseen / unseen.sum(), jnp.float32)


def _mean_labels(
    bundle: Bundle, xp: Float[Array, " xp"], weight: Float[Array, " member"], cfg: Model
) -> Float[Array, " label"]:
    """The mean of the ensemble for one normalised spectrum."""

    def member(params: Absorbed, scalers: Scalers) -> Float[Array, " label"]:
        hidden = model.encode_hidden(cfg, params, scalers.xp.transform(xp[None]))
        return scalers.labels.inverse(model.decode_xp(cfg, params, hidden)[0])[0]

    found: Float[Array, " label"] = weight @ jax.vmap(member)(bundle.params, bundle.scalers)
    return found


@partial(jax.jit, static_argnames="cfg")
def _path(
    bundle: Bundle, xp: Float[Array, " xp"], weight: Float[Array, " member"], cfg: Model
) -> tuple[Float[Array, " label"], Float[Array, "label xp"]]:
    """Labels of the median training star, and the gradients along the way from it to the star."""
    start = bundle.domain.scaler.centre

    def of(pick: Float[Array, " label"]) -> Float[Array, " xp"]:
        def label(at: Float[Array, " xp"]) -> Scalar:
            return pick @ _mean_labels(bundle, at, weight, cfg)

        return path_gradients(label, start[None], xp[None], steps=STEPS)[0]

    return _mean_labels(bundle, start, weight, cfg), jax.vmap(of)(jnp.eye(len(labels.LABELS)))


def _raised(mask: int, unusual: dict[str, float]) -> tuple[Raised, ...]:
    """Flags with the largest of their scores that are beyond the limit."""
    excess = dict.fromkeys(flags.decode(mask), np.nan)
    for score in SCORES:
        if score.flag in excess and unusual.get(score.name, 0.0) > 1.0:
            excess[score.flag] = np.fmax(excess[score.flag], unusual[score.name])
    meanings = {flag.name: flag.meaning for flag in flags.FLAGS}
    return tuple(Raised(name, meanings[name], float(ratio)) for name, ratio in excess.items())


def _neighbours(
    bundle: Bundle,
    cfg: Config,
    training: TrainingSet,
    source_id: np.ndarray,
    star: tuple[Float[np.ndarray, " xp"], Float[np.ndarray, " xp"]],
    matrix: Float[np.ndarray, "sample xp"] | None,
) -> Neighbours:
    """The nearest in the leading components, where spectra differ by more than noise."""
    domain = bundle.domain
    leading = min(COMPONENTS, domain.basis.shape[1])
    exponent = cfg.data.magnitude_exponent
    centre, scale = (np.asarray(part, np.float64) for part in domain.scaler)
    basis = np.asarray(domain.basis, np.float64)[:, :leading]
    normalised = normalise(training.xp, training.g_mag, exponent)
    noise = np.square(star[1] / scale).mean()
    expected = np.asarray(domain.intrinsic + domain.noise * noise, np.float64)[:leading]
    apart = ((normalised - centre) / scale) @ basis - ((star[0] - centre) / scale) @ basis
    distance = np.sqrt((np.square(apart) / expected).mean(axis=1))
    distance[~np.isfinite(distance) | (training.source_id == source_id[0])] = np.inf
    rows = np.argsort(distance, kind="stable")[:NEIGHBOURS]
    rows = rows[np.isfinite(distance[rows])]
    return Neighbours(
        source_id=training.source_id[rows],
        distance=distance[rows],
        flux=np.array([_samples(row, matrix) for row in normalised[rows]]),
        labels=training.labels[rows].astype(np.float64),
    )


def _hallucinated(
    bundle: Bundle,
    hallucinator: Hallucinator | None,
    cfg: Config,
    weight: Float[Array, " member"],
    normalised: XP,
    said: list[str],
) -> Float[np.ndarray, " pixel"] | None:
    """Mean over the networks that count, and what is said where there is none."""
    if hallucinator is None:
        said.append("no hallucinated spectrum: the bundle has no hallucinator")
        return None
    every = member_spectra(bundle, hallucinator, normalised, cfg)[:, 0]
    found = np.asarray(weight @ every, np.float64)
    if len(found) != N_PIXELS:
        said.append(f"no hallucinated spectrum: it has {len(found)} pixels, apStar {N_PIXELS}")
        return None
    if not has_basis(hallucinator.last):
        said.append(
            "this hallucinator has no basis: only what the APOGEE decoder reads of its spectrum "
            "is held to anything, and the rest is noise"
        )
    return found
