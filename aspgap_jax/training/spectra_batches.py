"""Batches of APOGEE spectra for pre-training, in an order that can be streamed.

Reading single rows of a file at random is slow, so an epoch shuffles blocks of
neighbouring rows, and then the rows of as many blocks as host memory is to hold.
Whoever holds all the spectra takes them in the same order, and sees the same batches.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

__all__ = [
    "ArraySpectra",
    "Pool",
    "SpectraReader",
    "pools_of_epoch",
    "read_batches",
    "training_count",
]

HELD_OUT = 0.1
"""Share of the spectra that the decoder does not see, to state its precision."""
BLOCK_ROWS = 32
"""Rows read together: 1.1 MB of spectra."""
POOL_ROWS = 2048
"""Rows of a split shuffled together in host memory: 70 MB of spectra."""


@runtime_checkable
class SpectraReader(Protocol):
    """Continuum-normalised spectra of every split, read in pieces.

    The first :func:`training_count` rows of a split are trained on; the others are
    held out, so they should be drawn at random.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(split, spectrum, pixel)``."""

    @property
    def scatter(self) -> np.ndarray:
        """Noise that belongs to a pixel, 1-sigma ``[pixel]``; it is drawn anew at every step."""

    def read(self, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        """Rows ``[start, stop)`` of every range: float32 ``[split, row, pixel]``."""


@dataclass(frozen=True)
class ArraySpectra:
    """Spectra in host memory ``[split, spectrum, pixel]``."""

    flux: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Splits, spectra of each, pixels."""
        return self.flux.shape

    @property
    def scatter(self) -> np.ndarray:
        """None: they are taken as they are."""
        return np.zeros(self.flux.shape[2], np.float32)

    def read(self, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        """Rows of every split as float32 ``[split, row, pixel]``."""
        parts = [self.flux[:, start:stop] for start, stop in ranges]
        return np.concatenate(parts, axis=1).astype(np.float32, copy=False)


def training_count(n_spectra: int) -> int:
    """How many of a split's spectra are trained on: the first ones.

    Args:
        n_spectra: of a split.

    Returns:
        Their number; the others, at least one, are held out.
    """
    return n_spectra - max(1, round(HELD_OUT * n_spectra))


class Pool(NamedTuple):
    """Blocks of neighbouring rows, read together and shuffled together.

    Attributes:
        blocks: ranges of rows, in the order of reading.
        order: permutation of the rows so read.
    """

    blocks: list[tuple[int, int]]
    order: np.ndarray

    def rows(self) -> np.ndarray:
        """Rows in the order in which they are trained on."""
        return np.asarray(np.concatenate([np.arange(*b) for b in self.blocks])[self.order])


def pools_of_epoch(n_rows: int, rng: np.random.Generator) -> list[Pool]:
    """The order of an epoch. Up to ``POOL_ROWS`` rows, any order is equally likely.

    Args:
        n_rows: training spectra of a split.
        rng: of this epoch.

    Returns:
        Pools that hold every row once.
    """
    starts = BLOCK_ROWS * rng.permutation(-(-n_rows // BLOCK_ROWS))
    blocks = [(int(start), min(int(start) + BLOCK_ROWS, n_rows)) for start in starts]
    pools = []
    for first in range(0, len(blocks), POOL_ROWS // BLOCK_ROWS):
        chosen = blocks[first : first + POOL_ROWS // BLOCK_ROWS]
        pools.append(Pool(chosen, rng.permutation(sum(stop - start for start, stop in chosen))))
    return pools


def read_batches(
    spectra: SpectraReader, pools: list[Pool], batch_size: int
) -> Generator[np.ndarray, None, None]:
    """Whole batches ``[split, star, pixel]``; what is left of a pool begins the next one.

    Args:
        spectra: of every split.
        pools: of :func:`pools_of_epoch`.
        batch_size: spectra of a batch.

    Yields:
        Batches, all of the same shape; rows that fill none at the end are left out.
    """
    n_splits, _, n_pixels = spectra.shape
    rest = np.empty((n_splits, 0, n_pixels), np.float32)
    for pool in pools:
        flux, used = spectra.read(pool.blocks), 0
        while rest.shape[1] + len(pool.order) - used >= batch_size:
            wanted = batch_size - rest.shape[1]
            part = flux[:, pool.order[used : used + wanted]]
            yield np.concatenate([rest, part], axis=1) if rest.shape[1] else part
            rest, used = rest[:, :0], used + wanted
        rest = np.concatenate([rest, flux[:, pool.order[used:]]], axis=1)
        # Not two pools at a time.
        del flux
