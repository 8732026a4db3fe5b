"""Which of Gaia's bulk files hold a part of the sky, or a list of stars.

The archive keeps the XP spectra in 3,386 files named after the HEALPix level-8
pixels in them, ``XpContinuousMeanSpectrum_000000-003111.csv.gz``, beside a list
of checksums, ``_MD5SUM.txt``. The pixel of a star is ``source_id // 2**43``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aspgap_jax.errors import InputError
from aspgap_jax.files.access import unreadable
from aspgap_jax.files.atomic import write_text
from aspgap_jax.files.locks import locked
from aspgap_jax.survey.archive import N_PIXELS, pixels_of

__all__ = ["BulkFile", "bulk_files", "bulk_files_of", "read_listing", "write_bulk_list"]

LINE = re.compile(r"(?P<md5>[0-9a-fA-F]{32}) [ *]?(?P<name>\S+)")
NAME = re.compile(r"Xp\w+MeanSpectrum_(\d{6})-(\d{6})\.csv\.gz")


class BulkFile(NamedTuple):
    """One bulk file.

    Attributes:
        name: its name.
        md5: its checksum, hexadecimal.
        first: first HEALPix level-8 pixel in it.
        last: last pixel in it.
    """

    name: str
    md5: str
    first: int
    last: int


def read_listing(path: Path) -> tuple[BulkFile, ...]:
    """Read ``_MD5SUM.txt``, which lies in the archive's folder beside the files.

    Args:
        path: of the listing.

    Returns:
        The files in the order of their pixels.

    Raises:
        InputError: it cannot be read, a line is none of a checksum list, or no
            line names a bulk file.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: no readable list of checksums ({unreadable(Path(path), error)})"
        ) from error
    files = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        found = LINE.fullmatch(line.strip())
        if found is None:
            raise InputError(
                f"{path}, row {number}: {line[:40]!r} is no checksum with a file name; "
                f"pass _MD5SUM.txt of the archive's folder of XP spectra"
            )
        name = Path(found["name"]).name
        if pixels := NAME.fullmatch(name):
            files.append(BulkFile(name, found["md5"].lower(), int(pixels[1]), int(pixels[2])))
    if not files:
        raise InputError(
            f"{path}: names no file like XpContinuousMeanSpectrum_000000-003111.csv.gz"
        )
    return tuple(sorted(files, key=lambda file: file.first))


def bulk_files(listing: Path, first: int, last: int) -> tuple[BulkFile, ...]:
    """The files with the HEALPix level-8 pixels ``first`` to ``last``, both included.

    Args:
        listing: the ``_MD5SUM.txt`` of the archive's folder.
        first: pixel.
        last: pixel, included.

    Returns:
        In the order of the sky.

    Raises:
        InputError: no such range; a pixel of it is in no file of the list; or
            see :func:`read_listing`.
    """
    if not 0 <= first <= last < N_PIXELS:
        raise InputError(
            f"HEALPix level-8 pixels {first} to {last}: no such range; "
            f"pass two ascending numbers from 0 to {N_PIXELS - 1}"
        )
    return _covering(listing, np.arange(first, last + 1))


def bulk_files_of(listing: Path, ids: np.ndarray) -> tuple[BulkFile, ...]:
    """The files with the stars ``ids`` (Gaia source ids).

    Args:
        listing: the ``_MD5SUM.txt`` of the archive's folder.
        ids: Gaia source ids ``[star]``.

    Returns:
        In the order of the sky, each once.

    Raises:
        InputError: a star's pixel is in no file of the list; or see :func:`read_listing`.
    """
    return _covering(listing, np.unique(pixels_of(ids)))


def _covering(listing: Path, pixels: np.ndarray) -> tuple[BulkFile, ...]:
    files = read_listing(listing)
    firsts = np.array([file.first for file in files])
    lasts = np.array([file.last for file in files])
    index = np.searchsorted(firsts, pixels, side="right") - 1
    outside = (index < 0) | (pixels > lasts[index])
    if outside.any():
        raise InputError(
            f"{listing}: {int(outside.sum()):,} of the {len(pixels):,} HEALPix pixels are in no "
            f"file, the first is {pixels[outside][0]}; download the list again"
        )
    return tuple(files[i] for i in np.unique(index))


def write_bulk_list(path: Path, files: Iterable[BulkFile], base_url: str = "") -> None:
    """Write names or URLs, one a line, as ``wget -i`` reads them; atomically.

    Args:
        path: the list to write.
        files: what to list.
        base_url: address of the folder with the files; empty for bare names.

    Raises:
        InputError: another process writes it at the moment.
    """
    base = base_url.rstrip("/") + "/" if base_url else ""
    with locked(Path(path), beside=True):
        write_text(Path(path), "".join(f"{base}{file.name}\n" for file in files))
