"""Figures 16 and 17: [alpha/M] against orbits and populations (sections 4.5.2 and 4.5.3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from aspgap_jax import labels
from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.plots.populations import halo_populations, orbit_trends
from aspgap_jax.suite.study import Drawn, Inputs, Missing, Result, Study
from aspgap_jax.survey.external import EXTERNALS, match, read_columns
from aspgap_jax.survey.gaia import gaia_columns
from aspgap_jax.validation.disks import DIVIDING_LINE
from aspgap_jax.validation.dynamics import (
    MOH_BINS,
    Orbits,
    OrbitTrend,
    PhaseSpace,
    mean_with_error,
    orbits,
    trend,
)
from aspgap_jax.validation.halo import (
    POOR_MOH,
    high_alpha_map,
    is_ges,
    is_loose,
    is_precise_giant,
    share_below,
)

__all__ = ["STUDIES", "star_orbits"]

LOGG, MOH, AOM = (labels.index(name) for name in ("logg", "m_h", "alpha_m"))
ALPHA_EDGES = np.arange(-0.05, 0.401, 0.05)
MIN_PARALLAX_SNR = 5.0
MIN_MEMBERSHIP = 0.9

ORBIT_COLUMNS: dict[str, tuple[str, ...]] = {
    "l_z": ("lz", "l_z", "jphi", "j_phi"),
    "j_z": ("jz", "j_z"),
    "eccentricity": ("ecc", "eccentricity"),
    "apocentre": ("rapo", "r_apo", "rap", "apocentre", "apocenter"),
    "energy": ("energy", "etot", "e_tot"),
}
PHASE_COLUMNS = (*PhaseSpace._fields, "parallax_error")


def star_orbits(inputs: Inputs) -> tuple[Predictions, Orbits]:
    """The stars of a run that have an orbit, and their orbits.

    From the catalogue ``orbits``, else computed from the table ``gaia``, else from the
    columns of the run; computed for stars with parallax / error > 5.

    Args:
        inputs: of a finished run; the orbits are kept in ``inputs.shared``.

    Returns:
        Predictions and orbits of the same stars, row by row.

    Raises:
        Missing: none of them was given.
        InputError: the file cannot be used, or galpy is not installed.
    """
    # Two figures need them, and they take long.
    if "orbits" not in inputs.shared:
        inputs.shared["orbits"] = find_orbits(inputs)
    found: tuple[Predictions, Orbits] = inputs.shared["orbits"]
    return found


def find_orbits(inputs: Inputs) -> tuple[Predictions, Orbits]:
    """What :func:`star_orbits` gives, read or computed."""
    p = inputs.predictions
    if "orbits" in inputs.external:
        given = read_columns(
            inputs.file("orbits"),
            ORBIT_COLUMNS,
            optional=("eccentricity", "apocentre", "energy"),
            choice=inputs.id_choice("orbits"),
        )
        ours, theirs = inputs.match(given)
        return p.where(ours), Orbits(
            **{name: given.values[name][theirs] for name in Orbits._fields}
        )
    if "gaia" in inputs.external:
        given = read_columns(
            inputs.file("gaia"),
            {each.name: each.accepted for each in gaia_columns(PHASE_COLUMNS)},
            choice=inputs.id_choice("gaia"),
        )
        ours, theirs = inputs.match(given)
        p = p.where(ours)
        columns = {name: given.values[name][theirs] for name in PHASE_COLUMNS}
    elif all(name in p.columns for name in PHASE_COLUMNS):
        columns = {name: np.asarray(p.columns[name], np.float64) for name in PHASE_COLUMNS}
    else:
        raise Missing(
            "needs --external orbits=FILE, or Gaia's astrometry and radial velocity "
            "(--external gaia=FILE, or a run on a store that has them)"
        )
    good = columns["parallax"] > MIN_PARALLAX_SNR * columns["parallax_error"]
    good &= np.all([np.isfinite(columns[name]) for name in PHASE_COLUMNS], axis=0)
    if not good.any():
        raise Missing("needs stars with a radial velocity and parallax / error > 5")
    phase = PhaseSpace(*(columns[name][good] for name in PhaseSpace._fields))
    return p.where(good), orbits(phase)


def figure16(inputs: Inputs) -> Result:
    """J_z and L_z against [alpha/M] in two bins of [M/H], for XP's labels and APOGEE's."""
    p, orbit = star_orbits(inputs)
    quantities = {"root_j_z": np.sqrt(np.maximum(orbit.j_z, 0.0)), "l_z": orbit.l_z}
    drawn: dict[str, dict[str, tuple[OrbitTrend, OrbitTrend]]] = {name: {} for name in quantities}
    numbers: dict[str, Any] = {"stars_with_orbits": len(p)}
    for low, high in MOH_BINS:
        words = f"{low:g} < [M/H] < {high:g}"
        for name, quantity in quantities.items():
            pair, rows = [], {}
            for source, values in (("XP", p.prediction), ("APOGEE", p.truth)):
                inside = (values[:, MOH] > low) & (values[:, MOH] < high)
                aom, moh = (values[inside, column].astype(np.float64) for column in (AOM, MOH))
                options = {"draws": inputs.draws, "seed": inputs.seed}
                found = trend(aom, quantity[inside], ALPHA_EDGES, **options)
                pair.append(found)
                rows[source] = _contrast(moh, aom, quantity[inside], **options) | {
                    field: column.tolist() for field, column in found._asdict().items()
                }
            drawn[name][words] = (pair[0], pair[1])
            numbers[f"{name}, {words}"] = rows
    figure, narrow = (
        orbit_trends(drawn["root_j_z"], drawn["l_z"], narrow=each) for each in (False, True)
    )
    notes = (
        "High- minus low-alpha: the difference of means above and below the dividing line; "
        "expected positive for J_z, negative for L_z. Errors are those of a bootstrap.",
        "The trends by bin of [alpha/M] are in validation.json.",
    )
    caption = "Fig. 16: vertical action and angular momentum against [alpha/M] at fixed [M/H]."
    return Result(numbers, (Drawn("figure16_orbits", figure, caption, narrow),), notes=notes)


def _contrast(
    moh: np.ndarray, aom: np.ndarray, quantity: np.ndarray, *, draws: int, seed: int
) -> dict[str, Any]:
    """Mean of a quantity of high- minus low-alpha stars, with its bootstrap error."""
    known = np.isfinite(aom) & np.isfinite(quantity)
    high, values = DIVIDING_LINE.above(moh[known], aom[known]), quantity[known]
    counts = {"low_alpha_stars": int((~high).sum()), "high_alpha_stars": int(high.sum())}
    if min(counts.values()) < 2:
        return counts

    means, errors = zip(
        *(mean_with_error(values[group], draws=draws, seed=seed) for group in (high, ~high)),
        strict=True,
    )
    return counts | {
        "high_minus_low": means[0] - means[1],
        "high_minus_low_error": float(np.hypot(*errors)),
    }


def figure17(inputs: Inputs) -> Result:
    """Poor Old Heart, GES and LMC: those that the data allow."""
    numbers: dict[str, Any] = {"dividing_line": DIVIDING_LINE._asdict()}
    heart, planes, absent = None, {}, []
    try:
        p, orbit = star_orbits(inputs)
    except Missing as missing:
        absent.append(f"Poor Old Heart and GES: {missing}")
    else:
        if np.isfinite(orbit.eccentricity).any() and np.isfinite(orbit.apocentre).any():
            numbers["Poor Old Heart"], heart = _heart(inputs, p, orbit)
        else:
            absent.append("Poor Old Heart: needs eccentricities and apocentres")
        if np.isfinite(orbit.energy).any():
            numbers["GES"], planes["GES"] = _below(inputs, p, is_ges(orbit.energy, orbit.l_z))
        else:
            absent.append("GES: needs energies")
    if "lmc" in inputs.external:
        names = ("p", "prob", "probability", "p_lmc", "plmc")
        members = read_columns(
            inputs.file("lmc"), {"probability": names}, choice=inputs.id_choice("lmc")
        )
        ours, theirs = inputs.match(members)
        likely = members.values["probability"][theirs] > MIN_MEMBERSHIP
        p = inputs.predictions.where(ours)
        numbers["LMC"], planes["LMC"] = _below(inputs, p, likely)
    else:
        absent.append("LMC: needs --external lmc=FILE")
    if heart is None and not planes:
        raise Missing("; ".join(absent))
    drawn = Drawn(
        "figure17_halo",
        halo_populations(heart, planes, DIVIDING_LINE),
        "Fig. 17: high-alpha fraction of stars with [M/H] < -1.1 by orbit, and populations that "
        "belong below the dividing line (dashed). Green, APOGEE.",
        halo_populations(heart, planes, DIVIDING_LINE, narrow=True),
    )
    notes = [f"Not run: {words}." for words in absent]
    if "poor_old_heart" not in inputs.external and heart is not None:
        notes.append(
            "Metal-poor stars are chosen by XP's [M/H]; --external poor_old_heart=FILE "
            f"({EXTERNALS['poor_old_heart']}) limits them to that catalogue."
        )
    return Result(numbers, (drawn,), notes=tuple(notes))


def _heart(
    inputs: Inputs, p: Predictions, orbit: Orbits
) -> tuple[dict[str, Any], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Shares of low-alpha stars among loose and bound metal-poor stars, and the map."""
    moh, aom = (p.prediction[:, column].astype(np.float64) for column in (MOH, AOM))
    poor = (moh < POOR_MOH) & np.isfinite(orbit.eccentricity) & np.isfinite(orbit.apocentre)
    if "poor_old_heart" in inputs.external:
        listed = read_columns(
            inputs.file("poor_old_heart"), {}, choice=inputs.id_choice("poor_old_heart")
        )
        ours, _ = match(p.source_id, listed, inputs.remarks)
        poor[np.setdiff1d(np.arange(len(p)), ours)] = False
    loose = is_loose(orbit.eccentricity, orbit.apocentre)
    rows = {
        words: share_below(moh[keep], aom[keep], draws=inputs.draws, seed=inputs.seed)._asdict()
        for words, keep in (("bound", poor & ~loose), ("loose and radial", poor & loose))
    }
    edges = np.linspace(0.0, 20.0, 21), np.linspace(0.0, 1.0, 21)
    high = DIVIDING_LINE.above(moh[poor], aom[poor])
    shares = high_alpha_map(orbit.apocentre[poor], orbit.eccentricity[poor], high, *edges)
    return rows, (*edges, shares)


def _below(
    inputs: Inputs, p: Predictions, member: np.ndarray
) -> tuple[dict[str, Any], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Shares below the line of precise giants of a population, by XP and by APOGEE."""
    precise = is_precise_giant(p.sigma[:, MOH], p.sigma[:, AOM], p.prediction[:, LOGG])
    keep = member & precise
    columns = [
        values[keep, column].astype(np.float64)
        for values in (p.prediction, p.truth)
        for column in (MOH, AOM)
    ]
    rows = {
        source: share_below(
            columns[first], columns[first + 1], draws=inputs.draws, seed=inputs.seed
        )._asdict()
        for source, first in (("XP", 0), ("APOGEE", 2))
    }
    return rows, (columns[0], columns[1], columns[2], columns[3])


ORBITS = "--external orbits=FILE or gaia=FILE, or Gaia's astrometry and radial velocity in the run"
STUDIES = (
    Study("figure16", "Figure 16: orbits and [alpha/M]", ORBITS, figure16),
    Study(
        "figure17",
        "Figure 17: Poor Old Heart, GES and LMC",
        f"{ORBITS}; --external lmc=FILE",
        figure17,
    ),
)
