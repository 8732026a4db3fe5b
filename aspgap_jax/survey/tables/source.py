"""What every format's reader gives: tables that yield some of their columns block by block."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aspgap_jax.errors import InputError
from aspgap_jax.survey.fits_files import strict_about_length

__all__ = ["BLOCK_ROWS", "FORMATS", "NoTable", "Raw", "SourceTable", "reading"]

# NumPy arrays, masked or not, of numbers, text, bytes or objects; or Arrow arrays.
Raw = Any
BLOCK_ROWS = 131_072
FORMATS = "CSV, ECSV, FITS, VOTable, Parquet, Feather or HDF5"


class NoTable(InputError):
    """A file that can be read and holds no table."""


class SourceTable(NamedTuple):
    """One table of a file.

    Attributes:
        name: what tells it from the other tables of the file: ``HDU 2``; may be empty.
        columns: names as the file has them; one may occur twice.
        blocks: values of the columns at some places, in their order, block by block.
    """

    name: str
    columns: tuple[str, ...]
    blocks: Callable[[Sequence[int]], Iterator[list[Raw]]]


@contextlib.contextmanager
def reading(path: Path, what: str, where: str = "") -> Iterator[None]:
    """Turn what a library raises on a damaged file into one line.

    Args:
        path: the file.
        what: what it should be: "table", "allStar file".
        where: the place in the file, if known.

    Returns:
        Nothing, for a ``with`` statement.

    Raises:
        InputError: names file, place and reason.
    """
    try:
        # Files of others may bend a standard: of all warnings, those about lost data count.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with strict_about_length():
                yield
    except InputError:
        raise
    # astropy, expat, h5py and Arrow have no base class of errors in common, and damaged
    # headers reach them in many ways.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        place = f"{path}, {where}" if where else f"{path}"
        raise InputError(
            f"{place}: no readable {what} ({reason}); pass {FORMATS}, or download it again"
        ) from error
