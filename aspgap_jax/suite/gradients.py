"""Figure 4: do hallucinated spectra change with labels as real ones do?

The paper shows one example and says that hallucinated spectra vary "at the wavelengths where
physics-based spectral models expect them to". Here every label is compared, pixel by pixel,
with an H-band synthesis, with a Cannon of real spectra and with an emulator of Kurucz spectra.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from aspgap_jax import labels, plots, synthesis
from aspgap_jax.apstar import WAVELENGTH, in_chips, running_continuum
from aspgap_jax.config import Config
from aspgap_jax.prediction.bundle import Networks
from aspgap_jax.preprocessing.device import to_device
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.suite.study import Drawn, Inputs, Numbers, Result, Study
from aspgap_jax.survey.cannon import Cannon, cannon_gradients, cannon_spectra, load_cannon
from aspgap_jax.validation import gradients
from aspgap_jax.validation.kurucz import kurucz_spectra, load_kurucz

__all__ = ["STUDIES", "agreement", "figure_04", "nuisances"]

SPECIES = ("Mg", "Si", "Ca", "Ti", "Fe", "OH", "CO", "CN")
MARKED = 4  # strongest lines of a species that figures mark
SHIFTS = 300
COMPARED = 64  # stars whose spectra are compared
YARDSTICKS = ("Cannon", "Kurucz", "synthesis")
"""The nearest to real spectra first."""
BY = "\N{MULTIPLICATION SIGN}"

Gradients = Float[np.ndarray, "label pixel"]


def nuisances(stars: TrainingSet) -> Float[np.ndarray, "star nuisance"] | None:
    """Extinction A_K towards the stars, where the data have it; the median where unknown.

    Args:
        stars: a training set, with or without ``ak_targ``.

    Returns:
        A_K in mag ``[star, 1]``; ``None`` where nothing is known of it.
    """
    extinction = stars.columns.get("ak_targ")
    if extinction is None:
        return None
    extinction = np.asarray(extinction, np.float64)
    # Outside of this range the catalogue's values are marks or failures.
    known = np.isfinite(extinction) & (extinction > -0.5) & (extinction < 3.0)
    if not known.any():
        return None
    return np.where(known, extinction, np.median(extinction[known]))[:, None]


def agreement(
    first: Gradients, second: Gradients, lines: synthesis.LineList, teff: float, *, seed: int
) -> dict[str, dict[str, Any]]:
    """Correlation of two sets of gradient spectra by label, in all pixels and at lines.

    Args:
        first: gradient spectra.
        second: those that they are compared with.
        lines: the line list of the package.
        teff: K; says which lines are strong.
        seed: of the shifts.

    Returns:
        By label: ``correlation``; ``chance``, which 95% of shifted spectra stay below; and
        ``lines``, the correlation at the strongest lines of each species.
    """
    found: dict[str, dict[str, Any]] = {}
    for label, a, b in zip(labels.LABELS, first, second, strict=True):
        at_lines = {
            name: gradients.correlation(a, b, gradients.line_pixels(lines, name, teff))
            for name in SPECIES
        }
        found[label.name] = {
            "correlation": gradients.correlation(a, b, in_chips),
            "chance": gradients.shifted_correlation(a, b, draws=SHIFTS, seed=seed),
            "lines": {
                name: float(value) if np.isfinite(value) else None
                for name, value in at_lines.items()
            },
        }
    return found


def figure_04(inputs: Inputs) -> Result:
    """Gradient spectra of the run's hallucinator against those of physics.

    Args:
        inputs: of a finished run.

    Returns:
        Figures, numbers and notes for the report.

    Raises:
        Missing: the run has no networks as trained, or not its stars.
    """
    networks, info = inputs.networks
    cfg, stars = info.config, inputs.stars
    truth = stars.labels.astype(np.float64)
    # A label that a star lacks takes no part.
    reference = np.nanmedian(truth, axis=0)
    normalised = np.asarray(to_device(stars, cfg.data.magnitude_exponent).xp, np.float64)
    lines = synthesis.load_lines()
    physics: dict[str, Physics] = {"synthesis": _synthesised(lines)}
    cannon = load_cannon(inputs.file("cannon")) if "cannon" in inputs.external else None
    if "kurucz" in inputs.external:
        physics["Kurucz"] = _differenced(
            partial(kurucz_spectra, load_kurucz(inputs.file("kurucz")))
        )
    if cannon is not None:
        # It holds in its box, and so does the comparison.
        reference = np.clip(reference, cannon.low, cannon.high)
        physics["Cannon"] = Physics(
            partial(cannon_spectra, cannon),
            lambda at: (cannon_spectra(cannon, at[None])[0], cannon_gradients(cannon, at[None])[0]),
        )
    member_flux, member_slope = gradients.gradients_by_labels(networks, cfg, normalised, reference)
    flux, slope = member_flux.mean(axis=0), member_slope.mean(axis=0)
    visible = gradients.visible_part(networks, member_slope)
    curves = {
        "hallucinated": gradients.over_continuum(flux, slope),
        "visible": gradients.over_continuum(flux, visible.mean(axis=0)),
    }
    curves |= {
        name: gradients.over_continuum(*each.gradients(reference)) for name, each in physics.items()
    }
    pairs = [(made, name) for name in physics for made in ("hallucinated", "visible")]
    pairs += [("synthesis", name) for name in physics if name != "synthesis"]
    teff = float(reference[labels.index("teff")])
    found = {
        f"{a} {BY} {b}": agreement(curves[a], curves[b], lines, teff, seed=inputs.seed)
        for a, b in pairs
    }
    directions = gradients.label_directions(
        normalised, stars.labels, reference, nuisance=nuisances(stars)
    )
    made = gradients.hallucinated_gradients(networks, cfg, directions)
    # Over members: what is left of an initialisation averages out, what is learnt does not.
    share = np.square(visible).sum(axis=-1) / np.square(member_slope).sum(axis=-1)
    step = np.asarray(gradients.STEP)
    numbers: dict[str, Any] = {
        "reference": _by_label(reference),
        "effective_stars": directions.n_stars,
        "spectra": _spectra(networks, cfg, normalised, truth, physics, cannon, inputs.seed),
        "visible_share": _by_label(share.mean(axis=0)),
        "agreement": found,
        "moved": {
            # Per step of the moved label, in steps of the read one.
            name: (response.mean(axis=0) * step[None, :] / step[:, None]).tolist()
            for name, response in (("xp_decoder", made.direct), ("apogee_decoder", made.read))
        },
    }
    return Result(
        numbers=numbers,
        figures=(
            Drawn(
                "figure04_gradient_spectra",
                plots.gradient_spectra(curves, _marks(lines, teff)),
                "Fig. 4: gradient spectra at the median star, each over its largest size: "
                "hallucinated, the part of it that the APOGEE decoder sees, and physical.",
                plots.gradient_spectra(curves, _marks(lines, teff), narrow=True),
            ),
            Drawn(
                "figure04_agreement",
                plots.gradient_agreement(*_matrices(curves, found)),
                "Correlation of gradient spectra: whole spectra, label by label (rows: the first "
                "of each title), and at the strongest lines of species.",
                plots.gradient_agreement(*_matrices(curves, found), narrow=True),
            ),
        ),
        words={"agreement": "shown for one example, no number given"},
        notes=(
            "A hallucinated gradient is how the hallucinated spectra of the stars change with "
            "one label that the networks give them, the others fixed (a local regression).",
            "'visible' is the part of a hallucinated gradient that the frozen APOGEE decoder "
            "sees. Of the rest, training says nothing but what a basis and its prior say.",
            f"The APOGEE decoder was pre-trained on {info.apogee_spectra}. What it learnt from "
            "is what hallucinated spectra can agree with; the Cannon's are emulated by real "
            "spectra, those of Kurucz by models that no network here has seen.",
            "'moved' tells what the networks read, in steps of 50 K and 0.1 dex, where an XP "
            "spectrum changes as those of stars do with one label of APOGEE's.",
        ),
    )


class Physics(NamedTuple):
    """A yardstick: spectra at labels, and spectrum and gradients at a reference star."""

    spectra: Callable[[np.ndarray], np.ndarray]
    gradients: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _differenced(spectra: Callable[[np.ndarray], np.ndarray]) -> Physics:
    return Physics(spectra, partial(gradients.physical_gradients, spectra))


def _synthesised(lines: synthesis.LineList) -> Physics:
    return _differenced(
        lambda at: synthesis.synthesize_in_batches(at, lines, progress=False).astype(np.float64)
    )


def _spectra(
    networks: Networks,
    cfg: Config,
    normalised: np.ndarray,
    truth: np.ndarray,
    physics: Mapping[str, Physics],
    cannon: Cannon | None,
    seed: int,
) -> dict[str, Any]:
    """Correlation of some stars' hallucinated spectra with physical ones at APOGEE's labels."""
    able = np.isfinite(truth).all(axis=1)
    if cannon is not None:
        able &= ((truth >= cannon.low) & (truth <= cannon.high)).all(axis=1)
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(able))[:COMPARED]
    made = gradients.hallucinated_spectra(networks, cfg, normalised[chosen])
    flux = {"hallucinated": made}
    flux |= {n: each.spectra(truth[chosen]) for n, each in physics.items() if n != "Kurucz"}
    flux = {name: spectra / running_continuum(spectra) for name, spectra in flux.items()}
    found: dict[str, Any] = {"stars": len(chosen)}
    for a, b in itertools.combinations(flux, 2):
        each = [
            gradients.correlation(x, y, in_chips) for x, y in zip(flux[a], flux[b], strict=True)
        ]
        found[f"{a} {BY} {b}"] = {"median": float(np.median(each)), "lowest": float(np.min(each))}
    return found


def _by_label(values: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(labels.names(), values, strict=True)}


def _marks(lines: synthesis.LineList, teff: float) -> list[tuple[str, float]]:
    """Species and wavelength of the lines that figures mark."""
    marks = []
    for name in SPECIES:
        pixels = gradients.line_pixels(lines, name, teff, strongest=MARKED, half_width=0)
        marks += [(name, float(wavelength)) for wavelength in WAVELENGTH[pixels]]
    return marks


def _matrices(
    curves: dict[str, Gradients], found: Numbers
) -> tuple[dict[str, np.ndarray], list[str], dict[str, list[str]]]:
    """Panels of the second figure: labels against labels, then labels against species."""
    symbols = [label.symbol for label in labels.LABELS]
    yardstick = next(name for name in YARDSTICKS if name in curves)
    matrices: dict[str, np.ndarray] = {}
    columns: dict[str, list[str]] = {}
    for name in ("hallucinated", "visible"):
        title = f"{name} {BY} {yardstick}"
        matrices[title] = np.array(
            [[gradients.correlation(a, b) for b in curves[yardstick]] for a in curves[name]]
        )
        columns[title] = symbols
    for key in dict.fromkeys(f"{a} {BY} {yardstick}" for a in ("hallucinated", "synthesis")):
        if key in found:
            title = f"{key}, at lines"
            matrices[title] = np.array(
                [
                    [np.nan if r is None else r for r in found[key][name]["lines"].values()]
                    for name in labels.names()
                ]
            )
            columns[title] = list(SPECIES)
    return matrices, symbols, columns


STUDIES = (
    Study(
        name="figure04",
        title="Fig. 4: hallucinated gradient spectra",
        needs="the run's bundle and its spectra; with --external cannon=FILE real gradients, and "
        "with --external kurucz=FILE (kurucz_apogee_network.npz of kareemelbadry/binspec) those "
        "of models",
        run=figure_04,
    ),
)
