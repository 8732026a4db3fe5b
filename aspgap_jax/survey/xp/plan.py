"""What the columns of a table mean: which hold what, in which unit, on which grid, of whom."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import units
from aspgap_jax.survey.xp.cells import as_list, id_of
from aspgap_jax.survey.xp.chunk import (
    BANDS,
    BASIS,
    COEFFICIENTS,
    CORRELATIONS,
    ERRORS,
    FLOATS,
    G_MAG,
    INTEGERS,
    N_PARAMETERS,
    RUWE,
    SAMPLED,
    SOURCE_ID,
    WAVELENGTH,
    XPLayout,
    layout_of,
)
from aspgap_jax.survey.xp.grids import Resampling, resampling
from aspgap_jax.survey.xp.names import Names, Series
from aspgap_jax.survey.xp.notes import Notes
from aspgap_jax.survey.xp.releases import named_in
from aspgap_jax.survey.xp.table import Stated, Table

__all__ = ["GRID", "NoSpectra", "Plan", "is_foreign", "plan_of"]

# What grids are called, in columns, PARAMs, keywords and attributes.
GRID = ("wavelength", "wavelengths", "sampling", "lambda", "wave", "wl")
STATED_ID = ("source_id", "sourceid", "source id", "gaia_source_id")
# "XP_SAMPLED-Gaia DR3 5853498713190525696.csv", as DataLink names its files.
NAMED_ID = re.compile(r"gaia[ _-]?e?dr[ _-]?[3-9][ _-]+(\d{6,19})(?!\d)", re.IGNORECASE)
ANY_ID = re.compile(r"(?<!\d)(\d{10,19})(?!\d)")
# GaiaXPy's `convert` names the band of a row so.
BAND_OF_ROW = "xp"
# "Gaia DR3 5853498713190525696", the only column of ids of some tables.
DESIGNATION = "designation"


SPECTRAL = {*SAMPLED, *(f"{band}_{what}" for band in BANDS for what in (COEFFICIENTS, ERRORS))}


class NoSpectra(InputError):
    """A table that holds no XP spectra, or not enough of them.

    Args:
        what: words for the user.
        foreign: whether it has nothing of XP spectra, so that it is no concern of ours
            where nobody named it.

    Attributes:
        foreign: the same.
    """

    def __init__(self, what: str, *, foreign: bool) -> None:
        super().__init__(what)
        self.foreign = foreign


def is_foreign(error: Exception) -> bool:
    """Whether a file could be read and has nothing of XP spectra.

    Args:
        error: of its reader.

    Returns:
        Where nobody named such a file, but a folder that holds it, it is left out.
    """
    return isinstance(error, NoSpectra) and error.foreign


@dataclass(frozen=True)
class Plan:
    """How to read one table.

    Attributes:
        where: file and table, for messages.
        layout: of the stars, in the names of the archive.
        source: for each column of the archive that is there, the column or the numbered
            columns that hold it.
        ids: the one star of the table, where it has no column of ids.
        twins: two columns of ids after a join, which must agree; or none.
        grid_column: column of wavelengths, ``None`` if the table has none.
        grid_unit: its unit.
        from_grid: how spectra on the grid stated for the table become such on the
            archive's; ``None`` where they are.
        grid: number of samples of a grid stated for the table, else 0.
        factors: what fluxes and errors are multiplied by.
        releases: what the file says of its release.
    """

    where: str
    layout: XPLayout
    source: Mapping[str, str | Series]
    ids: int | None
    twins: tuple[str, str] | None
    grid_column: str | None
    grid_unit: str
    from_grid: Resampling | None
    grid: int
    factors: tuple[Float[np.ndarray, " xp"] | float, Float[np.ndarray, " xp"] | float]
    releases: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the file that are needed."""
        wanted: dict[str, None] = {}
        for found in self.source.values():
            wanted |= dict.fromkeys((found,) if isinstance(found, str) else found.columns)
        if self.grid_column is not None:
            wanted[self.grid_column] = None
        if self.twins is not None:
            wanted |= dict.fromkeys(self.twins)
        return tuple(wanted)

    @property
    def plain(self) -> bool:
        """Whether each column of the archive is one column of the file, a row a star."""
        return (
            all(isinstance(found, str) for found in self.source.values())
            and self.ids is None
            and self.twins is None
            and self.grid_column is None
            and not str(self.source.get(SOURCE_ID)).lower().startswith(DESIGNATION)
        )


