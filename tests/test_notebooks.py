"""The notebooks run from top to bottom, on a small run of made-up giants."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from support import ROOT

FOLDER = ROOT / "notebooks"
# Figures each notebook draws.
NOTEBOOKS = {"gradient_spectra": 3, "judge_a_star": 2, "quickstart": 2}


def figures(notebook: nbformat.NotebookNode) -> int:
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return len([out for out in outputs if "image/png" in out.get("data", {})])


def test_every_notebook_is_known_and_small() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NOTEBOOKS)
    for path in FOLDER.glob("*.ipynb"):
        assert path.stat().st_size < 500_000
        notebook = nbformat.read(path, as_version=4)
        # They are shown with what they gave on real stars.
        assert figures(notebook) == NOTEBOOKS[path.stem]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name: str, small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASPGAP_RUN", str(small_run))
    shared = Path(os.environ.get("ASPGAP_SHARED", FOLDER.parents[1] / "shared"))
    cannon = shared / "data/apogee_cannon/cannon_apokasc_gc.npz"
    # Without the file the notebook compares with the synthesis alone.
    monkeypatch.setenv("ASPGAP_CANNON", str(cannon) if cannon.is_file() else "")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    with warnings.catch_warnings():
        # Jupyter's own, about event loops and sockets, not those of the notebook.
        warnings.simplefilter("ignore")
        NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert figures(notebook) == NOTEBOOKS[name]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    assert "Warning" not in text, text
