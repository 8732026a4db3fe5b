from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from aspgap_jax import cli, commands
from aspgap_jax.commands.options import say
from aspgap_jax.config import PRESETS, to_json
from aspgap_jax.errors import InputError
from aspgap_jax.runtime.output import detail


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
        (["predict", "x.csv", "--preset", "paper"], "Unrecognized options: --preset"),
        (["catalogue", "x", "--out", "y", "--config", "z"], "Unrecognized options: --config"),
        (["demo", "--preset", "paper", "--config", "x.json"], "give one of the two"),
        (["predict", "x.csv", "--batch-size", "0"], "batch_size must be at least 1, got 0"),
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
    command = cli.parse(["train", "--out", "x", f"--config={file}", "--train.epochs", "9"])
    assert isinstance(command, commands.Train)
    assert (command.config.train.epochs, command.config.train.patience) == (9, 3)
    command = cli.parse(["demo", "--preset", "paper", "--model.latent", "64"])
    assert isinstance(command, commands.Demo)
    assert command.config.model.encoder == PRESETS["paper"].model.encoder
    assert command.config.model.latent == 64


@pytest.mark.parametrize(
    "command", ["demo", "train", "crossval", "predict", "catalogue", "evaluate"]
)
def test_help_explains_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help-all"])
    assert not stop.value.code
    text = " ".join(capsys.readouterr().out.split())
    assert f"usage: aspgap {command}" in text
    if command in ("demo", "train", "crossval"):
        assert text.count(f"--preset {{{','.join(PRESETS)}}}") == 1
        assert "--config FILE.json" in text
        assert "Li et al. 2023" in text
        assert "Lambda_1" in text


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main([*words])
    assert not stop.value.code
    return capsys.readouterr().out


def test_options_for_experts_are_explained_where_they_are_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command, common, expert in (
        ("train", "--preset", "--model.latent"),
        ("demo", "--select", "--cv.folds"),
        ("predict", "--bundle", "--propagate"),
    ):
        brief, whole = (help_of(capsys, command, word) for word in ("--help", "--help-all"))
        assert common in brief
        assert common in whole
        assert expert not in brief.partition("Examples:")[0]
        assert expert in whole
        assert f"aspgap {command} --help-all" in brief
        assert "--help-all" not in whole.partition("Examples:")[2]
    # They work all the same.
    found = cli.parse(["train", "--out", "x", "--model.latent", "9"])
    assert isinstance(found, commands.Train)
    assert found.config.model.latent == 9


@pytest.mark.parametrize("name", cli.NAMES)
def test_help_ends_with_examples_that_can_be_typed(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(to_json(PRESETS["compact"]))
    text = help_of(capsys, name, "--help")
    lines = text.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert lines
    for line in lines:
        first, *words = shlex.split(line)
        assert first == "aspgap"
        assert isinstance(cli.parse(words), cli.NAMES[name])
        # As wide as the boxes above.
        assert len(line) <= 80


def test_how_much_is_printed_and_the_log_has_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(self: commands.Evaluate) -> int:
        print("a result")
        say(["a remark"])
        detail("a detail")
        print("an error", file=sys.stderr)
        raise InputError("no good")

    monkeypatch.setattr(commands.Evaluate, "run", work)
    log = tmp_path / "new" / "run.log"
    shown = {}
    for option in ("", "--quiet", "-q", "--verbose", "-v"):
        assert cli.main(["evaluate", "x", "--log", str(log), *filter(None, [option])]) == 2
        shown[option] = capsys.readouterr()
        text = log.read_text()
        log.unlink()
        lines = [
            re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \[\d+\] ", "", line)
            for line in text.splitlines()
        ]
        assert lines[0].startswith(f"aspgap: aspgap evaluate x --log {log}")
        assert lines[3:7] == ["a result", "aspgap: a remark", "a detail", "an error"]
        assert lines[7] == "aspgap: no good"
        assert "Traceback (most recent call last):" in lines
        assert lines[-1].startswith("aspgap: exit status 2 after ")
    assert shown[""].out == "a result\n"
    assert shown[""].err == "aspgap: a remark\nan error\naspgap: no good\n"
    assert shown["--quiet"] == shown["-q"] == ("", "an error\naspgap: no good\n")
    assert shown["-v"].out == "a result\n"
    assert "a detail\nan error\naspgap: no good\nTraceback" in shown["--verbose"].err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-v", "-q"], "--verbose and --quiet: give one of the two"),
        (["--log", "/dev/null/x"], "--log /dev/null/x: Not a directory"),
        (["--log", "/"], "--log /: Is a directory"),
    ],
)
def test_a_log_that_cannot_be_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", "x", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_interrupt_has_its_own_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: commands.Demo) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.Demo, "run", interrupt)
    assert cli.main(["demo"]) == 130
    assert "same command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["train", "--out", "x", "--train.epoch", "3"], "perhaps you meant .*--train.epochs"),
        (["predict", "--bundel", "x", "y.csv"], "perhaps you meant --bundle "),
        (["catalogue", "x", "--out", "y", "--unflaged"], "perhaps you meant --unflagged"),
        (["crossval", "--out", "x", "--device", "2"], "perhaps you meant .*--devices"),
        (["tarin"], "perhaps you meant train;"),
        (["validte", "x"], "perhaps you meant validate or"),
        (["demo", "--select", "gaints"], "Perhaps you meant giants"),
        (["catalogue", "x", "--out", "y", "--select", "rgbs"], "Perhaps you meant rgb"),
    ],
)
def test_what_was_meant_is_named(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert re.search(meant, error)
    assert error.count("\n") == 1


SCRIPT = Path(sys.executable).with_name("aspgap")


def run(*line: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, line)], text=True, capture_output=True, **options)


def test_console_command_is_installed() -> None:
    done = run(SCRIPT, "--help", check=True)
    assert "crossval" in done.stdout
    # Explained where it is an option, not with every command.
    assert "preset" not in done.stdout


def test_the_module_runs_too_and_both_tell_the_version() -> None:
    for line in ([SCRIPT], [sys.executable, "-m", "aspgap_jax"]):
        done = run(*line, "--version", check=True)
        assert done.stdout == f"aspgap {metadata.version('aspgap-jax')}\n"


@pytest.mark.parametrize("line", [["--help"], ["train", "--help"], ["predict", "--bundel"]])
def test_what_computes_nothing_loads_no_jax(line: list[str]) -> None:
    check = (
        "import sys, aspgap_jax.cli\n"
        "try: aspgap_jax.cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'astropy', 'pyarrow', 'matplotlib'} & set(sys.modules)"
    )
    run(sys.executable, "-c", check, *line, check=True)


def test_no_device_of_the_kind_asked_for_is_one_line(tmp_path: Path) -> None:
    for platform, command in (
        ("cuda", ["predict", "sample", "--out", tmp_path / "out"]),
        ("nonsense", ["train", "--out", tmp_path / "out"]),
    ):
        done = run(SCRIPT, *command, env=os.environ | {"JAX_PLATFORMS": platform})
        assert (done.returncode, done.stdout) == (2, "")
        assert f"JAX_PLATFORMS={platform}" in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_a_reader_that_goes_is_no_error() -> None:
    for line in ("--help", "demo --help"):
        # The pipe is closed before anything is written.
        done = run("bash", "-c", f"{SCRIPT} {line} | true; echo ${{PIPESTATUS[0]}}", check=True)
        assert (done.stdout, done.stderr) == ("0\n", "")
