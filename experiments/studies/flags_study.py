"""Do the flags catch what they should? Faults, dwarfs and hot stars, at 1% false alarms.

Takes a cross-validation of the sample's giants. The stars are halved by their ids:
one half gives the statistics and thresholds of the flags, the other is tested, always
by networks that have not seen the star. Tested are the giants as they are (false
alarms), the same with faults injected, and the sample's dwarfs and hot stars, which
no part of the run has seen.

Faults are injected into sampled spectra and then projected onto what Gaia's instrument
model can produce, as if the coefficients had been at fault: otherwise each would be
caught by not being a spectrum of that instrument at all.

Run: aspgap crossval --out runs/cv && python experiments/studies/flags_study.py --run runs/cv
Expect: 1.4% of the clean giants flagged (1% by the scores, the rest for low S/N), every
fault in 100% of the spectra, 93% of the hot stars, and 65% of the dwarfs, of which
networks trained on giants know nothing (79% of those below 5500 K).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from aspgap_jax import labels
from aspgap_jax.config import PredictOptions
from aspgap_jax.files.atomic import write_text
from aspgap_jax.flags import FLAGS
from aspgap_jax.prediction.assess import BP_ALONE_BELOW, RP_ALONE_ABOVE, assess
from aspgap_jax.prediction.bundle import load_networks
from aspgap_jax.prediction.out_of_fold import label_unseen
from aspgap_jax.prediction.spectra import instrument_matrix
from aspgap_jax.preprocessing.cuts import apply_cuts
from aspgap_jax.preprocessing.folds import fold_of, unseen_stars
from aspgap_jax.preprocessing.selection import SPECTRA
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.sample import load_sample
from aspgap_jax.training.run import load_stars

HALVES = 1_000
"""A repeat of the hash that no cross-validation uses."""
IN_BATCHES = PredictOptions(batch_size=500)
"""One shape for groups of all sizes."""


@dataclass(frozen=True)
class Study:
    """Catch rates of the flags, by fault."""

    run: Path
    """A cross-validation of the sample (`aspgap crossval`, `aspgap demo`)."""
    stars: int = 2000
    """Stars of each kind, at most."""
    seed: int = 0
    """Of the choice of stars, their partners and the noise."""
    json: Path | None = None
    """File for the numbers."""


def instrument_span() -> np.ndarray:
    """An orthonormal basis of the spectra that the instrument can produce.

    Directions in which a coefficient has less than 1e-4 of the largest effect are left
    out: 24 of 110. The sample's spectra have in those 5% of their errors.
    """
    axes, size, _ = np.linalg.svd(instrument_matrix(), full_matrices=False)
    return axes[:, size > 1e-4 * size[0]]


def shifted(xp: np.ndarray, wavelength: np.ndarray, by: float) -> np.ndarray:
    """Spectra whose wavelengths are wrong by ``by`` nm."""
    return np.stack([np.interp(wavelength - by, wavelength, row) for row in xp])


def faults(stars: TrainingSet, rng: np.random.Generator) -> Iterator[tuple[str, TrainingSet]]:
    """The same stars, with one fault each."""
    assert stars.wavelength is not None
    span, wavelength = instrument_span(), stars.wavelength
    xp = stars.xp.astype(np.float64)
    blue = wavelength < 0.5 * (BP_ALONE_BELOW + RP_ALONE_ABOVE)

    def with_xp(values: np.ndarray, error: np.ndarray | None = None) -> TrainingSet:
        error = stars.xp_error if error is None else error
        return replace(stars, xp=values.astype(np.float32), xp_error=error.astype(np.float32))

    def project(values: np.ndarray) -> np.ndarray:
        return values @ span @ span.T

    yield "BP is zero", with_xp(np.where(blue, 0.0, xp))
    yield "RP is zero", with_xp(np.where(blue, xp, 0.0))
    other = np.roll(np.arange(len(stars)), 1)
    brightness = 10.0 ** (-0.4 * (stars.g_mag[other] - stars.g_mag).astype(np.float64))
    yield "BP of another star", with_xp(project(np.where(blue, xp[other], xp)))
    alike = xp[other] / brightness[:, None]
    yield "the same, at equal G", with_xp(project(np.where(blue, alike, xp)))
    noise = project(rng.normal(size=xp.shape) * stars.xp_error)
    # Of the size of the errors again, which the projection has reduced.
    noise *= np.sqrt(xp.shape[1] / span.shape[1])
    yield "noise x 30, not in the errors", with_xp(xp + 30 * noise)
    yield "noise x 30, errors too", with_xp(xp + 30 * noise, 30 * stars.xp_error)
    for by in (1.0, 2.0, 4.0, 10.0):
        yield f"shifted by {by:g} nm", with_xp(project(shifted(xp, wavelength, by)))


def rates(flags: np.ndarray) -> dict[str, float]:
    """Share of stars with any flag, and with each."""
    each = {flag.name: float(np.mean((flags & flag.bit) > 0)) for flag in FLAGS}
    return {"any": float(np.mean(flags > 0)), **each}


def study(options: Study) -> dict[str, dict[str, float]]:
    """Rates by kind of star, of both folds together."""
    networks, info = load_networks(options.run)
    cfg, rng = info.config, np.random.default_rng(options.seed)
    settings = json.loads((options.run / "config.json").read_text())
    stars = load_stars("sample", settings["select"])
    unseen = unseen_stars(stars.source_id, info.members, cfg)
    tested = fold_of(stars.source_id, 2, HALVES) == 1
    bundle = assess(networks, stars.where(~tested), unseen[:, ~tested], cfg)

    def flags_of(some: TrainingSet, held_out: np.ndarray) -> np.ndarray:
        """As a prediction gives them, by the networks of one fold."""
        by = np.repeat(held_out[:, None], len(some), axis=1)
        return np.asarray(label_unseen(bundle, some, by, cfg, IN_BATCHES).flags)

    everyone = apply_cuts(load_sample(), SPECTRA)
    new = ~np.isin(everyone.source_id, stars.source_id)
    teff, logg = (everyone.labels[:, labels.index(name)] for name in ("teff", "logg"))
    strangers = {
        "dwarfs (log g > 4, Teff < 7000 K)": new & (logg > 4) & (teff < 7000),
        "those of Teff < 5500 K": new & (logg > 4) & (teff < 5500),
        "hot stars (Teff > 7000 K)": new & (teff > 7000),
    }
    found: dict[str, list[np.ndarray]] = {}
    for fold in tqdm(range(cfg.cv.folds), desc="flags", unit="fold", disable=None):
        held_out = np.array([m.fold == fold for m in info.members])
        mine = np.flatnonzero(tested & unseen[held_out].all(axis=0))
        found.setdefault("clean giants", []).append(flags_of(stars.where(mine), held_out))
        chosen = stars.where(rng.permutation(mine)[: options.stars // cfg.cv.folds])
        for name, faulty in faults(chosen, rng):
            found.setdefault(name, []).append(flags_of(faulty, held_out))
        for name, mask in strangers.items():
            some = rng.permutation(np.flatnonzero(mask))[: options.stars // cfg.cv.folds]
            found.setdefault(name, []).append(flags_of(everyone.where(some), held_out))
    return {
        name: {"stars": len(f), **rates(f)}
        for name, f in ((name, np.concatenate(parts)) for name, parts in found.items())
    }


def main() -> None:
    """Print the table, write the numbers."""
    options = tyro.cli(Study, description=__doc__)
    results = study(options)
    used = [flag.name for flag in FLAGS if any(row[flag.name] > 0 for row in results.values())]
    for i, name in enumerate(used):
        print(f"  {i + 1:2} {name}")
    print(
        f"\n{'percent flagged':<36}{'stars':>7}{'any':>7}",
        *(f"{i + 1:>5}" for i in range(len(used))),
    )
    for name, row in results.items():
        cells = (f"{100 * row[flag]:5.1f}" for flag in used)
        print(f"{name:<36}{row['stars']:>7}{100 * row['any']:>7.1f}", *cells)
    if options.json is not None:
        write_text(options.json, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
