"""An independent yardstick: a small network that emulates Kurucz spectra of APOGEE.

The network is that of ``kareemelbadry/binspec`` (MIT), ``kurucz_apogee_network.npz``. It has
nothing in common with :mod:`aspgap_jax.synthesis` but the physics, save for a few constants
of the latter that were fitted to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aspgap_jax.apstar import N_CHIP_PIXELS, N_PIXELS, in_chips
from aspgap_jax.errors import InputError
from aspgap_jax.files.npz import read_npz

__all__ = ["Kurucz", "kurucz_spectra", "load_kurucz"]

ARRAYS = ("w_array_0", "b_array_0", "w_array_1", "b_array_1", "x_min", "x_max")
CURE = "take kurucz_apogee_network.npz of kareemelbadry/binspec"


class Kurucz(NamedTuple):
    """The network's arrays. Labels are Teff, log g, [Fe/H], [alpha/Fe].

    Attributes:
        hidden: weights of the hidden units of each pixel.
        hidden_bias: their biases.
        output: weights of the output.
        output_bias: its bias.
        low: lowest labels it is valid for.
        high: highest labels.
    """

    hidden: Float[np.ndarray, "chip_pixel unit label"]
    hidden_bias: Float[np.ndarray, "chip_pixel unit"]
    output: Float[np.ndarray, "chip_pixel unit"]
    output_bias: Float[np.ndarray, " chip_pixel"]
    low: Float[np.ndarray, " label"]
    high: Float[np.ndarray, " label"]


def load_kurucz(path: Path) -> Kurucz:
    """Read the network.

    Args:
        path: an ``.npz`` file.

    Returns:
        Weights in float64, and the scale of the labels.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    arrays = read_npz(path, ARRAYS, kind="network of Kurucz spectra", cure=CURE)
    found = Kurucz(*(arrays[name].astype(np.float64) for name in ARRAYS))
    if found.output_bias.shape != (N_CHIP_PIXELS,):
        raise InputError(
            f"{path}: a network of {found.output_bias.size} pixels, not {N_CHIP_PIXELS}: {CURE}"
        )
    return found


def kurucz_spectra(
    network: Kurucz, at: Float[np.ndarray, "star label"]
) -> Float[np.ndarray, "star pixel"]:
    """Unnormalised flux on the apStar grid, NaN between the chips.

    Args:
        network: of :func:`load_kurucz`.
        at: labels of the label table.

    Returns:
        Flux ``[star, pixel]``.

    Raises:
        InputError: labels outside of what the network is valid for.
    """
    outside = ((at < network.low) | (at > network.high)).any(axis=1)
    if outside.any():
        raise InputError(
            f"labels {np.round(at[outside][0], 3).tolist()} are outside of the Kurucz network, "
            f"{network.low.round(2).tolist()} to {network.high.round(2).tolist()}"
        )
    x = (at - network.low) / (network.high - network.low) - 0.5
    hidden = np.einsum("phl,sl->sph", network.hidden, x) + network.hidden_bias
    flux = np.full((len(at), N_PIXELS), np.nan)
    active = network.output / (1.0 + np.exp(-hidden))
    flux[:, in_chips] = active.sum(axis=2) + network.output_bias
    return flux
