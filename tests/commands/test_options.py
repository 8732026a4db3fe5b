"""Options: each declared once, and explained by the tables they come from."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from aspgap_jax import commands
from aspgap_jax.cli import main, parse
from aspgap_jax.commands.options import Configured, GivenIds, Printing, Start
from aspgap_jax.config import (
    PRESET_MEANINGS,
    PRESETS,
    Execution,
    Labelling,
    PredictOptions,
)
from aspgap_jax.errors import InputError
from aspgap_jax.prediction.labelling import LabelOptions
from aspgap_jax.preprocessing.selection import CATALOGUE_SELECTIONS, SELECTIONS
from aspgap_jax.preprocessing.snr import LeastSNR
from aspgap_jax.survey.external import EXTERNALS
from aspgap_jax.survey.ids import IdChoice

ANOTHER_MEANING = {
    # Files at a time, not processes that train.
    commands.Ingest: {"processes"},
    # Of each of several catalogues, NAME=...
    commands.Validate: {"id_column", "id_release", "id_map"},
}


def declared(cls: type) -> set[str]:
    """The fields that a class itself declares, not those it inherits."""
    return set(cls.__annotations__)


def test_no_command_declares_what_settings_have() -> None:
    # The parts of Config have prefixes of their own.
    carried = (
        Execution,
        Labelling,
        PredictOptions,
        LeastSNR,
        GivenIds,
        Start,
        Configured,
        Printing,
    )
    for command in commands.COMMANDS:
        own = {
            name
            for base in command.__mro__[:-1]
            if base not in carried
            for name in (declared(base) if base.__module__.startswith("aspgap_jax") else ())
        }
        own -= ANOTHER_MEANING.get(command, set())
        for settings in carried:
            assert not own & declared(settings), (command, settings)


def test_settings_of_the_device_are_those_of_the_command_line() -> None:
    for cls in (PredictOptions, LabelOptions):
        assert issubclass(cls, Labelling)
        assert not declared(cls) & declared(Labelling)
    assert len(fields(GivenIds)) == len(IdChoice._fields)


def test_every_preset_is_explained() -> None:
    assert PRESET_MEANINGS.keys() == PRESETS.keys()


def words(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main([*line, "--help"])
    return " ".join(capsys.readouterr().out.replace("\u2502", " ").split())


@pytest.mark.parametrize(
    ("command", "table"),
    [
        ("demo", SELECTIONS),
        ("train", SELECTIONS),
        ("prepare", SELECTIONS),
        ("catalogue", CATALOGUE_SELECTIONS),
    ],
)
def test_select_names_and_explains_its_values(
    command: str, table: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    text = words([command], capsys)
    assert f"--select {{{','.join(table)}}}" in text
    for name, selection in table.items():
        assert f"{name}: {selection.meaning}" in text


def test_every_other_catalogue_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    text = words(["validate"], capsys)
    assert all(name in text for name in EXTERNALS)


def test_options_arrive_where_they_belong(tmp_path: Path) -> None:
    store = ["--allstar", "a", "--out", "o"]
    line = ["predict", "x.csv", "--compute", "bfloat16", "--propagate", "full"]
    command = parse([*line, "--no-second-path", "--batch-size", "7"])
    assert isinstance(command, commands.Predict)
    assert command.options == PredictOptions(
        compute="bfloat16", propagate="full", second_path=False, batch_size=7
    )
    ids = ["--id-column", "gaia", "--id-release", "dr3"]
    command = parse(["prepare", "x.csv", *store, "--min-snr-low", "5", *ids])
    assert isinstance(command, commands.Prepare)
    assert command.least == LeastSNR(min_snr_low=5.0)
    assert (command.ids.id_column, command.ids.id_release) == ("gaia", "dr3")
    command = parse(["crossval", "--out", "o", "--devices", "2", "--train.seed", "4"])
    assert isinstance(command, commands.Crossval)
    assert command.execution == Execution(devices=2)
    assert command.config.train.seed == 4


def test_a_config_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b"\xe9")
    (tmp_path / "list.json").write_text("[]")
    for name, message in (
        ("", "Is a directory"),
        ("latin.json", "can't decode"),
        ("list.json", "expected an object"),
    ):
        with pytest.raises(InputError, match=message):
            Start(config_file=tmp_path / name).settings()
