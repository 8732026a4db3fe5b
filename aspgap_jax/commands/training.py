"""Commands that train: demo, train, crossval; and the learning curves, plot-run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from aspgap_jax.commands.options import EXPERT, Configured, Flattened, OwnLabels, Select
from aspgap_jax.config import Execution, with_labels
from aspgap_jax.files.access import check_files, check_writable

if TYPE_CHECKING:
    from aspgap_jax.training.run import Settings

__all__ = ["Crossval", "Demo", "PlotRun", "Train"]

DECODER_SPECTRA = tyro.conf.arg(
    metavar="FILE.npz",
    help="Pre-train the APOGEE decoder on spectra emulated by a Cannon of real spectra "
    "(its layout stands in aspgap_jax/survey/cannon.py). By default on the real spectra of the "
    "training store, or else on a synthesis of the H band.",
)


@dataclass(frozen=True, kw_only=True)
class _Place:
    out: Path
    """Folder of the run. The same command goes on where it was interrupted."""
    select: Select = "giants"
    decoder_spectra: Annotated[Path | None, DECODER_SPECTRA] = None


@dataclass(frozen=True, kw_only=True)
class _Run(Configured, OwnLabels, _Place):
    """What every run is told; where it goes comes first."""

    def asked(self, data: str, *, folds: bool) -> Settings:
        """What the run is to do; a file that cannot be used is refused before anything else."""
        from aspgap_jax.survey.cannon import load_cannon
        from aspgap_jax.training.run import Settings

        config = with_labels(self.config, self.chosen(self.config.labels))
        cannon, init_from = (
            None if path is None else str(path) for path in (self.decoder_spectra, self.init_from)
        )
        if self.decoder_spectra is not None:
            check_files([self.decoder_spectra], "--decoder-spectra")
            load_cannon(self.decoder_spectra)
        return Settings(data, self.select, folds, config, cannon, init_from)


@dataclass(frozen=True, kw_only=True)
class Demo(_Run):
    """The whole of AspGap on the real sample: cross-validation, figures, catalogue, report.

    Examples::

        aspgap demo
        aspgap demo --preset compact --out runs/compact
        aspgap demo --out runs/short --train.epochs 20 --cv.seeds 1
    """

    out: Path = Path("aspgap-demo")
    """Folder of the run. The same command goes on where it was interrupted."""

    def run(self) -> int:
        """Cross-validate on the real sample, and evaluate."""
        check_writable(self.out)
        from aspgap_jax.runtime.parallel import check_devices
        from aspgap_jax.suite import evaluation
        from aspgap_jax.training.run import cross_validate

        check_devices()
        cross_validate(self.out, self.asked("sample", folds=True))
        print(evaluation.evaluate(self.out))
        return 0


@dataclass(frozen=True, kw_only=True)
class _Training(_Run):
    data: str = "sample"
    """The real sample, or a training store (HDF5)."""
    execution: Annotated[Execution, Flattened, EXPERT] = field(default_factory=Execution)

    def start(self) -> None:
        """Find the other processes, if there are any; before anything else uses JAX."""
        check_writable(self.out)
        if self.data != "sample":
            check_files([Path(self.data)], "--data")
        from aspgap_jax.runtime import parallel

        how = self.execution
        parallel.initialize(how.coordinator, how.processes, how.process_id)
        parallel.check_devices()


@dataclass(frozen=True, kw_only=True)
class Train(_Training):
    """Train on all stars and write a bundle for `aspgap predict`.

    Examples::

        aspgap train --out runs/all
        aspgap train --out runs/mine --data train.h5 --select table_1 --preset paper
        aspgap train --out runs/other-seed --train.seed 3 --train.epochs 50
    """

    def run(self) -> int:
        """Train on all stars."""
        self.start()
        from aspgap_jax.runtime import processes
        from aspgap_jax.training.run import train

        train(self.out, self.asked(self.data, folds=False), self.execution)
        processes.announce(f"wrote {self.out / 'bundle'}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Crossval(_Training):
    """Train on folds and predict every star by those that have not seen it.

    Examples::

        aspgap crossval --out runs/cv
        aspgap crossval --out runs/five --data train.h5 --cv.folds 5 --cv.seeds 1
        aspgap crossval --out runs/x --config mine.json --train.seed 1
    """

    def run(self) -> int:
        """Train the folds, and predict every star by those that have not seen it."""
        self.start()
        from aspgap_jax.runtime import processes
        from aspgap_jax.training.run import cross_validate

        cross_validate(self.out, self.asked(self.data, folds=True), self.execution)
        processes.announce(f"wrote {self.out / 'predictions.h5'} and {self.out / 'bundle'}")
        return 0


@dataclass(frozen=True)
class PlotRun:
    """Learning curves of a run, term by term, also while it is in progress (PNG and PDF).

    Examples::

        aspgap plot-run runs/cv
        aspgap plot-run runs/cv --out figures
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of the run."""
    out: Path | None = None
    """Folder of the figures. Default: `figures` in that of the run."""

    def run(self) -> int:
        """Draw the learning curves of a run."""
        check_writable(self.run_folder / "figures" if self.out is None else self.out)
        from aspgap_jax.suite import evaluation

        for path in evaluation.draw_learning_curves(self.run_folder, self.out):
            print(f"wrote {path}")
        return 0
