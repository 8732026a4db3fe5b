"""Where the numbers of a page are from."""

from __future__ import annotations

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path

import aspgap_jax

__all__ = ["provenance"]

DIGITS = 16
"""Of a SHA-256: enough to tell files apart, short enough to compare by eye."""


def provenance(files: dict[str, Path]) -> dict[str, str]:
    """Version, date, command, and checksums.

    Args:
        files: what the numbers were made from, by what to call them; one that is absent is
            said to be.

    Returns:
        Facts by what to call them, in the order in which they are shown.
    """
    facts = {
        "aspgap-jax": aspgap_jax.__version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    for name, path in files.items():
        facts[name] = f"{path} ({checksum(path)})" if path.is_file() else f"{path} (absent)"
    return facts


def checksum(path: Path) -> str:
    """The first digits of the SHA-256 of a file."""
    with path.open("rb") as file:
        return f"SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()[:DIGITS]}"
