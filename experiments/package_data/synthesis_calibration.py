"""Calibrates the line synthesis once against a Cannon of real APOGEE giants.

Gradient descent (Adam) through the synthesis: the constants of
`aspgap_jax/synthesis/calibration.py`, among them a factor on gf and on C6 of every line and
how abundances of giants go with their labels, are fitted to normalised spectra over the chips
and to their linear gradients with each label, at labels of giants of the sample inside the
Cannon's box. Gaussian priors hold every constant near its start. Half of the giants are fitted
to, some of the other half judge.

Run: python experiments/package_data/synthesis_calibration.py cannon_apokasc_gc.npz --work runs/cal
Writes aspgap_jax/data/hband_calibration_{lines,elements}.csv and prints the other constants. It
goes on where it was stopped. Two cores take some 20 minutes. The tables of the package come from
two such runs, of 48 giants with --weight 1 and, from there, of 144; expect of them
600 giants: spectra 0.931 (median; lowest 0.454), gradients [0.844, 0.753, 0.885, 0.809]
where the constants before, fitted to Kurucz spectra, gave 0.845 and [0.77, 0.49, 0.78, 0.61].

The file is cannon_apokasc_gc.npz of jobovy/apogee (BSD-3-Clause), in the layout of
`aspgap_jax/survey/cannon.py`.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import aspgap_jax
from aspgap_jax.apstar import in_chips, running_continuum
from aspgap_jax.files.atomic import replace_file, write_text
from aspgap_jax.preprocessing.cuts import apply_cuts
from aspgap_jax.preprocessing.selection import SELECTIONS
from aspgap_jax.survey.cannon import Cannon, cannon_spectra, load_cannon
from aspgap_jax.survey.sample import load_sample
from aspgap_jax.synthesis import CALIBRATION, Constants, LineList, load_lines, synthesize
from aspgap_jax.synthesis.calibration import TERMS
from aspgap_jax.synthesis.species import ELEMENTS, ISOTOPES, SPECIES

DATA = Path(aspgap_jax.__file__).parent / "data"
# Learning rates, and the standard deviations of the priors, by constant.
RATE = Constants(
    log_strength=0.01, log_isotope=0.01, line_strength=0.03, line_damping=0.03, abundance=0.01,
    microturbulence=0.01, microturbulence_slope=0.003, log_damping=0.01, source_slope=0.01,
    source_exponent=0.01, opacity_ratio=0.01, temperature=0.003, macroturbulence=0.01,
    macroturbulence_slope=0.003,
)  # fmt: skip
FREEDOM = Constants(
    log_strength=0.3, log_isotope=0.2, line_strength=0.5, line_damping=0.7, abundance=0.3,
    microturbulence=0.5, microturbulence_slope=0.3, log_damping=0.3, source_slope=0.5,
    source_exponent=1.0, opacity_ratio=0.5, temperature=0.05, macroturbulence=2.0,
    macroturbulence_slope=1.0,
)  # fmt: skip
# Of the priors in units of the misfit: a line counts for less than what all lines share.
WEIGHT = {"line_strength": 1e-5, "line_damping": 1e-5}
SHARED = 2e-5
# Only carbon and nitrogen get another abundance throughout: what others lack is in log_strength.
FREE_ELEMENTS = np.array(
    [[e.symbol in ("C", "N"), *[e.symbol not in ("H", "He")] * (len(TERMS) - 1)] for e in ELEMENTS],
    np.float32,
)
JUDGES = 600
CONTINUUM_STEPS = 4


class Target(NamedTuple):
    """What is fitted: spectra over their continuum ``[star, chip_pixel]``, which pixels count, and
    the matrix ``[label, star]`` that gives linear gradients per standard deviation of a label."""

    flux: jax.Array
    good: jax.Array
    slopes: jax.Array


def giants(cannon: Cannon) -> np.ndarray:
    """Labels of the sample's giants inside the Cannon's box."""
    labels = apply_cuts(load_sample(), SELECTIONS["giants"]).labels.astype(np.float64)
    return labels[((labels >= cannon.low) & (labels <= cannon.high)).all(axis=1)]


def over_continuum(flux: np.ndarray) -> np.ndarray:
    """Spectra over the running continuum, on the pixels of the chips."""
    return (flux / running_continuum(flux))[:, in_chips]


def target_of(cannon: Cannon, labels: np.ndarray) -> Target:
    """The Cannon's spectra at labels."""
    flux = over_continuum(cannon_spectra(cannon, np.clip(labels, cannon.low, cannon.high)))
    good = np.isfinite(flux).all(axis=0)
    away = (labels - labels.mean(axis=0)) / labels.std(axis=0)
    slopes = np.linalg.pinv(np.column_stack([np.ones(len(away)), away]))[1:]
    return Target(*(jnp.asarray(a) for a in (np.where(good, flux, 0.0), good, slopes)))


