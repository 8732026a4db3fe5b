"""Imports run one way: floor by floor, and file by file inside a folder."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import aspgap_jax

# From the ground up: a file may import from the floors below its own, and from its own
# folder. A folder stands for all that is in it.
FLOORS = [
    "errors",
    "typing extras labels flags apstar",
    "columns basis",
    "config files",
    "runtime synthesis model",
    "preprocessing",
    "survey",
    "catalogue",
    "prediction",
    "training",
    "validation",
    "plots",
    "suite",
    "commands",
    "cli",
    "start",
    "__main__",
]
FLOOR = {name: floor for floor, line in enumerate(FLOORS) for name in line.split()}
ROOT = Path(aspgap_jax.__file__).parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"
}


def imports(path: Path) -> set[str]:
    """The files of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            # What is no file of its own is a name in the module.
            found |= {n if n.removeprefix("aspgap_jax.") in FILES else node.module for n in whole}
    return {n.removeprefix("aspgap_jax.") for n in found if n.startswith("aspgap_jax.")}


def floor(module: str) -> int:
    place = module.split(".")[0]
    assert place in FLOOR, f"give {place} its place in FLOORS"
    return FLOOR[place]


@pytest.mark.parametrize("module", FILES)
def test_a_file_imports_from_floors_below_and_from_its_own_folder(module: str) -> None:
    here = module.split(".")[0]
    for other in imports(FILES[module]) & FILES.keys():
        if other.split(".")[0] != here:
            assert floor(other) < floor(module), f"{module} imports {other}"


def test_inside_a_folder_imports_run_one_way_too() -> None:
    graph = {module: imports(path) & FILES.keys() for module, path in FILES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_every_floor_is_there() -> None:
    assert {module.split(".")[0] for module in FILES} == set(FLOOR)


def test_readers_import_no_training() -> None:
    for module, path in FILES.items():
        if module.startswith("survey"):
            assert not {m for m in imports(path) if m.startswith("training")}, module


def test_no_part_has_a_name_that_says_nothing() -> None:
    assert not {path.stem for path in FILES.values()} & {
        "utils",
        "util",
        "helpers",
        "misc",
        "common",
    }


def test_no_class_has_the_name_of_another() -> None:
    seen: dict[str, str] = {}
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                assert node.name not in seen, f"{node.name} in {module} and in {seen[node.name]}"
                seen[node.name] = module
