"""What a file is, by its content: names and endings are often wrong, or missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

from isal import igzip, isal_zlib

from aspgap_jax.errors import InputError

__all__ = ["BROKEN_STREAM", "OpenedXP", "Rewound", "open_xp"]

HEAD = 1 << 16
GZIP = b"\x1f\x8b"
HDF5 = b"\x89HDF\r\n\x1a\n"
FITS = b"SIMPLE  ="
# What a damaged or truncated gzip stream raises while it is read.
# The stub of isal declares its exception as an instance.
_ISAL_ERROR: Any = isal_zlib.IsalError
BROKEN_STREAM: tuple[type[Exception], ...] = (EOFError, OSError, _ISAL_ERROR)
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
PARQUET = b"PAR1"
FEATHER = (b"ARROW1", b"FEA1")
OTHERS = {
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard: unpack it first (`unzstd`)",
    b"BZh": "compressed with bzip2: unpack it first (`bunzip2`)",
    b"\xfd7zXZ\x00": "compressed with xz: unpack it first (`unxz`)",
    b"Obj\x01": "an Avro file: have GaiaXPy write FITS, ECSV or VOTable",
}


class OpenedXP(NamedTuple):
    """An open file.

    Attributes:
        kind: ``text``, ``votable``, ``fits``, ``hdf5``, ``arrow`` or ``zip``.
        stream: the decompressed bytes, from the beginning.
        head: the first bytes of it.
        packed: whether the file is compressed with gzip.
    """

    kind: str
    stream: Rewound
    head: bytes
    packed: bool


@contextmanager
def open_xp(path: Path, shown: Path | None = None) -> Iterator[OpenedXP]:
    """Open an XP file and tell its format from its content.

    Args:
        path: the file.
        shown: its name in messages; by default ``path``.

    Returns:
        The stream, its beginning and its format, for a ``with`` statement.

    Raises:
        InputError: the file is absent, a directory, empty, damaged at its
            beginning, or of a format that is not read.
    """
    file, path = path, path if shown is None else shown
    if file.is_dir():
        raise InputError(f"{path}: is a directory; pass the files in it")
    try:
        raw = file.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); check the path") from error
    with raw:
        start = raw.read(len(GZIP))
        raw.seek(0)
        if not start:
            raise InputError(f"{path}: is empty; download it again")
        packed = start == GZIP
        stream: BufferedIOBase = igzip.open(raw, "rb") if packed else raw
        with stream:
            try:
                head = _read(stream, HEAD)
            except BROKEN_STREAM as error:
                raise InputError(
                    f"{path}: damaged gzip data ({error}); download it again"
                ) from error
            kind = _kind(path, head)
            if kind == "text" and b"\n" not in head and b"\r" in head:
                # Lines as the Mac once ended them.
                yield OpenedXP(kind, Lines(head, stream), head.replace(b"\r", b"\n"), packed)
            else:
                yield OpenedXP(kind, Rewound(head, stream), head, packed)


def _read(stream: BufferedIOBase, size: int) -> bytes:
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _kind(path: Path, head: bytes) -> str:
    if not head.strip():
        raise InputError(f"{path}: is empty; download it again")
    if head.startswith(FITS):
        return "fits"
    if head.startswith(HDF5):
        return "hdf5"
    if head.startswith(ZIP):
        return "zip"
    if head.startswith((PARQUET, *FEATHER)):
        return "arrow"
    for magic, cure in OTHERS.items():
        if head.startswith(magic):
            raise InputError(f"{path}: is {cure}")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        if b"<VOTABLE" in text or b":VOTABLE" in text:
            return "votable"
        raise InputError(
            f"{path}: is an HTML or XML page without a VOTable, perhaps the answer of a server "
            f"in trouble; download it again"
        )
    # Further on, a zero byte is a fault of one row.
    if b"\x00" in head.partition(b"\n")[0]:
        raise InputError(
            f"{path}: is a binary file of unknown format; pass csv, ECSV, FITS, VOTable, HDF5, "
            f"Parquet or Feather"
        )
    return "text"


class Rewound:
    """A stream of which the first bytes have been read, from the beginning again."""

    def __init__(self, head: bytes, stream: BufferedIOBase) -> None:
        self._head = head
        self._stream = stream

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        if self._head:
            part, self._head = self._head[:size], self._head[size:]
            return part
        return self._stream.read(size)


class Lines(Rewound):
    """A text whose lines end in a carriage return alone, with proper line ends."""

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        return super().read(size).replace(b"\r", b"\n")
