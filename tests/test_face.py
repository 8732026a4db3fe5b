"""``import aspgap_jax as ag``: every name is there, and nothing is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import aspgap_jax as ag

HEAVY = ("jax", "flax", "astropy", "pyarrow", "scipy", "matplotlib", "h5py", "numpy", "pandas")


@pytest.mark.parametrize("name", ag.__all__)
def test_every_name_is_there(name: str) -> None:
    found = getattr(ag, name)
    assert name in dir(ag)
    if name != "__version__":
        # The function or class itself, from where the readers of code look for it.
        assert (found.__name__, found.__module__) == (name, f"aspgap_jax.{ag._FROM[name]}")


def test_editors_see_what_is_imported_later() -> None:
    (block,) = [
        node for node in ast.parse(Path(ag.__file__).read_text()).body if isinstance(node, ast.If)
    ]
    seen = {
        alias.asname: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == {name: f"aspgap_jax.{module}" for name, module in ag._FROM.items()}
    assert {*seen, "__version__"} == set(ag.__all__)


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'aspgap_jax' has no attribute 'predictor_'"):
        ag.predictor_  # noqa: B018


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import aspgap_jax; aspgap_jax.__all__", ()),
        ("import aspgap_jax; aspgap_jax.decode(3)", ()),
        ("from aspgap_jax.cli import parse; parse(['predict', 'x.csv'])", ("numpy",)),
    ],
)
def test_what_is_heavy_waits(code: str, allowed: tuple[str, ...]) -> None:
    listed = f"{code}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", listed], capture_output=True, text=True, check=True
    )
    assert set(ast.literal_eval(done.stdout)) <= set(allowed)
