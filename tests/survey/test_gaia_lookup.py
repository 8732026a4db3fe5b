"""Gaia's columns by id, from any number of tables of any kind, in bounded memory."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from aspgap_jax.errors import InputError
from aspgap_jax.survey.gaia import read_gaia_tables
from aspgap_jax.survey.gaia_lookup import open_gaia
from aspgap_jax.survey.tables import Remarks
from aspgap_jax.survey.tables import fits as fits_module
from support.table_files import CONTAINERS, stars, text

STARS = stars(6)
IDS, G = STARS["source_id"], STARS["phot_g_mean_mag"]


@pytest.mark.parametrize("container", CONTAINERS)
def test_stars_are_found_in_every_container(tmp_path: Path, container: str) -> None:
    path = CONTAINERS[container](tmp_path / "gaia", STARS)
    asked = np.array([IDS[4], 17, IDS[0]])
    remarks = Remarks()
    with open_gaia([path], remarks=remarks) as lookup:
        assert lookup is not None
        assert lookup.names == ("parallax", "phot_g_mean_mag")
        found, columns = lookup.find(asked)
        lookup.check(remarks)
    assert found.tolist() == [True, False, True]
    expected = np.array([G[4], np.nan, G[0]], np.float32)
    np.testing.assert_array_equal(columns["phot_g_mean_mag"], expected)
    assert remarks.lines == (f"{path}: 2 of 3 stars are among its 6",)
    known, values = read_gaia_tables([path], np.sort(IDS), Remarks())
    assert known.all()
    np.testing.assert_array_equal(values["parallax"], STARS["parallax"])


def test_several_tables_fill_in_what_the_first_lacks(tmp_path: Path) -> None:
    first = text(tmp_path / "a.csv", {"source_id": IDS[:4], "phot_g_mean_mag": G[:4]})
    second = {"SOURCE_ID": IDS[::-1], "RUWE": np.arange(1.0, 7.0), "phot_g_mean_mag": G[::-1] + 1}
    other = text(tmp_path / "b.csv", second, "\t")
    with open_gaia([first, other], ("phot_g_mean_mag", "ruwe")) as lookup:
        assert lookup is not None
        _, columns = lookup.find(IDS)
    np.testing.assert_allclose(columns["ruwe"], np.arange(6, 0, -1))
    np.testing.assert_allclose(columns["phot_g_mean_mag"], [*G[:4], *(G[4:] + 1)], rtol=1e-6)


def test_bulk_files_with_null(shared: Path, tmp_path: Path) -> None:
    """The archive's gaia_source: an ECSV header, text columns, ``null``; and one of ours."""
    real = shared / "data/field/GaiaSource_with_null.csv.gz"
    lines = gzip.decompress(real.read_bytes()).decode().splitlines()
    rows = [line.split(",") for line in lines if line[0].isdigit()]
    ids = np.array([int(row[2]) for row in rows])
    made = tmp_path / "GaiaSource_000000-003111.csv.gz"
    made.write_bytes(
        gzip.compress(
            b"# %ECSV 1.0\n# ---\n# delimiter: ','\nsource_id,ruwe,phot_g_mean_mag,parallax\n"
            + b"".join(b"%d,null,12.5,null\n" % i for i in ids)
        )
    )
    for path, g in ((real, [row[5] for row in rows]), (made, ["12.5"] * len(ids))):
        with open_gaia([path], ("phot_g_mean_mag", "ruwe")) as lookup:
            assert lookup is not None
            found, columns = lookup.find(ids)
        assert found.all()
        expected = [np.nan if cell == "null" else float(cell) for cell in g]
        np.testing.assert_allclose(columns["phot_g_mean_mag"], expected, rtol=1e-6)
        assert np.isnan(columns["ruwe"]).any()


