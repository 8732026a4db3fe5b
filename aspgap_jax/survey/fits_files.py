"""FITS files opened so that one that was cut short does not pass for a whole one."""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning

from aspgap_jax.errors import InputError

__all__ = ["UNREADABLE", "check_gzip", "is_gzip", "open_fits", "strict_about_length"]

BLOCK = 1 << 20
# What astropy raises on damaged files, which have no base class of errors.
UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, IndexError, zlib.error),
    AstropyUserWarning,
)


def is_gzip(path: Path) -> bool:
    """Whether a file is gzipped, by its content.

    Args:
        path: of a file that exists.

    Returns:
        True where it starts as gzip does.
    """
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def check_gzip(path: Path) -> None:
    """Read a gzipped file to its end; astropy takes what comes before damage for all.

    Args:
        path: of any file; one that is not gzipped is passed over.

    Raises:
        OSError, EOFError, zlib.error: it is damaged, or cut short.
    """
    if is_gzip(path):
        with gzip.open(path) as stream:
            while stream.read(BLOCK):
                pass


@contextmanager
def strict_about_length() -> Iterator[None]:
    """Of astropy's warnings, make the one about truncated files an error.

    The others (units it does not know, odd header cards) do not matter here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.filterwarnings("error", "File may have been truncated", AstropyUserWarning)
        yield


@contextmanager
def open_fits(path: Path, what: str, *, memmap: bool = True) -> Iterator[fits.HDUList]:
    """Open a FITS file for reading.

    Args:
        path: the file, plain or gzipped.
        what: how errors call such a file: "aspcapStar file".
        memmap: read parts of a plain file when they are asked for.

    Returns:
        The open file, for a ``with`` statement.

    Raises:
        InputError: the file is absent, no FITS file, damaged or cut short, also
            where that shows only in the body of the ``with`` statement.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with strict_about_length():
            check_gzip(path)
            with fits.open(path, memmap=memmap) as hdus:
                yield hdus
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path}: no readable {what} ({error}); download it again") from error
