"""Docstrings of what the package offers: of all names in ``__all__``, complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from support import ROOT

SECTION = re.compile(r"^(Args|Returns|Yields|Raises):$", re.MULTILINE)
ENTRY = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*): ", re.MULTILINE)


def sections(doc: str) -> dict[str, str]:
    """What stands under each heading of Google's style."""
    _, *parts = SECTION.split(doc)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def lacking(function: ast.FunctionDef, method: bool) -> Iterator[str]:
    """What the docstring of a function does not say.

    Methods are short, and explained by their class: theirs may be one line.
    """
    doc = ast.get_docstring(function)
    if doc is None:
        yield "a docstring"
        return
    found = sections(doc)
    arguments = function.args
    names = [a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    explained = {
        name for entry in ENTRY.findall(found.get("Args", "")) for name in entry.split(", ")
    }
    if "Args" in found or not method:
        wanted = set(names) - ({"self", "cls"} if method else set())
        yield from (f"argument {name}" for name in sorted(wanted - explained))
        known = {*names, *(f"*{a.arg}" for a in [arguments.vararg, arguments.kwarg] if a)}
        yield from (f"no argument {n}" for n in sorted(explained - known) if "*" not in n)
    returns = "" if function.returns is None else ast.unparse(function.returns)
    # A context manager that gives nothing is annotated as an iterator.
    silent = method or returns in ("None", "Iterator[None]")
    if not silent and "Returns" not in found and "Yields" not in found:
        yield "Returns"
    raised = (n for n in ast.walk(function) if isinstance(n, ast.Raise) and n.exc is not None)
    if any(raised) and "Raises" not in found:
        yield "Raises"


def offered(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """The definitions of the names in ``__all__``."""
    names = next(
        (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ),
        (),
    )
    for node in tree.body:
        if (
            isinstance(node, ast.ClassDef | ast.FunctionDef)
            and node.name in names
            # What an overload is about stands where it is implemented.
            and "overload" not in map(ast.unparse, node.decorator_list)
        ):
            yield node


def complaints(source: str) -> list[str]:
    """What the docstrings of a module lack, a line each."""
    found = []
    for node in offered(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            found += [f"{node.name}: {what}" for what in lacking(node, method=False)]
            continue
        if ast.get_docstring(node) is None:
            found.append(f"{node.name}: a docstring")
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                name = f"{node.name}.{method.name}"
                found += [f"{name}: {what}" for what in lacking(method, method=True)]
    return found


def test_public_docstrings_are_complete() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for path in sorted((ROOT / "aspgap_jax").rglob("*.py"))
        if (lines := complaints(path.read_text()))
    }
    assert found == {}


def test_what_is_missing_is_found() -> None:
    source = '''
__all__ = ["A", "f", "g"]
def f(x: int, *, y: int) -> int:
    """F.

    Args:
        x: one.
        z: of an earlier version.
    """
    raise ValueError(x)
def g() -> Iterator[None]:
    """G."""
def h(x): pass
class A:
    """A."""
    def short(self, x: int) -> int:
        """One line."""
    def bare(self) -> None: pass
'''
    assert complaints(source) == [
        "f: argument y",
        "f: no argument z",
        "f: Returns",
        "f: Raises",
        "A.bare: a docstring",
    ]
