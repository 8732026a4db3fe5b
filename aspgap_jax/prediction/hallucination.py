"""A star's hallucinated APOGEE spectrum, and how it changes with the star's labels.

Three lines::

    from aspgap_jax.prediction.hallucination import gradient_spectra, hallucinate

    flux = hallucinate("runs/demo", xp, g_mag)             # [star, pixel]
    gradient = gradient_spectra("runs/demo", xp, g_mag)    # [star, label, pixel]

The pixels are those of :data:`aspgap_jax.apstar.WAVELENGTH`. What comes out is no observation:
it is the APOGEE-like spectrum that the networks think goes with an XP spectrum.

A gradient needs a direction: by how much the XP spectrum changes with a label. It is the
likeliest change among the training stars' spectra, of covariance C without their noise, that
changes one label by one unit and no other: with J the derivatives of the predicted labels by
the spectrum, the columns of C J^T (J C J^T)^-1. :mod:`aspgap_jax.validation.gradients` takes
the direction from stars instead, which asks more of the networks and needs the stars.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import model
from aspgap_jax.config import Config
from aspgap_jax.errors import InputError
from aspgap_jax.model import Absorbed, Variables
from aspgap_jax.prediction.bundle import (
    Bundle,
    BundleInfo,
    Hallucinator,
    load_bundle,
    load_hallucinator,
)
from aspgap_jax.prediction.predictor import Predictor
from aspgap_jax.prediction.spectra import normalised_spectra
from aspgap_jax.preprocessing.scaling import Scalers
from aspgap_jax.typing import XP, Array, Float, Labels, Spectra

__all__ = ["Hallucinations", "gradient_spectra", "hallucinate", "member_spectra"]

BATCH = 64
"""Stars at a time: their gradients take 9 MB."""


class Hallucinations:
    """A bundle with its hallucinators, loaded once for many calls.

    Args:
        bundle: the folder of a bundle or of a run; ``None``: the released one.

    Attributes:
        info: what the bundle is.

    Raises:
        InputError: there is no bundle, it is damaged, or has no hallucinator.
    """

    def __init__(self, bundle: str | Path | None = None) -> None:
        folder = None if bundle is None else Path(bundle)
        self._bundle, self.info = load_bundle(folder)
        self._hallucinator = load_hallucinator(folder)

    def spectra(
        self, xp: Float[np.ndarray, "star xp"], g_mag: Float[np.ndarray, " given"] | None = None
    ) -> Float[np.ndarray, "star pixel"]:
        """As :func:`hallucinate`."""
        return self._in_batches(_flux, xp, g_mag)

    def gradients(
        self, xp: Float[np.ndarray, "star xp"], g_mag: Float[np.ndarray, " given"] | None = None
    ) -> Float[np.ndarray, "star label pixel"]:
        """As :func:`gradient_spectra`."""
        return self._in_batches(_gradient, xp, g_mag)

    def _in_batches(
        self,
        compute: Callable[..., jax.Array],
        xp: np.ndarray,
        g_mag: np.ndarray | None,
    ) -> np.ndarray:
        _check(self.info, xp)
        g_mag = np.full(len(xp), np.nan) if g_mag is None else np.asarray(g_mag)
        if g_mag.shape != (len(xp),):
            raise InputError(
                f"g_mag has the shape {g_mag.shape}, of {len(xp)} stars: give one each"
            )
        parts = []
        for start in range(0, len(xp), BATCH):
            rows = slice(start, start + BATCH)
            part, g_part = (np.asarray(a[rows], np.float32) for a in (xp, g_mag))
            spectra = normalised_spectra(
                self._bundle,
                jnp.asarray(part),
                jnp.ones_like(part),
                jnp.asarray(g_part),
                self.info.config.data.magnitude_exponent,
            )
            parts.append(
                np.asarray(compute(self._bundle, self._hallucinator, spectra.xp, self.info.config))
            )
        return np.concatenate(parts)


Loaded = str | Path | Hallucinations | Predictor | None


def hallucinate(
    bundle: Loaded,
    xp: Float[np.ndarray, "star xp"],
    g_mag: Float[np.ndarray, " given"] | None = None,
) -> Float[np.ndarray, "star pixel"]:
    """APOGEE-like spectra of stars, the mean over the members of a bundle.

    Args:
        bundle: the folder of a bundle or of a run, ``None`` for the released one, or one that
            is loaded already; a predictor stands for its bundle.
        xp: sampled fluxes in W m^-2 nm^-1, or coefficients, BP then RP; NaN where missing.
        g_mag: Gaia G, mag; where not given or NaN it is taken from the spectrum.

    Returns:
        Flux over continuum on the apStar grid ``[star, pixel]``.

    Raises:
        InputError: the bundle has no hallucinator, or takes no such spectra.
    """
    return _loaded(bundle).spectra(xp, g_mag)


def gradient_spectra(
    bundle: Loaded,
    xp: Float[np.ndarray, "star xp"],
    g_mag: Float[np.ndarray, " given"] | None = None,
) -> Float[np.ndarray, "star label pixel"]:
    """How the hallucinated spectra of stars change with each label, the others fixed (Fig. 4).

    Args:
        bundle: as for :func:`hallucinate`.
        xp: likewise.
        g_mag: likewise.

    Returns:
        d(flux)/d(label), per unit of the label table (K, dex), ``[star, label, pixel]``.

    Raises:
        InputError: as :func:`hallucinate`.
    """
    return _loaded(bundle).gradients(xp, g_mag)


def _loaded(bundle: Loaded) -> Hallucinations:
    if isinstance(bundle, Hallucinations):
        return bundle
    return Hallucinations(bundle.folder if isinstance(bundle, Predictor) else bundle)


def _check(info: BundleInfo, xp: np.ndarray) -> None:
    widths = {info.n_xp, info.n_coefficients} - {0}
    if xp.ndim != 2 or xp.shape[1] not in widths:
        known = " or ".join(str(width) for width in sorted(widths))
        raise InputError(
            f"xp has the shape {xp.shape}; the bundle takes a row a star, of {known} values"
        )


@partial(jax.jit, static_argnames="cfg")
def member_spectra(
    bundle: Bundle, hallucinator: Hallucinator, xp: XP, cfg: Config
) -> Float[Array, "member star pixel"]:
    """The hallucinated spectra of every member of a bundle.

    Args:
        bundle: with the networks up to there.
        hallucinator: of the same bundle.
        xp: spectra normalised by magnitude.
        cfg: of the bundle.

    Returns:
        Flux over continuum.
    """

    def member(params: Absorbed, scalers: Scalers, last: Variables) -> Spectra:
        hidden = model.encode_hidden(cfg.model, params, scalers.xp.transform(xp))
        return model.hallucinate_absorbed(cfg.model, params, last, hidden)

    return jnp.asarray(jax.vmap(member)(bundle.params, bundle.scalers, hallucinator.last))


@partial(jax.jit, static_argnames="cfg")
def _flux(bundle: Bundle, hallucinator: Hallucinator, xp: XP, cfg: Config) -> Spectra:
    """Mean spectra of the members; ``xp`` normalised by magnitude."""
    return jnp.asarray(member_spectra(bundle, hallucinator, xp, cfg).mean(axis=0))


def _labels(bundle: Bundle, xp: XP, cfg: Config) -> Labels:
    """Mean labels of the members."""

    def member(params: Absorbed, scalers: Scalers) -> Labels:
        hidden = model.encode_hidden(cfg.model, params, scalers.xp.transform(xp))
        return scalers.labels.inverse(model.decode_xp(cfg.model, params, hidden)[0])

    return jnp.asarray(jax.vmap(member)(bundle.params, bundle.scalers).mean(axis=0))


@partial(jax.jit, static_argnames="cfg")
def _gradient(
    bundle: Bundle, hallucinator: Hallucinator, xp: XP, cfg: Config
) -> Float[Array, "star label pixel"]:
    """Derivatives of :func:`_flux` along the directions of the labels."""
    domain = bundle.domain
    # C = root root^T, of normalised spectra.
    spread = jnp.sqrt(jnp.maximum(domain.intrinsic, 0.0))
    root = domain.scaler.scale[:, None] * domain.basis * spread[None, :]
    # Labels over their scale: Teff and [alpha/M] differ by four powers of ten.
    unit = domain.labels.scale

    def one(star: Float[Array, " xp"]) -> Float[Array, "label pixel"]:
        def labels(step: Float[Array, " component"]) -> Float[Array, " label"]:
            return jnp.asarray(_labels(bundle, (star + root @ step)[None], cfg)[0] / unit)

        def flux(step: Float[Array, " component"]) -> Float[Array, " pixel"]:
            return jnp.asarray(_flux(bundle, hallucinator, (star + root @ step)[None], cfg)[0])

        here = jnp.zeros(root.shape[1], root.dtype)
        steps = jnp.linalg.pinv(jax.jacrev(labels)(here)) / unit[None, :]
        return jnp.asarray(jax.vmap(lambda step: jax.jvp(flux, (here,), (step,))[1])(steps.T))

    return jnp.asarray(jax.lax.map(one, xp))
