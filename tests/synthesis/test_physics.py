"""The physics of the H-band synthesis against closed formulas, SciPy and published tables."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import constants, special

from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.synthesis import (
    CALIBRATION,
    LineList,
    chemistry,
    load_lines,
    profiles,
)
from aspgap_jax.synthesis.atmosphere import DEPTH, atmosphere, continuous_opacity
from aspgap_jax.synthesis.calibration import TERMS
from aspgap_jax.synthesis.grid import (
    LIGHT_SPEED,
    OVERSAMPLING,
    STEP_VELOCITY,
    instrumental_kernel,
    to_pixels,
)
from aspgap_jax.synthesis.species import ELEMENTS, MOLECULES, element_index
from aspgap_jax.synthesis.spectrum import line_strengths
from aspgap_jax.synthesis.transfer import emergent_flux

K_EV = constants.k / constants.e
HC_K = 100.0 * constants.h * constants.c / constants.k  # cm K
SOLAR = 10.0 ** np.array([element.abundance - 12.0 for element in ELEMENTS])
CONSTANTS = jax.tree.map(jnp.asarray, CALIBRATION)


@pytest.fixture(scope="module")
def lines() -> LineList:
    return load_lines()


def molecule(symbol: str) -> chemistry.Molecule:
    return next(m for m in MOLECULES if m.symbol == symbol)


def saha_constant(mass_kg: float, temperature: float, energy_ev: float) -> float:
    """(2 pi m k T / h^2)^(3/2) exp(-E / kT) in cm^-3, float64 and SI constants."""
    space = 2.0 * np.pi * mass_kg * constants.k * temperature / constants.h**2
    return float(1e-6 * space**1.5 * np.exp(-energy_ev / (K_EV * temperature)))


# --- ionisation and excitation ---------------------------------------------------------------

# Low levels of the neutral atoms (statistical weight, eV), NIST.
LEVELS = {
    "C": [(1, 0.0), (3, 0.00203), (5, 0.00538), (5, 1.26373), (1, 2.68401), (5, 4.18263)],
    "O": [(5, 0.0), (3, 0.01962), (1, 0.02814), (5, 1.96736), (1, 4.18975)],
    "Si": [(1, 0.0), (3, 0.00956), (5, 0.02767), (5, 0.78096), (1, 1.90867), (5, 4.13165)],
    "Mg": [(1, 0.0), (1, 2.70910), (3, 2.71159), (5, 2.71664), (3, 4.34580)],
    "Na": [(2, 0.0), (2, 2.10230), (4, 2.10443), (2, 3.19135)],
}


@pytest.mark.parametrize("symbol", LEVELS)
def test_partition_function_is_the_sum_over_levels(symbol: str) -> None:
    temperature = np.array([3000.0, 4000.0, 5000.0])
    neutral, _ = chemistry.partition(jnp.asarray(temperature))
    expected = sum(g * np.exp(-e / (K_EV * temperature)) for g, e in LEVELS[symbol])
    np.testing.assert_allclose(neutral[:, element_index(symbol)], expected, rtol=0.03)


@pytest.mark.parametrize(("symbol", "q_ratio"), [("Na", 0.5), ("Mg", 2.0), ("H", 0.5)])
def test_ionisation_follows_saha_in_closed_form(symbol: str, q_ratio: float) -> None:
    temperature, electrons = 4700.0, 3e12
    row = element_index(symbol)
    constant = saha_constant(constants.m_e, temperature, ELEMENTS[row].ionisation)
    expected = electrons / (electrons + 2.0 * q_ratio * constant)
    layer = jnp.asarray([temperature])
    fraction = chemistry.neutral_fraction(chemistry.log_saha(layer), jnp.asarray([electrons]))
    np.testing.assert_allclose(fraction[0, row], expected, rtol=0.04)


def test_electrons_come_from_the_ions() -> None:
    temperature = jnp.asarray([2800.0, 4000.0, 6000.0, 9000.0])
    hydrogen = jnp.asarray([1e14, 1e16, 3e16, 1e17])
    log_constant = chemistry.log_saha(temperature)
    electrons = chemistry.electron_density(log_constant, hydrogen, jnp.asarray(SOLAR, jnp.float32))
    constant = np.exp(np.asarray(log_constant, np.float64))
    ne = np.asarray(electrons, np.float64)[:, None]
    ions = np.asarray(hydrogen, np.float64)[:, None] * SOLAR * constant / (constant + ne)
    np.testing.assert_allclose(ne[:, 0], ions.sum(axis=1), rtol=1e-4)


def test_pure_hydrogen_ionises_as_the_quadratic_says() -> None:
    temperature, hydrogen = 7000.0, 1e16
    only = np.full(len(ELEMENTS), 1e-30)
    only[element_index("H")] = 1.0
    electrons = chemistry.electron_density(
        chemistry.log_saha(jnp.asarray([temperature])),
        jnp.asarray([hydrogen]),
        jnp.asarray(only, jnp.float32),
    )
    constant = saha_constant(constants.m_e, temperature, 13.598)
    expected = 0.5 * (-constant + np.sqrt(constant**2 + 4.0 * constant * hydrogen))
    np.testing.assert_allclose(electrons[0], expected, rtol=2e-3)


def test_line_strengths_follow_boltzmann(lines: LineList) -> None:
    abundance = jnp.asarray(SOLAR, jnp.float32)
    gas = atmosphere(jnp.float32(4500.0), jnp.float32(2.0), abundance, CONSTANTS)
    strength = np.asarray(line_strengths(gas, abundance, lines, CONSTANTS), np.float64)
    kt = K_EV * np.asarray(gas.temperature, np.float64)
    for symbol in ("Fe", "Si", "OH", "CN"):
        low, high = sorted(lines.of(symbol)[[0, -1]], key=lambda k: float(lines.excitation[k]))
        step = float(lines.excitation[high]) - float(lines.excitation[low])
        photon = 12398.42 / np.asarray(lines.wavelength, np.float64)[[low, high]]
        ratio = 10.0 ** float(lines.log_gf[high] - lines.log_gf[low]) * np.exp(-step / kt)
        ratio *= (1.0 - np.exp(-photon[1] / kt)) / (1.0 - np.exp(-photon[0] / kt))
        isotopes = float(
            CALIBRATION.log_isotope[lines.isotope[high]]
            - CALIBRATION.log_isotope[lines.isotope[low]]
        )
        isotopes += float(CALIBRATION.line_strength[high] - CALIBRATION.line_strength[low])
        np.testing.assert_allclose(strength[:, high] / strength[:, low], ratio * 10**isotopes, 1e-3)


# --- molecules -------------------------------------------------------------------------------


def test_co_partition_function_is_the_sum_over_levels() -> None:
    # Term values with anharmonicity and rotation-vibration coupling (Huber and Herzberg 1979).
    v, j = np.arange(30)[:, None] + 0.5, np.arange(250)[None, :]
    jj = j * (j + 1.0)
    term = 2169.814 * v - 13.288 * v**2 + (1.93128 - 0.017504 * v) * jj - 6.12e-6 * jj**2
    for temperature in (3000.0, 4500.0):
        expected = ((2 * j + 1) * np.exp(-HC_K * (term - term[0, 0]) / temperature)).sum()
        got = chemistry.molecular_partition(molecule("CO"), jnp.asarray([temperature]))
        np.testing.assert_allclose(got[0], expected, rtol=0.06)


@pytest.mark.parametrize("symbol", ["H2", "CO", "OH", "CN", "N2"])
def test_equilibrium_constants_match_float64_saha(symbol: str) -> None:
    these, temperature = molecule(symbol), 3600.0
    mass = [ELEMENTS[element_index(atom)].mass * constants.atomic_mass for atom in these.atoms]
    reduced = mass[0] * mass[1] / sum(mass)
    neutral, _ = chemistry.partition(jnp.asarray([temperature]))
    q_atoms = np.prod([float(neutral[0, element_index(atom)]) for atom in these.atoms])
    q_molecule = float(chemistry.molecular_partition(these, jnp.asarray([temperature]))[0])
    inverse = saha_constant(reduced, temperature, these.dissociation) * q_atoms / q_molecule
    got = chemistry.pair_constant(these, jnp.asarray([temperature]))
    np.testing.assert_allclose(float(got[0]) * inverse, 1.0, rtol=1e-3)


@pytest.mark.parametrize("alpha_m", [-0.4, 0.0, 0.4])
def test_molecules_conserve_particles_and_obey_mass_action(alpha_m: float) -> None:
    # At [alpha/M] = -0.4 there is more carbon than oxygen: the other branch of the quadratic.
    abundance = chemistry.abundances(jnp.float32(0.2), jnp.float32(alpha_m))
    temperature = jnp.linspace(2600.0, 6500.0, 14)
    hydrogen = jnp.logspace(14.5, 17.0, 14)
    atoms = chemistry.hydrogen_atoms(temperature, hydrogen)
    got = chemistry.molecular_equilibrium(temperature, hydrogen, atoms, abundance)
    m = {name: np.asarray(x, np.float64) for name, x in got._asdict().items()}
    n_h, n_atoms = np.asarray(hydrogen, np.float64), np.asarray(atoms, np.float64)

    def nuclei(symbol: str) -> np.ndarray:
        return float(abundance[element_index(symbol)]) * n_h

    np.testing.assert_allclose(m["carbon"] + m["co"] + m["cn"], nuclei("C"), rtol=1e-3)
    np.testing.assert_allclose(m["oxygen"] + m["co"] + m["oh"], nuclei("O"), rtol=1e-3)
    np.testing.assert_allclose(m["nitrogen"] + m["cn"] + 2.0 * m["n2"], nuclei("N"), rtol=1e-3)

    constant = {
        name: np.asarray(chemistry.pair_constant(molecule(name), temperature), np.float64)
        for name in ("H2", "CO", "OH", "CN", "N2")
    }
    np.testing.assert_allclose(m["co"], constant["CO"] * m["carbon"] * m["oxygen"], rtol=1e-3)
    np.testing.assert_allclose(m["oh"], constant["OH"] * m["oxygen"] * n_atoms, rtol=1e-3)
    np.testing.assert_allclose(m["cn"], constant["CN"] * m["carbon"] * m["nitrogen"], rtol=1e-3)
    np.testing.assert_allclose(m["n2"], constant["N2"] * m["nitrogen"] ** 2, rtol=1e-3)
    np.testing.assert_allclose(n_atoms + 2.0 * constant["H2"] * n_atoms**2, n_h, rtol=1e-3)


def test_carbon_and_nitrogen_ignore_alpha_and_oxygen_does_not() -> None:
    plain = chemistry.abundances(jnp.float32(-0.5), jnp.float32(0.0))
    enhanced = chemistry.abundances(jnp.float32(-0.5), jnp.float32(0.3))
    change = dict(zip([e.symbol for e in ELEMENTS], np.log10(enhanced / plain), strict=True))
    raised = {symbol for symbol, dex in change.items() if abs(dex - 0.3) < 1e-4}
    assert raised == {"O", "Mg", "Si", "S", "Ca", "Ti"}
    assert all(abs(change[symbol]) < 1e-4 for symbol in change.keys() - raised)
    # log A of iron at [M/H] = -0.5, hydrogen and helium untouched.
    np.testing.assert_allclose(np.log10(plain[element_index("Fe")]), 7.50 - 12.0 - 0.5, atol=1e-4)
    np.testing.assert_allclose(plain[element_index("He")], 10**-1.07, rtol=1e-4)


# --- the atmosphere --------------------------------------------------------------------------


def test_usual_abundances_are_trends_beside_the_labels() -> None:
    """By hand, element by element; beyond the calibrated labels they stay as at the edge."""
    trends = np.random.default_rng(0).normal(size=(len(ELEMENTS), len(TERMS))) * 0.1
    star = np.array([4350.0, 2.5, -0.5, 0.2])
    found = chemistry.usual_abundances(
        jnp.asarray(star, jnp.float32), jnp.asarray(trends, jnp.float32)
    )
    plain = np.asarray(chemistry.abundances(jnp.float32(-0.5), jnp.float32(0.2)), np.float64)
    for row, element in enumerate(ELEMENTS):
        shift = trends[row] @ [1.0, -0.5 + 0.3, 0.2 - 0.05, 2.5 - 2.0, (4350.0 - 4600.0) / 500.0]
        expected = plain[row] * (1.0 if element.symbol in ("H", "He") else 10.0**shift)
        np.testing.assert_allclose(found[row], expected, rtol=1e-4)
    hot, hotter = (
        chemistry.usual_abundances(
            jnp.asarray([t, 2.5, -0.5, 0.2]), jnp.asarray(trends, jnp.float32)
        )
        for t in (5100.0, 6000.0)
    )
    np.testing.assert_allclose(hot, hotter, rtol=1e-6)


def test_atmosphere_is_in_hydrostatic_equilibrium() -> None:
    abundance = jnp.asarray(SOLAR, jnp.float32)
    gas = atmosphere(jnp.float32(4500.0), jnp.float32(2.2), abundance, CONSTANTS)
    opacity = continuous_opacity(
        np.array([16_000.0]), gas.temperature, gas.electrons, gas.hydrogen_atoms
    )
    t, n_h, kappa = (np.asarray(x, np.float64) for x in (gas.temperature, gas.hydrogen, opacity))
    masses = np.array([element.mass for element in ELEMENTS])
    rho = n_h * (SOLAR * masses).sum() * constants.atomic_mass * 1e3
    pressure = n_h * SOLAR.sum() * constants.k * 1e7 * t
    # Integral of g rho / kappa from layer to layer, with the logarithm as variable.
    integrand = 10**2.2 * rho / kappa[:, 0] * DEPTH
    steps = 0.5 * (integrand[1:] + integrand[:-1]) * np.diff(np.log(DEPTH))
    np.testing.assert_allclose(np.diff(pressure), steps, rtol=0.06)


@pytest.mark.parametrize(("nanometres", "bound_free"), [(1500.0, 7.407e-18), (1600.0, 1.302e-18)])
def test_hydrogen_ion_opacity_matches_published_tables(
    nanometres: float, bound_free: float
) -> None:
    # Photo-detachment: Wishart (1979) as tabulated by Mathisen (1984); free-free: Bell and
    # Berrington (1987), 1.52e-26 and 2.17e-26 cm^4/dyn at 1518.9 and 1822.7 nm for theta = 1.
    temperature, electrons, atoms = 5040.0, 1e13, 1e17
    negative = electrons * atoms / (4.0 * saha_constant(constants.m_e, temperature, 0.754209))
    stimulated = 1.0 - np.exp(-HC_K / (nanometres * 1e-7 * temperature))
    free_free = np.exp(
        np.interp(np.log(nanometres), np.log([1518.9, 1822.7]), np.log([1.52, 2.17]))
    )
    if nanometres < 1518.9:
        free_free = 1.52 * (nanometres / 1518.9) ** 1.95
    free_free *= 1e-26 * constants.k * 1e7 * temperature * electrons * atoms
    got = continuous_opacity(
        np.array([10.0 * nanometres]),
        jnp.asarray([temperature]),
        jnp.asarray([electrons]),
        jnp.asarray([atoms]),
    )
    np.testing.assert_allclose(got[0, 0], bound_free * stimulated * negative + free_free, rtol=0.02)


# --- profiles, broadening and transfer -------------------------------------------------------


def test_voigt_function_matches_scipy() -> None:
    damping = np.array([1e-4, 1e-2, 0.1, 0.5, 2.0])[:, None] * np.ones((1, 401))
    offset = np.linspace(-40.0, 40.0, 401)[None, :] * np.ones((5, 1))
    got = profiles.voigt(jnp.asarray(damping, jnp.float32), jnp.asarray(offset, jnp.float32))
    expected = special.wofz(offset + 1j * damping).real
    np.testing.assert_allclose(got, expected, atol=2e-5)
    # In units of area: scipy's profile with sigma = 1 / sqrt(2) has b = 1.
    area = special.voigt_profile(offset[2], np.sqrt(0.5), 0.1)
    np.testing.assert_allclose(np.asarray(got)[2] / np.sqrt(np.pi), area, atol=2e-5)


def test_van_der_waals_width_matches_unsoeld_in_si_units() -> None:
    temperature, hydrogen, log_c6 = 5000.0, 1e17, -31.0
    speed = np.sqrt(8.0 * constants.k * temperature / (np.pi * constants.atomic_mass))
    c6 = 10**log_c6 * 1e-12  # m^6 / s
    expected = 17.0 * c6**0.4 * speed**0.6 * hydrogen * 1e6
    got = profiles.van_der_waals_width(
        jnp.asarray([temperature]), jnp.asarray([hydrogen]), jnp.asarray([log_c6])
    )
    np.testing.assert_allclose(got[0, 0], expected, rtol=1e-3)


def test_doppler_velocity_of_iron() -> None:
    thermal = 2.0 * constants.k * 5000.0 / (55.845 * constants.atomic_mass)
    got = profiles.doppler_velocity(jnp.asarray(5000.0), jnp.asarray([55.845]), jnp.asarray(1.5))
    np.testing.assert_allclose(got[0], np.sqrt(thermal * 1e-6 + 1.5**2), rtol=1e-4)


def test_line_spread_function_has_the_width_and_area_of_r_22500() -> None:
    kernel = np.asarray(instrumental_kernel(jnp.asarray(0.0)), np.float64)
    np.testing.assert_allclose(kernel.sum(), 1.0, rtol=1e-5)
    velocity = STEP_VELOCITY * (np.arange(len(kernel)) - len(kernel) // 2)
    right = velocity >= 0
    half = np.interp(-0.5, -kernel[right] / kernel.max(), velocity[right])
    np.testing.assert_allclose(2.0 * half, LIGHT_SPEED / 22_500.0, rtol=5e-3)


def test_narrow_line_keeps_its_area_and_place_on_the_pixels() -> None:
    fine = np.zeros((N_PIXELS - 1) * OVERSAMPLING + 1 + 2 * 24, np.float32)
    fine[24 + OVERSAMPLING * 4000] = 1.0
    pixels = np.asarray(to_pixels(jnp.asarray(fine), instrumental_kernel(jnp.asarray(3.0))))
    assert pixels.argmax() == 4000
    np.testing.assert_allclose(pixels.sum() * OVERSAMPLING, 1.0, rtol=1e-4)
    sigma = (
        STEP_VELOCITY
        * OVERSAMPLING
        * np.sqrt((pixels * (np.arange(N_PIXELS) - 4000) ** 2).sum() / pixels.sum())
    )
    expected = np.hypot(LIGHT_SPEED / 22_500.0 / 2.35482, 3.0)
    np.testing.assert_allclose(sigma, expected, rtol=2e-3)


@pytest.mark.parametrize("ratio", [0.7, 1.0, 5.0, 1e3])
def test_constant_ratio_gives_the_milne_eddington_flux(ratio: float) -> None:
    flux = emergent_flux(jnp.asarray(DEPTH), jnp.full((len(DEPTH), 3), ratio), jnp.float32(1.8))
    np.testing.assert_allclose(flux, 1.0 + 1.8 * (2.0 / 3.0) / ratio, rtol=1e-5)


def test_varying_ratio_matches_numerical_integration() -> None:
    ratio = 1.0 + 20.0 / (1.0 + np.asarray(DEPTH, np.float64) / 0.03)
    tau = np.concatenate([[0.0], np.logspace(-7, np.log10(DEPTH[-1]), 40_001)])
    opacity = np.interp(tau, DEPTH, ratio)
    t = np.concatenate([[0.0], np.cumsum(0.5 * (opacity[1:] + opacity[:-1]) * np.diff(tau))])
    expected = 1.0 + 1.5 * np.trapezoid(2.0 * special.expn(3, t), tau)
    flux = emergent_flux(
        jnp.asarray(DEPTH), jnp.asarray(ratio[:, None], jnp.float32), jnp.float32(1.5)
    )
    # Two angles for the integral over the hemisphere: good to 2 per cent of the continuum.
    np.testing.assert_allclose(flux[0], expected, rtol=0.02)
