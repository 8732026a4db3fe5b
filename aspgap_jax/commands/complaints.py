"""What tyro says of arguments that it cannot use, as one line with the nearest option."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

__all__ = ["one_line"]

RULE = re.compile(r"[\u2500-]{10,}")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
UNKNOWN = re.compile(r"Unrecognized (?:or misplaced )?options: ")


def one_line(message: str, arguments: list[str], commands: Collection[str]) -> str:
    """A boxed, wrapped message as one line: what is wrong, what was meant, where to look.

    Args:
        message: as tyro prints it.
        arguments: of the command line.
        commands: names of the subcommands.

    Returns:
        The line, without ``aspgap:`` before it.
    """
    first, *others = _sections(message)
    complaint = " ".join(" ".join(first).split())
    command = arguments[0] if arguments and arguments[0] in commands else ""
    # Where a setting is refused, tyro names the place in our classes.
    complaint = re.sub(r"Error parsing (?!-)(?:\S*\.config\.(\w+: )|\S+: )", r"\1", complaint)
    if UNKNOWN.match(complaint):
        words = _unknown(complaint)
        complaint = f"Unrecognized options: {', '.join(words)}"
        if command:
            meant = list(_similar(others, f"aspgap {command}"))
        else:
            meant = difflib.get_close_matches(words[0], commands)
        if meant:
            complaint += f"; perhaps you meant {' or '.join(meant)}"
        if not command:
            complaint += f"; the commands are {', '.join(commands)}"
    elif choice := re.match(r"invalid choice '(.*?)' .* Expected one of \((.*)\)", complaint):
        known = re.findall(r"'([^']*)'", choice[2])
        if meant := difflib.get_close_matches(choice[1], known):
            complaint += f" Perhaps you meant {' or '.join(meant)}."
    return f"{complaint} (see {' '.join(['aspgap', *([command] if command else [])])} --help)"


def _sections(message: str) -> list[list[str]]:
    """The lines inside the box, without its border and title, between the rules."""
    sections: list[list[str]] = [[]]
    # The first line holds the title. Where a terminal has no box, a rule follows it.
    for number, line in enumerate(COLOUR.sub("", message).splitlines()[1:]):
        inside = line[2:].rstrip().removesuffix("\u2502").rstrip()
        if not RULE.match(inside):
            sections[-1].append(inside)
        elif number:
            sections.append([])
    return sections


def _unknown(complaint: str) -> list[str]:
    """The options that are unknown, without the values that follow them."""
    text = UNKNOWN.sub("", complaint)
    words = re.findall(r"(\S+) \(applied to", text) or text.split(", ")
    return [word for word in words if word.startswith("-")] or words


def _similar(sections: list[list[str]], command: str) -> Iterator[str]:
    """Options of a command that tyro calls similar; each is followed by where it is."""
    found: dict[str, None] = {}
    option = ""
    for line in (line for section in sections for line in section):
        if named := re.match(r" {4}(--[\w.-]+)", line):
            option = named[1]
        elif line.strip() == f"in {command} --help":
            found[option] = None
    yield from found
