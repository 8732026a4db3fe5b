"""Constants that theory leaves open, fitted once to an emulator of Kurucz spectra.

Everything else in the synthesis follows from the labels. The constants come from

    python experiments/studies/synthesis_calibration.py

which fits 20 giants (3850 to 5250 K) and holds every constant near its textbook
value; ``experiments/studies/synthesis_realism.py`` judges the result on other giants and
on real spectra. The strength scales absorb errors of gf values and partition
functions, departures from one-dimensional equilibrium and, in Ca and Ni, lines
of the list that the emulator does not show.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from aspgap_jax.synthesis.species import ISOTOPES, SPECIES

__all__ = ["CALIBRATION", "Constants"]


class Constants(NamedTuple):
    """The fitted constants; a pytree, so that derivatives reach them.

    Attributes:
        log_strength: log10 of the factor on gf, one a species of ``SPECIES``.
        log_isotope: log10 of the abundance relative to the common isotope, one an
            entry of ``ISOTOPES``.
        microturbulence: km/s at log g = 2.
        microturbulence_slope: km/s per dex of log g.
        log_damping: log10 of the factor on Unsoeld's van der Waals width.
        source_slope: b / a of the Milne-Eddington source function a + b tau at 4500 K.
        source_exponent: power of Teff / 4500 K in that slope.
        opacity_ratio: Rosseland optical depth over that of the continuum at 1.6 micron.
        macroturbulence: standard deviation, km/s, of the broadening beside R = 22,500.
    """

    log_strength: Float[Array, " species"] | np.ndarray
    log_isotope: Float[Array, " isotope"] | np.ndarray
    microturbulence: Float[Array, ""] | float
    microturbulence_slope: Float[Array, ""] | float
    log_damping: Float[Array, ""] | float
    source_slope: Float[Array, ""] | float
    source_exponent: Float[Array, ""] | float
    opacity_ratio: Float[Array, ""] | float
    macroturbulence: Float[Array, ""] | float


_LOG_STRENGTH = {
    "C": -0.19,
    "Na": -0.04,
    "Mg": -0.23,
    "Al": -0.17,
    "Si": -0.03,
    "K": -0.17,
    "Ca": -0.80,
    "Ti": -0.27,
    "V": -0.11,
    "Cr": -0.27,
    "Mn": -0.13,
    "Fe": -0.12,
    "Co": -0.07,
    "Ni": -0.49,
    "CO": -0.14,
    "OH": -0.25,
    "CN": 0.11,
}
# 12C/13C = 14 is fitted and typical of giants; 17O and 18O are the Sun's (Asplund et al. 2009).
_LOG_ISOTOPE = {"common": 0.0, "13C": -1.14, "17O": -3.42, "18O": -2.70}

CALIBRATION = Constants(
    log_strength=np.array([_LOG_STRENGTH[name] for name in SPECIES], np.float32),
    log_isotope=np.array([_LOG_ISOTOPE[name] for name in ISOTOPES], np.float32),
    microturbulence=1.42,
    microturbulence_slope=-0.215,
    log_damping=0.31,
    source_slope=1.44,
    source_exponent=-1.59,
    opacity_ratio=2.70,
    macroturbulence=5.25,
)