@jax.jit
def misfit(flux: jax.Array, target: Target, weight: float) -> tuple[jax.Array, jax.Array]:
    """Squared misfit of the spectra over their power, plus ``weight`` times the mean of those of
    the four gradients; and each of the five."""
    residual = jnp.where(target.good, flux - target.flux, 0.0)
    power = jnp.var(target.flux, axis=1, where=target.good[None]).mean()
    linear, wanted = target.slopes @ residual, target.slopes @ target.flux
    shares = jnp.square(linear).mean(axis=1) / jnp.square(wanted).mean(axis=1)
    spectra = jnp.square(residual).mean() / power
    return spectra + weight * shares.mean(), jnp.append(spectra, shares)


def prior(constants: Constants, start: Constants) -> jax.Array:
    """How far the constants have gone, over their freedom."""
    total = jnp.zeros(())
    for name, value in constants._asdict().items():
        away = (value - getattr(start, name)) / getattr(FREEDOM, name)
        total += WEIGHT.get(name, SHARED) * jnp.square(away).sum()
    return total


def star_spectrum(constants: Constants, star: jax.Array, lines: LineList) -> jax.Array:
    """One spectrum; abundances that are not free stay as they are."""
    abundance = constants.abundance * jnp.asarray(FREE_ELEMENTS)
    return synthesize(star[None], lines, constants._replace(abundance=abundance))[0]


@jax.jit
def spectra(constants: Constants, stars: jax.Array, lines: LineList) -> jax.Array:
    """Spectra ``[star, pixel]``, one star at a time."""
    return jax.lax.map(lambda star: star_spectrum(constants, star, lines), stars)


@jax.jit
def pulled(
    constants: Constants, stars: jax.Array, pull: jax.Array, lines: LineList
) -> tuple[Constants, jax.Array]:
    """The gradient of sum(pull * spectra) with the constants, and the spectra."""

    def one(total: Constants, job: tuple[jax.Array, jax.Array]) -> tuple[Constants, jax.Array]:
        star, own = job
        flux, back = jax.vjp(lambda c: star_spectrum(c, star, lines), constants)
        return jax.tree.map(jnp.add, total, back(own)[0]), flux

    return jax.lax.scan(one, jax.tree.map(jnp.zeros_like, constants), (stars, pull))


class State(NamedTuple):
    """What a step changes: the constants, Adam's state, and how many steps are done."""

    constants: Constants
    optimiser: Any
    step: int


def fit(args: argparse.Namespace, target: Target, labels: np.ndarray, lines: LineList) -> Constants:
    """The fit. Spectra of stars that a step leaves out are as they last were."""
    start = jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), CALIBRATION)
    names = Constants(*Constants._fields)
    rates = {
        name: optax.adam(optax.cosine_decay_schedule(rate, args.steps, 0.05), b2=0.99)
        for name, rate in RATE._asdict().items()
    }
    optimiser = optax.multi_transform(rates, names)
    state = State(start, optimiser.init(start), 0)
    saved = args.work / "state.pkl"
    if saved.is_file():
        state = State(*jax.tree.map(jnp.asarray, pickle.loads(saved.read_bytes())))
    stars = jnp.asarray(labels, jnp.float32)
    flux = np.array(spectra(state.constants, stars, lines), np.float64)
    slope = jax.jit(jax.value_and_grad(misfit, has_aux=True))
    rng = np.random.default_rng(int(state.step))
    waiting = np.empty(0, int)
    continuum = np.ones((len(labels), int(in_chips.sum())))
    for step in range(int(state.step), args.steps):
        if step % CONTINUUM_STEPS == 0 or step == int(state.step):
            continuum = np.nan_to_num(running_continuum(flux)[:, in_chips], nan=1.0)
        if not waiting.size:
            waiting = rng.permutation(len(labels))
        now, waiting = waiting[: args.batch], waiting[args.batch :]
        (_, terms), pull = slope(jnp.asarray(flux[:, in_chips] / continuum), target, args.weight)
        whole = np.zeros(flux.shape, np.float32)
        whole[:, in_chips] = np.asarray(pull) / continuum
        share = jnp.asarray(whole[now] * len(labels) / len(now))
        gradient, new = pulled(state.constants, stars[now], share, lines)
        flux[now] = new
        gradient = jax.tree.map(jnp.add, gradient, jax.grad(prior)(state.constants, start))
        updates, moments = optimiser.update(gradient, state.optimiser, state.constants)
        state = State(optax.apply_updates(state.constants, updates), moments, step + 1)
        if step % 10 == 9:
            print(f"step {step + 1}: misfits {np.round(terms, 3).tolist()}", flush=True)
            with replace_file(saved) as temporary:
                temporary.write_bytes(pickle.dumps(jax.device_get(tuple(state))))
    return state.constants


