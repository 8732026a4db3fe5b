"""What the reader of a container (FITS, VOTable, HDF5, ...) tells of one table in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Column", "RawBatch", "Stated", "Table"]

# Column of the file -> one value a row: a number, an array, text, None where it is missing,
# or a `Fault`. A 2-D array has a row a star.
RawBatch = Mapping[str, Sequence[Any] | np.ndarray]


class Column(NamedTuple):
    """A column as the file describes it."""

    name: str
    unit: str = ""


class Stated(NamedTuple):
    """A value that a file states for a whole table: a PARAM, a keyword, an attribute."""

    value: Any
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """One table of a file.

    Attributes:
        place: which it is, for messages; empty for the only one.
        columns: its columns.
        stated: values that hold for all of it, by their names in lower case.
        rows: called with the columns wanted and the number of rows at a time, it gives
            the batches. It is called once, before the next table is asked for; or not
            at all, if the table is not wanted.
    """

    place: str
    columns: tuple[Column, ...]
    rows: Callable[[Sequence[str], int], Iterator[RawBatch]]
    stated: Mapping[str, Stated] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)
