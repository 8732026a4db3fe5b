"""What became of the inputs of a command: a record each, and their sum.

The part that was made from an input carries its record, which tells the input by path and
content (:mod:`aspgap_jax.files.identity`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from aspgap_jax.files.identity import Input, content_of

__all__ = ["Account", "InputRecord", "skipped"]


@dataclass(frozen=True)
class InputRecord:
    """What became of one input file.

    Attributes:
        file: its path, as it was given.
        part: name of its part.
        status: ``done``, ``skipped`` (its part was complete), ``failed``, ``left`` (to
            another process, which works on it at the moment), ``shared`` (the same, by another
            task of the job step) or ``foreign`` (a table without XP spectra in a folder).
        path: its path, absolute and without links; ``sample`` of the real sample.
        size: bytes of the file.
        digest: of its content, see :class:`aspgap_jax.files.identity.Content`.
        problems: why the file failed, or the first damaged rows.
        notes: what else is worth saying of the file.
    """

    file: str
    part: str
    status: str
    path: str = ""
    size: int = 0
    digest: str = ""
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def is_of(self, source: Input) -> bool:
        """Whether the part was made from an input; one that was moved is known by its content."""
        earlier = Path(self.path)
        if self.path != source.path and earlier.is_absolute() and not earlier.exists():
            return self.has_content_of(Path(source.path))
        return self.path == source.path

    def has_content_of(self, path: Path) -> bool:
        """Whether a file is what the part was made from; no, where it cannot be read."""
        return (self.size, self.digest) == content_of(path)


Record = TypeVar("Record", bound=InputRecord)


def skipped(kept: Record, file: Path, source: Input) -> Record:
    """The record of a part that was complete before, by the path that its input has now.

    Args:
        kept: as the part carries it.
        file: the input, as it was given.
        source: the same.

    Returns:
        The record for this run's account.
    """
    moved = (f"was {kept.path}",) if kept.path != source.path else ()
    return replace(kept, status="skipped", file=str(file), path=source.path, notes=moved)


@dataclass(frozen=True)
class Account(Generic[Record]):
    """The records of a command.

    Attributes:
        files: one record a file.
    """

    files: tuple[Record, ...]

    def total(self, name: str) -> int:
        """Sum of a count over all files."""
        return int(sum(getattr(record, name) for record in self.files))

    def with_status(self, *statuses: str) -> tuple[Record, ...]:
        """The files of these statuses."""
        return tuple(record for record in self.files if record.status in statuses)
