from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aspgap_jax import cli, commands
from aspgap_jax.config import PRESETS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--out", "x", "--foo", "3"], "Unrecognized options: --foo"),
        (["train", "--out", "x", "--train.epoch", "3"], "--train.epoch"),
        (["train", "--out", "x", "--train.epochs", "three"], "--train.epochs"),
        (["train", "--out", "x", "--train.epochs", "-3"], "epochs must be > 0, got -3"),
        (["train"], "--out PATH"),
        (["tarin"], "Unrecognized options: tarin"),
        (["demo", "--preset", "huge"], "--preset huge: no such preset; one of best, compact"),
        (["demo", "--config", "nowhere.json"], "--config nowhere.json: No such file"),
        (["evaluate", "nowhere"], "nowhere/predictions.h5"),
        (["predict", "sample", "--bundle", "nowhere", "--out", "x.h5"], "no finished bundle there"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("aspgap: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_presets_files_and_options_in_this_order(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"train": {"epochs": 7, "patience": 3}}')
    rest, config = cli.take_defaults(
        ["train", "--out", "x", f"--config={file}", "--train.epochs", "9"]
    )
    command = cli.parse(rest, config)
    assert isinstance(command, commands.Train)
    assert (command.config.train.epochs, command.config.train.patience) == (9, 3)
    rest, config = cli.take_defaults(["demo", "--preset", "paper", "--model.latent", "64"])
    command = cli.parse(rest, config)
    assert isinstance(command, commands.Demo)
    assert command.config.model.encoder == PRESETS["paper"].model.encoder
    assert command.config.model.latent == 64


@pytest.mark.parametrize(
    "command", ["demo", "train", "crossval", "predict", "catalogue", "evaluate"]
)
def test_help_explains_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert not stop.value.code
    text = " ".join(capsys.readouterr().out.split())
    assert f"usage: aspgap {command}" in text
    if command in ("demo", "train", "crossval"):
        assert "--preset NAME" in text
        assert "Lambda_1" in text


def test_interrupt_has_its_own_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: commands.Demo) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.Demo, "run", interrupt)
    assert cli.main(["demo"]) == 130
    assert "same command" in capsys.readouterr().err


def test_console_command_is_installed() -> None:
    script = Path(sys.executable).with_name("aspgap")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "crossval" in done.stdout
