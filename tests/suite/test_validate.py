"""`aspgap validate` on a small run on real stars: every study, with every other catalogue."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aspgap_jax import suite
from aspgap_jax.catalogue.predictions import Predictions, read_predictions
from aspgap_jax.cli import main
from aspgap_jax.plots import style
from support.external_files import (
    a23,
    galah,
    kurucz_network,
    lamost_lrs,
    lamost_mrs,
    lmc_members,
    occam_members,
    orbit_catalogue,
    write,
)
from support.pages import Page


def clusters(path: Path, p: Predictions) -> Path:
    return write(path, {"NAME": np.array(["NGC 6791", "M 67"]), "FE_H": np.array([0.3, 0.0])})


def members(path: Path, p: Predictions) -> Path:
    ids = np.asarray(p.columns["apogee_id"]).astype(str)[:12]
    return occam_members(path, ids, np.array(["NGC_6791"] * 7 + ["M_67"] * 5))


def others(path: Path, p: Predictions) -> Path:
    return write(path, {"dr3_source_id": p.source_id, "fe_h": p.truth[:, 2]})


def poor(path: Path, p: Predictions) -> Path:
    return write(path, {"source_id": p.source_id[::2]})


FILES: dict[str, Callable[[Path, Predictions], Path]] = {
    "a23": a23,
    "lamost_lrs": lamost_lrs,
    "lamost_mrs": lamost_mrs,
    "galah": galah,
    "other": others,
    "orbits": orbit_catalogue,
    "poor_old_heart": poor,
    "lmc": lmc_members,
    "cluster_members": members,
    "clusters": clusters,
}


def test_every_study_runs_on_real_stars(
    sample_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nobody looks at these: drawing takes most of the time.
    monkeypatch.setattr(style, "DPI", 50)
    predictions = read_predictions(sample_run / "predictions.h5")
    files = {name: make(tmp_path / f"{name}.fits", predictions) for name, make in FILES.items()}
    files["kurucz"] = kurucz_network(tmp_path / "kurucz.npz")
    options = [word for name, path in files.items() for word in ("--external", f"{name}={path}")]
    status = main(["validate", str(sample_run), "--draws", "20", *options])
    written = json.loads((sample_run / "validation.json").read_text())
    assert (written.pop("failed"), written.pop("not_run"), status) == ({}, {}, 0)
    # Sentinels that the made-up catalogues hold, counted by column.
    assert any("sentinels taken as missing" in line for line in written.pop("remarks"))
    assert written.keys() == {study.name for study in suite.STUDIES}
    headings = Page(sample_run / "validation.html").text
    assert {study.title for study in suite.STUDIES} <= set(headings)
    assert "shown for one example, no number given" in "".join(headings)
    assert capsys.readouterr().out.count("done ") == len(suite.STUDIES)
