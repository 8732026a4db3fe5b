"""The domain of a trained ensemble: scores that are large for stars unlike its own.

A score is a number a star that grows as the star leaves what the training stars
cover. :data:`SCORES` lists them with the flag that each sets. The statistics behind
them come from the training stars; the thresholds from stars that were predicted by
networks that had not seen them, at one common tail level, chosen such that a given
share of those stars (the alarm rate) exceeds at least one threshold.

Spectra are scored as a network gets them, normalised by magnitude and scaled.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels
from aspgap_jax.flags import bit
from aspgap_jax.labels import LabelSet
from aspgap_jax.model import Variables
from aspgap_jax.prediction.uncertainty import Moments
from aspgap_jax.preprocessing.scaling import LABEL_RANGE, SPECTRUM_RANGE, RobustScaler, fit_scaler
from aspgap_jax.typing import XP, Array, Bool, Float, Int, Labels, PerStar

__all__ = [
    "ALARM_RATE",
    "SCORES",
    "Domain",
    "LatentStatistics",
    "Score",
    "SpectrumScores",
    "absorb_latents",
    "all_scores",
    "fit_domain",
    "fit_latents",
    "fit_thresholds",
    "hull_directions",
    "latent_distance",
    "mean_noise",
    "outlier_bits",
    "sigma_trend",
    "spectrum_scores",
]

ALARM_RATE = 0.01
"""Share of good stars that the scores may flag."""
N_COMPONENTS = 96
"""Principal components of the spectra that are scored, at most. Sampled DR3 spectra
have about 84; faults show best in the last of them."""
N_LATENT = 32
"""Principal components of the latents that are scored, at most."""
COLUMN_TAIL = 0.1
"""Percentage of stars beyond either end of a column's range."""
HULL_TAIL = 0.05
"""Percentage of stars beyond the label hull along a direction."""
MAX_HULL_LABELS = 6
FLOOR = 1e-3
"""Scatter, in scaled units, below which rounding and resampling live and no fault does."""

MIN_SPREAD = 0.05


class Score(NamedTuple):
    """One score.

    Attributes:
        name: how tables call it.
        flag: the flag of :mod:`aspgap_jax.flags` that it sets.
        cap: the threshold is never above this.
        floor: nor below this.
    """

    name: str
    flag: str
    cap: float = np.inf
    floor: float = -np.inf


SCORES = (
    Score("range", "OUT_OF_RANGE"),
    Score("leading", "SPECTRUM_OUTLIER"),
    Score("trailing", "SPECTRUM_OUTLIER"),
    # Spectra on Gaia's grid have next to nothing outside the components, and the next
    # reader's rounding must not look like a fault.
    Score("residual", "SPECTRUM_OUTLIER", floor=1.0),
    Score("latents", "LATENT_OUTLIER"),
    Score("labels", "OUTSIDE_LABELS"),
    Score("paths", "PATHS_DISAGREE"),
    Score("members", "MEMBERS_DISAGREE"),
    Score("sigma", "LARGE_SIGMA"),
    Score("teff", "HOT_STAR", 7000.0),
    Score("blue", "HOT_STAR"),
    Score("logg", "DWARF", 4.0),
)
"""What is scored, in the order of every array with a ``score`` axis."""


class LatentStatistics(NamedTuple):
    """The latents of the training stars, of one member or with a leading axis.

    Attributes:
        mean: ``[latent]``.
        basis: principal directions over their standard deviations
            ``[latent, component]``: the latents' coordinates have unit variance.
    """

    mean: Float[Array, "*member latent"]
    basis: Float[Array, "*member latent component"]


