"""Columns of any file format become chunks of stars; rows that do not fit are reported.

Every reader hands batches of columns to one :class:`Assembler`. It alone knows
how long each array column is, which rows are bad, and how large a chunk is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.cells import Fault, id_of
from aspgap_jax.survey.xp.chunk import (
    BANDS,
    BASIS,
    FLOATS,
    G_MAG,
    INTEGERS,
    MISSING,
    N_PARAMETERS,
    RUWE,
    SOURCE_ID,
    WAVELENGTH,
    BadRow,
    XPChunk,
    XPLayout,
)
from aspgap_jax.survey.xp.releases import of_coefficients

__all__ = ["Assembler", "Batch", "Columns", "OnBadRow", "are_integers"]

OnBadRow = Callable[[BadRow], None]
# Column name -> one value a row: a number, an array, None where it is missing, or the
# fault in it.
Batch = Mapping[str, Sequence[Any] | np.ndarray]
# The same, checked: float64 [row] or [row, width], source ids int64.
Columns = Mapping[str, np.ndarray]


class Assembler:
    """Collects batches of rows and gives chunks of ``chunk_size`` stars.

    Attributes:
        widths: length of each array column, as soon as a row has shown it.
        row: number of rows met so far, the bad ones included.
    """

    def __init__(
        self,
        path: Path,
        layout: XPLayout,
        chunk_size: int,
        on_bad_row: OnBadRow | None,
        place: str = "",
    ) -> None:
        if chunk_size < 1:
            raise InputError(f"chunk_size must be at least 1, got {chunk_size}")
        self.path = path
        self.layout = layout
        self.chunk_size = chunk_size
        self.place = place
        self.widths: dict[str, int] = {}
        self.row = 0
        self._on_bad_row = on_bad_row
        self._held: list[tuple[Batch, list[int]]] = []
        self._ready: list[Columns] = []

    @property
    def widths_known(self) -> bool:
        """Whether a row of each band has been seen."""
        return len(self.widths) == len(self.layout.arrays)

    def report(self, row: int, source_id: int, what: str) -> None:
        """Report a bad row, or raise ``InputError`` when nobody collects them.

        Args:
            row: number of the row, from 1.
            source_id: of the row, as far as it is known.
            what: what is wrong with it.

        Raises:
            InputError: nobody collects bad rows.
        """
        bad = BadRow(row, source_id, what, self.place)
        if self._on_bad_row is None:
            raise InputError(
                f"{self.path}, {bad}; download the file again or remove the row "
                f"(`aspgap ingest` leaves such rows out and counts them)"
            )
        self._on_bad_row(bad)

    def add(self, batch: Batch, rows: Sequence[int]) -> None:
        """Take rows whose arrays may be missing or have wrong lengths.

        Args:
            batch: the rows.
            rows: their numbers in the file, from 1.
        """
        if not rows:
            return
        self._held.append((batch, list(rows)))
        self._learn(batch)
        # A band that no star so far has: wait for one, but not beyond one chunk.
        waiting = sum(len(numbers) for _, numbers in self._held)
        if self.widths_known or waiting >= self.chunk_size:
            self._release()

    def add_checked(self, columns: Columns) -> None:
        """Take rows that are known to be complete: arrays ``[row, width]``."""
        self._release()
        self._ready.append(columns)

    def full(self) -> Iterator[XPChunk]:
        """The chunks that are complete."""
        while sum(len(columns[SOURCE_ID]) for columns in self._ready) >= self.chunk_size:
            joined = _joined(self._ready)
            left = {name: values[self.chunk_size :] for name, values in joined.items()}
            self._ready = [left] if len(left[SOURCE_ID]) else []
            yield self._chunk({name: v[: self.chunk_size] for name, v in joined.items()})

    def rest(self) -> Iterator[XPChunk]:
        """All chunks that are left at the end of the file."""
        self._release()
        yield from self.full()
        if self._ready:
            columns, self._ready = _joined(self._ready), []
            yield self._chunk(columns)

    def _learn(self, batch: Batch) -> None:
        """Read the widths from the first row that is consistent in itself."""
        for value in self.layout.spectra[::2]:
            if value in self.widths:
                continue
            group = self.layout.group(value)
            stated = batch.get(f"{value[:3]}{N_PARAMETERS}")
            for row in range(len(batch[value])):
                sizes = [_length(batch[name][row]) for name in group]
                n = sizes[0]
                says = None if stated is None else stated[row]
                agrees = says is None or says == n or says != says
                pairs = [n * (n - 1) // 2] * (len(group) - 2)
                if n and agrees and sizes == [n, n, *pairs]:
                    self.widths.update(zip(group, sizes, strict=True))
                    break

    def _release(self) -> None:
        held, self._held = self._held, []
        if held:
            for name in self.layout.arrays:
                self.widths.setdefault(name, self.layout.size(name))
        for batch, rows in held:
            self._build(batch, rows)

    def _build(self, batch: Batch, rows: list[int]) -> None:
        wrong: dict[int, str] = {}
        columns: dict[str, np.ndarray] = {}
        for name in self.layout.arrays:
            columns[name] = self._stack(name, batch[name], wrong)
        for value in self.layout.spectra[::2]:
            self._check_group(batch, self.layout.group(value), wrong)
        for name in (*self.layout.integers, *self.layout.floats):
            columns[name] = _floats(name, batch[name], wrong)
        for name in self.layout.integers:
            for row in np.flatnonzero(~are_integers(columns[name])):
                wrong.setdefault(int(row), f"{name} is {columns[name][row]:g}, not a count")
        columns[SOURCE_ID] = _source_ids(batch[SOURCE_ID], wrong)
        for index in sorted(wrong):
            self.report(rows[index], int(columns[SOURCE_ID][index]), wrong[index])
        if len(wrong) < len(rows):
            good = np.ones(len(rows), bool)
            good[list(wrong)] = False
            kept = columns if good.all() else {name: v[good] for name, v in columns.items()}
            self._ready.append(kept)

    def _stack(
        self, name: str, values: Sequence[Any] | np.ndarray, wrong: dict[int, str]
    ) -> np.ndarray:
        width = self.widths[name]
        if isinstance(values, np.ndarray) and values.dtype.kind == "f" and values.ndim == 2:
            if values.shape[1] == width:
                return values.astype(np.float64)
            for row in range(len(values)):
                wrong.setdefault(
                    row, f"{name} has {values.shape[1]} values, the file's other rows have {width}"
                )
            return np.full((len(values), width), np.nan)
        stacked = np.full((len(values), width), np.nan)
        for row, value in enumerate(values):
            size = _length(value)
            if isinstance(value, Fault):
                wrong.setdefault(row, str(value))
            elif size == width:
                try:
                    stacked[row] = value
                except (TypeError, ValueError):
                    wrong.setdefault(row, f"{name} holds text where a number belongs")
            elif size:
                wrong.setdefault(
                    row, f"{name} has {size} values, the file's other rows have {width}"
                )
        return stacked

    def _check_group(self, batch: Batch, group: tuple[str, ...], wrong: dict[int, str]) -> None:
        for row, sizes in enumerate(
            zip(*([_length(value) for value in batch[name]] for name in group), strict=True)
        ):
            if any(sizes) and not all(sizes):
                lacking = [name for name, size in zip(group, sizes, strict=True) if not size]
                wrong.setdefault(row, f"{', '.join(lacking)} is missing, {group[0]} is not")

    def _chunk(self, columns: Columns) -> XPChunk:
        values = [columns[name] for name in self.layout.spectra[::2]]
        errors = [columns[name] for name in self.layout.spectra[1::2]]
        stars = len(columns[SOURCE_ID])
        continuous = self.layout.representation == "continuous"
        bands = BANDS if continuous else ()
        present = np.zeros((stars, len(bands)), bool)
        if continuous:
            for band, (value, error) in enumerate(zip(values, errors, strict=True)):
                # Mirrors fill a missing band with zeros: an error is never zero.
                present[:, band] = (np.isfinite(value) & (error != 0)).any(axis=1)
                if not present[:, band].all():
                    values[band] = np.where(present[:, band, None], value, np.nan)
                    errors[band] = np.where(present[:, band, None], error, np.nan)
        coefficients, sigma = np.concatenate(values, 1), np.concatenate(errors, 1)

        def per_band(name: str) -> np.ndarray:
            found = [columns.get(f"{band}_{name}") for band in bands]
            missing = np.full(stars, np.nan)
            stacked = [missing if column is None else column for column in found]
            return np.stack(stacked, 1) if stacked else np.empty((stars, 0))

        counts = {
            name: np.nan_to_num(per_band(name), nan=MISSING).astype(np.int32) for name in INTEGERS
        }
        g_mag = next((columns[name] for name in G_MAG if name in columns), None)
        return XPChunk(
            source_id=columns[SOURCE_ID],
            representation=self.layout.representation,
            coefficients=coefficients,
            errors=sigma,
            finite=np.isfinite(coefficients) & np.isfinite(sigma),
            n_bp=values[0].shape[1] if continuous else 0,
            wavelength=(
                WAVELENGTH if not continuous and coefficients.shape[1] == len(WAVELENGTH) else None
            ),
            g_mag=np.full(stars, np.nan) if g_mag is None else g_mag,
            ruwe=columns.get(RUWE, np.full(stars, np.nan)),
            present=present,
            **counts,
            **{name: per_band(name) for name in FLOATS},
            correlations=self._correlations(columns, present),
            release=self._told_release(columns, present, [v.shape[1] for v in values]),
        )

    def _told_release(self, columns: Columns, present: np.ndarray, sizes: list[int]) -> str:
        """What the numbers of coefficients, and the ids of their basis, say."""
        if self.layout.representation == "sampled":
            return ""
        names = [f"{band}_{BASIS}" for band in BANDS]
        if not all(name in columns for name in names):
            return of_coefficients((sizes[0], sizes[1]), None)
        basis: list[int | None] = []
        for band, name in enumerate(names):
            found = np.unique(columns[name][present[:, band]])
            found = found[np.isfinite(found)]
            if len(found) > 1:
                return ""
            basis += [int(found[0])] if len(found) else [None]
        return of_coefficients((sizes[0], sizes[1]), (basis[0], basis[1]))

    def _correlations(self, columns: Columns, present: np.ndarray) -> np.ndarray | None:
        if not self.layout.correlations:
            return None
        pairs = [columns[name] for name in self.layout.correlations]
        out = np.full((*present.shape, max(pair.shape[1] for pair in pairs)), np.nan)
        for band, pair in enumerate(pairs):
            out[present[:, band], band, : pair.shape[1]] = pair[present[:, band]]
        return out


def _joined(parts: Sequence[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def are_integers(values: Float[np.ndarray, "*any"]) -> Bool[np.ndarray, "*any"]:
    """Which counts fit: whole, in int32, or missing (NaN).

    Args:
        values: as read, in float64.

    Returns:
        True where one fits, in the shape of ``values``.
    """
    return np.asarray(np.isnan(values) | ((np.abs(values) < 2**31) & (values == np.round(values))))


def _length(value: object) -> int:
    """Number of values in an array cell; a missing one, or a fault, has none."""
    return 0 if value is None or isinstance(value, Fault) else int(np.size(np.asarray(value)))


def _floats(name: str, values: Sequence[Any] | np.ndarray, wrong: dict[int, str]) -> np.ndarray:
    """A scalar column as float64, NaN where missing."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return values.astype(np.float64)
    out = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if isinstance(value, Fault):
            wrong.setdefault(row, str(value))
            continue
        try:
            if value is not None:
                out[row] = value
        except (TypeError, ValueError):
            wrong.setdefault(row, f"{name} is {_shown(value)}, not a number")
    return out


def _source_ids(values: Sequence[Any] | np.ndarray, wrong: dict[int, str]) -> np.ndarray:
    """Source ids as int64; an id that is none makes the row bad."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "i" and (values >= 0).all():
        return np.asarray(values, np.int64)
    out = np.full(len(values), MISSING, np.int64)
    for row, value in enumerate(values):
        if isinstance(value, Fault):
            wrong.setdefault(row, str(value))
            continue
        found = id_of(value)
        if isinstance(found, int) and 0 <= found < 2**63:
            out[row] = found
        else:
            wrong[row] = f"source_id is {_shown(found)}, not a positive integer"
    return out


def _shown(value: object) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 99 else text[:96] + "..."
