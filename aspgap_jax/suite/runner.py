"""Run studies on a run, and write what they found."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from aspgap_jax import plots
from aspgap_jax.errors import InputError, TooFewStars
from aspgap_jax.files.access import check_files
from aspgap_jax.files.atomic import write_text
from aspgap_jax.files.locks import locking
from aspgap_jax.suite import STUDIES, report
from aspgap_jax.suite.provenance import provenance
from aspgap_jax.suite.study import Inputs, Missing, Result, Study, open_inputs
from aspgap_jax.suite.verdict import judge
from aspgap_jax.survey.external import EXTERNALS
from aspgap_jax.survey.ids import BY_NAME, IdChoice

__all__ = [
    "Outcome",
    "Written",
    "check_externals",
    "check_ids",
    "json_ready",
    "run_studies",
    "validate",
    "write_figures",
]


class Written(NamedTuple):
    """What is left of a study that ran, when its figures are written.

    Attributes:
        numbers: as JSON takes them.
        section: of the page.
    """

    numbers: Any
    section: report.Section


class Outcome(NamedTuple):
    """What became of the studies.

    Attributes:
        done: those that ran, with what they wrote.
        missing: those that lack data or stars, with what they need.
        failed: those that failed, with one line why.
    """

    done: tuple[tuple[Study, Written], ...]
    missing: tuple[tuple[Study, str], ...]
    failed: tuple[tuple[Study, str], ...]


def check_externals(pairs: Sequence[str]) -> dict[str, Path]:
    """``NAME=FILE`` options as a mapping.

    Args:
        pairs: the words after ``--external``.

    Returns:
        Files by the names of :data:`EXTERNALS`.

    Raises:
        InputError: another form, a name that no study knows, one that comes twice, or a file
            that cannot be read.
    """
    found: dict[str, Path] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not path:
            raise InputError(f"--external {pair}: write NAME=FILE")
        if name not in EXTERNALS:
            raise InputError(f"--external {name}: no such name; one of {', '.join(EXTERNALS)}")
        if name in found:
            raise InputError(f"--external {name}: given twice; give one file")
        found[name] = Path(path)
        check_files([found[name]], f"--external {name}:", folders=True)
    return found


def check_ids(
    columns: Sequence[str], releases: Sequence[str], maps: Sequence[str], known: Collection[str]
) -> dict[str, IdChoice]:
    """``NAME=...`` options about the ids of external files, by name.

    Args:
        columns: ``NAME=COLUMN`` (``--id-column``).
        releases: ``NAME=RELEASE`` (``--id-release``).
        maps: ``NAME=FILE`` (``--id-map``).
        known: the external files that are given.

    Returns:
        What the user says of each file's ids; files that no option names are absent.

    Raises:
        InputError: another form, or no file of that name is given.
    """
    found: dict[str, IdChoice] = {}
    options = (("--id-column", columns), ("--id-release", releases), ("--id-map", maps))
    for option, pairs in options:
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals or not value:
                raise InputError(f"{option} {pair}: write NAME=VALUE, NAME as in --external")
            if name not in known:
                raise InputError(f"{option} {pair}: no --external {name}=FILE is given")
            before = found.get(name, BY_NAME)
            if option == "--id-column":
                found[name] = before._replace(column=value)
            elif option == "--id-release":
                found[name] = before._replace(release=value)
            else:
                found[name] = before._replace(mapping=Path(value))
    return found


def read_validation(folder: Path) -> dict[str, Any]:
    """The numbers that ``aspgap validate`` has written for a run.

    Raises:
        InputError: it has not, or they cannot be read.
    """
    path = folder / "validation.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: no numbers to compare with ({error}): run `aspgap validate {folder}` first"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: not the numbers of a validation: run `aspgap validate {folder}`")
    return found


def run_studies(
    inputs: Inputs,
    studies: Sequence[Study] = STUDIES,
    other: Mapping[str, Any] = MappingProxyType({}),
) -> Outcome:
    """Run studies one after the other, and write their figures into ``figures`` of the run.

    One that fails, in what it computes or in what is written of it, does not stop the
    others.

    Args:
        inputs: of the run.
        studies: which.
        other: numbers of another run, in the same places.

    Returns:
        What became of each.
    """
    done, missing, failed = [], [], []
    for study in tqdm(studies, desc="validate", unit="study", disable=None):
        try:
            done.append((study, _written(study, inputs, other.get(study.name, {}))))
        except (Missing, TooFewStars) as error:
            missing.append((study, str(error)))
        except InputError as error:
            failed.append((study, str(error)))
        # A fault of one study must not cost the others.
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            failed.append((study, f"{type(error).__name__}: {reason}"))
    return Outcome(tuple(done), tuple(missing), tuple(failed))


def _written(study: Study, inputs: Inputs, other: Mapping[str, Any]) -> Written:
    result = study.run(inputs)
    numbers = json_ready(result.numbers)
    figures = write_figures(inputs.folder / "figures", result)
    entry = report.Entry(
        study.title, numbers, result.paper, figures, result.notes, result.words, other
    )
    return Written(numbers, report.study_section(entry))


def json_ready(value: Any) -> Any:
    """Nested numbers as JSON takes them: NumPy's as Python's, and no NaN but ``null``.

    Args:
        value: a number, a word, or mappings, lists and arrays of them.

    Returns:
        The same in Python's own types.
    """
    if isinstance(value, Mapping):
        return {str(name): json_ready(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [json_ready(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_figures(folder: Path, result: Result) -> list[report.Picture]:
    """Write the figures of a study as PNG and PDF; what a page shows of them.

    Args:
        folder: where to; it is made.
        result: of a study.

    Returns:
        One a figure.
    """
    written = []
    for drawn in result.figures:
        for suffix in (".png", ".pdf"):
            plots.save(drawn.figure, folder / f"{drawn.stem}{suffix}")
        narrow = None
        if drawn.narrow is not None:
            narrow = folder / f"{drawn.stem}_narrow.png"
            plots.save(drawn.narrow, narrow)
        written.append(report.Picture(folder / f"{drawn.stem}.png", drawn.caption, narrow))
    return written


@locking
def validate(
    folder: Path,
    external: Mapping[str, Path] | None = None,
    *,
    studies: Sequence[Study] = STUDIES,
    seed: int = 0,
    draws: int = 200,
    ids: Mapping[str, IdChoice] | None = None,
    compare: Path | None = None,
) -> tuple[str, bool]:
    """Run all studies that the data of a run allow, and write the report.

    Written into the folder of the run: ``validation.html``, ``validation.json`` (the
    numbers of every study under its name; ``not_run``, ``failed`` and ``remarks``) and
    ``figures/*.png`` and ``*.pdf``.

    Args:
        folder: of the run.
        external: files of other catalogues by name.
        studies: which.
        seed: of everything random.
        draws: bootstrap resamples.
        ids: what the user says of the ids of external files, by name.
        compare: folder of another run, validated before, whose numbers stand beside.

    Returns:
        What to print, and whether no study failed.

    Raises:
        InputError: the folder holds no predictions, or the other run no numbers.
    """
    # First: the studies take minutes.
    other = {} if compare is None else read_validation(compare)
    inputs = open_inputs(folder, external, seed=seed, draws=draws, ids=ids)
    outcome = run_studies(inputs, studies, other)
    numbers = {study.name: written.numbers for study, written in outcome.done}
    reasons = {
        "not_run": {study.name: reason for study, reason in outcome.missing},
        "failed": {study.name: reason for study, reason in outcome.failed},
        "remarks": list(inputs.remarks.lines),
    }
    write_text(folder / "validation.json", json.dumps(numbers | reasons, indent=2) + "\n")
    p = inputs.predictions
    sources = {
        "predictions": folder / "predictions.h5",
        "config": folder / "config.json",
        **{f"catalogue {name}": path for name, path in inputs.external.items()},
    }
    if compare is not None:
        sources["other run"] = compare / "validation.json"
    report.write_validation(
        folder / "validation.html",
        title="Validation of AspGap labels",
        verdict=judge(numbers),
        facts={
            "run": str(folder),
            "stars": f"{len(p):,}",
            "predicted out of fold": "yes" if (p.fold >= 0).all() else "no, or not all",
            "of other catalogues": "; ".join(inputs.remarks.lines)
            or "nothing was left out or replaced",
            "bootstrap": f"{draws} resamples, seed {seed}",
            **provenance(sources),
        },
        studies=[written.section for _, written in outcome.done],
        missing={study.title: reason for study, reason in outcome.missing},
        failed={study.title: reason for study, reason in outcome.failed},
        files=[
            (folder / "validation.json", "every number, under the name of its figure"),
            (folder / "figures", "every figure as PNG and PDF"),
        ],
    )
    return "\n".join(_lines(folder, outcome, inputs.remarks.lines)), not outcome.failed


def _lines(folder: Path, outcome: Outcome, remarks: Sequence[str]) -> list[str]:
    lines = [f"done      {study.name}: {study.title}" for study, _ in outcome.done]
    lines += [f"not run   {study.name}: {reason}" for study, reason in outcome.missing]
    lines += [f"failed    {study.name}: {reason}" for study, reason in outcome.failed]
    lines += [f"note      {line}" for line in remarks]
    return [*lines, f"wrote {folder / 'validation.html'} and {folder / 'validation.json'}"]
