"""What several commands share."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Annotated, Literal

import tyro

from aspgap_jax.config import PRESETS, Config

__all__ = ["DEFAULTS", "Selection", "Settled"]

Selection = Literal["giants", "broad", "table_1", "usable"]
DEFAULTS: ContextVar[Config] = ContextVar("defaults", default=PRESETS["compact"])
"""What the options of a command start from: a preset, or a file."""
Settled = Annotated[Config, tyro.conf.arg(name="")]
