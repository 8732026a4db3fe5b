"""Labels with uncertainties and flags for stars as a file has them, on the device.

:func:`label_stars` is the whole of a prediction as one jitted function of arrays of
fixed shape: coefficients to samples where the networks want samples, normalisation,
the ensemble, calibrated uncertainties, flags. No dropout, no host code, no files.
The stars of a training run are labelled by it too, their weights hiding each from the
networks that saw it (:mod:`aspgap_jax.prediction.out_of_fold`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from aspgap_jax import model
from aspgap_jax.config import Config, Labelling, Model
from aspgap_jax.errors import InputError
from aspgap_jax.flags import MAX_RUWE, bit
from aspgap_jax.model import Absorbed
from aspgap_jax.prediction import domain as domains
from aspgap_jax.prediction import uncertainty
from aspgap_jax.prediction.bundle import Bundle
from aspgap_jax.prediction.correlation import correlation_of
from aspgap_jax.prediction.domain import LatentStatistics
from aspgap_jax.prediction.spectra import Normalised, norm_ratio, normalised_spectra
from aspgap_jax.prediction.uncertainty import Moments
from aspgap_jax.preprocessing.scaling import Scalers
from aspgap_jax.preprocessing.snr import MIN_SNR_HIGH, MIN_SNR_LOW, RANGES
from aspgap_jax.typing import XP, Array, Bool, Float, Int, Labels, PerStar

__all__ = [
    "LabelOptions",
    "StarBatch",
    "StarLabels",
    "band_snr",
    "label_stars",
]


class StarBatch(NamedTuple):
    """Stars as a file has them; rows of padding are allowed and come back as rows.

    Attributes:
        xp: spectra in Gaia's units, NaN where missing.
        xp_error: their 1-sigma errors.
        g_mag: Gaia G, mag; where NaN it is synthesised from the spectrum.
        present: whether the star has BP, RP.
        ruwe: of Gaia's astrometry, NaN where unknown.
        correlations: of the coefficients of BP and of RP, as
            :class:`aspgap_jax.survey.xp.chunk.XPChunk` has them; for ``propagate="full"``.
    """

    xp: Float[Array, "star xp"]
    xp_error: Float[Array, "star xp"]
    g_mag: PerStar
    present: Bool[Array, "star band=2"]
    ruwe: PerStar
    correlations: Float[Array, "star band=2 pair"] | None = None


class StarLabels(NamedTuple):
    """Labels in the units of the label table; NaN for a star without one of its bands.

    Attributes:
        mean: mean of the ensemble.
        sigma: calibrated total 1-sigma uncertainty.
        correlation: of the errors that ``sigma`` gives, from 1 on the diagonal to 0 for
            labels that know nothing of each other.
        aleatoric: what the members say, before calibration.
        epistemic: how far the members scatter, before calibration.
        propagated: what the errors of the spectrum cause; 0 where not asked for.
        flags: sum of the bits of :data:`aspgap_jax.flags.FLAGS`.
        scores: behind the flags, in the order of :data:`aspgap_jax.prediction.domain.SCORES`.
        ln_snr: ln of the spectrum's S/N, measured in two ways: by its noise, as scores
            count it, which does not tell a bright star from a faint one; and as the mean
            of flux over error.
        g_synthetic: G synthesised from the spectrum, mag; NaN where it cannot be.
    """

    mean: Labels
    sigma: Labels
    correlation: Float[Array, "star label label"]
    aleatoric: Labels
    epistemic: Labels
    propagated: Labels
    flags: Int[Array, " star"]
    scores: Float[Array, "star score"]
    ln_snr: Float[Array, "star measure=2"]
    g_synthetic: PerStar

    @property
    def covariance(self) -> Float[Array, "star label label"]:
        """Of the errors, in the units of the label table."""
        return self.correlation * self.sigma[:, :, None] * self.sigma[:, None, :]


@dataclass(frozen=True)
class LabelOptions(Labelling):
    """What is to be computed, and from what; a static argument.

    Attributes:
        representation: of the input, ``continuous`` or ``sampled``.
        n_bp: how many of the coefficients are BP's, for ``continuous``.
    """

    representation: Literal["continuous", "sampled"]
    n_bp: int = 55


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


def _run_ensemble(
    bundle: Bundle,
    normalised: XP,
    weight: Float[Array, "member star"],
    cfg: Model,
    *,
    second_path: bool,
) -> Ensemble:
    """All members, combined.

    Args:
        bundle: of networks.
        normalised: spectra over the magnitude factor.
        weight: how much a member counts for a star; sums to 1 over the members.
        cfg: sizes of the blocks and type of their products.
        second_path: whether to run the second branch.
    """

    def member(
        params: Absorbed, scalers: Scalers, statistics: LatentStatistics
    ) -> tuple[Labels, Labels, Labels | None, PerStar]:
        hidden = model.encode_hidden(cfg, params, scalers.xp.transform(normalised))
        mean, log_sigma = model.decode_xp(cfg, params, hidden)
        other = None
        if second_path:
            other = scalers.labels.inverse(model.read_hallucinated(cfg, params.second, hidden))
        return (
            scalers.labels.inverse(mean),
            scalers.labels.inverse_error(jnp.exp(log_sigma)),
            other,
            domains.latent_distance(statistics, hidden),
        )

    mean, sigma, second, distance = jax.vmap(member)(
        bundle.params, bundle.scalers, bundle.domain.latents
    )
    return Ensemble(
        moments=uncertainty.total_variance(mean, sigma, weight),
        second=None if second is None else uncertainty.weighted_mean(second, weight),
        latents=uncertainty.weighted_mean(distance[:, :, None], weight)[:, 0],
    )


def _score(
    bundle: Bundle, spectra: Normalised, ensemble: Ensemble, cfg: Config
) -> tuple[Float[Array, "star score"], Float[Array, "star measure=2"]]:
    """Every score of :data:`aspgap_jax.prediction.domain.SCORES`, and ln SNR."""
    domain = bundle.domain
    noise = domains.mean_noise(domain.scaler.transform_error(spectra.error))
    scores = domains.all_scores(
        domain,
        domains.spectrum_scores(domain, domain.scaler.transform(spectra.xp), noise),
        ensemble.moments,
        ensemble.second,
        ensemble.latents,
        spectra.colour,
        noise,
        cfg.labels,
        cfg.taught,
    )
    noisy = spectra.error > 0
    ratio = jnp.abs(spectra.xp) / jnp.where(noisy, spectra.error, 1.0)
    by_flux = jnp.where(noisy, ratio, 0.0).mean(axis=1)
    return scores, jnp.stack([-0.5 * jnp.log(noise), jnp.log(by_flux)], axis=1)


def _band_columns(
    bundle: Bundle, width: int, options: LabelOptions
) -> tuple[Bool[Array, " xp"], Bool[Array, " xp"]]:
    """Which delivered columns are of BP alone, and of RP alone."""
    if options.representation == "continuous":
        is_bp = jnp.arange(width) < options.n_bp
        return is_bp, ~is_bp
    return bundle.domain.bands[0], bundle.domain.bands[1]


def band_snr(
    bundle: Bundle, batch: StarBatch, options: LabelOptions
) -> Float[Array, "star band=2"]:
    """S/N of all values of BP and of RP (section 2.2).

    Args:
        bundle: says which values are of one band.
        batch: stars as the file has them.
        options: says how many coefficients are BP's.

    Returns:
        BP, RP.
    """
    columns = _band_columns(bundle, batch.xp.shape[1], options)
    return jnp.stack(
        [norm_ratio(jnp.where(own[None, :], batch.xp, jnp.nan), batch.xp_error) for own in columns],
        axis=1,
    )


def _input_bits(bundle: Bundle, batch: StarBatch, options: LabelOptions) -> Int[Array, " star"]:
    """The flags that say what the file lacks, or how noisy it is."""
    columns = _band_columns(bundle, batch.xp.shape[1], options)
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
                low_snr = low_snr | (norm_ratio(values, errors) <= bound)
    else:
        snr = band_snr(bundle, batch, options)
        low_snr = (snr < bundle.domain.band_snr[None, :]).any(axis=1)
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
def label_stars(
    bundle: Bundle,
    batch: StarBatch,
    cfg: Config,
    options: LabelOptions,
    weight: Float[Array, "member star"] | None = None,
) -> StarLabels:
    """Labels, uncertainties and flags of a batch of stars.

    Args:
        bundle: of :func:`aspgap_jax.prediction.bundle.load_bundle`. One that was trained on
            samples takes coefficients too.
        batch: stars as the file has them.
        cfg: of the bundle.
        options: what is asked.
        weight: how much a member counts for a star; sums to 1 over the members. By
            default all count alike.

    Returns:
        Everything a star gets, in the units of the label table.

    Raises:
        InputError: correlations are asked for and not given.

    Examples:
        A spectrum of 1% noise that no star has, by the bundle that comes with the package:

        >>> import numpy as np
        >>> from aspgap_jax.flags import decode
        >>> from aspgap_jax.prediction.bundle import load_bundle
        >>> bundle, info = load_bundle()
        >>> flux = np.full((1, info.n_xp), 1e-16, np.float32)
        >>> g_mag, both_bands = np.full(1, 15.0, np.float32), np.ones((1, 2), bool)
        >>> batch = StarBatch(flux, 0.01 * flux, g_mag, both_bands, ruwe=np.ones(1, np.float32))
        >>> found = label_stars(bundle, batch, info.config, LabelOptions("sampled"))
        >>> found.mean.shape, "SPECTRUM_OUTLIER" in decode(int(found.flags[0]))
        ((1, 4), True)
    """
    if weight is None:
        n_members = bundle.scalers.labels.centre.shape[0]
        weight = jnp.full((n_members, len(batch.xp)), 1.0 / n_members)
    exponent = cfg.data.magnitude_exponent
    blocks = replace(cfg.model, compute=options.compute)
    spectra = normalised_spectra(bundle, batch.xp, batch.xp_error, batch.g_mag, exponent)
    second_path = options.second_path and cfg.taught != ()
    ensemble = _run_ensemble(bundle, spectra.xp, weight, blocks, second_path=second_path)
    moments = ensemble.moments
    scores, ln_snr = _score(bundle, spectra, ensemble, cfg)
    bits = _input_bits(bundle, batch, options)
    no_labels = (bits & bit("MISSING_BAND")) > 0
    sigma = uncertainty.calibrate(bundle.calibration, moments.sigma, ln_snr)
    failed = ~jnp.isfinite(moments.mean).all(axis=1) | ~jnp.isfinite(sigma).all(axis=1)
    bits = bits | jnp.where(~spectra.whole | failed, jnp.int32(bit("NOT_FINITE")), 0)
    # What a missing band was filled with says nothing about the star.
    bits = bits | jnp.where(no_labels, 0, domains.outlier_bits(bundle.domain, scores))
    # Where values are missing, what they were filled with would be compared.
    apart = ~(jnp.abs(batch.g_mag - spectra.g_synthetic) <= bundle.photometry.tolerance)
    mismatch = apart & jnp.isfinite(batch.g_mag) & spectra.whole & ~no_labels
    bits = bits | jnp.where(mismatch, jnp.int32(bit("G_MISMATCH")), 0)

    propagated = jnp.zeros_like(moments.mean)
    if options.propagate != "none":
        propagated = _propagate(bundle, batch, weight, cfg, options)

    def shown(values: Labels) -> Labels:
        return jnp.where((no_labels | failed)[:, None], jnp.nan, values)

    return StarLabels(
        mean=shown(moments.mean),
        sigma=shown(sigma),
        correlation=jnp.where(
            (no_labels | failed)[:, None, None],
            jnp.nan,
            correlation_of(bundle.correlation, moments.mean, cfg.labels),
        ),
        aleatoric=shown(moments.aleatoric),
        epistemic=shown(moments.epistemic),
        propagated=shown(propagated),
        flags=bits,
        scores=scores,
        ln_snr=ln_snr,
        g_synthetic=jnp.where(no_labels, jnp.nan, spectra.g_synthetic),
    )


def _propagate(
    bundle: Bundle,
    batch: StarBatch,
    weight: Float[Array, "member star"],
    cfg: Config,
    options: LabelOptions,
) -> Labels:
    """What the errors of the delivered values cause, in float32 always."""
    if options.propagate == "full" and (
        batch.correlations is None or options.representation != "continuous"
    ):
        raise InputError(
            "propagating the full covariance needs coefficients with their correlations: "
            "read them too, or propagate errors as independent ones"
        )

    blocks = replace(cfg.model, compute="float32")

    def mean(xp: XP) -> Labels:
        exponent = cfg.data.magnitude_exponent
        spectra = normalised_spectra(bundle, xp, batch.xp_error, batch.g_mag, exponent)
        return _run_ensemble(bundle, spectra.xp, weight, blocks, second_path=False).moments.mean

    finite = jnp.isfinite(batch.xp) & jnp.isfinite(batch.xp_error)
    return uncertainty.propagate(
        mean,
        jnp.where(finite, batch.xp, 0.0),
        jnp.where(finite, batch.xp_error, 0.0),
        batch.correlations if options.propagate == "full" else None,
        options.n_bp,
    )
