"""What a file is, by its content, and how its bytes are had."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from isal import igzip

from aspgap_jax.errors import InputError

__all__ = ["Opened", "open_file"]

HEAD = 1 << 12
PART = 1 << 20
MAGIC = {
    b"SIMPLE  =": "fits",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
}
OTHERS = {
    b"FEA1": "a Feather file of version 1: write it again with version 2",
    b"PK\x03\x04": "a ZIP archive: unpack it and pass the tables inside",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard: unpack it first (`unzstd`)",
    b"BZh": "compressed with bzip2: unpack it first (`bunzip2`)",
    b"\xfd7zXZ\x00": "compressed with xz: unpack it first (`unxz`)",
}


class Opened(NamedTuple):
    """A file that can be read.

    Attributes:
        kind: ``text``, ``votable``, ``fits``, ``hdf5``, ``parquet`` or ``arrow``.
        path: where it lies, unpacked unless it is text or a VOTable.
        packed: whether ``path`` is gzipped.
    """

    kind: str
    path: Path
    packed: bool

    def stream(self) -> BufferedIOBase:
        """Its bytes from the beginning, decompressed."""
        return igzip.open(self.path, "rb") if self.packed else self.path.open("rb")


@contextmanager
def open_file(path: Path) -> Iterator[Opened]:
    """Tell what a file is; what needs random access is unpacked into ``TMPDIR``.

    Args:
        path: of any file.

    Yields:
        Its kind, and where to read it; the unpacked copy goes at the end.

    Raises:
        InputError: no such file, empty, or of a format that is not read.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    opened = Opened("", path, packed)
    with opened.stream() as stream:
        head = stream.read(HEAD)
    opened = opened._replace(kind=_kind(path, head))
    if not packed or opened.kind in ("text", "votable"):
        yield opened
        return
    with tempfile.NamedTemporaryFile(prefix="aspgap-", suffix=f".{opened.kind}") as unpacked:
        with opened.stream() as stream:
            while part := stream.read(PART):
                unpacked.write(part)
        unpacked.flush()
        yield Opened(opened.kind, Path(unpacked.name), False)


def _kind(path: Path, head: bytes) -> str:
    if not head.strip():
        raise InputError(f"{path}: no table, the file is empty; download it again")
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    for magic, cure in OTHERS.items():
        if head.startswith(magic):
            raise InputError(f"{path}: is {cure}")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        if b"VOTABLE" in text:
            return "votable"
        raise InputError(
            f"{path}: no table but an HTML or XML page, perhaps the answer of a server in "
            f"trouble; download it again"
        )
    if b"\x00" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: no readable table, a binary file of unknown format")
    return "text"