def test_sentinels_and_rows_without_an_id(tmp_path: Path) -> None:
    columns = {"source_id": IDS.copy(), "phot_g_mean_mag": G.copy(), "ruwe": np.full(6, 1.1)}
    columns["source_id"][5] = 0
    columns["phot_g_mean_mag"][:2] = -999, 99.99
    columns["ruwe"][2] = 0
    columns["parallax"] = np.array([0.0, -0.4, 1, 1, 1, 1])
    path = text(tmp_path / "g.csv", columns)
    remarks = Remarks()
    with open_gaia([path], remarks=remarks) as lookup:
        assert lookup is not None
        found, values = lookup.find(IDS)
    assert found.tolist() == [True] * 5 + [False]
    assert np.isnan(values["phot_g_mean_mag"]).tolist() == [True, True, *[False] * 3, True]
    assert values["parallax"][:2].tolist() == [0.0, -0.4]
    assert np.isnan(values["ruwe"][2])
    assert remarks.lines[0] == f"{path}: 1 of 6 rows have no source id"
    counts = "\n".join(remarks.lines[1:])
    assert "column phot_g_mean_mag: sentinels taken as missing values: 2" in counts
    assert "column ruwe: sentinels taken as missing values: 1" in counts


def test_names_of_vizier_and_of_a_join(tmp_path: Path) -> None:
    # PanSTARRS's g stands beside Gaia's G in VizieR's tables.
    columns = {
        "DR3Name": np.array([f"Gaia DR3 {i}" for i in IDS]),
        "gmag": G + 9,
        "Gmag": G,
        "Plx": STARS["parallax"],
    }
    vizier = text(tmp_path / "vizier.csv", columns, ";")
    joined = tmp_path / "joined.fits"
    Table({"source_id_1": IDS, "source_id_2": IDS, "phot_g_mean_mag": G}).write(joined)
    for path in (vizier, joined):
        with open_gaia([path], ("phot_g_mean_mag",)) as lookup:
            assert lookup is not None
            found, values = lookup.find(IDS)
        assert found.all()
        np.testing.assert_array_equal(values["phot_g_mean_mag"], G.astype(np.float32))


def test_what_cannot_be_right_is_refused(tmp_path: Path) -> None:
    path = text(tmp_path / "g.csv", STARS)
    with open_gaia([path]) as lookup:
        assert lookup is not None
        lookup.find(np.array([1, 2]))
        with pytest.raises(InputError, match=r"--gaia .*g\.csv: has none of the 2 stars"):
            lookup.check(Remarks())
        remarks = Remarks()
        lookup.check(remarks, everything=False)
        assert "0 of 2 stars" in remarks.lines[0]
    # gaiadr2.gaia_source calls its ids source_id too.
    for solution, words in ((1635721458409799680, "DR2"), (1635378410781933568, "DR1")):
        columns = STARS | {"solution_id": np.full(6, solution)}
        path = text(tmp_path / "other.csv", columns)
        with (
            pytest.raises(InputError, match=rf"row 1: solution_id {solution} is of Gaia {words}"),
            open_gaia([path]),
        ):
            pass
    path = text(tmp_path / "colour.csv", {"source_id": IDS, "colour": G})
    with (
        pytest.raises(InputError, match="has none of the columns phot_g_mean_mag, ruwe"),
        open_gaia([path], ("phot_g_mean_mag", "ruwe")),
    ):
        pass


def test_memory_does_not_grow_with_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits_module, "BLOCK_ROWS", 2_000)
    n = 200_000
    ids = np.random.default_rng(0).permutation(n) + 10**18
    path = tmp_path / "large.fits"
    Table({"source_id": ids, "ruwe": ids % 7 + 0.5, "parallax": ids / 1e18}).write(path)
    tracemalloc.start()
    with open_gaia([path]) as lookup:
        assert lookup is not None
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        found, columns = lookup.find(ids[:1000])
    assert found.all()
    np.testing.assert_allclose(columns["ruwe"], ids[:1000] % 7 + 0.5)
    # The columns take 4.8 MB; a block of them 48 kB.
    assert peak < 1_500_000
