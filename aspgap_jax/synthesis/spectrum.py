"""From labels to emulated APOGEE spectra."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tqdm import tqdm

from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.errors import InputError
from aspgap_jax.labels import index, names
from aspgap_jax.synthesis.atmosphere import (
    DEPTH,
    REFERENCE_WAVELENGTH,
    atmosphere,
    continuous_opacity,
)
from aspgap_jax.synthesis.calibration import CALIBRATION, Constants
from aspgap_jax.synthesis.chemistry import (
    BOLTZMANN_EV,
    Gas,
    line_populations,
    usual_abundances,
)
from aspgap_jax.synthesis.grid import (
    BLOCK,
    BLOCK_WAVELENGTH,
    STEP_VELOCITY,
    instrumental_kernel,
    to_pixels,
)
from aspgap_jax.synthesis.lines import PHOTON_EV, LineList
from aspgap_jax.synthesis.profiles import doppler_velocity, van_der_waals_width, voigt
from aspgap_jax.synthesis.transfer import emergent_flux

__all__ = ["line_strengths", "synthesize", "synthesize_in_batches"]

CLASSICAL_CROSS_SECTION = 2.654e-2  # pi e^2 / (m_e c), cm^2 Hz
# Layer whose temperature and density shape the profiles: lines form above tau = 1.
PROFILE_LAYER = int(np.argmin(np.abs(np.log10(DEPTH) + 1.0)))


def synthesize(
    labels: Float[Array, "star label"], lines: LineList, calibration: Constants = CALIBRATION
) -> Float[Array, "star pixel"]:
    """Emulated, continuum-normalised spectra on the apStar grid.

    Local thermodynamic equilibrium in a hydrostatic atmosphere of H- opacity;
    Saha-Boltzmann populations, CO, OH and CN in chemical equilibrium, Voigt
    profiles, a Milne-Eddington source function and a Gaussian line-spread function
    of R = 22,500. Smooth in the labels: ``jax.jacfwd`` and ``jax.grad`` apply.
    Meant for giants of 3700 to 5500 K. One star takes some 20 MB while it is
    computed: use :func:`synthesize_in_batches` for many.

    Args:
        labels: columns in the order of the label table: teff (K), logg (dex, cgs),
            m_h (dex), alpha_m (dex).
        lines: from :func:`aspgap_jax.synthesis.lines.load_lines`.
        calibration: fitted constants.

    Returns:
        Flux over continuum, float32 for float32 labels, 8575 pixels.

    Raises:
        InputError: (a ``ValueError``) the labels have another shape or are not finite.
    """
    _check(labels)
    labels = jnp.asarray(labels)
    constants = jax.tree.map(lambda constant: jnp.asarray(constant, labels.dtype), calibration)
    return jax.vmap(lambda star: _spectrum(star, lines, constants))(labels)


def synthesize_in_batches(
    labels: np.ndarray, lines: LineList, batch_size: int = 16, progress: bool = True
) -> np.ndarray:
    """Emulated spectra of many stars, in batches of one shape (compiled once).

    Args:
        labels: ``[n, 4]`` as in :func:`synthesize`.
        lines: the line list.
        batch_size: stars at a time; each takes some 20 MB.
        progress: show a bar, if the output is a terminal.

    Returns:
        ``[n, 8575]`` float32.

    Raises:
        InputError: (a ``ValueError``) wrong or non-finite labels, or a batch size below 1.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be >= 1, got {batch_size}")
    _check(labels)
    labels = np.asarray(labels, np.float32)
    spectra = np.empty((len(labels), N_PIXELS), np.float32)
    starts = range(0, len(labels), batch_size)
    # disable=None lets tqdm hide the bar where the output is not a terminal.
    for start in tqdm(starts, disable=None if progress else True, unit="batch"):
        batch = labels[start : start + batch_size]
        # The last batch repeats its last star, so that every call has one shape.
        full = np.pad(batch, ((0, batch_size - len(batch)), (0, 0)), mode="edge")
        spectra[start : start + len(batch)] = _synthesize_jit(full, lines)[: len(batch)]
    return spectra