class Domain(NamedTuple):
    """What the training stars cover.

    Attributes:
        scaler: of normalised spectra ``[xp]``.
        low: lower end of every scaled column ``[xp]``.
        high: upper end.
        basis: principal components of scaled spectra ``[xp, component]``.
        intrinsic: variance of each coordinate without noise ``[component]``.
        noise: what a unit of a star's mean noise variance adds ``[component]``.
        residual: the same two numbers for the mean square of the rest ``[2]``.
        latents: statistics of every member.
        labels: scaler of the label hull.
        hull_low: lower bound of the hull along each direction ``[direction]``.
        hull_high: upper bound.
        sigma_trend: mean ln sigma is a polynomial of ln SNR: its coefficients,
            highest power first ``[3]``.
        ln_snr: the range of ln SNR that the trend was fitted to ``[2]``.
        thresholds: of every score ``[score]``; a star beyond is flagged.
        band_snr: S/N of BP and RP that 99.9% of the training stars exceed ``[2]``.
        bands: whether a column is of BP alone, or of RP alone ``[2, xp]``.
    """

    scaler: RobustScaler
    low: Float[Array, " xp"]
    high: Float[Array, " xp"]
    basis: Float[Array, "xp component"]
    intrinsic: Float[Array, " component"]
    noise: Float[Array, " component"]
    residual: Float[Array, "two=2"]
    latents: LatentStatistics
    labels: RobustScaler
    hull_low: Float[Array, " direction"]
    hull_high: Float[Array, " direction"]
    sigma_trend: Float[Array, "three=3"]
    ln_snr: Float[Array, "two=2"]
    thresholds: Float[Array, " score"]
    band_snr: Float[Array, "band=2"]
    bands: Bool[Array, "band=2 xp"]


class SpectrumScores(NamedTuple):
    """What a spectrum alone says, ``[star]`` each.

    Attributes:
        range: how far the worst column is outside its range, over that range.
        leading: mean squared coordinate of the first third of the components, each
            over its expected square: 1 on average for training stars.
        trailing: the same for the other components.
        residual: mean square of what no component explains, over its expectation.
    """

    range: PerStar
    leading: PerStar
    trailing: PerStar
    residual: PerStar


def hull_directions(n_labels: int = len(labels.LABELS)) -> Float[np.ndarray, "direction label"]:
    """All sums and differences of scaled labels, each direction once, of unit length.

    With four labels: 40 directions, so the hull is bounded by 80 half-spaces. They grow as
    3^n: of more than six labels only single ones and pairs are taken.

    Args:
        n_labels: how many there are.

    Returns:
        Unit vectors in the space of scaled labels.
    """
    if n_labels > MAX_HULL_LABELS:
        unit = np.eye(n_labels)
        pairs = [
            unit[i] + sign * unit[j]
            for i, j in itertools.combinations(range(n_labels), 2)
            for sign in (1, -1)
        ]
        return np.vstack([unit, np.array(pairs) / np.sqrt(2.0)])
    signs = np.array(list(itertools.product((-1, 0, 1), repeat=n_labels)), float)
    first = np.array([row[np.flatnonzero(row)[0]] if row.any() else 0.0 for row in signs])
    kept = signs[first > 0]
    return np.asarray(kept / np.linalg.norm(kept, axis=1, keepdims=True))


def mean_noise(scaled_error: XP) -> PerStar:
    """Mean noise variance of scaled spectra; -1/2 its ln is the ln SNR of this package.

    Args:
        scaled_error: errors of the encoder's inputs ``[star, input]``, scaled.

    Returns:
        The mean square of a star's errors, ``[star]``.
    """
    return jnp.square(scaled_error).mean(axis=1)


def spectrum_scores(domain: Domain, scaled: XP, noise: PerStar) -> SpectrumScores:
    """Scores of scaled spectra.

    Args:
        domain: of the training stars.
        scaled: by ``domain.scaler``.
        noise: of :func:`mean_noise`.

    Returns:
        A number a star each.
    """
    outside = jnp.maximum(domain.low[None, :] - scaled, scaled - domain.high[None, :])
    coordinates = jnp.matmul(scaled, domain.basis, precision="highest")
    rest = scaled - jnp.matmul(coordinates, domain.basis.T, precision="highest")
    expected = domain.intrinsic[None, :] + domain.noise[None, :] * noise[:, None]
    unusual = jnp.square(coordinates) / expected
    first = unusual.shape[1] // 3
    unexplained = domain.residual[0] + domain.residual[1] * noise
    return SpectrumScores(
        range=(outside / (domain.high - domain.low)[None, :]).max(axis=1),
        leading=unusual[:, :first].mean(axis=1),
        trailing=unusual[:, first:].mean(axis=1),
        residual=jnp.square(rest).mean(axis=1) / unexplained,
    )


