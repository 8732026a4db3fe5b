"""A finished run, to look at: its settings, metrics, predictions and networks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from astropy.table import Table

from aspgap_jax.catalogue.predictions import read_predictions
from aspgap_jax.columns import (
    ColumnSpec,
    catalogue_columns,
    label_columns,
    trust_columns,
)
from aspgap_jax.config import Config
from aspgap_jax.errors import InputError
from aspgap_jax.prediction.answers import as_table
from aspgap_jax.prediction.bundle import BundleInfo, Networks, load_bundle, load_networks
from aspgap_jax.prediction.predictor import Predictor
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.training.run import CONFIG, load_stars

__all__ = ["FinishedRun", "load_run"]


@dataclass(frozen=True)
class FinishedRun:
    """A run that has its bundle. What is read from files is read when first asked for.

    Attributes:
        path: its folder.
        info: what its bundle is.
        data: what it was trained on, ``sample`` or a training store.
        select: which of these stars.
    """

    path: Path
    info: BundleInfo
    data: str
    select: str

    def __repr__(self) -> str:
        folds = self.info.config.cv.folds if self.has_predictions else 0
        how = f"cross-validated in {folds} folds" if folds else "trained on all stars"
        return (
            f"<Run {self.path}: {len(self.info.members)} networks for {', '.join(self.labels)}, "
            f"{how} of {self.data} ({self.select})>"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its labels."""
        return self.info.label_names

    @property
    def config(self) -> Config:
        """Its settings."""
        return self.info.config

    @property
    def has_predictions(self) -> bool:
        """Whether its stars were predicted out of fold."""
        return (self.path / "predictions.h5").is_file()

    @cached_property
    def predictions(self) -> Table:
        """Out-of-fold labels in the columns of the catalogue, and the true ones beside them.

        ``teff_xp``, its error ``e_teff_xp`` and so on are predicted, ``teff`` and ``e_teff`` are
        the training set's; ``fold`` is the one that the star was predicted out of.

        Raises:
            InputError: the run has none.
        """
        if not self.has_predictions:
            raise InputError(
                f"{self.path}: was trained on all stars and has no out-of-fold predictions; "
                f"`aspgap crossval` makes them"
            )
        found = read_predictions(self.path / "predictions.h5")
        table = found.label_table
        known = {spec.name: spec for spec in (*catalogue_columns(table), *trust_columns(table))}
        specs: list[ColumnSpec] = [known["source_id"], _plain("fold", found.fold)]
        columns: dict[str, Any] = {"source_id": found.source_id, "fold": found.fold}
        for prefix, values in (
            ("", found.prediction),
            ("e_", found.sigma),
            ("spread_", found.epistemic),
            ("noise_", found.aleatoric),
        ):
            named = label_columns(prefix, "{}", table=table)
            specs += [known[spec.name] for spec in named]
            columns |= {spec.name: v for spec, v in zip(named, values.T, strict=True)}
        for prefix, values, words in (
            ("", found.truth, "{} of the training set"),
            ("e_", found.truth_error, "Error in {} of the training set"),
        ):
            for row, value in zip(table, values.T, strict=True):
                name = f"{prefix}{row.name}"
                specs.append(_plain(name, value, row.unit, words.format(row.description)))
                columns[name] = value
        specs += [known["phot_g_mean_mag"], known["flags"]]
        columns |= {"phot_g_mean_mag": found.g_mag, "flags": found.flags}
        for name, values in found.columns.items():
            if name not in columns:
                specs.append(known.get(name) or _plain(name, values))
                columns[name] = values
        return as_table(columns, specs)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """By group of stars, label and statistic.

        Raises:
            InputError: the run has none.
        """
        return dict(_json(self.path / "metrics.json", "`aspgap evaluate` makes them"))

    @cached_property
    def networks(self) -> Networks:
        """The networks as they were trained.

        Raises:
            InputError: the bundle has only what predicts.
        """
        return load_networks(self.path)[0]

    @cached_property
    def stars(self) -> TrainingSet:
        """The stars that it was trained on.

        Raises:
            InputError: they are no longer where they were.
        """
        return load_stars(
            self.data, self.select, self.config.data.missing_labels, self.config.labels
        )

    def predictor(self) -> Predictor:
        """Its bundle, ready to predict."""
        return Predictor(self.path)


def load_run(folder: str | Path) -> FinishedRun:
    """A finished run.

    Args:
        folder: that ``aspgap demo``, ``crossval`` or ``train`` wrote, or ``fit(..., out=...)``.

    Returns:
        What is in it.

    Raises:
        InputError: there is no run, or it is not finished.
    """
    path = Path(folder).expanduser()
    settings = _json(path / CONFIG, "pass the folder of a run")
    if not (path / "bundle" / "bundle.json").is_file():
        raise InputError(f"{path}: is not finished; the command that began it goes on with it")
    _, info = load_bundle(path)
    return FinishedRun(path, info, str(settings["data"]), str(settings["select"]))


def _json(path: Path, cure: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{path}: no such file; {cure}") from None
    except ValueError as error:
        raise InputError(f"{path}: no valid JSON ({error})") from None


def _plain(name: str, values: Any, unit: str = "", words: str = "") -> ColumnSpec:
    return ColumnSpec(name, unit, words, values.dtype.type)
