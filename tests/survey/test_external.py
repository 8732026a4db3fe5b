"""Other catalogues: small files with the published columns, and damaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from aspgap_jax.errors import InputError
from aspgap_jax.survey.external import (
    CATALOGUES,
    External,
    match,
    read_columns,
    read_external,
    text_columns,
)
from aspgap_jax.survey.ids import IdChoice
from aspgap_jax.survey.tables import Remarks
from support.external_files import (
    a23,
    galah,
    lamost_lrs,
    lamost_mrs,
    lmc_members,
    made_up_predictions,
    other_labels,
    write,
)
from support.table_files import CONTAINERS, several_fits, votable

P = made_up_predictions(40)
LABELS = {"teff": other_labels(P)[:, 0], "fe_h": other_labels(P)[:, 2]}


def test_a23_in_fits_and_csv(tmp_path: Path) -> None:
    for name in ("a23.fits", "a23.csv"):
        found = read_external(a23(tmp_path / name, P), CATALOGUES["a23"])
        assert (found.source_id == P.source_id).all()
        assert list(found.values) == ["teff", "logg", "m_h"]
        np.testing.assert_allclose(found.values["m_h"], other_labels(P)[:, 2])


def test_lamost_lrs_keeps_k_giants_of_high_snr(tmp_path: Path) -> None:
    found = read_external(lamost_lrs(tmp_path / "slam.fits", P), CATALOGUES["lamost_lrs"])
    assert [cut.left for cut in found.cuts] == [80, 40, 40, 40]
    np.testing.assert_allclose(found.values["alpha_m"], other_labels(P, 2)[:, 3])


def test_lamost_mrs_drops_flagged_rows(tmp_path: Path) -> None:
    found = read_external(lamost_mrs(tmp_path / "mrs.fits", P), CATALOGUES["lamost_mrs"])
    assert (found.source_id == P.source_id[:30]).all()


def test_galah_takes_dr3_ids_and_the_better_row(tmp_path: Path) -> None:
    found = read_external(galah(tmp_path / "galah.fits", P), CATALOGUES["galah"])
    order = np.argsort(P.source_id)
    assert (np.sort(found.source_id) == P.source_id[order]).all()
    ours, theirs = match(P.source_id, found, Remarks())
    np.testing.assert_allclose(found.values["teff"][theirs], other_labels(P, 4)[ours, 0])
    # Only DR2's ids: refused, for other stars have them.
    path = tmp_path / "v1.fits"
    table = Table.read(galah(path, P))
    table.remove_column("dr3_source_id")
    table.write(path, overwrite=True)
    with pytest.raises(
        InputError, match=r"v1\.fits: no column of Gaia DR3 source ids; accepted is dr3"
    ):
        read_external(path, CATALOGUES["galah"])


def test_each_cut_of_galah_counts(tmp_path: Path) -> None:
    bad = np.arange(80) % 4 == 0
    for column, value in (
        ("flag_sp", 1),
        ("red_flag", 64),
        ("e_teff", 300.0),
        ("e_alpha_fe", 0.06),
    ):
        start = 0.04 if column.startswith("e_") else 0
        path = galah(tmp_path / "g.fits", P, **{column: np.where(bad, value, start)})
        found = read_external(path, CATALOGUES["galah"])
        assert len(found.source_id) == 30
        assert dict(found.cuts)[next(c for c in dict(found.cuts) if c.startswith(column))] <= 60


def test_a_lacking_column_is_named_with_what_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", {"source_id": P.source_id, "teff_xgboost": P.g_mag})
    with pytest.raises(
        InputError, match=r"x\.csv: no column of logg; accepted is logg_xgboost in any"
    ):
        read_external(path, CATALOGUES["a23"])
    path = write(tmp_path / "y.csv", {"dr3_source_id": P.source_id, "colour": P.g_mag})
    with pytest.raises(InputError, match=r"no column of a label; accepted is teff or "):
        read_external(path, CATALOGUES["other"])
    with pytest.raises(InputError, match=r"no column of cluster; accepted is cluster in any case"):
        text_columns(path, {"cluster": ("cluster",)}, {})


def test_any_catalogue_with_one_label(tmp_path: Path) -> None:
    path = write(tmp_path / "z.csv", {"SOURCE_ID": P.source_id, "FeH": P.g_mag})
    told = IdChoice(release="dr3")
    assert list(read_external(path, CATALOGUES["other"], told).values) == ["m_h"]


def test_duplicate_ids_without_a_rank_are_refused(tmp_path: Path) -> None:
    ids = P.source_id.copy()
    ids[7] = ids[3]
    path = a23(tmp_path / "twice.fits", P, source_id=ids)
    with pytest.raises(InputError, match=rf"twice\.fits, row 8: source_id {ids[3]} occurs twice"):
        read_external(path, CATALOGUES["a23"])
    with pytest.raises(InputError, match=r"row 8: .* occurs twice"):
        read_columns(path, {"moh": ("mh_xgboost",)})


def test_masked_values_are_unknown(tmp_path: Path) -> None:
    path = galah(tmp_path / "masked.fits", P)
    table = Table.read(path)
    mask = np.arange(80) == 41
    table["fe_h"] = MaskedColumn(table["fe_h"], mask=mask)
    table["e_fe_h"] = MaskedColumn(table["e_fe_h"], mask=np.arange(80) % 40 == 5)
    # FITS has no masked floats: they become NaN, in ECSV they stay masked.
    table.write(tmp_path / "masked.ecsv", overwrite=True)
    found = read_external(tmp_path / "masked.ecsv", CATALOGUES["galah"])
    assert P.source_id[5] not in found.source_id
    assert len(found.source_id) == 39
    assert np.isnan(found.values["m_h"][found.source_id == P.source_id[1]]).all()
    assert np.isfinite(found.values["teff"]).all()


def test_no_row_left_and_no_overlap(tmp_path: Path) -> None:
    path = galah(tmp_path / "bad.fits", P, flag_guess=np.ones(80, np.int32))
    with pytest.raises(
        InputError, match=r"bad\.fits: no row is left after the cut 'flag_guess = 0'"
    ):
        read_external(path, CATALOGUES["galah"])
    other = External(path, np.array([5, 6]), {}, ())
    with pytest.raises(InputError, match="none of its 2 stars is among the 40 of the run"):
        match(P.source_id, other, Remarks())


def test_ids_as_floats_are_refused(tmp_path: Path) -> None:
    path = a23(tmp_path / "float.fits", P, source_id=P.source_id.astype(np.float64))
    with pytest.raises(InputError, match="rounds 19-digit ids"):
        read_external(path, CATALOGUES["a23"])


def test_optional_columns(tmp_path: Path) -> None:
    path = lmc_members(tmp_path / "lmc.fits", P)
    wanted = {"probability": ("p",), "energy": ("energy",)}
    found = read_columns(path, wanted, optional=("energy",))
    assert np.isnan(found.values["energy"]).all()
    assert found.values["probability"][0] == 0.95
    with pytest.raises(InputError, match="no column of energy"):
        read_columns(path, wanted)


@pytest.mark.parametrize("container", CONTAINERS)
def test_any_container(tmp_path: Path, container: str) -> None:
    path = CONTAINERS[container](tmp_path / "other", {"GaiaDR3": P.source_id} | LABELS)
    found = read_external(path, CATALOGUES["other"])
    np.testing.assert_array_equal(found.source_id, P.source_id)
    np.testing.assert_array_equal(found.values["m_h"], LABELS["fe_h"])
    columns = read_columns(path, {"teff": ("teff",)})
    np.testing.assert_array_equal(columns.values["teff"], LABELS["teff"])


@pytest.mark.parametrize("sentinel", [-999.0, -9999.0, 999.0, 99.99, 1e20])
def test_sentinels_are_no_labels(tmp_path: Path, sentinel: float) -> None:
    bad = np.arange(40) % 5 == 0
    columns = {
        "GaiaDR3": P.source_id,
        "teff": np.where(bad, sentinel, LABELS["teff"]),
        "fe_h": np.where(bad, sentinel, 0.0),
    }
    for path in (write(tmp_path / "s.fits", columns), write(tmp_path / "s.csv", columns)):
        found = read_external(path, CATALOGUES["other"])
        np.testing.assert_array_equal(np.isnan(found.values["teff"]), bad)
        assert (found.values["m_h"][~bad] == 0.0).all()
        said = [line for line in found.remarks if "sentinels taken as missing values: 8" in line]
        assert len(said) == 2


def test_an_error_of_zero_passes_no_cut(tmp_path: Path) -> None:
    zero = np.where(np.arange(80) < 60, 0.04, 0.0)
    found = read_external(galah(tmp_path / "g.fits", P, e_fe_h=zero), CATALOGUES["galah"])
    # The last 20 rows are the better ones of the last 20 stars; their worse ones are left.
    worse = np.isin(found.source_id, P.source_id[20:])
    np.testing.assert_allclose(
        found.values["teff"][worse], other_labels(P, 4)[20:, 0] + 500.0, rtol=1e-6
    )
    assert any(
        "column e_fe_h: sentinels taken as missing values: 20" in line for line in found.remarks
    )


def test_ids_that_do_not_tell_their_release_are_taken_when_told(tmp_path: Path) -> None:
    columns = {"gaia_source_id": P.source_id} | LABELS
    for name in ("lamost.csv", "lamost.fits"):
        path = write(tmp_path / name, columns)
        with pytest.raises(InputError, match=r"gaia_source_id does not tell .* --id-release dr3"):
            read_external(path, CATALOGUES["other"])
        for choice in (IdChoice("Gaia_Source_Id"), IdChoice(release="dr3")):
            found = read_external(path, CATALOGUES["other"], choice)
            np.testing.assert_array_equal(found.source_id, P.source_id)
    path = write(tmp_path / "dr2.csv", {"gaia_dr2_source_id": P.source_id - 1} | LABELS)
    with pytest.raises(InputError, match="of DR2, where stars have other ids than in DR3"):
        read_external(path, CATALOGUES["other"])
    pairs = {
        "dr2_source_id": P.source_id - 1,
        "dr3_source_id": P.source_id,
        "angular_distance": np.zeros(40),
    }
    mapping = write(tmp_path / "map.fits", pairs)
    found = read_external(path, CATALOGUES["other"], IdChoice(mapping=mapping))
    np.testing.assert_array_equal(found.source_id, P.source_id)


def test_published_catalogues_may_call_their_ids_source_id(tmp_path: Path) -> None:
    path = a23(tmp_path / "a23.csv", P)
    assert len(read_external(path, CATALOGUES["a23"]).source_id) == 40
    told = {"source_id": P.source_id, "dr3_source_id": P.source_id[::-1], "p": P.g_mag}
    # A name that tells the release wins.
    found = read_columns(write(tmp_path / "p.csv", told), {"probability": ("p",)})
    np.testing.assert_array_equal(found.source_id, P.source_id[::-1])


@pytest.mark.parametrize("write_tables", [several_fits, votable])
def test_several_tables_in_one_file(tmp_path: Path, write_tables: Any) -> None:
    columns = {"dr3_source_id": P.source_id} | LABELS
    parts = [{name: v[rows] for name, v in columns.items()} for rows in (slice(15), slice(15, 40))]
    path = write_tables(tmp_path / "batches", parts[0], {"colour": np.arange(2.0)}, parts[1])
    found = read_external(path, CATALOGUES["other"])
    np.testing.assert_array_equal(found.source_id, P.source_id)
    np.testing.assert_array_equal(found.values["teff"], LABELS["teff"])
    assert any(line.startswith(f"{path}: rows of 2 tables") for line in found.remarks)
    assert any("2: left out: no column of Gaia DR3 source ids" in line for line in found.remarks)
    parts[1]["dr3_source_id"] = parts[1]["dr3_source_id"].copy()
    parts[1]["dr3_source_id"][3] = P.source_id[0]
    path = write_tables(tmp_path / "again", *parts)
    words = rf"again, (HDU|TABLE) 2, row 4: source_id {P.source_id[0]} occurs twice"
    with pytest.raises(InputError, match=words):
        read_external(path, CATALOGUES["other"])


def test_clusters_in_any_case_and_container(tmp_path: Path) -> None:
    columns = {"Name": np.array(["M 67", "NGC 6791"]), "[Fe/H]": np.array([0.0, -999.0])}
    for container in ("semicolon", "ECSV", "Parquet"):
        path = CONTAINERS[container](tmp_path / container, columns)
        words, numbers = text_columns(path, {"name": ("name",)}, {"fe_h": ("fe_h", "[fe/h]")})
        assert words["name"].tolist() == ["M 67", "NGC 6791"]
        np.testing.assert_array_equal(numbers["fe_h"], [0.0, np.nan])
