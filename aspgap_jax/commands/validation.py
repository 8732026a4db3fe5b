"""Commands that judge a run: evaluate, validate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from aspgap_jax.files.access import check_writable

__all__ = ["Evaluate", "Validate"]


@dataclass(frozen=True)
class Evaluate:
    """Metrics, figures, catalogue and report of a cross-validation.

    Examples::

        aspgap evaluate runs/cv
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    """Folder of `aspgap crossval` or `aspgap demo`."""

    def run(self) -> int:
        """Metrics, figures, catalogue and report of a run."""
        check_writable(self.run_folder, "the run")
        from aspgap_jax.suite import evaluation

        print(evaluation.evaluate(self.run_folder))
        return 0


@dataclass(frozen=True)
class Validate:
    """The paper's validations of a run, all that its data allow: numbers, figures, one page.

    Examples::

        aspgap validate runs/cv
        aspgap validate runs/cv --external a23=table_1.fits
        aspgap validate runs/cv --compare runs/other
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    """Folder of `aspgap crossval` or `aspgap demo`."""
    external: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Another catalogue, NAME=FILE, repeatable: a23, lamost_lrs, lamost_mrs, galah, other, gaia,
    orbits, poor_old_heart, lmc, cluster_members, clusters, cannon, kurucz."""
    id_column: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Column of Gaia ids of another catalogue, NAME=COLUMN, where its name does not tell the
    release."""
    id_release: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Release of the ids of another catalogue, NAME=dr3."""
    id_map: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=FILE: the Gaia archive's dr2_neighbourhood of a catalogue with ids of DR2."""
    seed: int = 0
    """Of the bootstrap."""
    draws: int = 200
    """Bootstrap resamples."""
    compare: Path | None = None
    """Folder of another run, validated before: its numbers stand beside."""

    def run(self) -> int:
        """Run the studies; 1 where one failed."""
        check_writable(self.run_folder, "the run")
        from aspgap_jax.runtime.parallel import check_devices
        from aspgap_jax.suite import runner

        external = runner.check_externals(self.external)
        ids = runner.check_ids(self.id_column, self.id_release, self.id_map, external)
        check_devices()
        text, whole = runner.validate(
            self.run_folder,
            external,
            seed=self.seed,
            draws=self.draws,
            ids=ids,
            compare=self.compare,
        )
        print(text)
        return 0 if whole else 1
