"""Commands that give labels: predict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from aspgap_jax.commands.options import Selection

__all__ = ["Predict"]


@dataclass(frozen=True)
class Predict:
    """Labels for stars from a trained bundle."""

    input: Annotated[str, tyro.conf.Positional]
    """The real sample ("sample"), or a training store (HDF5)."""
    bundle: Path
    """A bundle, or the folder of a run."""
    out: Path
    """File to write: predictions as .h5, or the catalogue's columns as .fits."""
    select: Selection | Literal["spectra"] = "spectra"
    """Which stars: all with a whole spectrum, all with labels too, or a training selection."""

    def run(self) -> int:
        from aspgap_jax import pipeline

        print(pipeline.predict_file(self.input, self.select, self.bundle, self.out))
        return 0
