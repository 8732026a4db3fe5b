"""What was fetched from the archive into a folder: the account of every star."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text

__all__ = ["MANIFEST", "Manifest", "Part"]

MANIFEST = "manifest.json"
FORMAT = "aspgap fetch manifest"
FORMAT_VERSION = 1


@dataclass
class Part:
    """One request and what became of it.

    Attributes:
        file: the FITS file, empty where nothing was delivered.
        sha256: its checksum.
        requested: number of stars asked for; ``None`` where not even their number
            could be fetched.
        delivered: number of stars in ``file``.
        missing: ids that the archive answered without.
        failed: ids that could not be fetched.
        error: why not, empty otherwise.
    """

    file: str = ""
    sha256: str = ""
    requested: int | None = None
    delivered: int = 0
    missing: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    error: str = ""


@dataclass
class Manifest:
    """All requests of a folder.

    Attributes:
        what: ``XP_CONTINUOUS``, ``XP_SAMPLED`` or ``gaia_source``.
        server: base URL of the archive.
        request: SHA-256 of what was asked for.
        parts: by name, in order.
        repeated: ids that were given more than once and asked for once.
    """

    what: str
    server: str
    request: str
    parts: dict[str, Part] = field(default_factory=dict)
    repeated: int = 0

    @property
    def requested(self) -> int:
        """Stars asked for, as far as their number is known."""
        return sum(part.requested or 0 for part in self.parts.values())

    @property
    def delivered(self) -> int:
        """Stars in the files."""
        return sum(part.delivered for part in self.parts.values())

    @property
    def missing(self) -> tuple[int, ...]:
        """Ids that the archive answered without."""
        return tuple(star for part in self.parts.values() for star in part.missing)

    @property
    def failed(self) -> tuple[int, ...]:
        """Ids that could not be fetched; the next call tries them again."""
        return tuple(star for part in self.parts.values() for star in part.failed)

    @property
    def failed_parts(self) -> dict[str, str]:
        """Parts that could not be fetched, with the reason."""
        return {name: part.error for name, part in self.parts.items() if part.error}

    def write(self, folder: Path) -> None:
        """Write the manifest, atomically."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "what": self.what,
            "server": self.server,
            "request": self.request,
            "requested": self.requested,
            "repeated": self.repeated,
            "delivered": self.delivered,
            "missing": len(self.missing),
            "failed": len(self.failed),
            "failed_parts": len(self.failed_parts),
            "parts": {name: asdict(part) for name, part in self.parts.items()},
        }
        write_text(folder / MANIFEST, json.dumps(values, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest of a folder; ``None`` where there is none.

        Raises:
            InputError: it is damaged.
        """
        path = folder / MANIFEST
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if (values["format"], values["format_version"]) != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"format is {values['format']!r}")
            return cls(
                what=values["what"],
                server=values["server"],
                request=values["request"],
                parts={name: Part(**part) for name, part in values["parts"].items()},
                repeated=values["repeated"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: no readable manifest ({error}); fetch into another folder"
            ) from error
