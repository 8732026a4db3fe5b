"""What the README and the pages of documentation tell to type can be typed."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator

import pytest

from aspgap_jax import cli
from support import ROOT

DOCS = ROOT / "experiments" / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`((?:aspgap|python|pip|pytest) [^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def commands(text: str) -> Iterator[list[str]]:
    """The words of every line for a shell, in blocks and in sentences."""
    for language, block in BLOCK.findall(text):
        # A text block shows what is printed; a command in it follows a $.
        prompt = "$ " if language == "text" else ""
        for line in block.splitlines() if language in ("", "sh", "text") else ():
            if line.startswith(prompt):
                yield from parts(line.removeprefix(prompt))
    for line in INLINE.findall(BLOCK.sub("", text)):
        yield from parts(line.replace("\n", " "))


def parts(line: str) -> Iterator[list[str]]:
    words = shlex.split(line, comments=True)
    while "&&" in words:
        yield words[: words.index("&&")]
        words = words[words.index("&&") + 1 :]
    if words:
        yield words


def check_aspgap(words: list[str]) -> None:
    # `aspgap COMMAND` stands for any; so do capitals for files.
    if words[0] == "COMMAND" or len(words) == 1:
        assert words[0] == "COMMAND" or words[0] in cli.NAMES
        return
    if words[-1].startswith("--help"):
        with pytest.raises(SystemExit):
            cli.parse(words)
    else:
        assert isinstance(cli.parse(words), cli.NAMES[words[0]])


def check_python(words: list[str]) -> None:
    script, *options = words
    text = (ROOT / script).read_text()
    text += (ROOT / "aspgap_jax" / "suite" / "script.py").read_text()
    for option in options:
        if option.startswith("--"):
            field = option.removeprefix("--").replace("-", "_")
            declared = rf'"{option}"|^    {field}: '
            assert re.search(declared, text, re.M), f"{script} has no {option}"


def check_pip(words: list[str]) -> None:
    assert words[0] == "install"
    for word in words[1:]:
        if found := re.match(r"\.\[([\w,]+)\]$", word):
            assert set(found[1].split(",")) <= set(PROJECT["optional-dependencies"])


def check_pytest(words: list[str]) -> None:
    for word in words:
        if word.startswith("tests/"):
            assert (ROOT / word).exists()


CHECKS = {
    "aspgap": check_aspgap,
    "python": check_python,
    "pip": check_pip,
    "pytest": check_pytest,
    "sbatch": lambda words: check_pytest([f"tests/../{words[0]}"]),
    "pre-commit": lambda words: None,
}


@pytest.mark.parametrize("name", NAMES)
def test_every_command_exists_with_its_options(name: str, capsys) -> None:
    for words in commands((ROOT / name).read_text()):
        assert words[0] in CHECKS, words
        CHECKS[words[0]](words[1:])


def test_there_is_something_to_type() -> None:
    found = {name: len(list(commands((ROOT / name).read_text()))) for name in NAMES}
    assert sum(found.values()) > 80
    assert found["README.md"] > 15


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files(name: str) -> None:
    page = ROOT / name
    made = {"flags", "columns", "commands", "settings", "gallery", "contributing", "changelog"}
    for link in LINK.findall(BLOCK.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if "://" in link or not target:
            continue
        path = page.parent / target
        # Some pages are made when the site is built.
        if page.is_relative_to(DOCS) and (path.stem in made or "notebooks" in path.parts):
            continue
        assert path.is_file(), link
        if anchor:
            assert f"({anchor})=" in path.read_text()


def test_the_readme_is_short_and_shows_a_result() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") < 150
    (picture,) = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert text.index(picture) < text.index("## ")
    assert (ROOT / picture).stat().st_size < 200_000
