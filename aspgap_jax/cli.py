"""The command line: parses and calls; no logic lives here."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Union

import tyro

from aspgap_jax import __version__
from aspgap_jax.commands import COMMANDS, Command
from aspgap_jax.commands.complaints import one_line
from aspgap_jax.commands.options import DEFAULTS, Start
from aspgap_jax.errors import InputError
from aspgap_jax.files.access import reason
from aspgap_jax.runtime.output import to_a_reader_that_may_go

__all__ = ["main"]

DESCRIPTION = """AspGap: stellar labels, with uncertainties, from Gaia XP spectra.

`aspgap COMMAND --help` explains the options of a command; `aspgap --version` is the version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0: done. 1: done in part; what failed was named. 2: the input cannot be used; one
    line says why. 130: interrupted; the same command resumes. 75: stopped by SIGTERM with the
    state saved; the same command resumes.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with to_a_reader_that_may_go():
        try:
            if arguments == ["--version"]:
                print(f"aspgap {__version__}")
                return 0
            return parse(arguments).run()
        except InputError as error:
            print(f"aspgap: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as interrupt:
            state = str(interrupt) or "run the same command to continue"
            print(f"aspgap: interrupted: {state}", file=sys.stderr)
            return 130
        except OSError as error:
            print(f"aspgap: {reason(error)}", file=sys.stderr)
            return 2


NAMES: dict[str, type[Command]] = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "-", command.__name__).lower(): command for command in COMMANDS
}


def parse(arguments: list[str]) -> Command:
    """The command that the arguments ask for.

    Raises:
        InputError: an unknown command, option or field, or a value of another type.
    """
    commands: Any = Union[tuple(_subcommand(name) for name in NAMES)]  # noqa: UP007
    command = NAMES.get(arguments[0]) if arguments else None
    token = None
    try:
        if command is not None and issubclass(command, Start):
            # What they start from decides the defaults of all other options.
            start, _ = _understood(Start, arguments[1:], arguments, return_unknown_args=True)
            token = DEFAULTS.set(start.settings())
        found: Command = _understood(
            commands, arguments, arguments, prog="aspgap", description=DESCRIPTION
        )
        return found
    finally:
        if token is not None:
            DEFAULTS.reset(token)


def _understood(kind: Any, words: list[str], arguments: list[str], **how: Any) -> Any:
    """What tyro makes of words; what it cannot use is one line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, args=words, add_help="prog" in how, **how)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(one_line(errors.getvalue(), arguments, NAMES)) from None


def _subcommand(name: str) -> Any:
    """A command as tyro takes it: named and described."""
    command = NAMES[name]
    return Annotated[command, tyro.conf.subcommand(name, description=command.__doc__)]
