"""What a study is: one figure or table of the paper, tested on a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from aspgap_jax.catalogue.predictions import Predictions, read_predictions
from aspgap_jax.errors import InputError
from aspgap_jax.labels import LABELS, lacking, names
from aspgap_jax.prediction.bundle import BundleInfo, Networks, load_networks
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.external import EXTERNALS, External, match
from aspgap_jax.survey.ids import BY_NAME, IdChoice
from aspgap_jax.survey.tables import Remarks
from aspgap_jax.training.run import load_stars

__all__ = [
    "Drawn",
    "Inputs",
    "Missing",
    "Numbers",
    "Result",
    "Study",
    "is_scalar",
    "open_inputs",
]

Numbers = Mapping[str, Any]
"""Numbers by name, nested at will, as JSON takes them: mappings, lists, scalars, ``None``."""


class Missing(InputError):
    """A study cannot run, because data that it needs were not given."""


@dataclass(frozen=True)
class Inputs:
    """What studies work on. What is read from files is read when first asked for.

    Attributes:
        folder: of the run.
        predictions: of the run, with the truth.
        external: files of other catalogues, by the names of
            :data:`aspgap_jax.survey.external.EXTERNALS`.
        seed: of everything random.
        draws: resamples of a bootstrap.
        shared: what one study found and another needs too, by name.
        ids: what the user says of the ids of external files, by the same names.
        remarks: what was left out, replaced or mapped in external files.
    """

    folder: Path
    predictions: Predictions
    external: Mapping[str, Path] = field(default_factory=dict)
    seed: int = 0
    draws: int = 200
    shared: dict[str, Any] = field(default_factory=dict, repr=False)
    ids: Mapping[str, IdChoice] = field(default_factory=dict)
    remarks: Remarks = field(default_factory=Remarks, repr=False)

    def file(self, name: str) -> Path:
        """The external file called ``name``.

        Raises:
            Missing: it was not given.
        """
        if name not in self.external:
            raise Missing(f"needs --external {name}=FILE ({EXTERNALS[name]})")
        return self.external[name]

    def id_choice(self, name: str) -> IdChoice:
        """What the user says of the ids of the external file called ``name``."""
        return self.ids.get(name, BY_NAME)

    def match(self, other: External) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the run and of a catalogue that are the same star, with a remark.

        Raises:
            InputError: they have no star in common.
        """
        return match(self.predictions.source_id, other, self.remarks)

    @cached_property
    def stars(self) -> TrainingSet:
        """The stars of the run with their spectra, in the rows of ``predictions``.

        Raises:
            Missing: the run does not say where they are, or they are no longer there.
        """
        path = self.folder / "config.json"
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            data, select = settings["data"], settings["select"]
            missing = settings.get("config", {}).get("data", {}).get("missing_labels", "drop")
        except (OSError, json.JSONDecodeError, KeyError) as error:
            raise Missing(f"needs the spectra of the run, and {path} does not name them") from error
        try:
            stars = load_stars(data, select, missing)
        except InputError as error:
            raise Missing(f"needs the spectra of the run: {error}") from error
        order = np.argsort(stars.source_id)
        wanted = self.predictions.source_id
        place = np.searchsorted(stars.source_id, wanted, sorter=order)
        rows = order[np.minimum(place, len(order) - 1)]
        if not np.array_equal(stars.source_id[rows], wanted):
            raise Missing(f"needs the spectra of the run, and {data} has not all of its stars")
        return stars.where(rows)

    @cached_property
    def networks(self) -> tuple[Networks, BundleInfo]:
        """The networks as they were trained.

        Raises:
            Missing: the run has none that can be read.
        """
        try:
            found = load_networks(self.folder)
        except InputError as error:
            raise Missing(f"needs the networks as trained: {error}") from error
        if found[1].label_names != names():
            raise Missing(f"needs networks of {', '.join(names())}, and no further labels")
        return found


