"""Commands that judge a run: evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

__all__ = ["Evaluate"]


@dataclass(frozen=True)
class Evaluate:
    """Metrics, figures, catalogue and report of a cross-validation."""

    run_folder: Annotated[Path, tyro.conf.Positional]
    """Folder of `aspgap crossval` or `aspgap demo`."""

    def run(self) -> int:
        from aspgap_jax import evaluation

        print(evaluation.evaluate(self.run_folder))
        return 0
