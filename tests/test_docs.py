"""What the README and the pages of documentation tell to type can be typed."""

from __future__ import annotations

import importlib.util
import pydoc
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from aspgap_jax import cli
from aspgap_jax.config import PRESETS
from aspgap_jax.labels import LABELS
from aspgap_jax.preprocessing.cuts import apply_cuts
from aspgap_jax.preprocessing.selection import SELECTIONS
from aspgap_jax.survey import archive
from aspgap_jax.survey.sample import load_sample
from support import ROOT
from support.apogee_files import IDS, gaia_table, write_xp, xp_columns
from support.archive_server import MadeUpArchive, serving
from support.pages import Page
from support.snippets import BLOCK, DOCS, NAMES, blocks, commands, words_of
from support.tiny import TINY
from support.xp_files import star, write_bulk

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


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
    for words in commands(name):
        assert words[0] in CHECKS, words
        CHECKS[words[0]](words[1:])


def test_there_is_something_to_type() -> None:
    found = {name: len(list(commands(name))) for name in NAMES}
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


def test_references_in_docstrings_are_to_something() -> None:
    reference = re.compile(r":(?:mod|func|class|data|meth|attr):`~?(aspgap_jax[\w.]*)`")
    for path in (ROOT / "aspgap_jax").rglob("*.py"):
        for target in reference.findall(path.read_text()):
            assert pydoc.locate(target) is not None, f"{path}: {target}"


# Of GaiaXPy's test files; the pages speak of them.
SPOKEN_OF = [5853498713190525696, 5762406957886626816]


@pytest.fixture
def folder(tmp_path: Path, small_run: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that the pages speak of, and an archive that knows their stars."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in PRESETS:
        monkeypatch.setitem(PRESETS, name, TINY)
    shutil.copytree(small_run, tmp_path / "aspgap-demo")
    shutil.copy(small_run.parent / "giants.h5", tmp_path / "train.h5")
    giants = apply_cuts(load_sample(), SELECTIONS["giants"])
    giants = giants.where(np.arange(len(giants)) < 400)
    giants.source_id[-len(SPOKEN_OF) :] = SPOKEN_OF
    rows = {"source_id": giants.source_id, "flux": giants.xp, "flux_error": giants.xp_error}
    for name, format in (("my_xp.fits", "fits"), ("my_xp.csv", "ascii.ecsv")):
        Table(rows | {"phot_g_mean_mag": giants.g_mag}).write(tmp_path / name, format=format)
    known = {label.name: giants.labels[:, i] for i, label in enumerate(LABELS)}
    errors = {f"e_{label.name}": giants.label_error[:, i] for i, label in enumerate(LABELS)}
    given = rows | {"phot_g_mean_mag": giants.g_mag} | known | errors
    Table(given).write(tmp_path / "my_stars.fits")
    gaia = gaia_table(giants.source_id.tolist())
    gaia["phot_g_mean_mag"] = giants.g_mag
    gaia.write(tmp_path / "gaia.fits")
    (tmp_path / "bulk").mkdir()
    write_bulk(tmp_path / "bulk" / "XpContinuousMeanSpectrum_0-9.csv.gz", [star(i) for i in IDS])
    write_xp(tmp_path / "xp.fits", xp_columns(IDS))
    Table({"source_id": IDS}).write(tmp_path / "my_stars.csv")
    pixels = [i >> 43 for i in IDS]
    (tmp_path / "_MD5SUM.txt").write_text(
        f"{'0' * 32}  XpContinuousMeanSpectrum_{min(pixels):06d}-{max(pixels):06d}.csv.gz\n"
    )
    with serving(MadeUpArchive(IDS + SPOKEN_OF)) as served:
        monkeypatch.setattr(archive, "_default_server", lambda: served.url)
        yield tmp_path


@pytest.mark.parametrize(
    "name", ["experiments/docs/howto/label_files.md", "experiments/docs/howto/label_ids.md"]
)
def test_a_page_can_be_followed(name: str, folder: Path, capsys: pytest.CaptureFixture) -> None:
    for block in blocks(name, "sh"):
        for line in block.splitlines():
            (words,) = words_of(line)
            assert cli.main(words[1:]) == 0, (line, capsys.readouterr().err)


@pytest.mark.parametrize("name", [name for name in NAMES if blocks(name, "python")])
def test_examples_in_python_run(name: str, folder: Path) -> None:
    names: dict[str, object] = {}
    for block in blocks(name, "python"):
        modules = re.findall(r"^(?:import|from) (\w+)", block, re.M)
        # LSDB is no dependency.
        if "metrics" in block:
            assert cli.main(["evaluate", "aspgap-demo"]) == 0
        if all(importlib.util.find_spec(module) for module in modules):
            exec(compile(block, name, "exec"), names)


def test_the_site_builds_and_can_be_searched(tmp_path: Path) -> None:
    for package in ("sphinx", "furo", "myst_nb"):
        pytest.importorskip(package, reason=f'{package} is absent: pip install ".[docs]"')
    line = [sys.executable, ROOT / "experiments" / "build_docs.py", "--out", tmp_path / "site"]
    done = subprocess.run([*map(str, line)], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    page = Page(tmp_path / "site" / "flags.html")
    assert ["MISSING_BAND", "1"] in [row[:2] for row in page.rows]
    index = (tmp_path / "site" / "searchindex.js").read_text()
    assert "aspgap_jax.prediction.predictor" in index
    assert "hallucin" in index
