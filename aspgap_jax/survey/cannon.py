"""A Cannon: spectra of real APOGEE giants as a quadratic function of their labels.

Ness et al. (2015, ApJ 808, 16) fit, pixel by pixel, flux = theta . (1, l, l l) to spectra of
stars with known labels. Its spectra are emulated, but emulated by real spectra: no line
list and no model atmosphere has a part in them.

A model is an ``.npz`` file with the arrays

- ``theta`` ``[15, pixel]``: coefficients of 1, of the four labels less ``reference``, and
  of their products i <= j, row by row;
- ``scatter`` ``[pixel]``: what the fit leaves unexplained, 1-sigma;
- ``reference`` ``[4]``, ``training_labels`` ``[star, 4]``: Teff (K), log g, [Fe/H],
  [alpha/Fe] (dex), in the order of ``label_names``;
- ``pixel`` ``[pixel]``: numbers of the pixels on the apStar grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aspgap_jax.apstar import N_CHIP_PIXELS, N_PIXELS, in_chips
from aspgap_jax.errors import InputError
from aspgap_jax.files.npz import read_npz

__all__ = ["Cannon", "cannon_gradients", "cannon_spectra", "clip_labels", "load_cannon"]

LABEL_NAMES = ("teff", "logg", "fe_h", "alpha_fe")
"""[Fe/H] and [alpha/Fe] stand in for [M/H] and [alpha/M]."""
BOX = (0.5, 99.5)
"""Percentiles of the training labels between which the model holds: corners beyond the
central 99% are thinly trained."""
CURE = "take a quadratic Cannon of four labels on the chips of the apStar grid"
ARRAYS = ("theta", "scatter", "reference", "training_labels", "pixel", "label_names")
PAIRS = np.triu_indices(len(LABEL_NAMES))


class Cannon(NamedTuple):
    """A quadratic model of spectra.

    Attributes:
        theta: coefficients, float64.
        scatter: of a pixel, flux over continuum.
        reference: labels at which the linear and quadratic terms vanish.
        low: lowest labels it holds for.
        high: highest labels.
    """

    theta: Float[np.ndarray, "term=15 chip_pixel"]
    scatter: Float[np.ndarray, " chip_pixel"]
    reference: Float[np.ndarray, " label"]
    low: Float[np.ndarray, " label"]
    high: Float[np.ndarray, " label"]


def load_cannon(path: Path) -> Cannon:
    """Read a model.

    Args:
        path: an ``.npz`` file.

    Returns:
        Coefficients and scatter a pixel of the chips, and the scale of the labels.

    Raises:
        InputError: the file cannot be read, or holds another model: other labels, other
            pixels, or values that are not finite.
    """
    arrays = read_npz(path, ARRAYS, kind="Cannon model", cure=CURE)
    theta, scatter, reference, trained = (
        arrays[name].astype(np.float64)
        for name in ("theta", "scatter", "reference", "training_labels")
    )
    pixel, names = arrays["pixel"], tuple(str(name) for name in arrays["label_names"])
    if names != LABEL_NAMES:
        raise InputError(
            f"{path}: a Cannon of {', '.join(names)}, not {', '.join(LABEL_NAMES)}: {CURE}"
        )
    if not np.array_equal(pixel, np.flatnonzero(in_chips)):
        raise InputError(
            f"{path}: a Cannon of {pixel.size} other pixels than the {N_CHIP_PIXELS} of the "
            f"chips: {CURE}"
        )
    terms, n_labels = 1 + len(LABEL_NAMES) + len(PAIRS[0]), len(LABEL_NAMES)
    shapes = {"theta": (terms, pixel.size), "scatter": (pixel.size,), "reference": (n_labels,)}
    for name, array in (("theta", theta), ("scatter", scatter), ("reference", reference)):
        if array.shape != shapes[name]:
            raise InputError(f"{path}: {name} has the shape {array.shape}, not {shapes[name]}")
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} has values that are not finite: {CURE}")
    if trained.ndim != 2 or trained.shape[1] != n_labels or not len(trained):
        raise InputError(f"{path}: training_labels has the shape {trained.shape}: {CURE}")
    low, high = np.percentile(trained, BOX, axis=0)
    return Cannon(theta, scatter, reference, low, high)


def clip_labels(
    cannon: Cannon, at: Float[np.ndarray, "star label"]
) -> tuple[Float[np.ndarray, "star label"], int]:
    """Labels moved into the box that the model holds for, and how many stars moved.

    Args:
        cannon: the model.
        at: Teff (K), log g, [M/H], [alpha/M] (dex).

    Returns:
        The labels, and the count.
    """
    inside = np.clip(at, cannon.low, cannon.high)
    return inside, int((inside != at).any(axis=1).sum())


def cannon_spectra(
    cannon: Cannon, at: Float[np.ndarray, "star label"]
) -> Float[np.ndarray, "star pixel"]:
    """Flux over continuum on the apStar grid, NaN between the chips; without scatter.

    Args:
        cannon: the model.
        at: Teff (K), log g, [M/H], [alpha/M] (dex).

    Returns:
        ``[star, pixel]``.

    Raises:
        InputError: labels outside of the box; see :func:`clip_labels`.
    """
    _check(cannon, at)
    away = at - cannon.reference
    products = away[:, PAIRS[0]] * away[:, PAIRS[1]]
    terms = np.concatenate([np.ones((len(at), 1)), away, products], axis=1)
    flux = np.full((len(at), N_PIXELS), np.nan)
    flux[:, in_chips] = terms @ cannon.theta
    return flux


def cannon_gradients(
    cannon: Cannon, at: Float[np.ndarray, "star label"]
) -> Float[np.ndarray, "star label pixel"]:
    """d(flux)/d(label), per K and per dex, NaN between the chips.

    Args:
        cannon: the model.
        at: as for :func:`cannon_spectra`.

    Returns:
        ``[star, label, pixel]``.

    Raises:
        InputError: labels outside of the box.
    """
    _check(cannon, at)
    away, n_labels = at - cannon.reference, len(LABEL_NAMES)
    # d(l_i l_j)/d(l_k) = [i = k] l_j + [j = k] l_i
    slopes = np.zeros((len(at), n_labels, len(PAIRS[0])))
    for pair, (i, j) in enumerate(zip(*PAIRS, strict=True)):
        slopes[:, i, pair] += away[:, j]
        slopes[:, j, pair] += away[:, i]
    gradient = np.full((len(at), n_labels, N_PIXELS), np.nan)
    gradient[..., in_chips] = cannon.theta[1 : 1 + n_labels] + slopes @ cannon.theta[1 + n_labels :]
    return gradient


def _check(cannon: Cannon, at: np.ndarray) -> None:
    outside = ~((at >= cannon.low) & (at <= cannon.high)).all(axis=1)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"labels {np.round(at[row], 3).tolist()} (star {row}, {int(outside.sum())} such) are "
            f"outside of the Cannon's box, {cannon.low.round(2).tolist()} to "
            f"{cannon.high.round(2).tolist()}: leave them out or clip them"
        )
