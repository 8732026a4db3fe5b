"""What the README and the pages of documentation tell to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from support import ROOT

DOCS = ROOT / "experiments" / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`((?:aspgap|python|pip|pytest) [^`]+)`")


def blocks(name: str, language: str) -> list[str]:
    """The blocks of a page in one language."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [block for found, block in BLOCK.findall(text) if found == language]


def commands(name: str) -> Iterator[list[str]]:
    """The words of every line for a shell, in blocks and in sentences of a page."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for language, block in BLOCK.findall(text):
        # A text block shows what is printed; a command in it follows a $.
        prompt = "$ " if language == "text" else ""
        for line in block.splitlines() if language in ("", "sh", "text") else ():
            if line.startswith(prompt):
                yield from words_of(line.removeprefix(prompt))
    for line in INLINE.findall(BLOCK.sub("", text)):
        yield from words_of(line.replace("\n", " "))


def words_of(line: str) -> Iterator[list[str]]:
    """The words of the commands of a line, without its comment."""
    words = shlex.split(line, comments=True)
    while "&&" in words:
        yield words[: words.index("&&")]
        words = words[words.index("&&") + 1 :]
    if words:
        yield words
