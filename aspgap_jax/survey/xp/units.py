"""Units that a file states, turned into the archive's: exactly, or not at all.

Fluxes are W m^-2 nm^-1, wavelengths nm, coefficients e-/s. A column without a unit is
taken to be in the archive's. Conversion is astropy's, from flux per frequency or in
photons too, which depends on the wavelength.
"""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from aspgap_jax.errors import InputError

__all__ = ["check_coefficients", "check_magnitude", "flux_factor", "to_nm"]

# As the archive, GaiaXPy and this package write them: known without astropy, which takes
# long to import.
FLUX = frozenset({"", "W.m**-2.nm**-1", "W.nm**-1.m**-2", "W m-2 nm-1", "W nm-1 m-2"})
LENGTH = frozenset({"", "nm"})
COUNTS = frozenset({"", "e-/s", "e-.s**-1", "'electron'.s**-1", "electron.s**-1", "electron/s"})
MAGNITUDES = frozenset({"", "mag", "Mag", "mag(AB)", "mag(Vega)", "mag (Vega)"})
# Per wavelength or per frequency, in energy or in photons.
DENSITIES = frozenset(
    {
        "spectral flux density",
        "spectral flux density wav",
        "photon flux density",
        "photon flux density wav",
    }
)
ELECTRONS = re.compile(r"(?<![a-zA-Z0-9])e-(?![0-9])")
LATEX = str.maketrans("", "", "{}$")


def flux_factor(
    unit: str, wavelength: Float[np.ndarray, " xp"], where: str
) -> Float[np.ndarray, " xp"] | float:
    """What to multiply fluxes, or their errors, by to have W m^-2 nm^-1.

    Args:
        unit: as the file states it; empty: the archive's.
        wavelength: of the samples, nm.
        where: file, table and column, for messages.

    Returns:
        One number, or one a sample where the unit is per frequency.

    Raises:
        InputError: it is no unit, or none of a spectral flux density.
    """
    if unit.strip() in FLUX:
        return 1.0
    from astropy import units as u

    found = _parsed(unit, where)
    archive = u.W / u.m**2 / u.nm
    try:
        # Astropy would divide a flux in W m^-2 by the wavelength, too.
        if not DENSITIES & set(getattr(found, "physical_type", ())):
            raise u.UnitConversionError
        factor = found.to(archive, equivalencies=u.spectral_density(wavelength * u.nm))
    except (u.UnitsError, TypeError, ValueError):
        raise InputError(
            f"{where} is in {unit}, no unit of a spectral flux density; pass fluxes in "
            f"W m^-2 nm^-1 or in a unit that converts to it"
        ) from None
    factor = np.asarray(factor, np.float64) * np.ones(len(wavelength))
    if np.allclose(factor, 1.0, rtol=1e-12, atol=0):
        return 1.0
    return factor


def to_nm(
    wavelength: Float[np.ndarray, "*any"], unit: str, where: str
) -> Float[np.ndarray, "*any"]:
    """Wavelengths in nm; without a unit they are taken to be.

    Args:
        wavelength: in the unit.
        unit: as the file states it; may be empty.
        where: file, table and column, for messages.

    Returns:
        nm, float64.

    Raises:
        InputError: the unit is no length.
    """
    values = np.asarray(wavelength, np.float64)
    if unit.strip() in LENGTH:
        return values
    from astropy import units as u

    try:
        # A factor, so that grids in round numbers stay round.
        return np.asarray(values * _parsed(unit, where).to(u.nm))
    except (u.UnitsError, TypeError, ValueError):
        raise InputError(f"{where} is in {unit}, no unit of wavelength; pass it in nm") from None


def check_coefficients(unit: str, where: str) -> None:
    """Coefficients come in e-/s alone.

    Args:
        unit: as the file states it; empty: the archive's.
        where: file, table and column, for messages.

    Raises:
        InputError: the file states another unit.
    """
    if unit.strip() in COUNTS:
        return
    from astropy import units as u

    found = _parsed(unit, where)
    if found not in (u.electron / u.s, u.dimensionless_unscaled):
        raise InputError(f"{where} is in {unit}; pass coefficients in e-/s, as the archive does")


def check_magnitude(unit: str, where: str) -> None:
    """G comes in magnitudes.

    Args:
        unit: as the file states it; may be empty.
        where: file, table and column, for messages.

    Raises:
        InputError: the file states another unit.
    """
    if unit.strip() not in MAGNITUDES:
        raise InputError(f"{where} is in {unit}; pass Gaia's G in magnitudes")


@cache
def _parsed(unit: str, where: str) -> Any:
    """The unit of a text in any of the usual spellings.

    Raises:
        InputError: it is none that astropy knows.
    """
    from astropy import units as u

    text = ELECTRONS.sub("electron", unit.strip().translate(LATEX)).replace("^", "**")
    for form in (None, "vounit", "cds"):
        try:
            with warnings.catch_warnings(), u.set_enabled_aliases(_spellings()):
                # Of units that a standard deprecates, or allows in one way only.
                warnings.simplefilter("ignore")
                found = u.Unit(text, format=form)
        except (ValueError, TypeError):
            continue
        return _without_ampere(found)
    raise InputError(
        f"{where} states the unit {unit!r}, which cannot be read; correct it, or remove it if the "
        f"values are in the archive's unit"
    )


def _spellings() -> dict[str, Any]:
    """What people write beside the names that astropy knows."""
    from astropy import units as u

    return {
        **dict.fromkeys(("ergs", "Erg", "Ergs"), u.erg),
        **dict.fromkeys(("Ang", "ang", "Angstroms", "angstroms"), u.AA),
        **dict.fromkeys(("Watts", "watts"), u.W),
    }


def _without_ampere(unit: Any) -> Any:
    """Per ``A`` astronomers mean the Angstrom; no spectrum has Amperes."""
    from astropy import units as u

    if u.A not in getattr(unit, "bases", ()):
        return unit
    swapped = [u.AA if base == u.A else base for base in unit.bases]
    return u.CompositeUnit(unit.scale, swapped, unit.powers)