def plan_of(table: Table, path: Path, notes: Notes, *, correlations: bool) -> Plan:
    """How to read a table.

    Args:
        table: as its container describes it.
        path: the file.
        notes: takes what is guessed.
        correlations: whether the correlations are wanted.

    Returns:
        Columns, units, grid and kind of the spectra.

    Raises:
        NoSpectra: the table holds no XP spectra.
        InputError: it does, in a unit, on a grid, or in an order of columns that cannot
            be used.
    """
    where = f"{path}, {table.place}" if table.place else str(path)
    names = Names(table.names, where)
    source = _columns(names, notes)
    ids = None if SOURCE_ID in source else _stated_id(table, path, source, notes)
    known = (*source, SOURCE_ID) if ids is not None else tuple(source)
    try:
        layout = layout_of(known, where, correlations=correlations, shown=table.names)
    except InputError as error:
        raise NoSpectra(str(error), foreign=SPECTRAL.isdisjoint(source)) from None
    needed = {*layout.arrays, *layout.scalars} & set(source)
    unit = {column.name: column.unit for column in table.columns}
    sampled = layout.representation == "sampled"
    if sampled and names.find(BAND_OF_ROW) is not None:
        raise InputError(
            f"{where}: has a column {BAND_OF_ROW}: spectra of one band in e-/s, as GaiaXPy's "
            f"`convert` writes them; pass what its `calibrate` writes, or the coefficients"
        )
    grid_column = None
    grid: Float[np.ndarray, " first"] | None = None
    if sampled:
        grid_column = next((c for c in map(names.find, GRID) if c is not None), None)
        if grid_column is None:
            grid = _stated_grid(table, source, where)
    from_grid = None if grid is None else resampling(grid, WAVELENGTH, f"{where}: its grid")
    return Plan(
        where=where,
        layout=layout,
        source={name: source[name] for name in source if name in needed},
        ids=ids,
        twins=_twins(names, source),
        grid_column=grid_column,
        grid_unit=unit.get(grid_column or "", ""),
        from_grid=from_grid,
        grid=0 if grid is None else len(grid),
        factors=_factors(layout, source, unit, where),
        releases=named_in(
            [path.name, *(str(stated.value) for stated in table.stated.values() if stated)]
        ),
    )


def _columns(names: Names, notes: Notes) -> dict[str, str | Series]:
    """Every column of the archive that the table has, in one column or in many."""
    found: dict[str, str | Series] = {}
    for name in (SOURCE_ID, *G_MAG, RUWE):
        if (column := names.find(name)) is not None:
            found[name] = column
    if SOURCE_ID not in found and (column := names.find(DESIGNATION)) is not None:
        found[SOURCE_ID] = column
    for band in BANDS:
        for quantity in (COEFFICIENTS, ERRORS, CORRELATIONS):
            name = f"{band}_{quantity}"
            column = names.find(name)
            spread = None
            if column is None and quantity != CORRELATIONS:
                spread = names.series(band, error=quantity == ERRORS)
            _keep(found, name, column, spread, notes)
        for quantity in (N_PARAMETERS, *INTEGERS, BASIS, *FLOATS):
            if (column := names.find(f"{band}_{quantity}")) is not None:
                found[f"{band}_{quantity}"] = column
    for name in SAMPLED:
        column = names.find(name)
        spread = None if column is not None else names.series(None, error=name == SAMPLED[1])
        _keep(found, name, column, spread, notes)
    return found


