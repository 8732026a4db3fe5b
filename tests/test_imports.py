"""Imports run one way: a module may use only those on lines before its own."""

from __future__ import annotations

import ast
from pathlib import Path

import aspgap_jax

# From the ground up. A folder stands for all that is in it.
ORDER = [
    "typing errors atomic labels apstar apogee_flags",
    "config synthesis parallel prefetch interruption execution epoch_log",
    "scaling",
    "stars model flags uncertainty photometry",
    "selection loss sampling domain",
    "train pretraining snr",
    "crossval predict",
    "checkpoint survey gradients labelling",
    "bundle processes trust",
    "validation batches preview",
    "plots report fitting streaming predictor",
    "pipeline",
    "evaluation",
    "suite",
    "commands",
    "cli",
]
LEVEL = {name: level for level, line in enumerate(ORDER) for name in line.split()}
ROOT = Path(aspgap_jax.__file__).parent


def place(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imports(path: Path) -> set[str]:
    """The parts of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {place(a.name) for a in node.names if a.name.startswith("aspgap_jax.")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if node.module == "aspgap_jax":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("aspgap_jax."):
                found.add(place(node.module))
    return found


def test_imports_run_one_way() -> None:
    seen = set()
    for path in sorted(ROOT.rglob("*.py")):
        here = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        seen.add(here)
        assert here in LEVEL, f"{path.name}: give {here} its place in ORDER"
        for other in imports(path) - {here}:
            assert LEVEL[other] < LEVEL[here], f"{path.relative_to(ROOT)} imports {other}"
    assert seen == set(LEVEL), "ORDER names parts that do not exist"


def test_no_part_has_a_name_that_says_nothing() -> None:
    names = {path.stem for path in ROOT.rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "misc", "common"}
