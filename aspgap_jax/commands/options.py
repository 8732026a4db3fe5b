"""What several commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Annotated, Literal

import tyro

from aspgap_jax.config import PRESETS, Config

__all__ = ["DEFAULTS", "Selection", "Settled", "say"]

Selection = Literal["giants", "broad", "table_1", "usable"]
DEFAULTS: ContextVar[Config] = ContextVar("defaults", default=PRESETS["compact"])
"""What the options of a command start from: a preset, or a file."""
Settled = Annotated[Config, tyro.conf.arg(name="")]


def say(lines: Iterable[str]) -> None:
    """Print remarks of readers to stderr."""
    for line in lines:
        print(f"aspgap: {line}", file=sys.stderr)