def absorb_latents(encoder: Variables, statistics: LatentStatistics) -> LatentStatistics:
    """The statistics for :class:`aspgap_jax.model.Absorbed`: of the encoder's last hidden layer.

    The coordinates (h W + b - m) B are those of (h - m') W B, where m' is the shortest
    vector with m' W B = (m - b) B.

    Args:
        encoder: its parameters as trained.
        statistics: of the latents.

    Returns:
        Of the hidden layer, with the same distances.
    """
    layers = encoder["params"]
    last = layers[f"Dense_{len(layers) - 1}"]
    basis = jnp.matmul(last["kernel"], statistics.basis, precision="highest")
    offset = jnp.matmul(statistics.mean - last["bias"], statistics.basis, precision="highest")
    mean, *_ = jnp.linalg.lstsq(basis.T, offset)
    return LatentStatistics(mean, basis)


def latent_distance(statistics: LatentStatistics, latents: Float[Array, "star latent"]) -> PerStar:
    """Mean squared Mahalanobis distance a component: 1 on average for training stars.

    Args:
        statistics: of one member.
        latents: of that member.

    Returns:
        A number a star, not negative.
    """
    coordinates = jnp.matmul(latents - statistics.mean[None, :], statistics.basis)
    return jnp.square(coordinates).mean(axis=1)


def all_scores(
    domain: Domain,
    spectrum: SpectrumScores,
    moments: Moments,
    second: Labels | None,
    latents: PerStar,
    colour: PerStar,
    noise: PerStar,
    table: LabelSet = labels.LABELS,
    taught: tuple[str, ...] | None = None,
) -> Float[Array, "star score"]:
    """Every score of :data:`SCORES`, in that order.

    A score of a label that is not among the labels is NaN, which flags no star.

    Args:
        domain: of the training stars.
        spectrum: of :func:`spectrum_scores`.
        moments: of the ensemble.
        second: labels over the hallucinated spectrum, or ``None`` if they were not
            computed: that score is then 0.
        latents: mean over the members of :func:`latent_distance`.
        colour: synthetic G_BP - G_RP, mag, NaN where unknown.
        noise: of :func:`mean_noise`.
        table: what the labels are.
        taught: those that the second path knows; ``None`` for all.

    Returns:
        ``[star, score]``.
    """
    sigma = moments.sigma
    scaled = domain.labels.transform(moments.mean)
    directions = jnp.asarray(hull_directions(len(table)), scaled.dtype)
    along = jnp.matmul(scaled, directions.T, precision="highest")
    beyond = jnp.maximum(domain.hull_low[None, :] - along, along - domain.hull_high[None, :])
    log_sigma = jnp.log(domain.labels.transform_error(sigma)).mean(axis=1)
    ln_snr = jnp.clip(-0.5 * jnp.log(noise), domain.ln_snr[0], domain.ln_snr[1])
    paths = jnp.zeros_like(noise)
    if second is not None and taught != ():
        apart = (second - moments.mean) / sigma
        if taught is not None:
            apart = apart[:, np.isin(labels.names(table), taught)]
        paths = jnp.square(apart).mean(axis=1)

    def of(name: str) -> PerStar:
        if name not in labels.names(table):
            return jnp.full_like(noise, jnp.nan)
        return moments.mean[:, labels.index(name, table)]

    found = {
        **spectrum._asdict(),
        "latents": latents,
        "labels": beyond.max(axis=1),
        "paths": paths,
        "members": jnp.square(moments.epistemic / moments.aleatoric).mean(axis=1),
        "sigma": log_sigma - jnp.polyval(domain.sigma_trend, ln_snr),
        "teff": of("teff"),
        "blue": -colour,
        "logg": of("logg"),
    }
    return jnp.stack([found[score.name] for score in SCORES], axis=1)


