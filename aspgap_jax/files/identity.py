"""What an input is: where it lies and what is in it, not what it is called.

Downloads have the same names everywhere (``XP_SAMPLED_RAW.csv``), so that a name tells
nothing of whether the work on a file has been done.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from aspgap_jax.files.locks import Holder, claim, release

__all__ = ["WHOLE", "Belongs", "Content", "Input", "claim_part", "content_of", "name_parts"]

WHOLE = 1 << 24
"""Files of at most so many bytes are hashed whole."""

BLOCK = 1 << 16
BLOCKS = 16


class Content(NamedTuple):
    """What is in a file, told cheaply.

    Attributes:
        size: bytes.
        digest: ``sha256:`` and the SHA-256 of the file; of a file larger than
            :data:`WHOLE`, ``blocks:`` and the SHA-256 of 16 blocks of 64 kB from its first
            to its last byte and of its time of modification: a change that the blocks miss
            shows in the time, at the price that a large file that was only touched counts
            as changed.
    """

    size: int
    digest: str


class Input(NamedTuple):
    """One input of a command.

    Attributes:
        name: what its output is called after.
        path: absolute, without links; what tells inputs of one name apart.
    """

    name: str
    path: str


Belongs = Callable[[str, Input], bool | None]
"""Whether the part of a name was made from an input; ``None`` where there is no such part."""


def content_of(path: Path) -> Content | None:
    """Size and digest of a file.

    Args:
        path: of the file.

    Returns:
        ``None`` where it cannot be read, of which its reader will tell.
    """
    try:
        status = path.stat()
        with path.open("rb") as file:
            if status.st_size <= WHOLE:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return Content(status.st_size, f"sha256:{digest}")
            blocks = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode())
            for number in range(BLOCKS):
                file.seek(number * (status.st_size - BLOCK) // (BLOCKS - 1))
                blocks.update(file.read(BLOCK))
    except OSError:
        return None
    return Content(status.st_size, f"blocks:{blocks.hexdigest()}")


def name_parts(inputs: Sequence[Input], suffix: str, belongs: Belongs) -> tuple[str, ...]:
    """Names of the output parts of inputs, another one for each.

    The first input of a name gets the part of that name, whole, so that ``a.csv`` and
    ``a.fits`` do not share one; the next of the same name gets eight digits of the SHA-256
    of its path before the suffix. What has a part keeps it.

    Args:
        inputs: no two of one path. All processes of a run pass the same list.
        suffix: of the parts.
        belongs: whether a part was made from an input.

    Returns:
        In the order of the inputs.
    """
    given: dict[str, str] = {}
    names = []
    for each in inputs:
        plain, own = each.name + suffix, _own_name(each, suffix)
        if belongs(own, each):
            names.append(own)
        elif belongs(plain, each) is not False and given.setdefault(plain, each.path) == each.path:
            names.append(plain)
        else:
            names.append(own)
    return tuple(names)


def claim_part(
    part: Path, each: Input, belongs: Belongs, holder: Holder
) -> tuple[Path, Holder | None]:
    """Take the part of an input for this process (:func:`aspgap_jax.files.locks.claim`).

    Another process may, since the parts were named, have given the name to an input of its
    own that is called the same: then the part gets its longer name.

    Args:
        part: as :func:`name_parts` named it.
        each: the input.
        belongs: whether a part was made from an input.
        holder: this process.

    Returns:
        the part, and who else has it at the moment: ``None`` where it is ours.
    """
    holder = dataclasses.replace(holder, path=each.path)
    other = claim(part, holder)
    if other is None and belongs(part.name, each) is not False:
        return part, None
    if other is not None and other.path in ("", each.path):
        return part, other
    if other is None:
        release(part)
    part = part.with_name(_own_name(each, part.suffix))
    return part, claim(part, holder)


def _own_name(each: Input, suffix: str) -> str:
    return f"{each.name}.{hashlib.sha256(each.path.encode()).hexdigest()[:8]}{suffix}"
