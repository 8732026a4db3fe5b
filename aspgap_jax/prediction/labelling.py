"""Labels with uncertainties and flags for stars as a file has them, on the device.

:func:`label_stars` is the whole of a prediction as one jitted function of arrays of
fixed shape: coefficients to samples where the networks want samples, normalisation,
the ensemble, calibrated uncertainties, flags. No dropout, no host code, no files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from aspgap_jax import model
from aspgap_jax.config import Config, Model
from aspgap_jax.errors import InputError
from aspgap_jax.flags import MAX_RUWE, bit
from aspgap_jax.model import Params, Variables
from aspgap_jax.prediction import domain as domains
from aspgap_jax.prediction import photometry, uncertainty
from aspgap_jax.prediction.domain import LatentStatistics
from aspgap_jax.prediction.predict import FLUX_UNIT, Bundle, Trust
from aspgap_jax.prediction.uncertainty import Moments
from aspgap_jax.preprocessing.scaling import REFERENCE_MAGNITUDE, Scalers
from aspgap_jax.preprocessing.snr import MIN_SNR_HIGH, MIN_SNR_LOW, RANGES
from aspgap_jax.typing import XP, Array, Bool, Float, Int, Labels, PerStar

__all__ = [
    "Ensemble",
    "LabelOptions",
    "Scored",
    "StarBatch",
    "StarLabels",
    "band_snr",
    "label_stars",
    "prepare",
    "run_ensemble",
    "score",
]


class StarBatch(NamedTuple):
    """Stars as a file has them; rows of padding are allowed and come back as rows.

    Attributes:
        xp: spectra in Gaia's units, NaN where missing.
        xp_error: their 1-sigma errors.
        g_mag: Gaia G, mag; where NaN it is synthesised from the spectrum.
        present: whether the star has BP, RP.
        snr: S/N of BP, RP of sampled fluxes; where NaN it is computed from the
            spectrum. Coefficients have their own (Fig. 1), computed always.
        ruwe: of Gaia's astrometry, NaN where unknown.
        correlations: of the coefficients of BP and of RP, as
            :class:`aspgap_jax.survey.xp.XPChunk` has them; for ``propagate="full"``.
    """

    xp: Float[Array, "star xp"]
    xp_error: Float[Array, "star xp"]
    g_mag: PerStar
    present: Bool[Array, "star band=2"]
    snr: Float[Array, "star band=2"]
    ruwe: PerStar
    correlations: Float[Array, "star band=2 pair"] | None = None


class StarLabels(NamedTuple):
    """Labels in the units of the label table; NaN for a star without one of its bands.

    Attributes:
        mean: mean of the ensemble.
        sigma: calibrated total 1-sigma uncertainty.
        aleatoric: what the members say, before calibration.
        epistemic: how far the members scatter, before calibration.
        propagated: what the errors of the spectrum cause; 0 where not asked for.
        flags: sum of the bits of :data:`aspgap_jax.flags.FLAGS`.
    """

    mean: Labels
    sigma: Labels
    aleatoric: Labels
    epistemic: Labels
    propagated: Labels
    flags: Int[Array, " star"]


@dataclass(frozen=True)
class LabelOptions:
    """What is to be computed; a static argument.

    Attributes:
        representation: of the input, ``continuous`` or ``sampled``.
        compute: type in which the layers multiply.
        second_path: compute the labels over the hallucinated spectrum too, for
            the flag PATHS_DISAGREE.
        propagate: errors of the spectrum through the Jacobian: not, as if they
            were independent, or with the correlations of the coefficients.
        n_bp: how many of the coefficients are BP's, for ``continuous``.
    """

    representation: Literal["continuous", "sampled"]
    compute: Literal["float32", "bfloat16"] = "float32"
    second_path: bool = True
    propagate: Literal["none", "diagonal", "full"] = "none"
    n_bp: int = 55


class Prepared(NamedTuple):
    """Spectra as the networks take them, before scaling.

    Attributes:
        normalised: over the magnitude factor; what is not finite is the training
            stars' median.
        error: likewise.
        colour: synthetic G_BP - G_RP, mag.
        whole: whether every value of the spectrum was finite.
    """

    normalised: XP
    error: XP
    colour: PerStar
    whole: Bool[Array, " star"]


class Ensemble(NamedTuple):
    """What the networks say of normalised spectra, members combined.

    Attributes:
        moments: of the direct path.
        second: mean labels over the hallucinated spectrum, or ``None``.
        latents: mean over the members of the latents' distance ``[star]``.
    """

    moments: Moments
    second: Labels | None
    latents: PerStar


class Scored(NamedTuple):
    """Scores, and the noise that calibration and scores depend on."""

    scores: Float[Array, "star score"]
    ln_snr: PerStar


def _trust(bundle: Bundle) -> Trust:
    if bundle.trust is None:
        raise InputError(
            "the bundle has no calibration and no domain: "
            "fit them by aspgap_jax.prediction.assess.assess"
        )
    return bundle.trust


def to_samples(
    instrument: Float[Array, "xp coeff"],
    xp: Float[Array, "star coeff"],
    error: Float[Array, "star coeff"],
) -> tuple[XP, XP]:
    """Coefficients and errors to sampled fluxes, W m^-2 nm^-1, and theirs.

    The errors are propagated as if they were independent.
    """
    flux = jnp.matmul(xp, instrument.T, precision="highest")
    variance = jnp.matmul(jnp.square(error), jnp.square(instrument).T, precision="highest")
    return FLUX_UNIT * flux, FLUX_UNIT * jnp.sqrt(variance)


def prepare(
    trust: Trust,
    xp: Float[Array, "star delivered"],
    error: Float[Array, "star delivered"],
    g_mag: PerStar,
    cfg: Config,
) -> Prepared:
    """Normalise spectra, of whatever representation they come in.

    Args:
        trust: of the bundle. Where its networks take samples, ``xp`` can be either.
        xp: spectra in Gaia's units.
        error: their errors.
        g_mag: Gaia G, mag, or NaN.
        cfg: of the bundle.
    """
    # Whether something is missing is asked of the delivered values: in a sum over
    # coefficients one that is not finite would spoil all samples.
    finite = jnp.isfinite(xp) & jnp.isfinite(error)
    converts = xp.shape[1] == trust.instrument.shape[1]
    if converts:
        flux, flux_error = to_samples(
            trust.instrument, jnp.where(finite, xp, 0.0), jnp.where(finite, error, 0.0)
        )
        usable = jnp.isfinite(flux)
    else:
        flux, flux_error, usable = xp, error, finite
    magnitudes = photometry.magnitudes(trust.photometry, jnp.where(usable, flux, 0.0))
    g_used = jnp.where(jnp.isfinite(g_mag), g_mag, magnitudes[:, 0])
    factor = 10.0 ** (cfg.data.magnitude_exponent * (REFERENCE_MAGNITUDE - g_used))
    scaler = trust.domain.scaler
    return Prepared(
        normalised=jnp.where(usable, flux / factor[:, None], scaler.centre[None, :]),
        error=jnp.where(usable, flux_error / factor[:, None], scaler.scale[None, :]),
        colour=magnitudes[:, 1] - magnitudes[:, 2],
        whole=finite.all(axis=1),
    )


def run_ensemble(
    bundle: Bundle,
    normalised: XP,
    weight: Float[Array, "member star"],
    cfg: Model,
    *,
    second_path: bool,
) -> Ensemble:
    """All members, combined.

    Args:
        bundle: with its second path merged where that is asked for.
        normalised: spectra over the magnitude factor.
        weight: how much a member counts for a star; sums to 1 over the members.
        cfg: sizes of the blocks and type of their products.
        second_path: whether to run the second branch.
    """

    def member(
        params: Params, scalers: Scalers, second: Variables, statistics: LatentStatistics
    ) -> tuple[Labels, Labels, Labels | None, PerStar]:
        latents = model.encode(cfg, params, scalers.xp.transform(normalised))
        mean, log_sigma = model.decode_xp(cfg, params, latents)
        other = None
        if second_path:
            other = scalers.labels.inverse(model.read_hallucinated(cfg, second, latents))
        return (
            scalers.labels.inverse(mean),
            scalers.labels.inverse_error(jnp.exp(log_sigma)),
            other,
            domains.latent_distance(statistics, latents),
        )

    statistics = _trust(bundle).domain.latents
    mean, sigma, second, distance = jax.vmap(member)(
        bundle.params, bundle.scalers, bundle.second, statistics
    )
    return Ensemble(
        moments=uncertainty.total_variance(mean, sigma, weight),
        second=None if second is None else (weight[:, :, None] * second).sum(axis=0),
        latents=(weight * distance).sum(axis=0),
    )


def score(trust: Trust, prepared: Prepared, ensemble: Ensemble) -> Scored:
    """Every score of prepared stars, in the order of ``domain.SCORES``."""
    domain = trust.domain
    noise = domains.mean_noise(domain.scaler.transform_error(prepared.error))
    spectrum = domains.spectrum_scores(domain, domain.scaler.transform(prepared.normalised), noise)
    scores = domains.all_scores(
        domain,
        spectrum,
        ensemble.moments,
        ensemble.second,
        ensemble.latents,
        prepared.colour,
        noise,
    )
    return Scored(scores, -0.5 * jnp.log(noise))


def _norm_ratio(values: XP, errors: XP) -> PerStar:
    """L2 norm of the finite values over that of their errors
    (:mod:`aspgap_jax.preprocessing.snr`)."""
    finite = jnp.isfinite(values) & jnp.isfinite(errors)
    # The largest error becomes 1: squares of fluxes are too small for float32.
    unit = jnp.where(finite, errors, 0.0).max(axis=1, keepdims=True)
    unit = jnp.where(unit > 0, unit, 1.0)
    signal, noise = (
        jnp.square(jnp.where(finite, array / unit, 0.0)).sum(axis=1) for array in (values, errors)
    )
    return jnp.sqrt(signal / noise)


def _band_columns(
    trust: Trust, width: int, options: LabelOptions
) -> tuple[Bool[Array, " xp"], Bool[Array, " xp"]]:
    """Which delivered columns are of BP alone, and of RP alone."""
    if options.representation == "continuous":
        is_bp = jnp.arange(width) < options.n_bp
        return is_bp, ~is_bp
    return trust.domain.bands[0], trust.domain.bands[1]


def band_snr(trust: Trust, batch: StarBatch, options: LabelOptions) -> Float[Array, "star band=2"]:
    """S/N of BP and of RP: as given, else of all their values in the spectrum (section 2.2)."""
    columns = _band_columns(trust, batch.xp.shape[1], options)
    computed = jnp.stack(
        [
            _norm_ratio(jnp.where(own[None, :], batch.xp, jnp.nan), batch.xp_error)
            for own in columns
        ],
        axis=1,
    )
    return jnp.where(jnp.isfinite(batch.snr), batch.snr, computed)


def _input_bits(trust: Trust, batch: StarBatch, options: LabelOptions) -> Int[Array, " star"]:
    """The flags that say what the file lacks, or how noisy it is."""
    columns = _band_columns(trust, batch.xp.shape[1], options)
    filled = jnp.isfinite(batch.xp) & (batch.xp != 0)
    missing = jnp.stack(
        [
            ~batch.present[:, band] | ((~filled | ~own[None, :]).all(axis=1) & own.any())
            for band, own in enumerate(columns)
        ]
    ).any(axis=0)
    if options.representation == "continuous":
        bounds = {"_low": MIN_SNR_LOW, "_high": MIN_SNR_HIGH}
        low_snr = jnp.zeros(len(batch.xp), bool)
        for part in (slice(0, options.n_bp), slice(options.n_bp, None)):
            for suffix, bound in bounds.items():
                columns_of = (batch.xp[:, part], batch.xp_error[:, part])
                values, errors = (array[:, RANGES[suffix]] for array in columns_of)
                low_snr = low_snr | (_norm_ratio(values, errors) <= bound)
    else:
        snr = band_snr(trust, batch, options)
        low_snr = (snr < trust.domain.band_snr[None, :]).any(axis=1)
    facts = {
        "MISSING_BAND": missing,
        "LOW_SNR": low_snr,
        "POOR_ASTROMETRY": batch.ruwe > MAX_RUWE,
        "NO_G": ~jnp.isfinite(batch.g_mag),
    }
    bits = jnp.zeros(len(batch.xp), jnp.int32)
    for name, holds in facts.items():
        bits = bits | jnp.where(holds, jnp.int32(bit(name)), 0)
    return bits


@partial(jax.jit, static_argnames=("cfg", "options"))
def label_stars(bundle: Bundle, batch: StarBatch, cfg: Config, options: LabelOptions) -> StarLabels:
    """Labels, uncertainties and flags of a batch of stars.

    Args:
        bundle: of :func:`aspgap_jax.prediction.bundle.load_bundle`. One that was trained on
            samples takes coefficients too.
        batch: stars as the file has them.
        cfg: of the bundle.
        options: what is asked.

    Raises:
        InputError: the bundle has no calibration, or correlations are asked for
            and not given.
    """
    trust = _trust(bundle)
    blocks = replace(cfg.model, compute=options.compute)
    n_members = bundle.scalers.labels.centre.shape[0]
    weight = jnp.full((n_members, len(batch.xp)), 1.0 / n_members)
    prepared = prepare(trust, batch.xp, batch.xp_error, batch.g_mag, cfg)
    ensemble = run_ensemble(
        bundle, prepared.normalised, weight, blocks, second_path=options.second_path
    )
    moments = ensemble.moments
    scored = score(trust, prepared, ensemble)
    bits = _input_bits(trust, batch, options)
    no_labels = (bits & bit("MISSING_BAND")) > 0
    sigma = uncertainty.calibrate(trust.calibration, moments.sigma, scored.ln_snr)
    failed = ~jnp.isfinite(moments.mean).all(axis=1) | ~jnp.isfinite(sigma).all(axis=1)
    bits = bits | jnp.where(~prepared.whole | failed, jnp.int32(bit("NOT_FINITE")), 0)
    # What a missing band was filled with says nothing about the star.
    bits = bits | jnp.where(no_labels, 0, domains.outlier_bits(trust.domain, scored.scores))

    propagated = jnp.zeros_like(moments.mean)
    if options.propagate != "none":
        propagated = _propagate(bundle, batch, weight, cfg, options)

    def shown(values: Labels) -> Labels:
        return jnp.where((no_labels | failed)[:, None], jnp.nan, values)

    return StarLabels(
        mean=shown(moments.mean),
        sigma=shown(sigma),
        aleatoric=shown(moments.aleatoric),
        epistemic=shown(moments.epistemic),
        propagated=shown(propagated),
        flags=bits,
    )


def _propagate(
    bundle: Bundle,
    batch: StarBatch,
    weight: Float[Array, "member star"],
    cfg: Config,
    options: LabelOptions,
) -> Labels:
    """What the errors of the delivered values cause, in float32 always."""
    trust = _trust(bundle)
    if options.propagate == "full" and (
        batch.correlations is None or options.representation != "continuous"
    ):
        raise InputError(
            "propagating the full covariance needs coefficients with their correlations: "
            "read them too, or propagate errors as independent ones"
        )

    def mean(xp: XP) -> Labels:
        prepared = prepare(trust, xp, batch.xp_error, batch.g_mag, cfg)
        return run_ensemble(
            bundle, prepared.normalised, weight, cfg.model, second_path=False
        ).moments.mean

    finite = jnp.isfinite(batch.xp) & jnp.isfinite(batch.xp_error)
    return uncertainty.propagate(
        mean,
        jnp.where(finite, batch.xp, 0.0),
        jnp.where(finite, batch.xp_error, 0.0),
        batch.correlations if options.propagate == "full" else None,
        options.n_bp,
    )
