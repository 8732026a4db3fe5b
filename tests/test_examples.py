"""The examples in docstrings run, and say what they are said to."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import aspgap_jax

ROOT = Path(aspgap_jax.__file__).parent
PARSER = doctest.DocTestParser()
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def examples() -> dict[str, tuple[str, str]]:
    """The module and the docstring of everything that has examples, by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT.parent).with_suffix("").parts
        module = ".".join(place).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                if PARSER.get_examples(text):
                    name = getattr(node, "name", "")
                    found[f"{module}.{name}".rstrip(".")] = module, text
    return found


# Read from the source: a decorated function hides from doctest.
EXAMPLES = examples()


def test_the_ways_in_have_examples() -> None:
    assert len(EXAMPLES) >= 20


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str) -> None:
    module, text = EXAMPLES[name]
    names = dict(vars(importlib.import_module(module)))
    test = PARSER.get_doctest(text, names, name, module, 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)
