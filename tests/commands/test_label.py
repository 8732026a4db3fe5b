"""Ids to labels in one call, from a stand-in for the archive on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from aspgap_jax.cli import main
from aspgap_jax.config import PredictOptions
from aspgap_jax.errors import InputError
from aspgap_jax.flags import bit
from aspgap_jax.prediction.bundle import save_bundle
from aspgap_jax.prediction.predictor import Predictor
from support.apogee_files import gaia_table, xp_columns
from support.archive_server import MadeUpArchive, serving
from support.bundles import gaia_bundle

pytest.importorskip("astroquery", reason="fetching needs astroquery")

PIXEL = 2**43
STARS = [4 * PIXEL + n for n in range(1, 7)]
NO_XP, UNKNOWN = STARS[5], 9 * PIXEL
TOO_LARGE = 12 * 4**12 * 2**35


@pytest.fixture
def archive() -> Iterator[MadeUpArchive]:
    made = MadeUpArchive(STARS)
    made.without_xp = {NO_XP}
    with serving(made) as served:
        yield served


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    save_bundle(folder, *gaia_bundle())
    return folder


def label(archive: MadeUpArchive, bundle: Path, folder: Path, *words: object) -> int:
    return main(
        [
            *("label", "--server", archive.url, "--bundle", str(bundle)),
            *("--cache", str(folder / "cache"), "--attempts", "1", "--wait", "0"),
            *("--batch-size", "8", "--no-second-path", *map(str, words)),
        ]
    )


def test_every_id_is_accounted_for(
    archive: MadeUpArchive, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.fits"
    asked = [
        STARS[3],
        NO_XP,
        "abc",
        -5,
        UNKNOWN,
        f"Gaia DR3 {STARS[0]}",
        TOO_LARGE,
        "1.5",
        STARS[3],
    ]
    # What begins with a dash is an option, unless it is told not to be.
    assert label(archive, bundle, tmp_path, "--out", out, "--", *asked) == 1
    assert "-5: no Gaia DR3 source id" in capsys.readouterr().err
    asked.remove(-5)
    assert label(archive, bundle, tmp_path, *asked, "--out", out, "--overwrite") == 1
    said = capsys.readouterr()
    lines = [line.removeprefix("aspgap: ") for line in said.err.splitlines()]
    assert lines == [
        "abc: no Gaia DR3 source id; write it with all its digits",
        f"{TOO_LARGE}: no Gaia DR3 source id, which lies outside of the sky; write it with all "
        "its digits",
        "1.5: no Gaia DR3 source id; write it with all its digits",
        f"{NO_XP}: has no XP spectrum in Gaia DR3",
        f"{UNKNOWN}: is not in Gaia DR3",
    ]
    assert "3 of 8 stars have labels" in said.out
    table = Table.read(out)
    assert table["source_id"].tolist() == [STARS[3], NO_XP, -1, UNKNOWN, STARS[0], -1, -1, STARS[3]]
    known = np.isfinite(np.ma.filled(table["teff_xp"], np.nan))
    assert known.tolist() == [True, False, False, False, True, False, False, True]
    # G of gaia_source, as the archive gave it for the stars of this request, in their order.
    sent = gaia_table([STARS[0], STARS[3], NO_XP])["phot_g_mean_mag"]
    np.testing.assert_allclose(np.asarray(table["phot_g_mean_mag"])[[4, 0, 1]], sent)


def test_labels_are_those_of_the_spectra(
    archive: MadeUpArchive, bundle: Path, tmp_path: Path
) -> None:
    predictor = Predictor(bundle, PredictOptions(batch_size=8, second_path=False))
    found = predictor.ids(STARS[:3], server=archive.url, cache=tmp_path)
    table = Table(xp_columns(STARS[:3]))
    table["phot_g_mean_mag"] = gaia_table(STARS[:3])["phot_g_mean_mag"]
    expected = predictor(table)
    for name in ("teff_xp", "alpha_m_xp", "aom_xp", "e_teff_xp", "flags"):
        if name in expected.colnames:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert found.colnames[:3] == ["source_id", "ra", "dec"]
    assert not (found["flags"] & bit("NO_G")).any()
    assert (
        predictor.ids(str(STARS[1]), server=archive.url, cache=tmp_path)["teff_xp"]
        == (expected["teff_xp"][1])
    )
    with pytest.warns(UserWarning, match=f"{NO_XP}: has no XP spectrum") as said:
        again = predictor.ids(np.array([NO_XP, STARS[1]]), server=archive.url, cache=tmp_path)
    assert len(said) == 1
    assert again["reason"].tolist() == ["has no XP spectrum in Gaia DR3", ""]
    for given in ([], "x", ["x"], [None], [2.0**62], -1):
        with pytest.raises(InputError, match=r"no source ids were given|no Gaia DR3 source id"):
            predictor.ids(given, server=archive.url, cache=tmp_path)


def test_what_was_fetched_is_not_fetched_again(
    archive: MadeUpArchive, bundle: Path, tmp_path: Path
) -> None:
    assert label(archive, bundle, tmp_path, *STARS[:3]) == 0
    assert label(archive, bundle, tmp_path, *STARS[1:3]) == 0
    assert label(archive, bundle, tmp_path, *STARS[2:5], NO_XP) == 1
    assert label(archive, bundle, tmp_path, *STARS[2:5], NO_XP) == 1
    assert archive.datalink == [STARS[:3], [*STARS[3:5], NO_XP], [NO_XP]]
    assert len(archive.queries) == 2
    # A file that was damaged since is fetched again.
    file = next((tmp_path / "cache").rglob("xp_continuous_*.fits"))
    file.write_bytes(file.read_bytes()[:-3000])
    assert label(archive, bundle, tmp_path, *STARS[:5]) == 0
    assert len(archive.datalink) == 4


def test_a_table_of_ids(
    archive: MadeUpArchive, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Table({"dr3_source_id": STARS[:2], "x": [1, 2]}).write(tmp_path / "a.csv")
    out = tmp_path / "b.ecsv"
    assert label(archive, bundle, tmp_path, "--ids", tmp_path / "a.csv", "--out", out) == 0
    assert Table.read(out, format="ascii.ecsv")["source_id"].tolist() == STARS[:2]
    assert label(archive, bundle, tmp_path, "--ids", tmp_path / "a.csv", "--out", out) == 2
    assert "b.ecsv" in capsys.readouterr().err
    assert label(archive, bundle, tmp_path, "--ids", tmp_path / "none.csv") == 2
    assert "--ids" in capsys.readouterr().err


def test_a_query(
    archive: MadeUpArchive, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = f"SELECT source_id FROM gaiadr3.gaia_source WHERE source_id IN ({STARS[0]}, {STARS[2]})"
    assert label(archive, bundle, tmp_path, "--adql", query) == 0
    assert "2 of 2 stars have labels" in capsys.readouterr().out
    assert label(archive, bundle, tmp_path, "--adql", query.replace(str(STARS[0]), "1")) == 0
    assert label(archive, bundle, tmp_path, "--adql", "SELECT x WHERE source_id IN (7)") == 2
    assert "the query finds no stars: SELECT x" in capsys.readouterr().err
    archive.spoil = lambda number, body: 500
    assert label(archive, bundle, tmp_path, "--adql", query) == 2
    said = capsys.readouterr().err
    assert said.startswith("aspgap: the query failed (")
    assert said.count("\n") == 1


@pytest.mark.parametrize("lost", ["spectra", "columns"])
def test_a_request_that_fails_costs_its_stars_alone(
    archive: MadeUpArchive,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lost: str,
) -> None:
    assert label(archive, bundle, tmp_path, STARS[0]) == 0
    capsys.readouterr()
    # The answers to a request for columns come before those to one for spectra.
    first = archive.answers + 1
    archive.spoil = lambda number, body: 500 if (number == first) == (lost == "columns") else body
    out = tmp_path / "a.parquet"
    assert label(archive, bundle, tmp_path, *STARS[:3], "--out", out) == 1
    said = capsys.readouterr().err
    what = "spectra" if lost == "spectra" else "G, position and ruwe"
    assert f"{what} of 2 stars ({STARS[1]}, {STARS[2]}) could not be fetched: " in said
    table = Table.read(out)
    known = np.isfinite(table["teff_xp"]).tolist()
    no_g = ((table["flags"] & bit("NO_G")) > 0).tolist()
    if lost == "spectra":
        assert f"{STARS[1]}: its spectrum could not be fetched" in said
        assert known == [True, False, False]
    else:
        assert known[0]
        assert no_g == [False, True, True]
    # The same command goes on where the archive failed.
    archive.spoil = lambda number, body: body
    assert label(archive, bundle, tmp_path, *STARS[:3]) == 0


def test_one_kind_of_ids_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["label"]) == 2
    assert main(["label", "123", "--adql", "SELECT"]) == 2
    assert capsys.readouterr().err.count("give source ids, or --ids TABLE, or --adql QUERY") == 2
    assert main(["label", "123", "--out", str(tmp_path / "a.txt")]) == 2
    assert "no catalogue format has the suffix '.txt'" in capsys.readouterr().err
