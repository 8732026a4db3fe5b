"""Figure 4: do hallucinated spectra change with labels as real ones do?

The paper shows one example and says that hallucinated spectra vary "at the wavelengths where
physics-based spectral models expect them to". Here every label is compared, pixel by pixel,
with an H-band synthesis and with an emulator of Kurucz spectra.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from aspgap_jax import labels, plots, synthesis
from aspgap_jax.apstar import WAVELENGTH, in_chips
from aspgap_jax.preprocessing.device import to_device
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.suite.study import Drawn, Inputs, Numbers, Result, Study
from aspgap_jax.validation import gradients
from aspgap_jax.validation.kurucz import kurucz_spectra, load_kurucz

__all__ = ["STUDIES", "agreement", "figure_04", "nuisances"]

SPECIES = ("Mg", "Si", "Ca", "Ti", "Fe", "OH", "CO")
MARKED = 4  # strongest lines of a species that figures mark
SHIFTS = 300
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
    stars = inputs.stars
    reference = np.median(stars.labels, axis=0).astype(np.float64)
    normalised = np.asarray(to_device(stars, info.config.data.magnitude_exponent).xp, np.float64)
    directions = gradients.label_directions(
        normalised, stars.labels, reference, nuisance=nuisances(stars)
    )
    made = gradients.hallucinated_gradients(networks, info.config, directions)
    lines = synthesis.load_lines()
    flux, slope = gradients.physical_gradients(
        lambda at: synthesis.synthesize_in_batches(at, lines, progress=False), reference
    )
    mean_flux = made.flux.mean(axis=0)
    curves = {
        "hallucinated": gradients.over_continuum(mean_flux, made.gradient.mean(axis=0)),
        "visible": gradients.over_continuum(mean_flux, made.visible.mean(axis=0)),
        "synthesis": gradients.over_continuum(flux, slope),
    }
    pairs = [("hallucinated", "synthesis"), ("visible", "synthesis")]
    if "kurucz" in inputs.external:
        network = load_kurucz(inputs.file("kurucz"))
        curves["Kurucz"] = gradients.over_continuum(
            *gradients.physical_gradients(lambda at: kurucz_spectra(network, at), reference)
        )
        pairs += [("hallucinated", "Kurucz"), ("visible", "Kurucz"), ("synthesis", "Kurucz")]
    teff = float(reference[labels.index("teff")])
    found = {
        f"{a} {BY} {b}": agreement(curves[a], curves[b], lines, teff, seed=inputs.seed)
        for a, b in pairs
    }
    # Over members: what is left of an initialisation averages out, what is learnt does not.
    share = np.square(made.visible).sum(axis=-1) / np.square(made.gradient).sum(axis=-1)
    step = np.asarray(gradients.STEP)
    numbers: dict[str, Any] = {
        "reference": _by_label(reference),
        "effective_stars": directions.n_stars,
        "spectrum_correlation": gradients.correlation(mean_flux, flux, in_chips),
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
                "Fig. 4: gradient spectra at the median star, each over its standard deviation: "
                "hallucinated, the part of it that the APOGEE decoder sees, and physical.",
            ),
            Drawn(
                "figure04_agreement",
                plots.gradient_agreement(*_matrices(curves, found)),
                "Correlation of gradient spectra: whole spectra, label by label (rows: the first "
                "of each title), and at the strongest lines of species.",
            ),
        ),
        words={"agreement": "shown for one example, no number given"},
        notes=(
            "The direction of a label is how real XP spectra change with it at fixed other "
            "labels (a local regression), pushed through encoder and hallucinator by jax.jacfwd.",
            "'visible' is the part of a hallucinated gradient that the frozen APOGEE decoder "
            "sees; training says nothing about the rest.",
            f"The APOGEE decoder was pre-trained on {info.apogee_spectra}. Where these are "
            "emulated, agreement with the synthesis says that the hallucinator learnt what the "
            "decoder knew of it, not what stars do; only the Kurucz spectra are independent.",
        ),
    )


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
    yardstick = "Kurucz" if "Kurucz" in curves else "synthesis"
    matrices: dict[str, np.ndarray] = {}
    columns: dict[str, list[str]] = {}
    for name in ("hallucinated", "visible"):
        title = f"{name} {BY} {yardstick}"
        matrices[title] = np.array(
            [[gradients.correlation(a, b) for b in curves[yardstick]] for a in curves[name]]
        )
        columns[title] = symbols
    for key in (f"visible {BY} {yardstick}", f"synthesis {BY} Kurucz"):
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
        needs="the run's bundle and its spectra; with --external kurucz=FILE "
        "(kurucz_apogee_network.npz of kareemelbadry/binspec) an independent yardstick",
        run=figure_04,
    ),
)
