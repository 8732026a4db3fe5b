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
from aspgap_jax.prediction.bundle import BundleInfo, load_bundle
from aspgap_jax.prediction.predict import Bundle
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.external import EXTERNALS
from aspgap_jax.training import run as pipeline

__all__ = ["Drawn", "Inputs", "Missing", "Numbers", "Result", "Study", "open_inputs"]

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
    """

    folder: Path
    predictions: Predictions
    external: Mapping[str, Path] = field(default_factory=dict)
    seed: int = 0
    draws: int = 200
    shared: dict[str, Any] = field(default_factory=dict, repr=False)

    def file(self, name: str) -> Path:
        """The external file called ``name``.

        Raises:
            Missing: it was not given.
        """
        if name not in self.external:
            raise Missing(f"needs --external {name}=FILE ({EXTERNALS[name]})")
        return self.external[name]

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
        except (OSError, json.JSONDecodeError, KeyError) as error:
            raise Missing(f"needs the spectra of the run, and {path} does not name them") from error
        try:
            stars = pipeline.load_stars(data, select)
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
    def bundle(self) -> tuple[Bundle, BundleInfo]:
        """The trained model.

        Raises:
            Missing: the run has none that can be read.
        """
        try:
            return load_bundle(self.folder)
        except InputError as error:
            raise Missing(f"needs the trained model: {error}") from error


class Drawn(NamedTuple):
    """A figure to be written.

    Attributes:
        stem: of its files, which get the suffixes .png and .pdf.
        figure: the figure.
        caption: what it shows.
    """

    stem: str
    figure: Figure
    caption: str


class Result(NamedTuple):
    """What a study found.

    Attributes:
        numbers: every number, for ``validation.json``.
        figures: what was drawn.
        paper: the paper's numbers as text, under the keys of ``numbers``.
        notes: sentences that a reader of the numbers must know.
    """

    numbers: Numbers
    figures: tuple[Drawn, ...] = ()
    paper: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()


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
    folder: Path, external: Mapping[str, Path] | None = None, *, seed: int = 0, draws: int = 200
) -> Inputs:
    """The inputs that a run's folder and external files give.

    Raises:
        InputError: the folder holds no predictions.
    """
    predictions = read_predictions(folder / "predictions.h5")
    return Inputs(folder, predictions, dict(external or {}), seed, draws)
