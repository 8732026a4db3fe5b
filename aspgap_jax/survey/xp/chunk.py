"""What every XP reader yields, and the one table of column names and sizes.

Names and sizes come from the table of releases
(:mod:`aspgap_jax.survey.xp.releases`). The sizes are only what is assumed for a band
that no row of a file shows; otherwise they are read from the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int32, Int64

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.releases import DEFAULT, RELEASES

__all__ = [
    "BANDS",
    "BASES",
    "WAVELENGTH",
    "BadRow",
    "XPChunk",
    "XPLayout",
    "layout_of",
    "regrouped",
]

BANDS = ("bp", "rp")
_NAMES = RELEASES[DEFAULT].names
BASES = (RELEASES[DEFAULT].coefficients or (55, 55))[0]
SOURCE_ID = _NAMES.source_id
G_MAG = _NAMES.g_mag
SAMPLED = (_NAMES.flux, _NAMES.flux_error)
RUWE = "ruwe"
# Per band, after the prefix "bp_" or "rp_".
COEFFICIENTS, ERRORS, CORRELATIONS = _NAMES.coefficients, _NAMES.errors, _NAMES.correlations
N_PARAMETERS = _NAMES.n_parameters
BASIS = _NAMES.basis
INTEGERS = ("n_relevant_bases", "n_measurements")
FLOATS = ("chi_squared", "standard_deviation")
# The grid of xp_sampled_mean_spectrum [nm].
WAVELENGTH: Float[np.ndarray, " sample"] = np.arange(336.0, 1021.0, 2.0)
MISSING = -1


class BadRow(NamedTuple):
    """A row that was left out.

    Attributes:
        row: its number in the table, from 1, the header not counted; 0 where all of
            it cannot be used.
        source_id: its Gaia source id, or -1 where that is not readable.
        what: what is wrong with it.
        place: the table of a file with several, or the file in an archive.
    """

    row: int
    source_id: int
    what: str
    place: str = ""

    def __str__(self) -> str:
        star = "" if self.source_id == MISSING else f" (source_id {self.source_id})"
        row = f"row {self.row}{star}" if self.row else ""
        return f"{', '.join(part for part in (self.place, row) if part)}: {self.what}"


class XPLayout(NamedTuple):
    """Which columns of a file matter.

    Attributes:
        representation: ``continuous`` or ``sampled``.
        spectra: the array columns, value before error, BP before RP.
        correlations: the correlation columns to read, BP before RP; or none.
        n_parameters: per band, the column that states the number of coefficients.
        integers: scalar columns of integers, ``source_id`` not among them.
        floats: scalar columns of floats.
    """

    representation: str
    spectra: tuple[str, ...]
    correlations: tuple[str, ...]
    n_parameters: tuple[str, ...]
    integers: tuple[str, ...]
    floats: tuple[str, ...]

    @property
    def arrays(self) -> tuple[str, ...]:
        """All array columns that are read."""
        return self.spectra + self.correlations

    @property
    def scalars(self) -> tuple[str, ...]:
        """All scalar columns that are read, the source id first."""
        return (SOURCE_ID, *self.integers, *self.floats)

    def group(self, column: str) -> tuple[str, ...]:
        """The array columns that are present, or missing, together with ``column``."""
        if self.representation == "sampled":
            return self.spectra
        return tuple(name for name in self.arrays if name[:3] == column[:3])

    def size(self, column: str) -> int:
        """Length of an array column of DR3, for bands that a file nowhere shows."""
        if self.representation == "sampled":
            return len(WAVELENGTH)
        return BASES * (BASES - 1) // 2 if column in self.correlations else BASES


def layout_of(
    columns: Iterable[str],
    path: Path | str,
    *,
    correlations: bool = False,
    shown: Sequence[str] | None = None,
) -> XPLayout:
    """The layout of an XP table with the given column names.

    Args:
        columns: names as the archive gives them.
        path: the file, for messages.
        correlations: whether the correlations are to be read.
        shown: the names as the file has them, for messages.
        columns: names of the table's columns.
        path: of the file, for messages.
        correlations: whether they are wanted.

    Returns:
        Where each array of a star is.

    Raises:
        InputError: it is no XP table, or has no correlations although asked for.
    """
    found = tuple(columns)
    have = set(found)
    given = (*tuple(name for name in G_MAG if name in have)[:1], *({RUWE} & have))
    continuous = tuple(f"{band}_{name}" for band in BANDS for name in (COEFFICIENTS, ERRORS))
    if SOURCE_ID in have and have.issuperset(continuous):
        pairs = tuple(f"{band}_{CORRELATIONS}" for band in BANDS)
        if correlations and not have.issuperset(pairs):
            raise InputError(
                f"{path}: has no columns {', '.join(pairs)}; read it without correlations"
            )
        n_parameters = tuple(f"{band}_{N_PARAMETERS}" for band in BANDS)
        per_band = (*INTEGERS, BASIS)
        integers = (*n_parameters, *(f"{band}_{name}" for band in BANDS for name in per_band))
        floats = tuple(f"{band}_{name}" for band in BANDS for name in FLOATS)
        return XPLayout(
            representation="continuous",
            spectra=continuous,
            correlations=pairs if correlations else (),
            n_parameters=tuple(name for name in n_parameters if name in have),
            integers=tuple(name for name in integers if name in have),
            floats=(*(name for name in floats if name in have), *given),
        )
    if SOURCE_ID in have and have.issuperset(SAMPLED):
        if correlations:
            raise InputError(f"{path}: sampled spectra have no correlations; read it without")
        return XPLayout("sampled", SAMPLED, (), (), (), given)
    names = found if shown is None else tuple(shown)
    has = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    raise InputError(
        f"{path}: no Gaia XP table: it needs {SOURCE_ID} with {', '.join(continuous)}, or with "
        f"{', '.join(SAMPLED)}, and has {has or 'no columns'}; pass XP spectra as the Gaia "
        f"archive delivers them"
    )


@dataclass(frozen=True)
class XPChunk:
    """Consecutive stars of one file, host side (NumPy), in physical units.

    Nothing that the file lacks appears as a number: missing values are NaN in
    floats, -1 in integers and False in ``finite`` and ``present``.

    Attributes:
        source_id: Gaia source ids, int64 ``[star]``.
        representation: ``continuous`` or ``sampled``.
        coefficients: float64 ``[star, xp]``: BP then RP coefficients, or sampled
            fluxes in W m^-2 nm^-1.
        errors: their 1-sigma errors, same shape and unit.
        finite: where both value and error are finite, ``[star, xp]``.
        n_bp: how many of the ``xp`` columns are BP coefficients; 0 for ``sampled``.
        wavelength: ``[xp]`` in nm for ``sampled`` on the DR3 grid, else ``None``.
        g_mag: Gaia G, mag, ``[star]``; NaN where the file has none.
        ruwe: Gaia's ruwe, ``[star]``; NaN where the file has none.
        present: whether the star has the band, ``[star, band]``. The ``band`` axis
            is BP, RP for ``continuous`` and has length 0 for ``sampled``.
        n_relevant_bases: coefficients above the noise, ``[star, band]``.
        n_measurements: measurements in the fit, ``[star, band]``.
        chi_squared: of the fit, ``[star, band]``.
        standard_deviation: of the fit, ``[star, band]``; covariances need it.
        release: the Gaia release of coefficients, as
            :data:`aspgap_jax.survey.xp.releases.RELEASES` calls it; empty where unknown,
            and for ``sampled``.
        correlations: ``[star, band, pair]``, ``None`` unless asked for: the strict
            lower triangle of each band's correlation matrix, row by row (that is
            ``numpy.tril_indices(n, -1)``); NaN pads the shorter band.
    """

    source_id: Int64[np.ndarray, " star"]
    representation: str
    coefficients: Float[np.ndarray, "star xp"]
    errors: Float[np.ndarray, "star xp"]
    finite: Bool[np.ndarray, "star xp"]
    n_bp: int
    wavelength: Float[np.ndarray, " xp"] | None
    g_mag: Float[np.ndarray, " star"]
    ruwe: Float[np.ndarray, " star"]
    present: Bool[np.ndarray, "star band"]
    n_relevant_bases: Int32[np.ndarray, "star band"]
    n_measurements: Int32[np.ndarray, "star band"]
    chi_squared: Float[np.ndarray, "star band"]
    standard_deviation: Float[np.ndarray, "star band"]
    correlations: Float[np.ndarray, "star band pair"] | None = None
    release: str = ""

    def __len__(self) -> int:
        return len(self.source_id)

    @classmethod
    def concatenate(cls, chunks: Sequence[XPChunk]) -> XPChunk:
        """Chunks of one file, in order, as one."""
        first = chunks[0]
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(chunk, name) for chunk in chunks])
            for name in first._per_star()
        }
        return replace(first, **joined)

    def __getitem__(self, rows: slice | np.ndarray) -> XPChunk:
        """The stars that a slice, a mask or row numbers select."""
        picked: dict[str, Any] = {name: getattr(self, name)[rows] for name in self._per_star()}
        return replace(self, **picked)

    def _per_star(self) -> tuple[str, ...]:
        """The fields that have a ``star`` axis."""
        shared = {"representation", "n_bp", "wavelength", "release"}
        if self.correlations is None:
            shared.add("correlations")
        return tuple(field.name for field in fields(self) if field.name not in shared)

    def band(self, band: int) -> slice:
        """The ``xp`` columns of BP (0) or RP (1)."""
        return slice(0, self.n_bp) if band == 0 else slice(self.n_bp, None)


def regrouped(chunks: Iterator[XPChunk], size: int) -> Iterator[XPChunk]:
    """Chunks of ``size`` stars from smaller ones, as far as these are of one kind.

    Args:
        chunks: of one file.
        size: stars.

    Yields:
        The same stars.
    """
    held: list[XPChunk] = []
    stars = 0

    def key(chunk: XPChunk) -> tuple[object, ...]:
        width, on_grid = chunk.coefficients.shape[1], chunk.wavelength is not None
        return chunk.representation, width, chunk.n_bp, on_grid, chunk.release

    try:
        for chunk in chunks:
            if held and key(held[0]) != key(chunk):
                yield XPChunk.concatenate(held)
                held, stars = [], 0
            if not held and len(chunk) == size:
                yield chunk
                continue
            held.append(chunk)
            stars += len(chunk)
            if stars >= size:
                whole = XPChunk.concatenate(held)
                yield whole[:size]
                held = [whole[size:]] if stars > size else []
                stars -= size
    except InputError:
        if held:
            yield XPChunk.concatenate(held)
        raise
    if held:
        yield XPChunk.concatenate(held)