class Drawn(NamedTuple):
    """A figure to be written.

    Attributes:
        stem: of its files, which get the suffixes .png and .pdf.
        figure: the figure.
        caption: what it shows.
        narrow: the same for narrow screens, where it has many panels beside each other.
    """

    stem: str
    figure: Figure
    caption: str
    narrow: Figure | None = None


@dataclass(frozen=True)
class Result:
    """What a study found; what does not fit together is refused when it is made.

    Attributes:
        numbers: every number, for ``validation.json``.
        figures: what was drawn.
        paper: the numbers that the paper prints, as text (0.10 claims more than 0.1), each
            in the place in ``numbers`` of the one that it is to be compared with.
        notes: sentences that a reader of the numbers must know.
        words: what the paper says where it prints no number, by a key of ``numbers``.

    Raises:
        ValueError: a number that JSON cannot hold, a number of the paper without one of
            ours, or words where a number belongs; the place is named.
    """

    numbers: Numbers
    figures: tuple[Drawn, ...] = ()
    paper: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_numbers(self.numbers, "numbers")
        _check_paper(self.paper, self.numbers, "paper")
        for name in self.words:
            if name not in self.numbers:
                raise ValueError(f"words: there is no {name} among the numbers")
        stems = [drawn.stem for drawn in self.figures]
        if len(set(stems)) < len(stems):
            raise ValueError(f"figures: {', '.join(stems)}: one of them twice")


def is_scalar(value: Any) -> bool:
    """Whether a value is one number, one word or none, not a group or a list of them.

    Args:
        value: of a study's numbers.

    Returns:
        True for what fills one cell of a table.
    """
    return value is None or isinstance(value, str | bool | int | float | np.generic)


def _check_numbers(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise ValueError(f"{where}: the key {name!r} is no text")
            _check_numbers(inner, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_numbers(inner, where)
    elif not is_scalar(value) and not isinstance(value, np.ndarray):
        raise ValueError(f"{where}: {type(value).__name__} is no number, list or mapping")


def _check_paper(paper: Any, numbers: Any, where: str) -> None:
    """Mappings down to text, in the places of ``numbers``."""
    if isinstance(paper, Mapping):
        if not isinstance(numbers, Mapping):
            raise ValueError(f"{where}: a group, where the numbers have none")
        for name, inner in paper.items():
            if name not in numbers:
                raise ValueError(f"{where}.{name}: there is no such number to compare with")
            _check_paper(inner, numbers[name], f"{where}.{name}")
    elif not isinstance(paper, str) or not any(letter.isdigit() for letter in paper):
        raise ValueError(f"{where}: {paper!r} is no printed number; words belong into `words`")
    elif not is_scalar(numbers):
        raise ValueError(f"{where}: one number, where the numbers have a group")


class Study(NamedTuple):
    """One test of a run.

    Attributes:
        name: key in ``validation.json``: ``figure07``.
        title: heading.
        needs: the data it needs, in words.
        run: the test; raises :class:`Missing` where its data were not given.
    """

    name: str
    title: str
    needs: str
    run: Callable[[Inputs], Result]


def open_inputs(
    folder: Path,
    external: Mapping[str, Path] | None = None,
    *,
    seed: int = 0,
    draws: int = 200,
    ids: Mapping[str, IdChoice] | None = None,
) -> Inputs:
    """The inputs that a run's folder and external files give.

    Args:
        folder: of a run.
        external: files of other catalogues, by the names of ``--external``.
        seed: of everything random.
        draws: bootstrap resamples.
        ids: what the user says of the Gaia ids of those files.

    Returns:
        Predictions are read; what else a study needs, when it asks for it.

    Raises:
        InputError: the folder holds no predictions, or lacks one of the paper's labels.
    """
    predictions = read_predictions(folder / "predictions.h5")
    if missing := lacking(predictions.label_table):
        raise InputError(
            f"{folder}: has no {', '.join(missing)}: what is judged here are the paper's claims on "
            f"{', '.join(names())}; `aspgap evaluate` scores and draws any labels"
        )
    predictions = predictions.only(LABELS)
    return Inputs(folder, predictions, dict(external or {}), seed, draws, ids=dict(ids or {}))
