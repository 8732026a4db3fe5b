"""What several commands share: where settings start from, and options with one declaration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from aspgap_jax.config import DEFAULT_PRESET, PRESET_MEANINGS, PRESETS, Config, from_json
from aspgap_jax.errors import InputError
from aspgap_jax.files.label_tables import choose_labels
from aspgap_jax.labels import LabelSet
from aspgap_jax.preprocessing.selection import CATALOGUE_SELECTIONS, SELECTIONS, Selection
from aspgap_jax.runtime.output import remark

__all__ = [
    "DEFAULTS",
    "EXPERT",
    "CatalogueSelect",
    "Configured",
    "Flattened",
    "GivenIds",
    "Overwrite",
    "OwnLabels",
    "Printing",
    "Release",
    "Select",
    "Start",
    "say",
]

Flattened = tyro.conf.arg(name="")
"""Of a field with settings of its own: their options without a prefix."""

EXPERT = "expert"
"""Of a field: ``--help-all`` explains it, ``--help`` does not."""


def _one_of(table: Mapping[str, Selection]) -> Any:
    """The type of an option that takes one of the names of a table, and explains each."""
    meanings = "; ".join(f"{name}: {selection.meaning}" for name, selection in table.items())
    return Annotated[Literal[tuple(table)], tyro.conf.arg(help=f"Which stars. {meanings}.")]


if TYPE_CHECKING:
    Select = str
    CatalogueSelect = str
else:
    Select, CatalogueSelect = _one_of(SELECTIONS), _one_of(CATALOGUE_SELECTIONS)

Overwrite = Annotated[
    bool,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.arg(help="Replace what is there, once the new one is whole."),
]

Release = Annotated[
    str, tyro.conf.arg(help="Gaia release of the spectra (dr3, dr4); by default as they say.")
]

DEFAULTS: ContextVar[Config] = ContextVar("defaults", default=PRESETS[DEFAULT_PRESET])
"""What the settings of a command start from."""

PRESET = tyro.conf.arg(
    metavar=f"{{{','.join(PRESETS)}}}",
    help="The settings to start from, which the options below change. "
    + "; ".join(f"{name}: {PRESET_MEANINGS[name]}" for name in PRESETS)
    + ".",
)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where the settings start from. Read before all other options, whose defaults it decides."""

    preset: Annotated[str, PRESET] = DEFAULT_PRESET
    config_file: Annotated[Path | None, tyro.conf.arg(name="config", metavar="FILE.json")] = None
    """Take the settings to start from out of a file instead."""
    init_from: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Fine-tune: networks start from those of a run, or of a bundle with its networks, and the
    settings from its. For other labels (--labels) its heads are left out."""

    def settings(self) -> Config:
        """The settings that this asks for.

        Raises:
            InputError: no such preset, a file or bundle that cannot be read, or two are given.
        """
        if self.init_from is not None:
            if self.preset != DEFAULT_PRESET or self.config_file is not None:
                raise InputError(
                    "--init-from starts from the bundle's settings: leave out --preset and --config"
                )
            from aspgap_jax.prediction.bundle import load_info

            return load_info(self.init_from).config
        if self.preset not in PRESETS:
            known = ", ".join(PRESETS)
            raise InputError(f"--preset {self.preset}: no such preset; one of {known}")
        if self.config_file is None:
            return PRESETS[self.preset]
        if self.preset != DEFAULT_PRESET:
            raise InputError(
                f"--preset {self.preset} and --config {self.config_file}: give one of the two"
            )
        try:
            text = self.config_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"--config {self.config_file}: {reason}") from None
        return from_json(text, source=str(self.config_file))


@dataclass(frozen=True, kw_only=True)
class Configured(Start):
    """Commands with all settings of a training."""

    config: Annotated[Config, Flattened, EXPERT] = field(default_factory=DEFAULTS.get)


@dataclass(frozen=True, kw_only=True)
class OwnLabels:
    """Which labels."""

    labels: Annotated[str, tyro.conf.arg(metavar="NAME,NAME,...")] = ""
    """The labels to infer, by name, in this order: those of the label table, and those that
    --label-table defines. Default: teff,logg,m_h,alpha_m."""
    label_table: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """Units and outlier bounds of your own labels; see aspgap_jax/files/label_tables.py."""

    def chosen(self, default: LabelSet) -> LabelSet:
        """The labels that are asked for.

        Args:
            default: where none are.

        Raises:
            InputError: of :func:`aspgap_jax.files.label_tables.choose_labels`, or a table
                without --labels.
        """
        if self.labels:
            return choose_labels(self.labels, self.label_table)
        if self.label_table is not None:
            raise InputError("--label-table: name the labels too, with --labels NAME,NAME,...")
        return default


@dataclass(frozen=True, kw_only=True)
class GivenIds:
    """What the name of a column of Gaia ids may not tell
    (:class:`aspgap_jax.survey.ids.IdChoice`)."""

    id_column: str = ""
    """The column of Gaia ids, where its name does not tell the release."""
    id_release: str = ""
    """Release of the ids in that column: dr3."""
    id_map: Path | None = None
    """The Gaia archive's dr2_neighbourhood of the stars, for a table with ids of DR2."""


@dataclass(frozen=True, kw_only=True)
class Printing:
    """How much a command prints (:mod:`aspgap_jax.runtime.output`). All have these options."""

    log: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Append all that is printed, and the details, to a file, with times."""
    verbose: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(aliases=["-v"])] = False
    """Print details too: versions, settings, devices, what is behind an error, time, memory."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(aliases=["-q"])] = False
    """Print errors only."""

    def __post_init__(self) -> None:
        if self.verbose and self.quiet:
            raise InputError("--verbose and --quiet: give one of the two")


def say(lines: Iterable[str]) -> None:
    """Print remarks to stderr.

    Args:
        lines: without ``aspgap:`` before them.
    """
    for line in lines:
        remark(f"aspgap: {line}")