def outlier_bits(domain: Domain, scores: Float[Array, "star score"]) -> Int[Array, " star"]:
    """The flags that the scores set. A score that is NaN sets none.

    Args:
        domain: with its thresholds.
        scores: of :func:`all_scores`.

    Returns:
        Bits of :mod:`aspgap_jax.flags`.
    """
    bits = jnp.zeros(len(scores), jnp.int32)
    for k, score in enumerate(SCORES):
        above = scores[:, k] > domain.thresholds[k]
        bits = bits | jnp.where(above, jnp.int32(bit(score.flag)), 0)
    return bits


def fit_domain(
    normalised: Float[np.ndarray, "star xp"],
    error: Float[np.ndarray, "star xp"],
    truth: Float[np.ndarray, "star label"],
    latents: LatentStatistics,
    band_snr: Float[np.ndarray, "star band=2"],
    bands: Bool[np.ndarray, "band=2 xp"],
    table: LabelSet = labels.LABELS,
) -> Domain:
    """Everything but the trend of sigma and the thresholds, from the training stars.

    Those two, which need predictions of held-out stars, are neutral in the result.

    Args:
        normalised: spectra divided by the magnitude factor.
        error: their errors, likewise.
        truth: labels in the units of the label table, NaN where missing.
        latents: of all members.
        band_snr: S/N of BP and RP.
        bands: which columns are of one band alone, as :class:`Domain` has it.
        table: what the labels are.

    Returns:
        The domain.
    """
    scaler = fit_scaler(normalised, SPECTRUM_RANGE)
    centre, scale = (np.asarray(part, np.float64) for part in scaler)
    scaled = (normalised.astype(np.float64) - centre) / scale
    noise = np.square(error / scale).mean(axis=1)
    low, high = np.percentile(scaled, [COLUMN_TAIL, 100 - COLUMN_TAIL], axis=0)
    _, axes = np.linalg.eigh(scaled.T @ scaled)
    basis = axes[:, ::-1][:, : min(N_COMPONENTS, scaled.shape[1])]
    coordinates = scaled @ basis
    rest = np.square(scaled - coordinates @ basis.T).mean(axis=1)
    model = np.array([_noise_model(np.square(column), noise) for column in coordinates.T])
    label_scaler = fit_scaler(truth, LABEL_RANGE, names=labels.names(table), gaps=True)
    hull = _label_hull(np.asarray(label_scaler.transform(jnp.asarray(truth, jnp.float32))))
    values = {
        "low": low,
        "high": high,
        "basis": basis,
        "intrinsic": model[:, 0],
        "noise": model[:, 1],
        "residual": np.array(_noise_model(rest, noise)),
        "hull_low": hull[0],
        "hull_high": hull[1],
        "sigma_trend": np.zeros(3),
        "ln_snr": np.array([-np.inf, np.inf]),
        "thresholds": np.full(len(SCORES), np.inf),
        "band_snr": np.percentile(band_snr, COLUMN_TAIL, axis=0),
    }
    return Domain(
        scaler=scaler,
        latents=latents,
        labels=label_scaler,
        bands=jnp.asarray(bands),
        **{name: jnp.asarray(value, jnp.float32) for name, value in values.items()},
    )


def _label_hull(scaled: np.ndarray) -> np.ndarray:
    """Bounds along every direction ``[2, direction]``, of the stars that have its labels; a
    direction that no star has binds nothing."""
    directions = hull_directions(scaled.shape[1]).T
    tails = [HULL_TAIL, 100 - HULL_TAIL]
    missing = np.isnan(scaled)
    if not missing.any():
        return np.asarray(np.percentile(scaled @ directions, tails, axis=0))
    along = np.where(missing, 0.0, scaled) @ directions
    unknown = missing.astype(float) @ (directions != 0) > 0
    bounds = np.tile([[-np.inf], [np.inf]], len(directions.T))
    for k in np.flatnonzero(~unknown.all(axis=0)):
        bounds[:, k] = np.percentile(along[~unknown[:, k], k], tails)
    return bounds


