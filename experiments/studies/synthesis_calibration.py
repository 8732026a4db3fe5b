"""Fits the constants of the line synthesis that theory leaves open to Kurucz spectra.

Levenberg-Marquardt on the difference of normalised flux over the chip pixels of 20
giants drawn at random (a fixed seed; not the grid that synthesis_realism.py judges by),
with Gaussian priors that hold every constant near its textbook value. The result is
CALIBRATION in aspgap_jax/synthesis/calibration.py; it is fitted once, not per star.

Run: python experiments/studies/synthesis_calibration.py kurucz_apogee_network.npz
Expect a rms of 0.032 and the numbers of that file to 0.01, in about a minute on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from synthesis_realism import branch_gravity, kurucz_normalised, normalise

from aspgap_jax.apstar import in_chips, running_continuum
from aspgap_jax.synthesis import CALIBRATION, Constants, LineList, load_lines, synthesize
from aspgap_jax.synthesis.species import ISOTOPES, SPECIES
from aspgap_jax.validation.kurucz import load_kurucz

# Textbook values with the freedom (standard deviation) the fit has around them.
PRIOR = Constants(
    log_strength=np.zeros(len(SPECIES)),
    log_isotope=np.array([0.0, -1.95, -3.42, -2.70]),  # solar system (Asplund et al. 2009)
    microturbulence=1.8,
    microturbulence_slope=-0.2,
    log_damping=0.3,
    source_slope=1.5,
    source_exponent=0.0,
    opacity_ratio=1.7,
    macroturbulence=3.0,
)
# Zero: held fixed.
FREEDOM = Constants(
    log_strength=np.full(len(SPECIES), 0.5),
    log_isotope=np.array([0.0, 0.5, 0.0, 0.0]),
    microturbulence=0.5,
    microturbulence_slope=0.2,
    log_damping=0.3,
    source_slope=0.7,
    source_exponent=1.0,
    opacity_ratio=0.5,
    macroturbulence=2.0,
)
# What counts as one standard deviation of a pixel: missing lines, not noise.
PIXEL_SIGMA = 0.5
# Finite-difference step in standard deviations of the prior, and stars at a time.
STEP = 0.05
BATCH = 5


def training_labels(n: int, seed: int) -> np.ndarray:
    """Random giants on the branch, within the emulator's range."""
    rng = np.random.default_rng(seed)
    teff = rng.uniform(3850.0, 5250.0, n)
    m_h = rng.uniform(-0.8, 0.35, n)
    alpha_m = rng.uniform(-0.05, 0.35, n)
    logg = [branch_gravity(t, m) for t, m in zip(teff, m_h, strict=True)]
    logg = np.clip(np.array(logg) + rng.normal(0.0, 0.25, n), 0.4, 3.8)
    return np.column_stack([teff, logg, m_h, alpha_m]).astype(np.float32)


def flatten(calibration: Constants) -> np.ndarray:
    """All constants in one vector."""
    return np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in calibration])


def unflatten(vector: jax.Array) -> Constants:
    """The inverse of :func:`flatten`, float32."""
    vector = jnp.asarray(vector, jnp.float32)
    first, second = len(SPECIES), len(SPECIES) + len(ISOTOPES)
    return Constants(vector[:first], vector[first:second], *vector[second:])


@jax.jit
def spectra(vector: jax.Array, labels: jax.Array, lines: LineList) -> jax.Array:
    """Emulated spectra [star, 8575] for one vector of constants."""
    return synthesize(labels, lines, unflatten(vector))


def chip_spectra(vector: np.ndarray, labels: np.ndarray, lines: LineList) -> np.ndarray:
    """The same on chip pixels, a few stars at a time to bound the memory."""
    parts = [
        spectra(np.float32(vector), labels[start : start + BATCH], lines)
        for start in range(0, len(labels), BATCH)
    ]
    return np.concatenate(parts).astype(np.float64)[:, in_chips]


def normal_equations(
    vector: np.ndarray, labels: np.ndarray, target: np.ndarray, lines: LineList
) -> tuple[np.ndarray, np.ndarray, float]:
    """J^T J and J^T r, prior included, and the rms; derivatives are finite differences."""
    mean, width = flatten(PRIOR), flatten(FREEDOM)
    free = np.flatnonzero(width)
    flux = chip_spectra(vector, labels, lines)
    # The running continuum of the emulated spectra is held fixed in a step.
    grid = np.full((len(labels), len(in_chips)), np.nan)
    grid[:, in_chips] = flux
    continuum = running_continuum(grid)[:, in_chips]
    residual = (target[:, in_chips] - flux / continuum).ravel()
    columns = []
    for k in free:
        shifted = vector.copy()
        shifted[k] += STEP * width[k]
        change = chip_spectra(shifted, labels, lines) - flux
        columns.append((change / continuum).ravel() / (STEP * width[k]))
    jacobian = np.stack(columns, axis=1)
    precision = width[free] ** -2.0
    square = jacobian.T @ jacobian / PIXEL_SIGMA**2 + np.diag(precision)
    right = jacobian.T @ residual / PIXEL_SIGMA**2 + (mean - vector)[free] * precision
    return square, right, float(np.sqrt(np.mean(residual**2)))


def main() -> None:
    """Runs the fit and prints the constants."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("kurucz", type=Path, help="kurucz_apogee_network.npz")
    parser.add_argument("--stars", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--start", choices=("textbook", "current"), default="textbook")
    args = parser.parse_args()
    if args.stars < BATCH or args.stars % BATCH:
        parser.error(f"--stars must be a multiple of {BATCH}, the number of stars at a time")
    lines = load_lines()
    labels = training_labels(args.stars, args.seed)
    target = kurucz_normalised(load_kurucz(args.kurucz), labels)
    width = flatten(FREEDOM)
    free = np.flatnonzero(width)
    vector = flatten(PRIOR if args.start == "textbook" else CALIBRATION)
    for step in range(args.steps):
        square, right, rms = normal_equations(vector, labels, target, lines)
        move = np.linalg.solve(square + 0.1 * np.diag(np.diag(square)), right)
        # Half a standard deviation of the prior a step keeps the model in its valid range.
        vector[free] += np.clip(move, -0.5 * width[free], 0.5 * width[free])
        print(f"step {step}: rms {rms:.5f}, largest move {np.abs(move).max():.3f}", flush=True)
    result = unflatten(vector)
    flux = normalise(np.asarray(synthesize(labels, lines, result)))
    final = np.sqrt(np.nanmean((flux - target)[:, in_chips] ** 2))
    print(f"rms {final:.5f}")
    for name, value in zip(SPECIES, np.asarray(result.log_strength), strict=True):
        print(f"log_strength {name}: {value:.2f}")
    for field, value in zip(Constants._fields[1:], result[1:], strict=True):
        print(f"{field}: {np.round(np.asarray(value), 3).tolist()}")


if __name__ == "__main__":
    main()