def line_strengths(
    gas: Gas,
    abundance: Float[Array, " element"],
    lines: LineList,
    calibration: Constants,
) -> Float[Array, "layer line"]:
    """Opacity integrated over frequency (cm^-1 Hz) of every line, with stimulated emission.

    alpha = (pi e^2 / m_e c) gf (N / Q) exp(-chi / kT) [1 - exp(-h nu / kT)].

    Args:
        gas: of :func:`aspgap_jax.synthesis.atmosphere.atmosphere`.
        abundance: nuclei per hydrogen nucleus.
        lines: the line list.
        calibration: scales of the gf values and of the isotopes.

    Returns:
        cm^-1 Hz, ``[layer, line]``.
    """
    kt = (BOLTZMANN_EV * gas.temperature)[:, None]
    population = line_populations(gas, abundance)[:, lines.species]
    scale = calibration.log_strength[lines.species]
    log_gf = lines.log_gf + scale + calibration.line_strength
    log_gf = log_gf + calibration.log_isotope[lines.isotope]
    boltzmann = jnp.exp(np.log(10.0) * log_gf[None, :] - lines.excitation[None, :] / kt)
    stimulated = 1.0 - jnp.exp(-(PHOTON_EV / lines.wavelength)[None, :] / kt)
    return CLASSICAL_CROSS_SECTION * boltzmann * population * stimulated


def _spectrum(
    star: Float[Array, " label"], lines: LineList, calibration: Constants
) -> Float[Array, " pixel"]:
    """One star of :func:`synthesize`."""
    teff, logg, m_h = (star[index(name)] for name in ("teff", "logg", "m_h"))
    abundance = usual_abundances(star, jnp.asarray(calibration.abundance))
    gas = atmosphere(teff, logg, abundance, calibration)
    away = jnp.stack([logg - 2.0, m_h + 0.3, (teff - 4600.0) / 300.0])
    slope = jnp.asarray(calibration.microturbulence_slope)
    turbulence = calibration.microturbulence + slope @ away
    ratio, continuum = _opacity_ratio(gas, abundance, turbulence, lines, calibration)
    depth = jnp.asarray(DEPTH)
    source = calibration.source_slope * (teff / 4500.0) ** calibration.source_exponent
    flux = emergent_flux(depth, ratio, source) / emergent_flux(depth, continuum, source)[:, None]
    macroturbulence = calibration.macroturbulence + calibration.macroturbulence_slope * away[0]
    return to_pixels(flux.reshape(-1), instrumental_kernel(jnp.asarray(macroturbulence)))


def _opacity_ratio(
    gas: Gas,
    abundance: Float[Array, " element"],
    turbulence: Float[Array, ""],
    lines: LineList,
    calibration: Constants,
) -> tuple[Float[Array, "layer block point"], Float[Array, "layer block"]]:
    """Total and continuous opacity over the reference opacity."""
    densities = (gas.temperature, gas.electrons, gas.hydrogen_atoms)
    reference = continuous_opacity(np.array([REFERENCE_WAVELENGTH]), *densities)
    # Through the logarithm: the derivative of 1 / x squares x, which leaves float32 here.
    per_reference = jnp.exp(-jnp.log(reference))
    continuum = continuous_opacity(BLOCK_WAVELENGTH, *densities) * per_reference

    here = slice(PROFILE_LAYER, PROFILE_LAYER + 1)
    doppler = doppler_velocity(gas.temperature[PROFILE_LAYER], lines.mass, turbulence)
    centimetres = lines.wavelength * 1e-8
    doppler_hz = doppler * 1e5 / centimetres
    log_c6 = lines.log_c6 + calibration.line_damping
    width = van_der_waals_width(gas.temperature[here], gas.hydrogen_atoms[here], log_c6)[0]
    damping = width * jnp.power(10.0, calibration.log_damping) / (4.0 * np.pi * doppler_hz)

    strength = line_strengths(gas, abundance, lines, calibration) * per_reference
    strength = strength / (np.sqrt(np.pi) * doppler_hz)[None, :]
    members = lines.members
    points = jnp.asarray(STEP_VELOCITY * np.arange(BLOCK, dtype=np.float32))
    offset = (lines.offset[:, :, None] + points[None, None, :]) / doppler[members][:, :, None]
    profile = voigt(jnp.broadcast_to(damping[members][:, :, None], offset.shape), offset)
    line = jnp.einsum("kbs,bsp->kbp", strength[:, members] * lines.weight[None], profile)
    return continuum[:, :, None] + line, continuum


def _check(labels: Float[Array, "star label"] | np.ndarray) -> None:
    """Refuses labels that cannot be used; values are only seen outside of a transformation."""
    shape = np.shape(labels)
    if len(shape) != 2 or shape[1] != len(names()):
        raise InputError(
            f"labels must be [star, {len(names())}] ({', '.join(names())}), got {shape}"
        )
    if not isinstance(labels, jax.core.Tracer):
        bad = np.flatnonzero(~np.isfinite(np.asarray(labels)).all(axis=1))
        if bad.size:
            raise InputError(
                f"labels of star {bad[0]} are not finite: drop or fill {bad.size} rows"
            )


_synthesize_jit = jax.jit(synthesize)
