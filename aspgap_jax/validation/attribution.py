"""Which wavelengths carry a label: integrated gradients (Sundararajan et al. 2017).

From a baseline x' to a spectrum x the prediction f changes by f(x) - f(x'). Integrated
gradients share this change out among the inputs,

    IG_i = (x_i - x'_i) * integral_0^1 df/dx_i (x' + t (x - x')) dt,

and the shares add up to it (completeness). Between two stars of equal Teff, log g and [M/H]
and different [alpha/M], they say where the network sees [alpha/M].

Two real stars also differ in what the network must not take for [alpha/M], above all in
reddening, and shares of neighbouring wavelengths then cancel. IG is linear in the
difference x - x', so :func:`split_shares` divides it into the broad shape of the spectrum
and the features on top, without loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels, model
from aspgap_jax.config import Config
from aspgap_jax.errors import InputError
from aspgap_jax.model import Params
from aspgap_jax.prediction.bundle import Networks
from aspgap_jax.preprocessing.scaling import Scalers
from aspgap_jax.typing import XP, Array, Float, PerStar, Scalar
from aspgap_jax.validation.bootstrap import Interval, bootstrap

__all__ = [
    "BANDS",
    "Band",
    "Shares",
    "band_shares",
    "gradients_by_flux",
    "label_gradients",
    "path_gradients",
    "smooth",
    "split_shares",
]


class Band(NamedTuple):
    """A stretch of wavelength where a known absorber stands.

    Attributes:
        name: of the absorber.
        low: nm, air or vacuum: the difference is far below Gaia's resolution.
        high: nm.
    """

    name: str
    low: float
    high: float


# The lines themselves, widened to about the line-spread function of BP and RP, which is 8 nm
# wide (FWHM) at 400 nm, 20 nm at 600 nm and 15 nm at 850 nm (De Angeli et al. 2023).
BANDS = (
    Band("Ca H&K", 388.0, 402.0),
    Band("Mg b", 506.0, 530.0),
    Band("Na D", 579.0, 600.0),
    Band("TiO 615", 612.0, 635.0),
    Band("TiO 665", 662.0, 692.0),
    Band("TiO 705", 702.0, 732.0),
    Band("TiO 759", 756.0, 786.0),
    Band("Ca triplet", 842.0, 874.0),
)
"""Absorbers marked in figures; TiO by the band heads, from which it reaches to the red."""

WIDTH = 30.0
"""Standard deviation (nm) of what counts as broad: some three times that of the lines."""

CUTOFF = 1e-6
"""Of the largest singular value of an instrument matrix."""


class Shares(NamedTuple):
    """What the broad shape and what each wavelength's features add to a label's change.

    Attributes:
        broad: sum over the broad part of the difference ``[star]``.
        features: of the rest, wavelength by wavelength ``[star, sample]``.
    """

    broad: Float[np.ndarray, " star"]
    features: Float[np.ndarray, "star sample"]


def path_gradients(
    function: Callable[[Float[Array, " xp"]], Scalar], baseline: XP, inputs: XP, *, steps: int
) -> XP:
    """Gradients averaged along straight lines from baseline to inputs, by the midpoint rule.

    Times (inputs - baseline) they are the integrated gradients.

    Args:
        function: differentiable, of one spectrum.
        baseline: x' ``[star, xp]``.
        inputs: x ``[star, xp]``.
        steps: points of the rule; its error falls as steps^-2 where f is smooth, and
            as steps^-1 where it has kinks.

    Returns:
        ``[star, xp]``.
    """
    gradient = jax.vmap(jax.grad(function))

    def add(total: XP, t: Scalar) -> tuple[XP, None]:
        return total + gradient(baseline + t * (inputs - baseline)), None

    at = (jnp.arange(steps, dtype=inputs.dtype) + 0.5) / steps
    return jax.lax.scan(add, jnp.zeros_like(inputs), at)[0] / steps


def label_gradients(
    networks: Networks,
    cfg: Config,
    member: int,
    name: str,
    baseline: Float[np.ndarray, "star xp"],
    inputs: Float[np.ndarray, "star xp"],
    *,
    steps: int = 128,
) -> tuple[Float[np.ndarray, "star xp"], Float[np.ndarray, " star"]]:
    """Path gradients of a predicted label, for one member.

    Args:
        networks: of a run.
        cfg: of the training.
        member: which network.
        name: of the label.
        baseline: spectra normalised by magnitude.
        inputs: as many, to which the label changes.
        steps: of the integral.

    Returns:
        Gradients, in the label's unit over that of the spectra, and the change of the
        label from baseline to inputs. Gradients times differences add up to it.
    """
    column = labels.index(name)
    params, scalers = jax.tree.map(lambda leaf: leaf[member], (networks.params, networks.scalers))

    @jax.jit
    def run(params: Params, scalers: Scalers, start: XP, end: XP) -> tuple[XP, PerStar]:
        def predict(xp: Float[Array, " xp"]) -> Scalar:
            latents = model.encode(cfg.model, params, scalers.xp.transform(xp[None]))
            return scalers.labels.inverse(model.decode_xp(cfg.model, params, latents)[0])[0, column]

        change = jax.vmap(predict)(end) - jax.vmap(predict)(start)
        return path_gradients(predict, start, end, steps=steps), change

    gradient, change = run(
        params, scalers, jnp.asarray(baseline, jnp.float32), jnp.asarray(inputs, jnp.float32)
    )
    # Spectra are of order 1e-17 and gradients of order 1e17: NumPy goes on in float64.
    return np.asarray(gradient, np.float64), np.asarray(change, np.float64)


def gradients_by_flux(
    gradient: Float[np.ndarray, "star xp"],
    matrix: Float[np.ndarray, "sample coeff"],
) -> Float[np.ndarray, "star sample"]:
    """Gradients by coefficients as gradients by sampled flux.

    With F = M c, it is the smallest g_F that has M^T g_F = g_c, so that shares by flux add
    up to those by coefficients. Directions of M with singular values below 1e-6 of
    the largest, which no flux shows, are left out.

    Args:
        gradient: by coefficients.
        matrix: M, of the instrument.

    Returns:
        By sampled flux.

    Raises:
        InputError: the matrix is for another number of coefficients.
    """
    if matrix.shape[1] != gradient.shape[1]:
        raise InputError(
            f"the matrix takes {matrix.shape[1]} coefficients, the gradients have "
            f"{gradient.shape[1]}: use the instrument model of their data release"
        )
    return gradient @ np.linalg.pinv(matrix, rcond=CUTOFF)


def smooth(
    spectra: Float[np.ndarray, "star sample"],
    wavelength: Float[np.ndarray, " sample"],
) -> Float[np.ndarray, "star sample"]:
    """The broad shape of spectra: means weighted by a Gaussian in wavelength.

    Args:
        spectra: fluxes or differences of fluxes.
        wavelength: nm.

    Returns:
        In the unit of ``spectra``.
    """
    kernel = np.exp(-0.5 * np.square((wavelength[:, None] - wavelength[None]) / WIDTH))
    return np.asarray(spectra @ (kernel / kernel.sum(axis=1, keepdims=True)).T)


def split_shares(
    gradient: Float[np.ndarray, "star sample"],
    difference: Float[np.ndarray, "star sample"],
    wavelength: Float[np.ndarray, " sample"],
) -> Shares:
    """Shares of the broad shape and of the features on top; their sum is that of IG.

    Args:
        gradient: of :func:`label_gradients` or :func:`gradients_by_flux`.
        difference: of the fluxes, inputs minus baseline.
        wavelength: nm.

    Returns:
        In the unit of the label.
    """
    broad = smooth(difference, wavelength)
    return Shares((gradient * broad).sum(axis=1), gradient * (difference - broad))


def band_shares(
    features: Float[np.ndarray, "star sample"],
    wavelength: Float[np.ndarray, " sample"],
    *,
    draws: int,
    seed: int,
) -> dict[str, Interval]:
    """Sum of the shares in each of :data:`BANDS`, mean over stars, with bootstrap intervals.

    Args:
        features: of :func:`split_shares`.
        wavelength: nm.
        draws: bootstrap resamples of the stars.
        seed: of the resamples.

    Returns:
        By the name of the band, in the unit of the label.
    """
    inside = [(wavelength >= band.low) & (wavelength <= band.high) for band in BANDS]
    sums = np.stack([features[:, band].sum(axis=1) for band in inside], axis=1)
    found = bootstrap(lambda rows: sums[rows].mean(axis=0), len(sums), draws=draws, seed=seed)
    return {band.name: Interval(*(values[i] for values in found)) for i, band in enumerate(BANDS)}
