"""The line list, and which lines reach which block of the fine grid."""

from __future__ import annotations

import csv
from importlib import resources
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aspgap_jax.synthesis.grid import BLOCK, N_BLOCKS, STEP_VELOCITY, velocity_index
from aspgap_jax.synthesis.species import ELEMENTS, ISOTOPES, ISOTOPOLOGUES, MOLECULES, SPECIES

__all__ = ["LineList", "load_lines"]

LINE_FILE = "hband_lines.csv"
ISOTOPOLOGUE_FILE = "hband_isotopologues.csv"
PHOTON_EV = 12398.420  # energy times wavelength, eV Angstrom
# Reach of a line (km/s): beyond, its opacity is negligible except in the strongest atoms.
NARROW_REACH = 45.0
WIDE_REACH = 250.0
N_WIDE = 60
# Upper levels closer to the continuum than this (eV) would get unphysical widths.
MIN_BINDING = 0.5
MOLECULAR_LOG_C6 = -32.0


class LineList(NamedTuple):
    """Spectral lines with what the synthesis derives from them; a pytree of arrays.

    Attributes:
        wavelength: vacuum, Angstrom.
        species: index into ``SPECIES``.
        isotope: index into ``ISOTOPES``: the rare isotope in the molecule, or 0.
        excitation: energy of the lower level, eV.
        log_gf: log10 of statistical weight times oscillator strength.
        mass: of the atom or molecule, u.
        log_c6: log10 of the van der Waals constant, cm^6 / s.
        members: lines that reach each block of the fine grid.
        weight: 1 for a member, 0 for padding.
        offset: velocity of the block's first point relative to the line, km/s.
    """

    wavelength: Float[Array, " line"]
    species: Int[Array, " line"]
    isotope: Int[Array, " line"]
    excitation: Float[Array, " line"]
    log_gf: Float[Array, " line"]
    mass: Float[Array, " line"]
    log_c6: Float[Array, " line"]
    members: Int[Array, "block slot"]
    weight: Float[Array, "block slot"]
    offset: Float[Array, "block slot"]

    def of(self, symbol: str) -> Int[np.ndarray, " found"]:
        """Indices of the lines of one species; ``ValueError`` for an unknown one.

        Raises:
            ValueError: the list has no such species.
        """
        if symbol not in SPECIES:
            raise ValueError(f"no species {symbol!r}; the list has {', '.join(SPECIES)}")
        return np.flatnonzero(np.asarray(self.species) == SPECIES.index(symbol))


def load_lines() -> LineList:
    """Reads the 2,150 H-band lines that come with the package.

    Returns:
        Lines of 14 neutral atoms, CO, OH and CN between 1.51 and 1.70 micron.

    Examples:
        >>> lines = load_lines()
        >>> len(lines.wavelength), len(lines.of("OH"))
        (2150, 450)
    """
    rows = _read(LINE_FILE)
    wavelength = np.array([float(row["wavelength_vacuum_angstrom"]) for row in rows])
    species = np.array([SPECIES.index(row["species"]) for row in rows], np.int32)
    excitation = np.array([float(row["excitation_potential_ev"]) for row in rows])
    log_gf = np.array([float(row["log_gf"]) for row in rows])
    isotope = np.zeros(len(rows), np.int32)
    for row in _read(ISOTOPOLOGUE_FILE):
        isotope[int(row["line"])] = ISOTOPES.index(ISOTOPOLOGUES[row["isotopologue"]])
    members, weight, offset = _reach(wavelength, species, excitation, log_gf)
    return LineList(
        wavelength=jnp.asarray(wavelength.astype(np.float32)),
        species=jnp.asarray(species),
        isotope=jnp.asarray(isotope),
        excitation=jnp.asarray(excitation.astype(np.float32)),
        log_gf=jnp.asarray(log_gf.astype(np.float32)),
        mass=jnp.asarray(_masses()[species]),
        log_c6=jnp.asarray(_log_c6(wavelength, species, excitation)),
        members=jnp.asarray(members),
        weight=jnp.asarray(weight),
        offset=jnp.asarray(offset),
    )


def _read(name: str) -> list[dict[str, str]]:
    """Rows of a table of the package; ``#`` starts a comment."""
    with (resources.files("aspgap_jax") / "data" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def _masses() -> np.ndarray:
    """Mass (u) of every species."""
    mass = {element.symbol: element.mass for element in ELEMENTS}
    mass |= {m.symbol: mass[m.atoms[0]] + mass[m.atoms[1]] for m in MOLECULES}
    return np.array([mass[name] for name in SPECIES], np.float32)


def _log_c6(wavelength: np.ndarray, species: np.ndarray, excitation: np.ndarray) -> np.ndarray:
    """Unsoeld's C6 = 0.3e-30 [(I - chi_up)^-2 - (I - chi_low)^-2] (Gray 2005, chapter 11)."""
    energy = {element.symbol: element.ionisation for element in ELEMENTS}
    is_atom = np.array([name in energy for name in SPECIES])[species]
    ionisation = np.array([energy.get(name, 15.0) for name in SPECIES])[species]
    lower = np.maximum(ionisation - excitation, MIN_BINDING + PHOTON_EV / wavelength)
    upper = lower - PHOTON_EV / wavelength
    atomic = np.log10(0.3e-30 * (upper**-2 - lower**-2))
    return np.where(is_atom, atomic, MOLECULAR_LOG_C6).astype(np.float32)


def _reach(
    wavelength: np.ndarray, species: np.ndarray, excitation: np.ndarray, log_gf: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members, weights and offsets of every block; the strongest atomic lines reach further."""
    solar = {element.symbol: element.abundance for element in ELEMENTS}
    abundance = np.array([solar.get(name, -np.inf) for name in SPECIES])[species]
    strength = log_gf + abundance - 5040.0 / 4500.0 * excitation
    reach = np.full(len(wavelength), NARROW_REACH)
    reach[np.argsort(strength)[-N_WIDE:]] = WIDE_REACH
    place = velocity_index(wavelength)
    starts = np.arange(N_BLOCKS) * BLOCK
    steps = reach / STEP_VELOCITY
    reaches = (place + steps >= starts[:, None]) & (place - steps <= starts[:, None] + BLOCK - 1)
    slots = int(reaches.sum(axis=1).max())
    # A stable sort of "not a member" brings the members to the front, in order.
    members = np.argsort(~reaches, axis=1, kind="stable")[:, :slots]
    weight = np.take_along_axis(reaches, members, axis=1)
    offset = (starts[:, None] - place[members]) * STEP_VELOCITY
    return members.astype(np.int32), weight.astype(np.float32), offset.astype(np.float32)
