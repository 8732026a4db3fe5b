"""The atmosphere: temperature, pressure and continuous opacity on a grid of optical depth.

The depth variable tau is the optical depth of the continuum at 1.6 micron.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aspgap_jax.synthesis.calibration import Constants
from aspgap_jax.synthesis.chemistry import (
    BOLTZMANN_EV,
    ELECTRON_PHASE_SPACE,
    Gas,
    PerLayer,
    electron_density,
    hydrogen_atoms,
    log_saha,
)
from aspgap_jax.synthesis.species import ELEMENTS

__all__ = [
    "DEPTH",
    "REFERENCE_WAVELENGTH",
    "atmosphere",
    "continuous_opacity",
    "temperature_at",
]

DEPTH = np.logspace(-5.0, 1.25, 18).astype(np.float32)
"""Optical depth of every layer."""

REFERENCE_WAVELENGTH = 16_000.0
"""Wavelength of ``DEPTH``, Angstrom."""

BOLTZMANN = 1.380649e-16  # erg / K
ATOMIC_MASS = 1.660539e-24  # g
ELECTRON_AFFINITY = 0.754209  # of hydrogen, eV
THRESHOLD = 1.6419  # of H- photo-detachment, micron
PHOTO_DETACHMENT = (152.519, 49.534, -118.858, 92.536, -34.194, 4.982)

INTEGRATIONS = 8

_MASSES = np.array([element.mass for element in ELEMENTS], np.float32)


def temperature_at(
    depth: Float[Array, " layer"], teff: Float[Array, ""], calibration: Constants
) -> PerLayer:
    """Temperature (K) of Eddington's grey atmosphere, Teff [3/4 (tau_R + 2/3)]^(1/4), nearly.

    tau_R, the Rosseland optical depth, is ``opacity_ratio`` times ``depth``: the
    opacity at 1.6 micron is the smallest of the spectrum. What lines change in the
    structure (they cool the surface and warm what is below) is calibrated.

    Args:
        depth: reference optical depth, at 1.6 micron.
        teff: effective temperature, K.
        calibration: constants of the temperature structure.

    Returns:
        K, a layer each.
    """
    rosseland = calibration.opacity_ratio * depth
    log_depth = jnp.log10(depth)
    shapes = jnp.stack(
        [
            jnp.exp(-jnp.sqrt(depth / 0.05)),
            jnp.exp(-0.5 * ((log_depth + 1.5) / 0.7) ** 2),
            jnp.exp(-0.5 * (log_depth / 0.7) ** 2),
        ]
    )
    grey = teff * (0.75 * (rosseland + 2.0 / 3.0)) ** 0.25
    return jnp.asarray(grey * (1.0 + calibration.temperature @ shapes))


def continuous_opacity(
    wavelength: Float[np.ndarray, " wavelength"],
    temperature: PerLayer,
    electrons: PerLayer,
    atoms: PerLayer,
) -> Float[Array, "layer wavelength"]:
    """Opacity (cm^-1) of H-, which dominates in cool stars, with stimulated emission.

    Bound-free: John (1988, A&A 193, 189). Free-free: Bell and Berrington (1987,
    J. Phys. B 20, 801) between 1.5 and 1.8 micron, fitted to 1.5 per cent for
    theta = 0.5 ... 2.

    Args:
        wavelength: Angstrom, 15,000 to 18,000.
        temperature: K.
        electrons: electron density, cm^-3.
        atoms: density of hydrogen atoms, cm^-3.

    Returns:
        ``[layer, wavelength]``, smooth in all arguments.
    """
    micron = np.asarray(wavelength, np.float64) / 1e4
    excess = np.maximum(1.0 / micron - 1.0 / THRESHOLD, 0.0)
    series = sum(c * excess ** (0.5 * n) for n, c in enumerate(PHOTO_DETACHMENT))
    cross_section = (1e-18 * micron**3 * excess**1.5 * series).astype(np.float32)
    kt = BOLTZMANN_EV * temperature
    # Densities enter as logarithms: products of two, and what the chain rule makes of
    # them, leave the range of float32.
    log_pair = jnp.log(electrons) + jnp.log(atoms)
    log_ions = ELECTRON_AFFINITY / kt - jnp.log(4.0 * ELECTRON_PHASE_SPACE * temperature**1.5)
    photon = (1.2398420 / micron).astype(np.float32)  # eV
    stimulated = 1.0 - jnp.exp(-photon[None, :] / kt[:, None])
    ions = jnp.exp(log_pair + log_ions)
    bound_free = ions[:, None] * cross_section[None, :] * stimulated
    log_theta = jnp.log(5040.0 / temperature)
    # 1.52e-26 cm^4 / dyn at 15,189 Angstrom, times the electron pressure.
    scale = np.log(1.52e-26 * BOLTZMANN)
    per_wave = jnp.exp(
        scale + jnp.log(temperature) + log_pair + 0.89 * log_theta - 0.10 * log_theta**2
    )
    free_free = per_wave[:, None] * ((micron / 1.5189) ** 1.955).astype(np.float32)[None, :]
    return bound_free + free_free


def atmosphere(
    teff: Float[Array, ""],
    logg: Float[Array, ""],
    abundance: Float[Array, " element"],
    calibration: Constants,
) -> Gas:
    """Hydrostatic atmosphere: dP / dtau = g rho / kappa on the layers of ``DEPTH``.

    The opacity of H- grows about as the square of the pressure (electrons come
    from metals), so d(P^2) / dtau = 2 g rho P / kappa has a right side that hardly
    depends on P, and repeated integration converges quickly.

    Args:
        teff: effective temperature, K.
        logg: log10 of the gravity in cm s^-2.
        abundance: nuclei per hydrogen nucleus.
        calibration: constants of the temperature structure.

    Returns:
        Temperature and densities, layer by layer.
    """
    temperature = temperature_at(jnp.asarray(DEPTH), teff, calibration)
    gravity = jnp.power(10.0, logg)
    log_constant = log_saha(temperature)
    mass = ATOMIC_MASS * jnp.sum(abundance * _MASSES)
    particles = jnp.sum(abundance)
    log_depth = jnp.log(jnp.asarray(DEPTH))
    wavelength = np.array([REFERENCE_WAVELENGTH])

    def gas_at(pressure: PerLayer) -> Gas:
        hydrogen = pressure / (BOLTZMANN * temperature * particles)
        electrons = electron_density(log_constant, hydrogen, abundance)
        atoms = hydrogen_atoms(temperature, hydrogen)
        return Gas(temperature, hydrogen, atoms, electrons)

    def integrate(_: Int[Array, ""], log_pressure: PerLayer) -> PerLayer:
        pressure = jnp.exp(log_pressure)
        gas = gas_at(pressure)
        kappa = continuous_opacity(wavelength, temperature, gas.electrons, gas.hydrogen_atoms)
        rho = mass * gas.hydrogen
        # d(P^2) / d(ln tau)
        per_gram = jnp.exp(jnp.log(kappa[:, 0]) - jnp.log(rho))
        slope = 2.0 * gravity * pressure * jnp.asarray(DEPTH) / per_gram
        steps = 0.5 * (slope[1:] + slope[:-1]) * jnp.diff(log_depth)
        squared = jnp.concatenate([slope[:1], slope[0] + jnp.cumsum(steps)])
        return 0.5 * jnp.log(squared)

    start = 9.0 + 1.2 * (logg - 2.0) + 0.5 * log_depth
    log_pressure = jax.lax.fori_loop(0, INTEGRATIONS, integrate, start)
    return gas_at(jnp.exp(log_pressure))
