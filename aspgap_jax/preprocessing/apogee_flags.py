"""APOGEE's bit masks: the one place where the names of flags meet their bit numbers.

Source: SDSS DR17, "APOGEE Bitmasks" (sdss4.org/dr17/irspec/apogee-bitmasks);
the same tables are in ``apogee/utils/bitmask.py`` of the survey's own software. SDSS-V's
Astra has a mask of its own, ``result_flags`` (DR19, ``astra/models/aspcap.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Int64

__all__ = [
    "ASPCAPFLAG",
    "ASTRA_FLAGS",
    "BAD_PIXEL",
    "PIXMASK",
    "REJECTED",
    "bits_of",
    "bits_of_astra",
    "bits_of_text",
]


def _numbered(*names: str) -> dict[str, int]:
    """Bit numbers counted from 0; an empty name is a bit without a meaning."""
    return {name: bit for bit, name in enumerate(names) if name}


ASPCAPFLAG: Mapping[str, int] = _numbered(
    *("TEFF_WARN", "LOGG_WARN", "VMICRO_WARN", "M_H_WARN"),
    *("ALPHA_M_WARN", "C_M_WARN", "N_M_WARN", "STAR_WARN"),
    *("CHI2_WARN", "COLORTE_WARN", "ROTATION_WARN", "SN_WARN"),
    *("SPEC_HOLE_WARN", "ATMOS_HOLE_WARN", "VSINI_WARN", ""),
    *("TEFF_BAD", "LOGG_BAD", "VMICRO_BAD", "M_H_BAD"),
    *("ALPHA_M_BAD", "C_M_BAD", "N_M_BAD", "STAR_BAD"),
    *("CHI2_BAD", "COLORTE_BAD", "ROTATION_BAD", "SN_BAD"),
    *("SPEC_HOLE_BAD", "ATMOS_HOLE_BAD", "VSINI_BAD", "NO_ASPCAP_RESULT"),
    *("MISSING_APSTAR", "NO_GRID", "BAD_FRAC_LOWSNR", "BAD_FRAC_BADPIX"),
    *("FERRE_FAIL", "", "", ""),
    *("PROBLEM_TARGET", "MULTIPLE_SUSPECT"),
)
"""Bits of ``ASPCAPFLAG`` in allStar: trouble of ASPCAP with a star."""

_STAR = ("TEFF_BAD", "LOGG_BAD", "M_H_BAD", "ALPHA_M_BAD")

ASTRA_FLAGS: tuple[tuple[str, ...], ...] = (
    # FERRE failed; no model flux; timed out; no initial guess; no spectrum.
    *(("FERRE_FAIL", "NO_ASPCAP_RESULT", *_STAR), ("FERRE_FAIL", "NO_ASPCAP_RESULT", *_STAR)),
    ("FERRE_FAIL", *_STAR),
    ("NO_GRID", "NO_ASPCAP_RESULT"),
    ("MISSING_APSTAR", "NO_ASPCAP_RESULT", *_STAR),
    # Near the edge of the grid, and at it, parameter by parameter.
    *(("TEFF_WARN",), ("TEFF_BAD",), ("LOGG_WARN",), ("LOGG_BAD",)),
    *(("VMICRO_WARN",), ("VMICRO_BAD",), ("VSINI_WARN",), ("VSINI_BAD",)),
    *(("M_H_WARN",), ("M_H_BAD",), ("ALPHA_M_WARN",), ("ALPHA_M_BAD",)),
    *(("C_M_WARN",), ("C_M_BAD",), ("N_M_WARN",), ("N_M_BAD",)),
    # In a suspicious region; fast rotation; vmicro > 3 km/s; unphysical.
    *(("STAR_BAD", *_STAR), ("ROTATION_BAD",), ("VMICRO_BAD",), ("STAR_BAD", *_STAR)),
    # Reduced chi^2 > 1000; S/N < 20; scatter of the radial velocity > 1 km/s.
    *(("CHI2_BAD",), ("SN_BAD",), ()),
)
"""What each bit of Astra's ``result_flags``, from 0, is among the flags of DR17; parameters
that Astra calls suspicious or unphysical count as bad one by one."""

PIXMASK: Mapping[str, int] = _numbered(
    *("BADPIX", "CRPIX", "SATPIX", "UNFIXABLE"),
    *("BADDARK", "BADFLAT", "BADERR", "NOSKY"),
    *("LITTROW_GHOST", "PERSIST_HIGH", "PERSIST_MED", "PERSIST_LOW"),
    *("SIG_SKYLINE", "SIG_TELLURIC", "NOT_ENOUGH_PSF", ""),
    "FERRE_MASK",
)
"""Bits of the mask in apStar files: trouble with a pixel."""

BAD_PIXEL: tuple[str, ...] = (
    *("BADPIX", "CRPIX", "SATPIX", "UNFIXABLE", "BADDARK", "BADFLAT", "BADERR", "NOSKY"),
    *("NOT_ENOUGH_PSF", "SIG_SKYLINE"),
)
"""Pixels that are not used: those that the survey calls bad, and strong sky lines.
ASPCAP gives the same pixels next to no weight in its fits."""

REJECTED: Mapping[str, tuple[str, ...]] = {
    **{name: (f"{name}_WARN", f"{name}_BAD") for name in ("TEFF", "LOGG", "M_H", "ALPHA_M")},
    "CHI2": ("CHI2_WARN", "CHI2_BAD"),
    "NO_GRID": ("NO_GRID",),
}
"""The ASPCAP flags that exclude a star from training (paper, section 2.2)."""


def bits_of(names: Iterable[str], table: Mapping[str, int]) -> int:
    """The mask with the bits of ``names`` set.

    Args:
        names: of flags.
        table: :data:`ASPCAPFLAG` or :data:`PIXMASK`.

    Returns:
        The mask, to be combined with the column of a file by ``&``.

    Raises:
        KeyError: ``table`` has no flag of that name.

    Examples:
        >>> bits_of(("TEFF_WARN", "LOGG_WARN"), ASPCAPFLAG)
        3
    """
    mask = 0
    for name in names:
        if name not in table:
            raise KeyError(f"no flag {name!r}; known: {', '.join(table)}")
        mask |= 1 << table[name]
    return mask


def bits_of_text(text: str) -> int:
    """The ``ASPCAPFLAG`` that the text of the column ``ASPCAPFLAGS`` spells out.

    Args:
        text: names separated by commas, ``STAR_WARN,SN_WARN``; may be empty.

    Returns:
        The number that the column ``ASPCAPFLAG`` has.

    Raises:
        KeyError: a name is none of :data:`ASPCAPFLAG`.
    """
    return bits_of((name.strip() for name in text.split(",") if name.strip()), ASPCAPFLAG)


def bits_of_astra(result_flags: Int64[np.ndarray, " row"]) -> Int64[np.ndarray, " row"]:
    """The ``ASPCAPFLAG`` that says what Astra's ``result_flags`` say.

    A bit that is not in :data:`ASTRA_FLAGS`, as a missing value has them all, flags the star.

    Args:
        result_flags: of Astra's tables, one integer a row.

    Returns:
        The bits of DR17's ``ASPCAPFLAG``.
    """
    found = np.zeros(len(result_flags), np.int64)
    for bit, names in enumerate(ASTRA_FLAGS):
        found |= np.where((result_flags >> bit) & 1, bits_of(names, ASPCAPFLAG), 0)
    unknown = (result_flags >> len(ASTRA_FLAGS)) != 0
    return np.where(unknown, found | bits_of(("STAR_BAD", *_STAR), ASPCAPFLAG), found)
