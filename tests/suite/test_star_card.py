"""A star of a file becomes a page; what is not there is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from aspgap_jax.cli import main
from aspgap_jax.errors import InputError
from aspgap_jax.prediction.bundle import save_bundle
from aspgap_jax.suite import star_card as cards
from aspgap_jax.survey.store import write_training_store
from support.bundles import flat_star, gaia_bundle, gaia_set, networks_of
from support.xp_files import bulk_text

IDS = (1001, 1002, 1003)


@pytest.fixture(scope="module")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stars, the last one damaged."""
    path = tmp_path_factory.mktemp("spectra") / "xp.csv"
    rows = [flat_star(number) for number in IDS]
    rows[2]["bp_coefficients"] = rows[2]["bp_coefficients"][:-1]
    path.write_text(bulk_text(rows))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, as far as a card looks at it."""
    folder, stars = tmp_path_factory.mktemp("run"), gaia_set()
    write_training_store(folder / "stars.h5", stars)
    save_bundle(folder / "bundle", *gaia_bundle(), networks_of(stars))
    settings = {"data": str(folder / "stars.h5"), "select": "usable"}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def test_the_command_draws_a_star_beside_those_of_its_run(
    spectra: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["card", str(spectra), "--id", "1002", "--run", str(run)]
    for name in ("star.png", "star.pdf"):
        assert main([*line, "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 20_000
    printed = capsys.readouterr().out
    assert "training stars are those of the run (" in printed
    # A hallucinator of nine pixels has no place on APOGEE's grid.
    assert "9 pixels, apStar 8575" in printed
    assert main([*line, "--out", str(tmp_path / "star.png")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "star.gif")]) == 2
    assert "a .png or a .pdf" in capsys.readouterr().err


def test_a_bundle_alone_is_shown_beside_the_sample(
    spectra: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def sample(data: str, select: str):
        asked.append((data, select))
        return gaia_set()

    monkeypatch.setattr(cards, "load_stars", sample)
    save_bundle(run / "alone", *gaia_bundle())
    card = cards.card_of(spectra, 1001, bundle=run / "alone")
    assert asked == [("sample", "broad")]
    assert "the bundle carries no training stars" in card.notes[0]
    assert len(card.training) == len(gaia_set())
    assert isinstance(cards.star_card(spectra, 1001, bundle=run / "alone"), Figure)


def test_without_the_sample_the_card_says_so(
    spectra: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(data: str, select: str):
        raise InputError("the real sample is not installed: pip install it")

    monkeypatch.setattr(cards, "load_stars", absent)
    save_bundle(run / "lonely", *gaia_bundle())
    card = cards.card_of(spectra, 1001, bundle=run / "lonely")
    assert card.neighbours is None
    assert "no training stars to compare with: the real sample is not installed" in card.notes[0]


def test_a_star_that_is_not_there_is_one_line(
    spectra: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (["--id", "7"], "star 7 is not among its 2 rows (1 more are damaged)"),
        (["--id", "1003"], "the row of star 1003 is damaged: "),
        ([], "has 2 stars: say which, such as --id 1001"),
        (["--id", "x"], "x"),
    ):
        assert main(["card", str(spectra), *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