def judge(constants: Constants, cannon: Cannon, labels: np.ndarray, lines: LineList) -> str:
    """Correlations with the Cannon at labels that took no part in the fit."""
    theirs = over_continuum(cannon_spectra(cannon, labels))
    made = spectra(constants, jnp.asarray(labels, jnp.float32), lines)
    ours = over_continuum(np.asarray(made, np.float64))
    good = np.isfinite(theirs).all(axis=0) & np.isfinite(ours).all(axis=0)
    ours, theirs = ours[:, good], theirs[:, good]
    each = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(ours, theirs, strict=True)]
    design = np.column_stack([np.ones(len(labels)), labels - labels.mean(axis=0)])
    slopes = [np.linalg.lstsq(design, flux, rcond=None)[0][1:] for flux in (ours, theirs)]
    linear = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(*slopes, strict=True)]
    worst = labels[int(np.argmin(each))].round(2).tolist()
    return (
        f"{len(labels)} giants: spectra {np.median(each):.3f} (median; lowest {min(each):.3f} at "
        f"{worst}), gradients {np.round(linear, 3).tolist()}"
    )


def write(constants: Constants, lines: LineList, cannon: Path) -> None:
    """The two tables."""
    head = (
        "# Calibrated constants of the H-band synthesis, written by\n"
        "# experiments/package_data/synthesis_calibration.py. They are fitted to the Cannon of "
        "real APOGEE giants\n"
        f"# {cannon.name} (jobovy/apogee, BSD-3-Clause) and absorb what the synthesis lacks: no "
        "laboratory data.\n"
    )
    rows = [
        f"{i},{wavelength:.3f},{SPECIES[species]},{strength:.3f},{damping:.3f}"
        for i, (wavelength, species, strength, damping) in enumerate(
            zip(
                np.asarray(lines.wavelength),
                np.asarray(lines.species),
                np.asarray(constants.line_strength),
                np.asarray(constants.line_damping),
                strict=True,
            )
        )
    ]
    columns = "line,wavelength_vacuum_angstrom,species,log_strength,log_c6"
    write_text(
        DATA / "hband_calibration_lines.csv",
        head
        + "# Added to log gf and to log C6 of the lines of hband_lines.csv, by row number.\n"
        + "\n".join([columns, *rows, ""]),
    )
    trends = np.asarray(constants.abundance) * FREE_ELEMENTS
    rows = [
        ",".join([element.symbol, *(f"{value:.4f}" for value in row)])
        for element, row in zip(ELEMENTS, trends, strict=True)
    ]
    write_text(
        DATA / "hband_calibration_elements.csv",
        head
        + "# dex, for 1, [M/H] + 0.3, [alpha/M] - 0.05, log g - 2 and (Teff - 4600 K) / 500 K.\n"
        + "\n".join([f"element,{','.join(TERMS)}", *rows, ""]),
    )
    for name, value in zip(SPECIES, np.asarray(constants.log_strength), strict=True):
        print(f'    "{name}": {value:.3f},')
    for name, value in zip(ISOTOPES, np.asarray(constants.log_isotope), strict=True):
        print(f'    "{name}": {value:.3f},')
    tables = {"log_strength", "log_isotope", "line_strength", "line_damping", "abundance"}
    for name, value in constants._asdict().items():
        if name not in tables:
            print(f"    {name}={np.round(np.asarray(value), 4).tolist()},")


def main() -> None:
    """Fits, writes, judges."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("cannon", type=Path, help="cannon_apokasc_gc.npz")
    parser.add_argument("--work", type=Path, required=True, help="where the state is kept")
    parser.add_argument("--stars", type=int, default=144, help="giants that are fitted to")
    parser.add_argument("--batch", type=int, default=16, help="of these in a step")
    parser.add_argument("--steps", type=int, default=480)
    parser.add_argument("--weight", type=float, default=3.0, help="of the gradients' misfit")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    cannon, lines = load_cannon(args.cannon), load_lines()
    labels = giants(cannon)
    shuffled = np.random.default_rng(0).permutation(labels)
    others, own = np.split(shuffled, [len(shuffled) // 2])
    own = np.random.default_rng(3).permutation(own)[: args.stars]
    constants = fit(args, target_of(cannon, own), own, lines)
    write(constants, lines, args.cannon)
    print(judge(constants, cannon, others[:JUDGES], lines))


if __name__ == "__main__":
    main()
