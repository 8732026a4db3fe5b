"""The apStar pixel grid of APOGEE: the only place that knows it.

Wavelengths are vacuum and rest frame, in Angstrom, equally spaced in
logarithm: log10(lambda) = 4.179 + 6e-6 i for pixels i = 0 ... 8574 (Nidever et
al. 2015, AJ 150, 173). The three detectors ("chips") cover only part of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CHIPS",
    "LOG10_START",
    "LOG10_STEP",
    "N_CHIP_PIXELS",
    "N_PIXELS",
    "RESOLUTION",
    "WAVELENGTH",
    "in_chips",
    "running_continuum",
]

N_PIXELS = 8575
LOG10_START = 4.179
LOG10_STEP = 6e-6
RESOLUTION = 22_500.0
WAVELENGTH: NDArray[np.float64] = np.power(10.0, LOG10_START + LOG10_STEP * np.arange(N_PIXELS))
CHIPS: tuple[slice, slice, slice] = (slice(322, 3242), slice(3648, 6048), slice(6412, 8306))
in_chips: NDArray[np.bool_] = np.zeros(N_PIXELS, dtype=bool)
for _chip in CHIPS:
    in_chips[_chip] = True
N_CHIP_PIXELS = int(in_chips.sum())
for _constant in (WAVELENGTH, in_chips):
    _constant.setflags(write=False)


# The running continuum: half of its window and the distance of the windows, in pixels.
HALF_WIDTH, STEP = 250, 50
QUANTILE = 0.9


def running_continuum(flux: ArrayLike) -> NDArray[np.float64]:
    """Pseudo-continuum of spectra on the apStar grid: a running upper quantile, chip by chip.

    The 90% quantile is taken over 501 pixels (105 Angstrom) every 50 pixels, and
    joined by straight lines. In cool giants lines cover the
    true continuum, so spectra are comparable only after the same treatment.

    Args:
        flux: ``[..., 8575]``, any unit; NaN marks pixels to leave out.

    Returns:
        Continuum ``[..., 8575]`` in the unit of ``flux``; NaN outside the chips
        and where a chip has no valid pixel.

    Raises:
        ValueError: the last axis does not have 8575 pixels.

    Examples:
        A spectrum without lines is its own continuum where the detectors are.

        >>> flat = running_continuum(np.full(N_PIXELS, 3.0))
        >>> bool((flat[in_chips] == 3.0).all()), bool(np.isnan(flat[~in_chips]).all())
        (True, True)
    """
    spectra = np.asarray(flux, dtype=np.float64)
    if spectra.ndim == 0 or spectra.shape[-1] != N_PIXELS:
        raise ValueError(f"flux must have {N_PIXELS} pixels on its last axis, got {spectra.shape}")
    rows = spectra.reshape(-1, N_PIXELS)
    continuum = np.full(rows.shape, np.nan)
    for chip in CHIPS:
        pixels = np.arange(chip.start, chip.stop)
        centres = np.linspace(chip.start, chip.stop - 1, max(2, round(len(pixels) / STEP)))
        windows = [
            slice(max(chip.start, int(c) - HALF_WIDTH), min(chip.stop, int(c) + HALF_WIDTH + 1))
            for c in centres
        ]
        for row, target in zip(rows, continuum, strict=True):
            levels = np.array([_quantile(row[window]) for window in windows])
            valid = np.isfinite(levels)
            if valid.any():
                target[chip] = np.interp(pixels, centres[valid], levels[valid])
    return continuum.reshape(spectra.shape)


def _quantile(values: NDArray[np.float64]) -> float:
    """The quantile of the finite values; NaN where there is none (and no warning)."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, QUANTILE)) if finite.size else float("nan")