def _keep(
    found: dict[str, str | Series],
    name: str,
    column: str | None,
    spread: Series | None,
    notes: Notes,
) -> None:
    if column is not None:
        found[name] = column
    elif spread is not None:
        found[name] = spread
        notes.add(f"{name} is taken from {len(spread.columns)} columns, {spread}")


def _twins(names: Names, source: Mapping[str, str | Series]) -> tuple[str, str] | None:
    """The ids of both tables of a join, where the spectra could be of either."""
    first, second = source.get(SOURCE_ID), names.twin(SOURCE_ID)
    spectra = source.get(SAMPLED[0], source.get(f"{BANDS[0]}_{COEFFICIENTS}"))
    if not isinstance(first, str) or second is None or not isinstance(spectra, str):
        return None
    return None if spectra.lower().endswith("_1") else (first, second)


def _stated_id(
    table: Table, path: Path, source: Mapping[str, str | Series], notes: Notes
) -> int | None:
    """The star that a table without ids is of: stated in it, or by the file's name."""
    if not {*SAMPLED, f"{BANDS[0]}_{COEFFICIENTS}"} & set(source):
        return None
    for name in STATED_ID:
        if name in table.stated and isinstance(found := id_of(table.stated[name].value), int):
            return found
    named = NAMED_ID.findall(path.name)
    digits = set(named or ANY_ID.findall(path.stem))
    if len(digits) != 1 or (not named and re.search(r"dr[ _-]?[12](?!\d)", path.name.lower())):
        return None
    notes.add("the source id is taken from the name of the file", 1)
    return int(digits.pop())


def _stated_grid(
    table: Table, source: Mapping[str, str | Series], where: str
) -> Float[np.ndarray, " first"] | None:
    """The grid that holds for all of a table, nm."""
    flux = source[SAMPLED[0]]
    if isinstance(flux, Series) and flux.wavelengths:
        return np.array(flux.numbers)
    for name in GRID:
        if (stated := table.stated.get(name)) is not None:
            values = _numbers(stated, f"{where}: its {name}")
            return units.to_nm(values, stated.unit, f"{where}: its {name}")
    return None


def _numbers(stated: Stated, where: str) -> Float[np.ndarray, " value"]:
    value: Any = stated.value
    try:
        if isinstance(value, bytes):
            value = value.decode()
        if isinstance(value, str):
            value = as_list("it", value)
        return np.asarray(value, np.float64).ravel()
    except (TypeError, ValueError):
        raise InputError(f"{where} is no list of wavelengths; correct it") from None


def _factors(
    layout: XPLayout, source: Mapping[str, str | Series], unit: Mapping[str, str], where: str
) -> tuple[Any, Any]:
    """Factors of fluxes and errors; other columns must be in the unit of the archive."""

    def stated(name: str) -> str:
        found = source.get(name)
        if isinstance(found, Series):
            return unit.get(found.columns[0], "")
        return "" if found is None else unit.get(found, "")

    for name in G_MAG:
        units.check_magnitude(stated(name), f"{where}: {name}")
    if layout.representation == "continuous":
        for name in layout.spectra:
            units.check_coefficients(stated(name), f"{where}: {name}")
        return 1.0, 1.0
    factors = [
        units.flux_factor(stated(name), WAVELENGTH, f"{where}: {name}") for name in layout.spectra
    ]
    said = [bool(stated(name).strip()) for name in layout.spectra]
    if said[0] != said[1] and any(not isinstance(factor, float) for factor in factors):
        silent = layout.spectra[said.index(False)]
        raise InputError(
            f"{where}: {silent} states no unit and its partner states {stated(layout.spectra[0])}"
            f"{stated(layout.spectra[1])}; state both"
        )
    return factors[0], factors[1]
