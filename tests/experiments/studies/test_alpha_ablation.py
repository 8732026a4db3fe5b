"""The study with and without the hallucinator, on made-up stars."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from aspgap_jax.survey.store import write_training_store
from support.experiments import load_experiment
from support.made_up import made_up_stars
from support.small_run import CFG


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    return load_experiment("studies/alpha_ablation")


def test_variants_share_all_but_the_weights(
    ablation: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_training_store(tmp_path / "stars.h5", made_up_stars(800))
    monkeypatch.setitem(ablation.PRESETS, "compact", CFG)
    # Twice the same weights: members that differ in nothing must end alike.
    variants = {"with": (0.6, 0.4), "again": (0.6, 0.4), "without": (0.6, 0.0)}
    monkeypatch.setattr(ablation, "VARIANTS", variants)
    study = ablation.Ablation(
        out=tmp_path / "out", data=str(tmp_path / "stars.h5"), select="usable", seeds=2, epochs=2
    )
    results, spectra = ablation.train(study)
    assert "emulated" in spectra
    ours = results["with"]["residual"]
    assert ours.shape == (2, 800, 4)
    np.testing.assert_allclose(results["again"]["residual"], ours, rtol=1e-5, atol=1e-6)
    assert np.abs(results["without"]["residual"] - ours).max() > 1e-3
    numbers = ablation.report(results, draws=20)
    rms = np.sqrt((results["without"]["residual"] ** 2).mean(axis=1)) - np.sqrt(
        (ours**2).mean(axis=1)
    )
    found = numbers["without"]["minus_with"]["rms"]["value"]
    np.testing.assert_allclose(found, rms.mean(axis=0), rtol=1e-3, atol=1e-6)
    assert "alpha_2 0" in capsys.readouterr().out
