"""Everything about XP spectra that differs from one Gaia release to the next.

One row a release. A release that is not known here can still be read: the number of
coefficients is taken from the data. To predict from coefficients by a bundle that was
trained on samples, a release needs its instrument matrix
(:mod:`aspgap_jax.survey.xp.instrument`).

Sources: the Gaia DR3 data model; for DR4 the draft data model of 2026, which has no
number of coefficients and no table of sampled spectra.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from aspgap_jax.errors import InputError

__all__ = ["DEFAULT", "RELEASES", "Release", "XPNames", "named_in", "of_coefficients", "release"]


class XPNames(NamedTuple):
    """Column names of the tables of mean spectra; those of a band follow ``bp_`` or ``rp_``."""

    source_id: str = "source_id"
    g_mag: tuple[str, ...] = ("phot_g_mean_mag", "g_mag")
    flux: str = "flux"
    flux_error: str = "flux_error"
    wavelength: str = "wavelength"
    coefficients: str = "coefficients"
    errors: str = "coefficient_errors"
    correlations: str = "coefficient_correlations"
    n_parameters: str = "n_parameters"
    basis: str = "basis_function_id"


@dataclass(frozen=True)
class Release:
    """A Gaia data release.

    Attributes:
        name: as ``--release`` takes it.
        coefficients: how many BP and RP have; ``None`` where that is not published.
        basis: ``basis_function_id`` of BP and RP; ``None`` where not published.
        names: column names.
        retrieval: DataLink's RETRIEVAL_TYPE of ``xp_continuous`` and ``xp_sampled``.
        structures: DataLink's DATA_STRUCTURE for one file of all stars, the newest
            name first.
        source_table: table of sources of the archive.
        with_spectra: ADQL for the sources that have XP spectra.
        matrix: file of the instrument matrix in ``aspgap_jax/data``, or ``None``.
        models: GaiaXPy's names of the BP and RP models the matrix is made of.
    """

    name: str
    coefficients: tuple[int, int] | None
    basis: tuple[int, int] | None
    names: XPNames
    retrieval: dict[str, str]
    structures: tuple[str, ...]
    source_table: str
    with_spectra: str
    matrix: str | None
    models: tuple[str, str] | None

    def has_basis(self, basis: tuple[int | None, int | None] | None) -> bool:
        """Whether ids of BP's and RP's basis can be this release's, as far as they are known."""
        if self.basis is None or basis is None:
            return True
        pairs = zip(basis, self.basis, strict=True)
        return all(found is None or found == own for found, own in pairs)


RELEASES: dict[str, Release] = {
    row.name: row
    for row in (
        Release(
            name="dr3",
            coefficients=(55, 55),
            basis=(56, 57),
            names=XPNames(),
            retrieval={"xp_continuous": "XP_CONTINUOUS", "xp_sampled": "XP_SAMPLED"},
            structures=("DATAMODEL_GAIA", "RAW"),
            source_table="gaiadr3.gaia_source",
            with_spectra="has_xp_continuous = 'true'",
            matrix="xp_instrument.npy",
            models=("v375wi", "v142r"),
        ),
        Release(
            name="dr4",
            coefficients=None,
            basis=None,
            names=XPNames(),
            retrieval={"xp_continuous": "MEAN_SPECTRUM_XP"},
            structures=("DATAMODEL_GAIA", "RAW"),
            source_table="gaiadr4.gaia_source",
            with_spectra="source_id IN (SELECT source_id FROM gaiadr4.all_source_flags "
            "WHERE has_xp_continuous = 'true')",
            matrix=None,
            models=None,
        ),
    )
}
"""The releases by name."""
DEFAULT = "dr3"
# EDR3 and DR3 share ids and spectra. Gaia DR2 has no XP spectra: it is named in other columns.
MENTION = re.compile(r"gaia[ _-]?e?dr[ _-]?([3-9])(?!\d)", re.IGNORECASE)


def release(name: str) -> Release:
    """The row of a release.

    Args:
        name: ``dr3``, ``dr4``, in any case.

    Returns:
        What is known of its spectra.

    Raises:
        InputError: it is not in the table.
    """
    if name.lower() not in RELEASES:
        raise InputError(f"no Gaia release {name!r}; known: {', '.join(RELEASES)}")
    return RELEASES[name.lower()]


def named_in(texts: Iterable[str]) -> tuple[str, ...]:
    """The releases that texts (a header, a file name) speak of, each once.

    Args:
        texts: in any case.

    Returns:
        Names as ``dr3``, sorted.
    """
    return tuple(sorted({f"dr{found}" for text in texts for found in MENTION.findall(text)}))


def of_coefficients(sizes: tuple[int, int], basis: tuple[int | None, int | None] | None) -> str:
    """The release whose spectra have such coefficients, or an empty text.

    Args:
        sizes: coefficients of BP and of RP.
        basis: their ``basis_function_id``; ``None`` where the file does not tell.

    Returns:
        Its key in the table of releases.
    """
    for row in RELEASES.values():
        if row.coefficients == sizes and row.has_basis(basis):
            return row.name
    return ""
