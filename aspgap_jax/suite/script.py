"""What the scripts under experiments/ share: run one study from the command line."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import tyro

from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text
from aspgap_jax.suite import STUDIES
from aspgap_jax.suite.runner import check_externals, check_ids, json_ready, write_figures
from aspgap_jax.suite.study import open_inputs

__all__ = ["main", "run"]


@dataclass(frozen=True)
class Options:
    """Run one study on a run; prints its numbers."""

    run: Path
    """Folder of `aspgap crossval` or `aspgap demo`."""
    external: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Another catalogue: NAME=FILE. May be repeated."""
    id_column: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Column of Gaia ids of another catalogue, NAME=COLUMN, where its name does not tell the
    release."""
    id_release: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Release of the ids of another catalogue, NAME=dr3."""
    id_map: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=FILE: the Gaia archive's dr2_neighbourhood of a catalogue with ids of DR2."""
    out: Path | None = None
    """Folder for the numbers (JSON) and figures (PNG, PDF)."""
    seed: int = 0
    """Of the bootstrap."""
    draws: int = 200
    """Bootstrap resamples."""


def run(name: str) -> NoReturn:
    """A script: run the study called ``name`` on what the command line says, and exit.

    Args:
        name: of a row of ``aspgap_jax.suite.STUDIES``.

    Returns:
        Never: the process ends with the status of the study.
    """
    sys.exit(main(name))


def main(name: str, arguments: list[str] | None = None) -> int:
    """Run a study and print its numbers.

    Args:
        name: of the study, a key of ``validation.json``.
        arguments: of the command line; by default those of the process.

    Returns:
        The exit status: 2 if the data of the study are not there.
    """
    study = next(study for study in STUDIES if study.name == name)
    options = tyro.cli(Options, args=arguments, description=f"{study.title}. Needs {study.needs}.")
    try:
        external = check_externals(options.external)
        ids = check_ids(options.id_column, options.id_release, options.id_map, external)
        inputs = open_inputs(options.run, external, seed=options.seed, draws=options.draws, ids=ids)
        result = study.run(inputs)
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    text = json.dumps({name: json_ready(result.numbers)}, indent=2)
    print(text, *result.notes, *inputs.remarks.lines, sep="\n")
    if options.out is not None:
        write_text(options.out / f"{name}.json", text + "\n")
        write_figures(options.out, result)
    return 0
