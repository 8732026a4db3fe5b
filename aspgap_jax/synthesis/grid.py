"""The fine grid on which opacity is summed, and the way from it to apStar pixels.

The grid divides every apStar pixel into three (1.4 km/s) and reaches eight
pixels beyond both ends, where the instrumental profile still collects light.
It is cut into blocks: one value of the continuous opacity and one short list
of lines serve a block.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aspgap_jax.apstar import LOG10_START, LOG10_STEP, N_PIXELS, RESOLUTION

__all__ = [
    "BLOCK",
    "BLOCK_WAVELENGTH",
    "LIGHT_SPEED",
    "N_BLOCKS",
    "STEP_VELOCITY",
    "instrumental_kernel",
    "to_pixels",
    "velocity_index",
]

LIGHT_SPEED = 299_792.458  # km/s
OVERSAMPLING = 3
MARGIN = 8 * OVERSAMPLING
BLOCK = 48
STEP_VELOCITY = LIGHT_SPEED * np.log(10.0) * LOG10_STEP / OVERSAMPLING  # km/s
N_BLOCKS = -(-((N_PIXELS - 1) * OVERSAMPLING + 1 + 2 * MARGIN) // BLOCK)
_CENTRES = (np.arange(N_BLOCKS) + 0.5) * BLOCK - 0.5 - MARGIN
BLOCK_WAVELENGTH = 10.0 ** (LOG10_START + LOG10_STEP * _CENTRES / OVERSAMPLING)
"""Central wavelength of every block, Angstrom."""


def velocity_index(wavelength: np.ndarray) -> np.ndarray:
    """Place of wavelengths (Angstrom) on the fine grid, in steps from its first point.

    Args:
        wavelength: in vacuum, Angstrom.

    Returns:
        Places between pixels too, in the shape of ``wavelength``.
    """
    return np.asarray((np.log10(wavelength) - LOG10_START) / LOG10_STEP * OVERSAMPLING + MARGIN)


def instrumental_kernel(macroturbulence: Float[Array, ""]) -> Float[Array, " tap"]:
    """Line-spread function on the fine grid: a Gaussian of R = 22,500, unit sum.

    Args:
        macroturbulence: standard deviation (km/s) of a further Gaussian, folded in.

    Returns:
        Weights of the neighbouring points of the fine grid.
    """
    sigma_lsf = LIGHT_SPEED / RESOLUTION / np.sqrt(8.0 * np.log(2.0))
    variance = sigma_lsf**2 + macroturbulence**2
    velocity = STEP_VELOCITY * np.arange(-MARGIN, MARGIN + 1, dtype=np.float32)
    kernel = jnp.exp(-0.5 * velocity**2 / variance)
    return kernel / jnp.sum(kernel)


def to_pixels(fine: Float[Array, " fine"], kernel: Float[Array, " tap"]) -> Float[Array, " pixel"]:
    """Convolves with the symmetric kernel and samples at the apStar pixels.

    Args:
        fine: flux on the fine grid.
        kernel: of :func:`instrumental_kernel`.

    Returns:
        Flux on the apStar grid.
    """
    stop = (N_PIXELS - 1) * OVERSAMPLING + 1
    pixels = jnp.zeros(N_PIXELS, fine.dtype)
    for tap in range(2 * MARGIN + 1):
        pixels = pixels + kernel[tap] * fine[tap : tap + stop : OVERSAMPLING]
    return pixels
