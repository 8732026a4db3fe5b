"""The command line: parses and calls; no logic lives here."""

from __future__ import annotations

import contextlib
import io
import re
import resource
import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import Field, field, fields, make_dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Union, get_type_hints

import tyro

from aspgap_jax import __version__
from aspgap_jax.commands import COMMANDS, Command
from aspgap_jax.commands.complaints import one_line
from aspgap_jax.commands.options import DEFAULTS, EXPERT, Flattened, Printing, Start
from aspgap_jax.errors import InputError
from aspgap_jax.files.access import reason
from aspgap_jax.runtime.output import Printed, detail, to_a_reader_that_may_go, to_log

__all__ = ["main"]

DESCRIPTION = """AspGap: stellar labels, with uncertainties, from Gaia XP spectra.

`aspgap COMMAND --help` explains the options of a command; `aspgap --version` is the version."""

EXAMPLES = "Examples::"
HELP = ("-h", "--help")
HELP_ALL = "--help-all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0: done. 1: done in part; what failed was named. 2: the input cannot be used; one
    line says why. 130: interrupted; the same command resumes. 75: stopped by SIGTERM with the
    state saved; the same command resumes.

    Args:
        arguments: without the name of the program; by default those of this process.

    Returns:
        The exit status.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    began = time.monotonic()
    status: object = None
    with to_a_reader_that_may_go() as printed:
        try:
            status = _run(arguments, printed)
        except InputError as error:
            print(f"aspgap: {error}", file=sys.stderr)
            detail(traceback.format_exc())
            status = 2
        except KeyboardInterrupt as interrupt:
            state = str(interrupt) or "run the same command to continue"
            print(f"aspgap: interrupted: {state}", file=sys.stderr)
            status = 130
        except OSError as error:
            print(f"aspgap: {reason(error)}", file=sys.stderr)
            detail(traceback.format_exc())
            status = 2
        except SystemExit as stop:
            status = stop.code
            raise
        except BaseException:
            to_log(traceback.format_exc())
            raise
        finally:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            took = f"after {time.monotonic() - began:.1f} s, {peak:.1f} GB of memory at most"
            detail(f"aspgap: exit status {status} {took}")
        return int(status)


def _run(arguments: list[str], printed: Printed) -> int:
    """Do what the arguments ask for."""
    if arguments == ["--version"]:
        print(f"aspgap {__version__}")
        return 0
    if arguments and arguments[0] in NAMES:
        how, _ = _understood(Printing, arguments[1:], arguments, return_unknown_args=True)
        printed.choose(log=how.log, quiet=how.quiet, verbose=how.verbose)
        detail(f"aspgap: {shlex.join(['aspgap', *arguments])} in {Path.cwd()}")
        detail(f"aspgap: version {__version__}, Python {sys.version.split()[0]}")
    command = parse(arguments)
    detail(f"aspgap: {command}")
    return command.run()


NAMES: dict[str, type[Command]] = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "-", command.__name__.removesuffix("Command")).lower(): command
    for command in COMMANDS
}


def parse(arguments: list[str]) -> Command:
    """The command that the arguments ask for.

    Raises:
        InputError: an unknown command, option or field, or a value of another type.
        SystemExit: it was help that they asked for; it is printed.
    """
    helped = [HELP[0] if word == HELP_ALL else word for word in arguments]
    brief = helped == arguments and not {*HELP}.isdisjoint(arguments)
    commands: Any = Union[tuple(_subcommand(name, brief) for name in NAMES)]  # noqa: UP007
    command = NAMES.get(arguments[0]) if arguments else None
    token = None
    try:
        if command is not None and issubclass(command, Start):
            # What they start from decides the defaults of all other options.
            start, _ = _understood(Start, arguments[1:], arguments, return_unknown_args=True)
            token = DEFAULTS.set(start.settings())
        found: Command = _understood(
            commands, helped, arguments, prog="aspgap", description=DESCRIPTION
        )
        return found
    except SystemExit:
        if command is not None:
            print(_after_help(arguments[0], brief))
        raise
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


def _subcommand(name: str, brief: bool) -> Any:
    """A command as tyro takes it: named, described, and with the options that all have.

    Args:
        name: of the command.
        brief: whether to leave out the options for experts.
    """
    command = NAMES[name]
    printing = field(default_factory=Printing, kw_only=True)
    added: list[Any] = [("printing", Annotated[Printing, Flattened], printing)]
    if brief:
        added += [
            (one.name, Annotated[kind, tyro.conf.Suppress], one) for one, kind in _expert(command)
        ]
    whole = make_dataclass(command.__name__, added, bases=(command,), frozen=True)
    description = (command.__doc__ or "").partition(EXAMPLES)[0].strip()
    return Annotated[whole, tyro.conf.subcommand(name, description=description)]


def _expert(command: type[Command]) -> Iterator[tuple[Field[Any], Any]]:
    """The fields of a command that are for experts, and their types."""
    kinds = get_type_hints(command, include_extras=True)
    for one in fields(command):
        if EXPERT in getattr(kinds[one.name], "__metadata__", ()):
            yield one, kinds[one.name]


def _after_help(name: str, brief: bool) -> str:
    """What follows the options in the help of a command: examples, and where the rest is."""
    examples = cleandoc(NAMES[name].__doc__ or "").partition(EXAMPLES)[2].strip("\n")
    text = f"Examples:\n{examples}\n"
    if brief and any(_expert(NAMES[name])):
        text += f"\nThe options for experts too: aspgap {name} {HELP_ALL}\n"
    return text
