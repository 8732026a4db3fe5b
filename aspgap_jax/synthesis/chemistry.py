"""Who is where in the gas: ionisation, excitation and molecules in equilibrium.

Everything is local thermodynamic equilibrium in one layer of temperature T (K)
and densities in cm^-3; energies are in eV. All functions broadcast over the
``layer`` axis and are smooth, so that derivatives flow through them; iterations
have a fixed count.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aspgap_jax.labels import index
from aspgap_jax.synthesis.species import ATOMS, ELEMENTS, MOLECULES, Molecule, element_index

__all__ = [
    "Gas",
    "Molecules",
    "abundances",
    "electron_density",
    "hydrogen_atoms",
    "line_populations",
    "log_saha",
    "molecular_equilibrium",
    "molecular_partition",
    "neutral_fraction",
    "pair_constant",
    "partition",
    "usual_abundances",
]

BOLTZMANN_EV = 8.617333e-5  # eV / K
HC_OVER_K = 1.438777  # cm K
# (2 pi k / h^2)^(3/2) of the electron and of one atomic mass unit, cm^-3 K^-3/2.
ELECTRON_PHASE_SPACE = 2.414683e15
UNIT_MASS_PHASE_SPACE = 1.879318e20

# Both are repeated a fixed number of times, so that derivatives flow through them; 12 of the
# latter conserve particles to 1e-4 in giants' atmospheres.
NEWTON_STEPS = 12
REPETITIONS = 12

_SOLAR = np.array([element.abundance - 12.0 for element in ELEMENTS], np.float32)
_IS_ALPHA = np.array([element.alpha for element in ELEMENTS], np.float32)
# [M/H] and [alpha/M] leave hydrogen and helium alone.
_IS_METAL = np.array([element.symbol not in ("H", "He") for element in ELEMENTS], np.float32)
_IONISATION = np.array([element.ionisation for element in ELEMENTS], np.float32)
_NEUTRAL = np.array([element.neutral for element in ELEMENTS], np.float32)
_ION = np.array([element.ion for element in ELEMENTS], np.float32)
_MOLECULE = {molecule.symbol: molecule for molecule in MOLECULES}
_MASS = {element.symbol: element.mass for element in ELEMENTS}

# Where the trends of abundances hold, in the terms of usual_abundances.
CALIBRATED = ((1.0, -1.85, -0.06, -1.2, -1.1), (1.0, 0.6, 0.25, 1.3, 0.95))

PerLayer = Float[Array, " layer"]


class Gas(NamedTuple):
    """One star's atmosphere, layer by layer.

    Attributes:
        temperature: K.
        hydrogen: density of hydrogen nuclei, cm^-3.
        hydrogen_atoms: density of hydrogen atoms, cm^-3.
        electrons: electron density, cm^-3.
    """

    temperature: PerLayer
    hydrogen: PerLayer
    hydrogen_atoms: PerLayer
    electrons: PerLayer


class Molecules(NamedTuple):
    """Densities (cm^-3) of the free atoms and molecules that share C, N and O."""

    carbon: PerLayer
    nitrogen: PerLayer
    oxygen: PerLayer
    co: PerLayer
    oh: PerLayer
    cn: PerLayer
    n2: PerLayer


def abundances(m_h: Float[Array, ""], alpha_m: Float[Array, ""]) -> Float[Array, " element"]:
    """Number of nuclei per hydrogen nucleus, in the order of ``ELEMENTS``.

    Metals follow [M/H]; the alpha elements O, Mg, Si, S, Ca and Ti also follow
    [alpha/M]. Carbon and nitrogen follow [M/H] alone.

    Args:
        m_h: [M/H], dex.
        alpha_m: [alpha/M], dex.

    Returns:
        Hydrogen's is 1.
    """
    return jnp.power(10.0, _SOLAR + _IS_METAL * m_h + _IS_ALPHA * alpha_m)


def usual_abundances(
    star: Float[Array, " label"], trends: Float[Array, "element term"]
) -> Float[Array, " element"]:
    """Number of nuclei per hydrogen nucleus, as giants of these labels usually have them.

    Those of :func:`abundances`, times 10 to the power of what the ``trends`` say at [M/H] + 0.3,
    [alpha/M] - 0.05, log g - 2 and (Teff - 4600 K) / 500 K; beyond the labels that they were
    calibrated at, they stay what they are at the edge.

    Args:
        star: teff (K), logg, m_h, alpha_m (dex), in the order of the label table.
        trends: dex for 1 and for each of these, as ``Constants.abundance``; hydrogen and
            helium have none.

    Returns:
        Hydrogen's is 1.
    """
    teff, logg, m_h, alpha_m = (star[index(name)] for name in ("teff", "logg", "m_h", "alpha_m"))
    one = jnp.ones_like(teff)
    away = jnp.stack([one, m_h + 0.3, alpha_m - 0.05, logg - 2.0, (teff - 4600.0) / 500.0])
    away = jnp.clip(away, *jnp.asarray(CALIBRATED, away.dtype))
    return abundances(m_h, alpha_m) * jnp.power(10.0, _IS_METAL * (trends @ away))


def partition(temperature: PerLayer) -> tuple[Float[Array, "layer element"], ...]:
    """Partition functions of the neutral atoms and of the ions (fits of ``species``).

    Args:
        temperature: of every layer, K.

    Returns:
        Neutral atoms and ions, each ``[layer, element]``.
    """
    x = jnp.log10(5040.0 / temperature)[:, None]
    powers = jnp.concatenate([jnp.ones_like(x), x, x**2, x**3], axis=1)
    return jnp.power(10.0, powers @ _NEUTRAL.T), jnp.power(10.0, powers @ _ION.T)


def log_saha(temperature: PerLayer) -> Float[Array, "layer element"]:
    """Logarithms of the Saha constants n_ion n_e / n_neutral, cm^-3 (Gray 2005, chapter 1).

    Logarithms, because the constants span more than the range of float32.

    Args:
        temperature: of every layer, K.

    Returns:
        Natural logarithms ``[layer, element]``.
    """
    neutral, ion = partition(temperature)
    t = temperature[:, None]
    return (
        jnp.log(2.0 * ELECTRON_PHASE_SPACE * ion / neutral)
        + 1.5 * jnp.log(t)
        - _IONISATION[None, :] / (BOLTZMANN_EV * t)
    )


def neutral_fraction(
    log_constant: Float[Array, "layer element"], electrons: PerLayer
) -> Float[Array, "layer element"]:
    """Share of neutral atoms, n_e / (n_e + S), of elements with Saha constants S.

    Args:
        log_constant: ln of S, of :func:`log_saha`.
        electrons: electron density, cm^-3.

    Returns:
        Between 0 and 1.
    """
    return jax.nn.sigmoid(jnp.log(electrons)[:, None] - log_constant)


def electron_density(
    log_constant: Float[Array, "layer element"],
    hydrogen: PerLayer,
    abundance: Float[Array, " element"],
) -> PerLayer:
    """Electron density (cm^-3) from charge conservation.

    Solves n_e = sum_X n_X S_X / (S_X + n_e) by Newton's method in log n_e: the
    left side rises and the right side falls with n_e, so the root is unique.

    Args:
        log_constant: from :func:`log_saha`.
        hydrogen: density of hydrogen nuclei, cm^-3.
        abundance: nuclei per hydrogen nucleus.

    Returns:
        cm^-3, a layer each.
    """
    log_hydrogen = jnp.log(hydrogen)
    log_abundance = jnp.log(abundance)[None, :]

    def newton(_: Int[Array, ""], log_ne: PerLayer) -> PerLayer:
        ionised = jax.nn.sigmoid(log_constant - log_ne[:, None])
        ions = jnp.sum(abundance[None, :] * ionised, axis=1)
        # d log(ions) / d log(ne), between -1 and 0.
        slope = -jnp.sum(abundance[None, :] * ionised * (1.0 - ionised), axis=1) / ions
        return log_ne - (log_ne - log_hydrogen - jnp.log(ions)) / (1.0 - slope)

    # An element on its own has n_e <= sqrt(n_X S_X): the sum is a safe start.
    total = jax.nn.logsumexp(log_abundance + log_constant, axis=1)
    start = 0.5 * (log_hydrogen + total)
    return jnp.exp(jax.lax.fori_loop(0, NEWTON_STEPS, newton, start))


def molecular_partition(molecule: Molecule, temperature: PerLayer) -> PerLayer:
    """Partition function of a diatomic molecule: electronic x vibration x rotation.

    Energies count from the lowest level, to which D0 refers.

    Args:
        molecule: its constants.
        temperature: K.

    Returns:
        A number a layer.
    """
    kt = temperature / HC_OVER_K  # cm^-1
    rotation = kt / (molecule.symmetry * molecule.rotation) + 1.0 / (3.0 * molecule.symmetry)
    vibration = 1.0 / (1.0 - jnp.exp(-molecule.vibration / kt))
    electronic = sum(
        (weight * jnp.exp(-energy / kt) for weight, energy in molecule.electronic),
        start=jnp.zeros_like(kt),
    )
    return electronic * vibration * rotation


def pair_constant(molecule: Molecule, temperature: PerLayer) -> PerLayer:
    """Equilibrium constant n_AB / (n_A n_B), cm^3: Saha's formula for a molecule.

    Args:
        molecule: its constants.
        temperature: K.

    Returns:
        cm^3, a layer each.
    """
    neutral, _ = partition(temperature)
    first, second = molecule.atoms
    q_atoms = neutral[:, element_index(first)] * neutral[:, element_index(second)]
    q_molecule = molecular_partition(molecule, temperature)
    reduced_mass = _MASS[first] * _MASS[second] / (_MASS[first] + _MASS[second])
    # In logarithms: single factors leave the range of float32.
    log_constant = (
        jnp.log(q_molecule / q_atoms)
        - jnp.log(UNIT_MASS_PHASE_SPACE)
        - 1.5 * jnp.log(reduced_mass * temperature)
        + molecule.dissociation / (BOLTZMANN_EV * temperature)
    )
    return jnp.exp(log_constant)


def hydrogen_atoms(temperature: PerLayer, hydrogen: PerLayer) -> PerLayer:
    """Density of hydrogen atoms (cm^-3) where n_H + 2 n_H2 = ``hydrogen``.

    Args:
        temperature: K.
        hydrogen: density of hydrogen nuclei, cm^-3.

    Returns:
        cm^-3, a layer each.
    """
    constant = pair_constant(_MOLECULE["H2"], temperature) * hydrogen
    one = jnp.ones_like(constant)
    return hydrogen * _positive_root(2.0 * constant, one, one)


def molecular_equilibrium(
    temperature: PerLayer,
    hydrogen: PerLayer,
    atoms: PerLayer,
    abundance: Float[Array, " element"],
) -> Molecules:
    """Shares C, N and O between free atoms, CO, OH, CN and N2.

    CO binds nearly all of the scarcer of C and O, so that pair is solved exactly
    (a quadratic) and CN and N2, which only perturb it, by repetition. Ions of
    C, N and O are neglected: they need more than 11 eV.

    Args:
        temperature: K.
        hydrogen: density of hydrogen nuclei, cm^-3.
        atoms: density of hydrogen atoms, cm^-3.
        abundance: nuclei per hydrogen nucleus.

    Returns:
        Densities, cm^-3.
    """
    k_co, k_oh, k_cn, k_n2 = (
        pair_constant(_MOLECULE[name], temperature) for name in ("CO", "OH", "CN", "N2")
    )
    # Scaled by the density of hydrogen nuclei, all numbers are near unity.
    k_co, k_cn, k_n2 = k_co * hydrogen, k_cn * hydrogen, k_n2 * hydrogen
    total_c, total_n, total_o = (abundance[element_index(name)] for name in "CNO")
    keep_o = 1.0 + k_oh * atoms

    def carbon_for(nitrogen: PerLayer) -> PerLayer:
        keep_c = 1.0 + k_cn * nitrogen
        middle = keep_c * keep_o + k_co * (total_o - total_c)
        return _positive_root(keep_c * k_co, middle, total_c * keep_o)

    def nitrogen_for(carbon: PerLayer) -> PerLayer:
        return _positive_root(2.0 * k_n2, 1.0 + k_cn * carbon, total_n * jnp.ones_like(carbon))

    def repeat(_: Int[Array, ""], nitrogen: PerLayer) -> PerLayer:
        return nitrogen_for(carbon_for(nitrogen))

    start = nitrogen_for(jnp.zeros_like(temperature))
    nitrogen = jax.lax.fori_loop(0, REPETITIONS, repeat, start)
    carbon = carbon_for(nitrogen)
    oxygen = total_o / (keep_o + k_co * carbon)
    return Molecules(
        carbon=carbon * hydrogen,
        nitrogen=nitrogen * hydrogen,
        oxygen=oxygen * hydrogen,
        co=k_co * carbon * oxygen * hydrogen,
        oh=k_oh * oxygen * atoms * hydrogen,
        cn=k_cn * carbon * nitrogen * hydrogen,
        n2=k_n2 * nitrogen**2 * hydrogen,
    )


def line_populations(
    gas: Gas, abundance: Float[Array, " element"]
) -> Float[Array, "layer species"]:
    """Density over partition function, N / Q (cm^-3), of every species of ``SPECIES``.

    Times g exp(-chi / kT) this is the population of a level (Boltzmann).

    Args:
        gas: of :func:`aspgap_jax.synthesis.atmosphere.atmosphere`.
        abundance: nuclei per hydrogen nucleus.

    Returns:
        ``[layer, species]``.
    """
    neutral_q, _ = partition(gas.temperature)
    fraction = neutral_fraction(log_saha(gas.temperature), gas.electrons)
    neutral = abundance[None, :] * gas.hydrogen[:, None] * fraction
    molecules = molecular_equilibrium(gas.temperature, gas.hydrogen, gas.hydrogen_atoms, abundance)
    columns = []
    for name in ATOMS:
        row = element_index(name)
        density = molecules.carbon if name == "C" else neutral[:, row]
        columns.append(density / neutral_q[:, row])
    for name, density in (("CO", molecules.co), ("OH", molecules.oh), ("CN", molecules.cn)):
        columns.append(density / molecular_partition(_MOLECULE[name], gas.temperature))
    return jnp.stack(columns, axis=1)


def _positive_root(a: PerLayer, b: PerLayer, c: PerLayer) -> PerLayer:
    """Positive root of a x^2 + b x - c = 0 for a, c > 0, without cancellation for either sign of b.

    Both branches are finite everywhere, so the derivative of the ``where`` is too.
    """
    root = jnp.sqrt(b**2 + 4.0 * a * c)
    reach = jnp.abs(b) + root
    return jnp.where(b > 0.0, 2.0 * c / reach, reach / (2.0 * a))