def _noise_model(squared: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    """(s, a) such that s + a noise is the mean of ``squared``, both not negative.

    Weighted least squares with weights from the model itself (that is, the maximum
    likelihood of an exponential family); the largest 0.5% are clipped, so that the
    outliers that the score shall find do not widen it.
    """
    clipped = np.minimum(squared, np.quantile(squared, 0.995))
    intrinsic, slope = clipped.mean() / 2, clipped.mean() / 2 / noise.mean()
    for _ in range(20):
        weight = 1.0 / np.square(intrinsic + slope * noise + FLOOR**2)
        w, wn, wnn = weight.sum(), (weight * noise).sum(), (weight * noise**2).sum()
        y, yn = (weight * clipped).sum(), (weight * clipped * noise).sum()
        determinant = w * wnn - wn**2
        if determinant > 1e-9 * w * wnn:
            intrinsic, slope = (wnn * y - wn * yn) / determinant, (w * yn - wn * y) / determinant
        if slope < 0 or determinant <= 1e-9 * w * wnn:
            intrinsic, slope = y / w, 0.0
        elif intrinsic < 0:
            intrinsic, slope = 0.0, yn / wnn
    return max(intrinsic, FLOOR**2), slope


def fit_latents(
    mean: Float[np.ndarray, " latent"], covariance: Float[np.ndarray, "latent latent"]
) -> LatentStatistics:
    """Statistics of one member from the mean and covariance of its latents (float64).

    Args:
        mean: of the training stars' latents.
        covariance: of the same.

    Returns:
        The statistics, float32.
    """
    variance, axes = np.linalg.eigh(covariance)
    kept = np.argsort(variance)[::-1][:N_LATENT]
    # A latent that never varies would make any change infinitely far.
    spread = np.sqrt(np.maximum(variance[kept], 1e-8 * variance.max() + 1e-12))
    return LatentStatistics(
        jnp.asarray(mean, jnp.float32), jnp.asarray(axes[:, kept] / spread, jnp.float32)
    )


def fit_thresholds(
    scores: Float[np.ndarray, "star score"], alarm_rate: float = ALARM_RATE
) -> Float[np.ndarray, " score"]:
    """Thresholds at one tail level, such that ``alarm_rate`` of the stars exceed any.

    Args:
        scores: of good stars that no network was trained on; NaN counts as low.
        alarm_rate: the share of them that may be flagged.

    Returns:
        One a score.
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    ordered = np.sort(scores, axis=0)
    below = np.stack(
        [np.searchsorted(ordered[:, k], scores[:, k]) for k in range(scores.shape[1])], axis=1
    )
    # The rank of a star's most unusual score; those above the level are flagged.
    worst = np.sort(below.max(axis=1))
    level = worst[min(int(np.ceil((1 - alarm_rate) * len(worst))), len(worst)) - 1]
    caps, floors = (np.array([getattr(s, name) for s in SCORES]) for name in ("cap", "floor"))
    return np.asarray(np.clip(ordered[level], floors, caps))


def sigma_trend(
    log_sigma: Float[np.ndarray, " star"], ln_snr: Float[np.ndarray, " star"]
) -> Float[np.ndarray, "three=3"]:
    """Mean ln sigma of scaled labels against ln SNR: a parabola, highest power first.

    A constant where all stars have the same S/N, to MIN_SPREAD in its ln.

    Args:
        log_sigma: mean over the labels of ln sigma, scaled.
        ln_snr: ln of the spectra's S/N.

    Returns:
        Coefficients.
    """
    centre, spread = ln_snr.mean(), ln_snr.std()
    if spread < MIN_SPREAD:
        return np.array([0.0, 0.0, log_sigma.mean()])
    t = (ln_snr - centre) / spread
    features = np.stack([t**2, t, np.ones_like(t)], axis=1)
    a, b, c = np.linalg.lstsq(features, log_sigma, rcond=None)[0]
    a, b = a / spread**2, b / spread
    return np.array([a, b - 2 * a * centre, a * centre**2 - b * centre + c])
