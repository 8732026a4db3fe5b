"""Atomic and molecular constants of the synthesis: the tables, and nothing else.

Masses (u), solar abundances A(X) = log10(N_X / N_H) + 12 of Asplund et al.
(2009, ARA&A 47, 481), first ionisation energies (eV, NIST), and cubic fits

    log10 Q(T) = sum_j c_j (log10 theta)^j,    theta = 5040 K / T,

to the ATLAS9 partition functions (Kurucz 1993, with the updates of Lawler and
Sneden) of the neutral atom and of its first ion between 2500 and 7000 K; the
fits are good to 2.5 per cent or better. Molecules are rigid rotors and
harmonic oscillators with the constants of Huber and Herzberg (1979).
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "ATOMS",
    "ELEMENTS",
    "ISOTOPES",
    "ISOTOPOLOGUES",
    "MOLECULES",
    "SPECIES",
    "Element",
    "Molecule",
    "element_index",
]

Cubic = tuple[float, float, float, float]


class Element(NamedTuple):
    """One chemical element.

    Attributes:
        symbol: ``Fe``.
        mass: atomic mass, u.
        abundance: solar A(X), dex on the scale A(H) = 12.
        alpha: whether [alpha/M] scales it, beside [M/H].
        ionisation: first ionisation energy, eV.
        neutral, ion: coefficients of log10 Q of the neutral atom and the ion.
    """

    symbol: str
    mass: float
    abundance: float
    alpha: bool
    ionisation: float
    neutral: Cubic
    ion: Cubic


class Molecule(NamedTuple):
    """One diatomic molecule.

    Attributes:
        symbol: ``CO``.
        atoms: its two elements.
        dissociation: D0, eV.
        rotation: rotational constant B, cm^-1.
        vibration: fundamental frequency, cm^-1.
        symmetry: 2 for equal nuclei, else 1.
        electronic: (statistical weight, energy in cm^-1) of the low electronic states.
    """

    symbol: str
    atoms: tuple[str, str]
    dissociation: float
    rotation: float
    vibration: float
    symmetry: int
    electronic: tuple[tuple[float, float], ...]


# fmt: off
ELEMENTS: tuple[Element, ...] = (
    Element("H", 1.008, 12.00, False, 13.598,
            (0.3010, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
    Element("He", 4.003, 10.93, False, 24.587,
            (0.0, 0.0, 0.0, 0.0), (0.3010, 0.0, 0.0, 0.0)),
    Element("C", 12.011, 8.43, False, 11.260,
            (0.9648, -0.0894, 0.1646, -0.2167), (0.7725, -0.0144, 0.0164, -0.0105)),
    Element("N", 14.007, 7.83, False, 14.534,
            (0.6117, -0.0694, 0.2044, -0.1216), (0.9431, -0.0808, 0.0856, -0.0490)),
    Element("O", 15.999, 8.69, True, 13.618,
            (0.9477, -0.0521, 0.0761, -0.0917), (0.5592, -0.1891, 0.1765, -0.0806)),
    Element("Na", 22.990, 6.24, False, 5.139,
            (0.3155, -0.2649, 1.7813, -3.6869), (0.0, 0.0, 0.0, 0.0)),
    Element("Mg", 24.305, 7.60, True, 7.646,
            (0.0084, -0.1343, 0.8247, -1.6340), (0.3015, -0.0034, 0.0111, -0.0090)),
    Element("Al", 26.982, 6.45, False, 5.986,
            (0.7694, -0.0449, 0.1903, -0.5413), (0.0016, -0.0118, 0.0936, -0.1982)),
    Element("Si", 28.085, 7.51, True, 8.152,
            (0.9757, -0.2053, 0.1050, -0.0042), (0.7527, -0.0438, 0.0483, -0.0295)),
    Element("S", 32.060, 7.12, True, 10.360,
            (0.9484, -0.1605, 0.1137, 0.0040), (0.6090, -0.3421, 0.2586, -0.0715)),
    Element("K", 39.098, 5.03, False, 4.341,
            (0.3648, -0.9119, 5.0481, -9.3175), (0.0, 0.0, 0.0, 0.0)),
    Element("Ca", 40.078, 6.34, True, 6.113,
            (0.0765, -0.8114, 3.4011, -5.1894), (0.3515, -0.3361, 1.0889, -1.3915)),
    Element("Ti", 47.867, 4.95, True, 6.828,
            (1.4768, -0.9909, 1.5142, -0.7609), (1.7338, -0.4669, 0.2773, -0.0070)),
    Element("V", 50.942, 3.93, False, 6.746,
            (1.6809, -0.7930, 1.1138, -1.5764), (1.6426, -0.7219, 0.2791, -0.0760)),
    Element("Cr", 51.996, 5.64, False, 6.767,
            (1.0282, -0.9708, 1.9091, -1.3309), (0.8541, -0.6904, 2.0410, -1.8523)),
    Element("Mn", 54.938, 5.43, False, 7.434,
            (0.8104, -0.3853, 1.8157, -3.0246), (0.9011, -0.4642, 0.2857, -0.0326)),
    Element("Fe", 55.845, 7.50, False, 7.902,
            (1.4412, -0.6400, 1.1150, -1.3423), (1.6400, -0.5010, 0.2871, -0.0177)),
    Element("Co", 58.933, 4.99, False, 7.881,
            (1.5274, -0.6669, 0.3253, -0.6907), (1.4676, -0.6207, 0.2705, 0.0334)),
    Element("Ni", 58.693, 6.22, False, 7.640,
            (1.4900, -0.3050, 0.0566, -0.7563), (1.0406, -0.7641, 0.2075, 0.0788)),
)

MOLECULES: tuple[Molecule, ...] = (
    Molecule("H2", ("H", "H"), 4.478, 59.34, 4161.0, 2, ((1.0, 0.0),)),
    Molecule("CO", ("C", "O"), 11.092, 1.9225, 2143.0, 1, ((1.0, 0.0),)),
    Molecule("OH", ("O", "H"), 4.411, 18.53, 3570.0, 1, ((2.0, 0.0), (2.0, 139.0))),
    Molecule("CN", ("C", "N"), 7.724, 1.8910, 2042.0, 1, ((2.0, 0.0), (4.0, 9115.0))),
    Molecule("N2", ("N", "N"), 9.759, 1.9896, 2330.0, 2, ((1.0, 0.0),)),
)
# fmt: on

ATOMS: tuple[str, ...] = (
    "C", "Na", "Mg", "Al", "Si", "K", "Ca", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni",
)  # fmt: skip
SPECIES: tuple[str, ...] = (*ATOMS, "CO", "OH", "CN")
"""Species that own lines, in the order of every ``species`` axis."""

ISOTOPES: tuple[str, ...] = ("common", "13C", "17O", "18O")
"""Rare isotopes that molecules of the line list carry, in the order of ``log_isotope``."""
ISOTOPOLOGUES: dict[str, str] = {
    "12C14N": "common",
    "12C16O": "common",
    "13C14N": "13C",
    "13C16O": "13C",
    "12C17O": "17O",
    "12C18O": "18O",
}
"""The rare isotope of every isotopologue."""


def element_index(symbol: str) -> int:
    """Row of an element in ``ELEMENTS``; ``ValueError`` for one that is not there.

    Args:
        symbol: as in ``Fe``.

    Returns:
        The row, from 0.
    """
    return [element.symbol for element in ELEMENTS].index(symbol)
