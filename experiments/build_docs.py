"""The documentation as a site that is read without a server: pages, notebooks, API, gallery.

The pages are those of ``experiments/docs``; the tables of flags, columns, commands and settings
are made from the package's own, the API reference from its docstrings, the gallery from the
figures of a run. A link that leads nowhere is an error.

Run: python experiments/build_docs.py --out site
     python experiments/build_docs.py --out site --run aspgap-demo     # with a gallery of that run
Expect: "site/index.html", in one to two minutes.
Needs `pip install ".[docs]"`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import aspgap_jax
from aspgap_jax import cli, columns, config, flags
from aspgap_jax.errors import InputError
from aspgap_jax.suite import STUDIES

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "experiments" / "docs"
NOTEBOOKS = ROOT / "notebooks"
PACKAGE = Path(aspgap_jax.__file__).parent


def main() -> int:
    """Build the site, and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the site")
    parser.add_argument("--run", type=Path, help="a validated run, for the gallery")
    args = parser.parse_args()
    try:
        build(args.out, args.run)
    except InputError as error:
        print(f"build_docs: {error}", file=sys.stderr)
        return 2
    print(args.out / "index.html")
    return 0


def build(out: Path, run: Path | None = None) -> None:
    """Build the site.

    Args:
        out: its folder; what is there is replaced.
        run: folder of a run whose figures make the gallery.

    Raises:
        InputError: Sphinx is not installed, or it warned of something.
    """
    try:
        from sphinx.cmd.build import build_main
    except ImportError:
        raise InputError('the site needs Sphinx: pip install ".[docs]"') from None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        compose(source, run)
        site = Path(folder) / "site"
        # Figures and tables of 80 columns, whatever the terminal.
        os.environ["COLUMNS"] = "90"
        if build_main(["-q", "-W", "--keep-going", "-b", "html", str(source), str(site)]):
            raise InputError("the site has faults: see above")
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(site, out, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo*"))


def compose(source: Path, run: Path | None) -> None:
    """Put together what Sphinx builds from.

    Args:
        source: folder to write.
        run: folder of a run whose figures make the gallery.
    """
    shutil.copytree(PAGES, source)
    shutil.copytree(NOTEBOOKS, source / "notebooks")
    for name in ("CONTRIBUTING", "CHANGELOG"):
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
        (source / f"{name.lower()}.md").write_text(text, encoding="utf-8")
    written = {
        "flags": flag_table(),
        "columns": column_tables(),
        "commands": command_pages(),
        "settings": setting_tables(),
        "notebooks/index": notebook_page(),
        "gallery": gallery(source, run),
    }
    for name, text in written.items():
        (source / f"{name}.md").write_text(text, encoding="utf-8")
    for name, text in api_pages():
        (source / "api").mkdir(exist_ok=True)
        (source / "api" / f"{name}.md").write_text(text, encoding="utf-8")


def table(header: Sequence[str], rows: Iterator[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def flag_table() -> str:
    """The page of flags."""
    rows = ((f"`{one.name}`", one.bit, one.meaning, one.computed) for one in flags.FLAGS)
    head = ("Flag", "Bit", "Meaning", "How")
    return f"# Flags\n\n{without_roles(flags.__doc__ or '')}\n\n{table(head, rows)}\n"


def column_tables() -> str:
    """The page of columns."""

    def rows(specs: Sequence[columns.ColumnSpec]) -> Iterator[Sequence[object]]:
        for one in specs:
            yield f"`{one.name}`", one.unit, one.description, one.dtype.__name__

    head = ("Column", "Unit", "What it is", "Type")
    return (
        "# Columns\n\n## Of the paper's Table 2\n\n"
        f"{table(head, rows(columns.COLUMNS))}\n\n## How far to trust the labels\n\n"
        f"{table(head, rows(columns.TRUST))}\n\nWhat a flag says stands in [Flags](flags.md).\n"
    )


def command_pages() -> str:
    """The page of commands: the help of each."""
    parts = ["# Commands\n\nOptions for experts are in [Settings](settings.md) and `--help-all`.\n"]
    for name in cli.NAMES:
        with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
            cli.main([name, "--help"])
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue())
        parts.append(f"## aspgap {name}\n\n```text\n{plain.strip()}\n```\n")
    return "\n".join(parts)


def setting_tables() -> str:
    """The page of settings, with the defaults of every preset."""
    names = list(config.PRESETS)
    parts = [
        "# Settings\n\nEvery setting of a training, and what each preset makes it. An option has "
        "the name of its section and its own: `--train.epochs`.\n\n"
        + "\n".join(f"- `{name}`: {config.PRESET_MEANINGS[name]}" for name in names)
    ]
    for section in dataclasses.fields(config.Config):
        values = [getattr(config.PRESETS[name], section.name) for name in names]
        kind = type(values[0])
        if not dataclasses.is_dataclass(kind):  # the label set, which has options of its own
            continue
        meanings = field_docs(kind)
        rows = [
            (
                f"`--{section.name}.{one.name.replace('_', '-')}`",
                meanings.get(one.name, ""),
                *(f"`{getattr(value, one.name)}`" for value in values),
            )
            for one in dataclasses.fields(kind)
        ]
        head = ("Option", "What it is", *names)
        parts.append(f"## {section.name}\n\n{kind.__doc__}\n\n{table(head, iter(rows))}")
    return "\n\n".join(parts) + "\n"


def field_docs(kind: type) -> dict[str, str]:
    """What the strings under the fields of a class, and of its bases, say."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        for name, text in re.findall(
            r"^    (\w+):[^\n]*\n    \"\"\"(.*?)\"\"\"", inspect.getsource(base), re.M | re.S
        ):
            found[name] = without_roles(" ".join(text.split()))
    return found


def without_roles(text: str) -> str:
    """A docstring as Markdown."""
    return re.sub(r":\w+:`([^`]*)`", r"`\1`", text).replace("``", "`")


def notebook_page() -> str:
    """The page that leads to the notebooks."""
    names = "\n".join(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
    return f"# Notebooks\n\nThey are run by the tests.\n\n```{{toctree}}\n{names}\n```\n"


def gallery(source: Path, run: Path | None) -> str:
    """The page of figures."""
    text = "# Gallery\n\nThe figures that `aspgap evaluate` and `aspgap validate` draw"
    if run is None:
        return f"{text}; build with `--run RUN` to see those of a run here.\n"
    pictures = sorted((run / "figures").glob("*.png"))
    # The same for a narrow screen.
    found = [path for path in pictures if not path.stem.endswith("_narrow")]
    if not found:
        raise InputError(f"--run {run}: no figures there; `aspgap validate {run}` draws them")
    (source / "figures").mkdir()
    parts = [f"{text}, here of one run. Click to enlarge.\n"]
    for study in STUDIES:
        pictures = [path for path in found if path.stem.startswith(study.name)]
        parts += [f"## {study.title}\n"] if pictures else []
        for path in pictures:
            shutil.copy(path, source / "figures")
            link = f"figures/{path.name}"
            parts.append(f"[![{path.stem.replace('_', ' ')}]({link})]({link})\n")
    return "\n".join(parts)


def api_pages() -> Iterator[tuple[str, str]]:
    """Name and text of the pages of the API: one a folder, and one for the ground floor."""
    groups: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).with_suffix("")
        if path.name in ("__init__.py", "__main__.py"):
            continue
        group = ".".join(place.parts[:-1]) or "ground"
        groups.setdefault(group, []).append(".".join(["aspgap_jax", *place.parts]))
    for group, modules in groups.items():
        if group == "ground":
            title, text = "The ground floor", ""
        else:
            title = f"aspgap_jax.{group}"
            text = f"```{{eval-rst}}\n.. automodule:: {title}\n   :no-members:\n```\n"
        parts = [f"# {title}\n\n{text}"]
        for module in modules:
            parts.append(f"## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```\n")
        yield group, "\n".join(parts)
    names = "\n".join(sorted(groups, key=lambda name: (name != "ground", name)))
    yield "index", f"# API\n\n```{{toctree}}\n:maxdepth: 2\n\n{names}\n```\n"


if __name__ == "__main__":
    raise SystemExit(main())
