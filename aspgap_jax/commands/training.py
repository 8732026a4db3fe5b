"""Commands that train: demo, train, crossval."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aspgap_jax.commands.options import DEFAULTS, Selection, Settled

__all__ = ["Crossval", "Demo", "Train"]


@dataclass(frozen=True)
class Demo:
    """The whole of AspGap on the real sample: cross-validation, figures, catalogue, report."""

    out: Path = Path("aspgap-demo")
    """Folder of the run. The same command goes on where it was interrupted."""
    select: Selection = "giants"
    """Which stars: the benchmark's giants, the paper's Table 1, or all that are usable."""
    config: Settled = field(default_factory=DEFAULTS.get)

    def run(self) -> int:
        from aspgap_jax import evaluation, pipeline

        pipeline.cross_validate(
            self.out, pipeline.Settings("sample", self.select, True, self.config)
        )
        print(evaluation.evaluate(self.out))
        return 0


@dataclass(frozen=True)
class _Training:
    out: Path
    """Folder of the run. The same command goes on where it was interrupted."""
    data: str = "sample"
    """The real sample, or a training store (HDF5)."""
    select: Selection = "giants"
    """Which stars: the benchmark's giants, the paper's Table 1, or all that are usable."""
    config: Settled = field(default_factory=DEFAULTS.get)


@dataclass(frozen=True)
class Train(_Training):
    """Train on all stars and write a bundle for `aspgap predict`."""

    def run(self) -> int:
        from aspgap_jax import pipeline

        pipeline.train(self.out, pipeline.Settings(self.data, self.select, False, self.config))
        print(f"wrote {self.out / 'bundle'}")
        return 0


@dataclass(frozen=True)
class Crossval(_Training):
    """Train on folds and predict every star by those that have not seen it."""

    def run(self) -> int:
        from aspgap_jax import pipeline

        pipeline.cross_validate(
            self.out, pipeline.Settings(self.data, self.select, True, self.config)
        )
        print(f"wrote {self.out / 'predictions.h5'} and {self.out / 'bundle'}")
        return 0
