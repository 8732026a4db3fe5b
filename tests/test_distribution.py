"""The wheel, built from the sdist, installs beside the dependencies, and predicts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from aspgap_jax.labels import LABELS
from support import ROOT
from support.xp_files import sampled_star, write_bulk

pytest.importorskip("build", reason='build is absent: pip install ".[test]"')

SOURCE = ("pyproject.toml", "README.md", "LICENSE", "aspgap_jax")


def run(*line: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, line)], cwd=cwd, env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel; the sources stay as they are."""
    folder = tmp_path_factory.mktemp("build")
    for name in SOURCE:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", cwd=folder)
    return folder / "dist"


def test_both_have_all_files_of_the_package(built: Path) -> None:
    package = ROOT / "aspgap_jax"
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if name.startswith("aspgap_jax/")} == ours
    # Nothing else is put beside other people's packages.
    assert {name.split("/")[0] for name in names} == {
        "aspgap_jax",
        next(name.split("/")[0] for name in names if ".dist-info" in name),
    }
    with tarfile.open(sdist) as archive:
        assert ours <= {name.partition("/")[2] for name in archive.getnames()}


def test_it_installs_and_predicts(built: Path, tmp_path: Path) -> None:
    home = tmp_path / "env"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=tmp_path)
    python = home / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The dependencies are those of this environment; its own aspgap_jax comes after.
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path)
    others = [path for path in sys.path if path.endswith("-packages")]
    assert sysconfig.get_path("purelib") in others
    (Path(site.strip()) / "dependencies.pth").write_text("\n".join(others))

    doctor = run(home / "bin" / "aspgap", "doctor", cwd=tmp_path)
    assert f"in {site.strip()}/aspgap_jax" in doctor
    assert "everything that is needed is here and works" in doctor
    rows = [sampled_star(5853498713190525696), sampled_star(7)]
    write_bulk(tmp_path / "stars.csv.gz", rows)
    run(home / "bin" / "aspgap", "predict", "stars.csv.gz", "--out", "labels", cwd=tmp_path)
    (part,) = (tmp_path / "labels").glob("*.parquet")
    labels = pq.read_table(part).to_pydict()
    assert labels["source_id"] == [5853498713190525696, 7]
    # Made-up spectra get labels too; the flags say what they are.
    assert all(value == value for label in LABELS for value in labels[label.catalogue])
