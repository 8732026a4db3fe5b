"""Constants that theory leaves open, calibrated once against spectra of real giants.

Everything else in the synthesis follows from the labels. The constants come from

    python experiments/package_data/synthesis_calibration.py cannon_apokasc_gc.npz

which compares the synthesis with a Cannon of real APOGEE giants (4050 to 5070 K; Ness et al.
2015) at labels of half of the sample's giants and holds every constant near its textbook
value; it judges the result on the other half. They absorb errors of gf values, damping and
partition functions, departures from one-dimensional equilibrium, blends with lines that
the list lacks, and how abundances of giants go with their labels: carbon and nitrogen with
log g, for instance, after the first dredge-up. So they are no laboratory data.

Those of lines and elements are tables of the package (``hband_calibration_*.csv``).
"""

from __future__ import annotations

import csv
from importlib import resources
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from aspgap_jax.synthesis.species import ISOTOPES, SPECIES

__all__ = ["CALIBRATION", "TERMS", "Constants"]

TERMS = ("constant", "m_h", "alpha_m", "logg", "teff")
"""What an element's abundance goes with, beside the labels that say it: see
:func:`aspgap_jax.synthesis.chemistry.usual_abundances`."""


class Constants(NamedTuple):
    """The calibrated constants; a pytree, so that derivatives reach them.

    Attributes:
        log_strength: log10 of the factor on gf, one a species of ``SPECIES``.
        log_isotope: log10 of the abundance relative to the common isotope, one an
            entry of ``ISOTOPES``.
        line_strength: log10 of a further factor on gf, one a line.
        line_damping: added to log10 of the van der Waals constant C6, one a line.
        abundance: dex an element of ``ELEMENTS`` and term of ``TERMS``.
        microturbulence: km/s at log g = 2, [M/H] = -0.3 and 4600 K.
        microturbulence_slope: km/s per dex of log g, per dex of [M/H], per 300 K.
        log_damping: log10 of the factor on Unsoeld's van der Waals width.
        source_slope: b / a of the Milne-Eddington source function a + b tau at 4500 K.
        source_exponent: power of Teff / 4500 K in that slope.
        opacity_ratio: Rosseland optical depth over that of the continuum at 1.6 micron.
        temperature: relative change of the temperature at the surface, and round
            log10 tau = -1.5 and 0.
        macroturbulence: standard deviation, km/s, of the broadening beside R = 22,500,
            at log g = 2.
        macroturbulence_slope: km/s per dex of log g.
    """

    log_strength: Float[Array, " species"] | np.ndarray
    log_isotope: Float[Array, " isotope"] | np.ndarray
    line_strength: Float[Array, " line"] | np.ndarray
    line_damping: Float[Array, " line"] | np.ndarray
    abundance: Float[Array, "element term=5"] | np.ndarray
    microturbulence: Float[Array, ""] | float
    microturbulence_slope: Float[Array, "three=3"] | np.ndarray
    log_damping: Float[Array, ""] | float
    source_slope: Float[Array, ""] | float
    source_exponent: Float[Array, ""] | float
    opacity_ratio: Float[Array, ""] | float
    temperature: Float[Array, "three=3"] | np.ndarray
    macroturbulence: Float[Array, ""] | float
    macroturbulence_slope: Float[Array, ""] | float


def _table(name: str, columns: tuple[str, ...]) -> np.ndarray:
    """Columns of a table of the package, float32 ``[row, column]``; ``#`` starts a comment."""
    path = resources.files("aspgap_jax") / "data" / f"hband_calibration_{name}.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return np.array([[float(row[column]) for column in columns] for row in rows], np.float32)


_LINES = _table("lines", ("log_strength", "log_c6"))
_ELEMENTS = _table("elements", TERMS)

_LOG_STRENGTH = {
    "C": -0.197,
    "Na": -0.024,
    "Mg": -0.255,
    "Al": -0.161,
    "Si": -0.157,
    "K": 0.020,
    "Ca": -0.832,
    "Ti": -0.212,
    "V": 0.004,
    "Cr": -0.486,
    "Mn": -0.198,
    "Fe": -0.124,
    "Co": -0.102,
    "Ni": -0.628,
    "CO": -0.082,
    "OH": -0.016,
    "CN": 0.057,
}
_LOG_ISOTOPE = {"common": -0.027, "13C": -1.022, "17O": -3.407, "18O": -1.674}

CALIBRATION = Constants(
    log_strength=np.array([_LOG_STRENGTH[name] for name in SPECIES], np.float32),
    log_isotope=np.array([_LOG_ISOTOPE[name] for name in ISOTOPES], np.float32),
    line_strength=_LINES[:, 0],
    line_damping=_LINES[:, 1],
    abundance=_ELEMENTS,
    microturbulence=1.5311,
    microturbulence_slope=np.array([-0.5614, 0.0301, 0.0475], np.float32),
    log_damping=0.2166,
    source_slope=1.4381,
    source_exponent=-1.8353,
    opacity_ratio=2.8229,
    temperature=np.array([0.1035, 0.0120, 0.0123], np.float32),
    macroturbulence=4.9562,
    macroturbulence_slope=-0.1764,
)
