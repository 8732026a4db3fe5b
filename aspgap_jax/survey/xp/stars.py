"""Rows of a file become stars in the archive's columns, grid and units.

A file has a row a star, or a row a wavelength ("long" tables: DataLink's structure
INDIVIDUAL, or arrays that were exploded into rows).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from aspgap_jax.errors import InputError
from aspgap_jax.survey.sentinels import KINDS, is_sentinel, without_sentinels
from aspgap_jax.survey.xp import units
from aspgap_jax.survey.xp.cells import Fault, as_list, id_of, list_cells, scalar_cells
from aspgap_jax.survey.xp.chunk import SAMPLED, SOURCE_ID, WAVELENGTH, XPChunk
from aspgap_jax.survey.xp.grids import Resampling, resampling
from aspgap_jax.survey.xp.names import Series
from aspgap_jax.survey.xp.notes import Notes
from aspgap_jax.survey.xp.plan import Plan
from aspgap_jax.survey.xp.releases import RELEASES
from aspgap_jax.survey.xp.table import RawBatch

__all__ = ["LongRows", "StarRows", "finished", "is_long", "star_rows"]

RESAMPLED = "spectra on another wavelength grid were resampled to the archive's"
FLUX, FLUX_ERROR = SAMPLED


class StarRows(NamedTuple):
    """Stars in the columns of the archive, and the row where each begins."""

    batch: dict[str, Sequence[Any] | np.ndarray]
    rows: Sequence[int]


def is_long(plan: Plan, raw: RawBatch) -> bool:
    """Whether a table has a row a wavelength: its fluxes are single numbers.

    Args:
        plan: of the table.
        raw: rows of it.

    Returns:
        Whether it has.
    """
    flux = plan.source.get(FLUX)
    if plan.layout.representation != "sampled" or not isinstance(flux, str):
        return False
    cells = raw[flux]
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "iuf":
        return cells.ndim == 1
    for cell in cells:
        if isinstance(cell, str | bytes):
            text = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell
            try:
                if as_list(FLUX, text) is not None:
                    return False
            except ValueError:
                # No list: a number, or damaged.
                try:
                    float(text)
                except ValueError:
                    continue
                return True
        elif cell is not None and not isinstance(cell, Fault):
            return np.ndim(cell) == 0
    return False


def star_rows(plan: Plan, raw: RawBatch, first_row: int, notes: Notes) -> StarRows:
    """Stars of a table with a row a star.

    Args:
        plan: of the table.
        raw: its rows.
        first_row: number of the first of them.
        notes: takes the number of resampled stars.

    Returns:
        The stars, and the row where each begins.
    """
    layout = plan.layout
    batch: dict[str, Sequence[Any] | np.ndarray] = {}
    for name, found in plan.source.items():
        if isinstance(found, Series):
            batch[name] = _stacked(name, found, raw)
        elif name in layout.arrays:
            batch[name] = list_cells(name, raw[found])
        elif name != SOURCE_ID:
            batch[name] = scalar_cells(name, raw[found])
    count = len(next(iter(batch.values())))
    batch[SOURCE_ID] = _ids(plan, raw, count)
    if plan.grid_column is not None:
        _regrid(plan, batch, list_cells("wavelength", raw[plan.grid_column]), notes)
    return StarRows(batch, range(first_row, first_row + count))


class LongRows:
    """Collects the rows of stars in a table with a row a wavelength.

    Args:
        plan: of the table.
        notes: takes the number of resampled stars.

    Raises:
        InputError: the table does not say which wavelength a row is of.
    """

    def __init__(self, plan: Plan, notes: Notes) -> None:
        if plan.grid_column is None:
            raise InputError(
                f"{plan.where}: {plan.source[FLUX]} has one number a row and no column says of "
                f"which wavelength; pass a column wavelength, or arrays"
            )
        self._plan = plan
        self._notes = notes
        self._seen: set[int] = set()
        self._held: list[tuple[Any, int, dict[str, list[Any]]]] = []
        self._names = {
            name: found for name, found in plan.source.items() if isinstance(found, str)
        } | {"wavelength": plan.grid_column}

    def add(self, raw: RawBatch, first_row: int) -> StarRows:
        """Take rows; return the stars that are complete, all but the last.

        Args:
            raw: rows of the table.
            first_row: number of the first of them.

        Returns:
            The stars.
        """
        columns = {
            name: raw[found] if name == SOURCE_ID else scalar_cells(name, raw[found])
            for name, found in self._names.items()
        }
        count = len(columns[FLUX])
        ids = _ids(self._plan, raw, count)
        start = 0
        for row in range(1, count + 1):
            if row < count and ids[row] == ids[start]:
                continue
            values = {name: list(cells[start:row]) for name, cells in columns.items()}
            if self._held and self._held[-1][0] == ids[start]:
                for name, cells in values.items():
                    self._held[-1][2][name] += cells
            else:
                self._held.append((ids[start], first_row + start, values))
            start = row
        done, self._held = self._held[:-1], self._held[-1:]
        return self._stars(done)

    def finish(self) -> StarRows:
        """The last star."""
        done, self._held = self._held, []
        return self._stars(done)

    def _stars(self, done: list[tuple[Any, int, dict[str, list[Any]]]]) -> StarRows:
        layout = self._plan.layout
        names = (*layout.arrays, *layout.scalars)
        batch: dict[str, list[Any]] = {name: [] for name in names}
        wavelengths: list[Any] = []
        for source_id, _, values in done:
            if isinstance(source_id, int):
                if source_id in self._seen:
                    raise InputError(
                        f"{self._plan.where}: the rows of source_id {source_id} do not stand "
                        f"together; sort the table by source_id"
                    )
                self._seen.add(source_id)
            batch[SOURCE_ID].append(source_id)
            for name in layout.arrays:
                batch[name].append(_array(values[name]))
            for name in (*layout.integers, *layout.floats):
                batch[name].append(values[name][0])
            wavelengths.append(_array(values["wavelength"]))
        stars: dict[str, Sequence[Any] | np.ndarray] = dict(batch)
        _regrid(self._plan, stars, wavelengths, self._notes)
        return StarRows(stars, [row for _, row, _ in done])


def finished(plan: Plan, chunk: XPChunk, release: str, notes: Notes) -> XPChunk:
    """A chunk in the archive's grid and units, without numbers that stand for nothing.

    Args:
        plan: of its table.
        chunk: as the file has it.
        release: given by the user; empty: as the file says.
        notes: takes what is changed.

    Returns:
        The chunk.

    Raises:
        InputError: the grid stated for the table has another number of samples, a unit
            depends on wavelengths that are not known, or the file names two releases.
    """
    if chunk.representation == "sampled":
        chunk = _in_units(plan, _on_grid(plan, chunk, notes), notes)
    chunk = replace(
        chunk,
        g_mag=_measured("G", chunk.g_mag, "Gaia magnitude", notes),
        ruwe=_measured("ruwe", chunk.ruwe, "ruwe", notes),
    )
    if chunk.representation == "continuous":
        chunk = replace(chunk, release=release or _release(plan, chunk))
    return chunk


def _measured(
    what: str, values: Float[np.ndarray, " star"], kind: str, notes: Notes
) -> Float[np.ndarray, " star"]:
    """A number a star, NaN where it stands for a missing one."""
    if not np.isfinite(values).any():
        return values
    found = without_sentinels(values, kind)
    for number, count in found.replaced.items():
        named = number >= 0 or np.isclose(KINDS[kind].numbers, number).any()
        how = f"{number:g}, which stands for a missing one" if named else "below zero"
        notes.add(f"{what} is {how}: read as none", count)
    return found.values


def _on_grid(plan: Plan, chunk: XPChunk, notes: Notes) -> XPChunk:
    width = chunk.coefficients.shape[1]
    if plan.grid and plan.grid != width:
        raise InputError(
            f"{plan.where}: spectra have {width} samples, the wavelength grid it states has "
            f"{plan.grid}"
        )
    if plan.from_grid is None:
        return chunk
    notes.add(RESAMPLED, len(chunk))
    flux, error = plan.from_grid(chunk.coefficients, chunk.errors)
    return replace(
        chunk,
        coefficients=flux,
        errors=error,
        finite=np.isfinite(flux) & np.isfinite(error),
        wavelength=WAVELENGTH,
    )


def _in_units(plan: Plan, chunk: XPChunk, notes: Notes) -> XPChunk:
    """Fluxes in W m^-2 nm^-1, sentinels and errors that are none as NaN."""
    values = [chunk.coefficients, chunk.errors]
    for place, kind in enumerate(("flux", "flux error")):
        with np.errstate(invalid="ignore"):
            # Nearly always nothing: the table of sentinels is asked only on suspicion.
            suspect = values[place] <= (-999 if place == 0 else 0)
            suspect |= np.abs(values[place]) >= 1e19
        if not suspect.any():
            continue
        none = suspect & is_sentinel(values[place], kind)
        if none.any():
            what = "fluxes" if place == 0 else "errors of the flux"
            notes.add(
                f"{what} that stand for a missing one were read as none", int(none.any(1).sum())
            )
            values[place] = np.where(none, np.nan, values[place])
    for place, factor in enumerate(plan.factors):
        if isinstance(factor, float):
            continue
        if len(factor) != values[place].shape[1]:
            if not np.allclose(factor, factor[0], rtol=1e-12, atol=0):
                raise InputError(
                    f"{plan.where}: its unit of flux converts only with the wavelengths known; "
                    f"pass a column wavelength"
                )
            factor = factor[:1]
        values[place] = values[place] * factor[None, :]
        if place == 0:
            notes.add("fluxes were converted from the unit stated to W m^-2 nm^-1", len(chunk))
    flux, error = values
    if flux is chunk.coefficients and error is chunk.errors:
        return chunk
    return replace(
        chunk, coefficients=flux, errors=error, finite=np.isfinite(flux) & np.isfinite(error)
    )


def _release(plan: Plan, chunk: XPChunk) -> str:
    """What the file says, unless its coefficients say otherwise."""
    if len(plan.releases) > 1:
        raise InputError(
            f"{plan.where}: speaks of Gaia {' and '.join(plan.releases).upper()}; say which its "
            f"spectra are of by --release"
        )
    if not plan.releases:
        return chunk.release
    named = plan.releases[0]
    known = RELEASES.get(named)
    # The number of coefficients, or the ids of their basis, may be another release's.
    contradicted = known is not None and known.coefficients is not None
    return "" if contradicted and chunk.release != named else named


def _ids(plan: Plan, raw: RawBatch, count: int) -> list[Any]:
    """Source ids, whole numbers where they are some; what is wrong with them otherwise."""
    if plan.ids is not None:
        return [plan.ids] * count
    found = plan.source[SOURCE_ID]
    assert isinstance(found, str)
    cells = raw[found]
    ids: list[Any]
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "iu":
        ids = cells.tolist()
    else:
        ids = [cell if isinstance(cell, Fault) else id_of(cell) for cell in cells]
    if plan.twins is not None:
        for row, (own, other) in enumerate(zip(ids, raw[plan.twins[1]], strict=True)):
            if own != (twin := id_of(other)) and twin is not None:
                ids[row] = Fault(
                    f"{plan.twins[0]} is {own}, {plan.twins[1]} is {twin}: keep the column of the "
                    f"star whose spectrum it is"
                )
    return ids


def _stacked(name: str, series: Series, raw: RawBatch) -> list[Any] | np.ndarray:
    """Numbered columns as one array column."""
    columns = [scalar_cells(column, raw[column]) for column in series.columns]
    if all(isinstance(column, np.ndarray) and column.dtype.kind in "iuf" for column in columns):
        return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    return [_array(list(row)) for row in zip(*columns, strict=True)]


def _array(cells: list[Any]) -> Any:
    """Numbers as an array, NaN where missing; ``None`` if all are; or the first fault."""
    fault = next((cell for cell in cells if isinstance(cell, Fault)), None)
    if fault is not None:
        return fault
    if all(cell is None for cell in cells):
        return None
    try:
        return np.array([np.nan if cell is None else cell for cell in cells], np.float64)
    except (TypeError, ValueError):
        return Fault("holds something else where a number belongs")


def _regrid(
    plan: Plan,
    batch: dict[str, Sequence[Any] | np.ndarray],
    wavelengths: Sequence[Any] | np.ndarray,
    notes: Notes,
) -> None:
    """Bring each star from its own grid to the archive's, in place."""
    flux, error = list(batch[FLUX]), list(batch[FLUX_ERROR])
    resampled = 0
    for row, cell in enumerate(wavelengths):
        if isinstance(flux[row], Fault) or flux[row] is None or error[row] is None:
            continue
        try:
            how = _own_grid(plan, cell, len(flux[row]), len(error[row]))
        except (InputError, TypeError, ValueError) as fault:
            flux[row] = Fault(fault)
            continue
        if how is not None:
            (flux[row],), (error[row],) = how(
                np.asarray(flux[row], np.float64)[None], np.asarray(error[row], np.float64)[None]
            )
            resampled += 1
    batch[FLUX], batch[FLUX_ERROR] = _rectangular(flux), _rectangular(error)
    if resampled:
        notes.add(RESAMPLED, resampled)


def _own_grid(plan: Plan, cell: Any, *sizes: int) -> Resampling | None:
    if isinstance(cell, Fault):
        raise ValueError(str(cell))
    if cell is None:
        raise ValueError("its wavelengths are missing")
    grid = units.to_nm(np.asarray(cell, np.float64), plan.grid_unit, "wavelength")
    if any(size != grid.size for size in sizes):
        raise ValueError(f"it has {sizes[0]} fluxes and {grid.size} wavelengths")
    return resampling(np.ascontiguousarray(grid), WAVELENGTH, "its grid")


def _rectangular(cells: list[Any]) -> list[Any] | np.ndarray:
    """One 2-D array where all cells are arrays of one length."""
    arrays = all(isinstance(cell, np.ndarray) and cell.dtype.kind == "f" for cell in cells)
    alike = arrays and len({cell.shape for cell in cells}) == 1
    return np.stack(cells) if alike else cells
