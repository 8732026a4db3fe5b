"""The command line: parses and calls; no logic lives here."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from aspgap_jax.commands import COMMANDS, Command
from aspgap_jax.commands.options import DEFAULTS
from aspgap_jax.config import PRESETS, Config, from_json
from aspgap_jax.errors import InputError

__all__ = ["main"]

DESCRIPTION = "AspGap: stellar labels, with uncertainties, from Gaia XP spectra."

PRESET_HELP = """
Every setting below can be changed by its option. --preset NAME sets the defaults first:
compact (two CPU cores, minutes; the default), best (deep, on partly whitened spectra), paper
(Li et al. 2023), released_code (the differences of the released PyTorch code). --config
FILE.json takes them from a file.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0: done. 1: done in part; what failed was named. 2: the input cannot be used; one
    line says why. 130: interrupted; the same command resumes. 75: stopped by SIGTERM with the
    state saved; the same command resumes.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        arguments, config = take_defaults(arguments)
        return parse(arguments, config).run()
    except InputError as error:
        print(f"aspgap: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        state = str(interrupt) or "run the same command to continue"
        print(f"aspgap: interrupted: {state}", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"aspgap: {error}", file=sys.stderr)
        return 2


def take_defaults(arguments: list[str]) -> tuple[list[str], Config]:
    """Take ``--preset NAME`` and ``--config FILE`` out of the arguments.

    They decide the defaults that every other option changes, so they come first.
    """
    rest: list[str] = []
    config = PRESETS["compact"]
    options = iter(arguments)
    for option in options:
        name, equals, value = option.partition("=")
        if name not in ("--preset", "--config"):
            rest.append(option)
            continue
        if not equals:
            value = next(options, "")
        if name == "--preset":
            if value not in PRESETS:
                raise InputError(f"--preset {value}: no such preset; one of {', '.join(PRESETS)}")
            config = PRESETS[value]
        else:
            try:
                text = Path(value).read_text(encoding="utf-8")
            except OSError as error:
                raise InputError(f"--config {value}: {error.strerror or error}") from None
            config = from_json(text, source=value)
    return rest, config


def parse(arguments: list[str], config: Config) -> Command:
    """The command that the arguments ask for.

    Raises:
        InputError: an unknown command, option or field, or a value of another type.
    """
    commands: Any = Union[tuple(subcommand(command) for command in COMMANDS)]  # noqa: UP007
    errors = io.StringIO()
    token = DEFAULTS.set(config)
    try:
        with contextlib.redirect_stderr(errors):
            command: Command = tyro.cli(
                commands, args=arguments, prog="aspgap", description=DESCRIPTION
            )
    except SystemExit as exit_:
        if not exit_.code:
            raise
        raise InputError(one_line(errors.getvalue())) from None
    finally:
        DEFAULTS.reset(token)
    return command


def subcommand(command: type[Command]) -> Any:
    """A command as tyro takes it: named and described."""
    description = command.__doc__ or ""
    if "config" in (field.name for field in fields(command)):
        description = f"{description}\n{PRESET_HELP}"
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", command.__name__).lower()
    return Annotated[command, tyro.conf.subcommand(name, description=description)]


def one_line(message: str) -> str:
    """The first paragraph of a boxed, wrapped message, as one line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", message)
    box = re.split(r"─{10,}", re.sub(r"^[╭╰].*$", "", plain, flags=re.MULTILINE))[0]
    line = " ".join(box.replace("│", " ").split())
    line = re.sub(r"Error parsing \S*config\.", "", line)
    return f"{line} (see aspgap --help)"
