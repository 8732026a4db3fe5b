"""allStar: its columns, its flags, and what makes it unusable."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspgap_jax import labels
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.apogee_flags import ASPCAPFLAG, REJECTED, bits_of
from aspgap_jax.preprocessing.cuts import apply_cuts
from aspgap_jax.preprocessing.selection import UNFLAGGED
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.apogee import read_allstar
from aspgap_jax.survey.ids import IdChoice
from support.apogee_files import (
    ERRORS,
    GIANT,
    allstar_columns,
    astra_columns,
    star_name,
    write_allstar,
)
from support.table_files import CONTAINERS, several_fits, text

IDS = [50, 20, 40, 10, 30]


def write(folder: Path, **changed: Any) -> Path:
    return write_allstar(folder / "allStar.fits", allstar_columns(IDS, **changed))


def test_columns_arrive_in_the_order_of_the_label_table(tmp_path: Path) -> None:
    stars = read_allstar(write(tmp_path))
    assert stars.source_id.tolist() == sorted(IDS)
    # The star with the id 10 is in the fourth row.
    assert stars.apogee_id[0] == star_name(3)
    np.testing.assert_allclose(stars.labels[0], [GIANT[row.apogee] for row in labels.LABELS])
    np.testing.assert_allclose(
        stars.label_error[0], [ERRORS[row.apogee] for row in labels.LABELS], rtol=1e-6
    )
    assert set(stars.gaia) == {
        *("parallax", "phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag")
    }
    assert (stars.telescope[0], stars.field[0]) == ("apo25m", "000+02")


def test_missing_values_become_nan(tmp_path: Path) -> None:
    teff = np.array([-9999.0, np.nan, 4800.0, 4800.0, 4800.0], np.float32)
    parallax = np.array([1.0, 1.0, -9999.0, 1.0, 1.0])
    stars = read_allstar(write(tmp_path, TEFF=teff, GAIAEDR3_PARALLAX=parallax))
    assert stars.source_id[np.isnan(stars.labels[:, 0])].tolist() == [20, 50]
    assert stars.source_id[np.isnan(stars.gaia["parallax"])].tolist() == [40]


def test_of_repeated_stars_the_best_spectrum_counts(tmp_path: Path) -> None:
    ids = [7, 0, 7, -9, 7, 8]
    snr = np.array([90.0, 500.0, 210.0, 500.0, np.nan, np.nan], np.float32)
    path = write_allstar(tmp_path / "a.fits", allstar_columns(ids, SNR=snr))
    stars = read_allstar(path)
    assert stars.source_id.tolist() == [7, 8]
    assert stars.apogee_id.tolist() == [star_name(2), star_name(5)]
    assert [cut.left for cut in stars.cuts] == [6, 4, 2]


def test_each_flag_removes_its_star(tmp_path: Path) -> None:
    """Every flag of section 2.2 removes a star; STAR_WARN, SN_BAD and others do not."""
    names = list(ASPCAPFLAG)
    ids = list(range(1, len(names) + 1))
    flags = np.array([1 << ASPCAPFLAG[name] for name in names], np.int64)
    path = write_allstar(tmp_path / "a.fits", allstar_columns(ids, ASPCAPFLAG=flags))
    stars = read_allstar(path)
    n = len(stars)
    sample = TrainingSet(
        stars.source_id,
        *(np.zeros((n, 1)), np.ones((n, 1)), np.zeros(n), stars.labels, stars.label_error),
        representation="continuous",
        columns={"aspcapflag": stars.aspcapflag},
    )
    kept = apply_cuts(sample, UNFLAGGED)
    removed = {names[i - 1] for i in set(ids) - set(kept.source_id.tolist())}
    assert removed == {name for group in REJECTED.values() for name in group}
    # WARN and BAD of five quantities, and one NO_GRID.
    left = [len(names), *(cut.left for cut in kept.cuts)]
    assert [a - b for a, b in itertools.pairwise(left)] == [2, 2, 2, 2, 2, 1]


def test_flags_from_text_alone(tmp_path: Path) -> None:
    text = np.array(["", "STAR_WARN,TEFF_BAD", "NO_GRID", "", ""])
    columns = allstar_columns(IDS, ASPCAPFLAGS=text) | {"ASPCAPFLAG": None}
    stars = read_allstar(write_allstar(tmp_path / "a.fits", columns))
    flag = dict(zip(stars.source_id.tolist(), stars.aspcapflag.tolist(), strict=True))
    assert flag == {50: 0, 20: 2**7 + 2**16, 40: 2**33, 10: 0, 30: 0}


def test_gzipped_allstar(tmp_path: Path) -> None:
    plain = write(tmp_path)
    packed = tmp_path / "allStar.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(read_allstar(packed).labels, read_allstar(plain).labels)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"TEFF": None}, r"no table with the columns TEFF; pass"),
        ({"M_H_ERR": None, "SNR": None}, r"no table with the columns SNR, M_H_ERR; pass"),
        ({"ASPCAPFLAG": None, "ASPCAPFLAGS": None}, r"ASPCAPFLAG \(or ASPCAPFLAGS\)"),
        ({"TEFF": ["4800", "4900", "hot", "4700", "4800"]}, "row 3: column TEFF is 'hot'"),
        ({"LOGG": np.ones((5, 2))}, "column LOGG holds arrays"),
        ({"GAIAEDR3_SOURCE_ID": np.zeros(5, np.int64)}, "no row has a GAIAEDR3_SOURCE_ID"),
        ({"GAIAEDR3_SOURCE_ID": 4e18 + np.arange(5.0)}, "row 1: .* which rounds 19-digit ids"),
        ({"ASPCAPFLAG": None, "ASPCAPFLAGS": ["", "", "WHAT", "", ""]}, "no flag 'WHAT'"),
    ],
)
def test_columns_that_cannot_be_used(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    columns = allstar_columns(IDS) | {
        name: None if values is None else np.asarray(values) for name, values in changed.items()
    }
    path = write_allstar(tmp_path / "allStar.fits", columns)
    with pytest.raises(InputError, match=words) as caught:
        read_allstar(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_allstar(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_allstar(tmp_path)
    text = tmp_path / "text.fits"
    text.write_text("TEFF,LOGG\n1,2\n")
    with pytest.raises(InputError, match="no table with the columns APOGEE_ID, SNR, M_H"):
        read_allstar(text)
    path = write(tmp_path)
    whole = path.read_bytes()
    # Cut in the header, in the table, and in the gzip stream.
    for length in (3000, 6000, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"no readable allStar file|without a table"):
            read_allstar(path)
    path.write_bytes(gzip.compress(whole)[:-100])
    with pytest.raises(InputError, match="no readable allStar file"):
        read_allstar(path)


@pytest.mark.parametrize(
    ("columns", "case"), [(allstar_columns, str.lower), (astra_columns, str.upper)]
)
@pytest.mark.parametrize("container", [name for name in CONTAINERS if "pandas" not in name])
def test_any_container_and_any_case(
    tmp_path: Path, container: str, columns: Any, case: Any
) -> None:
    table = columns(IDS)
    table.pop("ASPCAPFLAGS", None)  # empty text has no width in FITS
    plain = read_allstar(several_fits(tmp_path / "first.fits", table))
    changed = {case(name): values for name, values in table.items()}
    stars = read_allstar(CONTAINERS[container](tmp_path / "allStar", changed))
    assert stars.source_id.tolist() == plain.source_id.tolist() == sorted(IDS)
    for name in ("labels", "label_error", "snr", "aspcapflag"):
        np.testing.assert_array_equal(getattr(stars, name), getattr(plain, name))
    for name in ("apogee_id", "telescope", "field"):
        assert getattr(stars, name).tolist() == getattr(plain, name).tolist()
    assert stars.gaia.keys() == plain.gaia.keys() >= {"parallax", "phot_g_mean_mag"}


def test_lower_case_names_of_a_users_file(shared: Path) -> None:
    stars = read_allstar(shared / "data/field/allstar_lower_case.fits")
    assert len(stars) == 12
    assert np.isfinite(stars.labels).all()


def test_astra_has_two_tables_and_flags_of_its_own(tmp_path: Path) -> None:
    """HDU 1 has the stars of one kind of spectrum, HDU 2 those of the other."""
    flags = [0, 1 << 3, 1 << 5, 1 << 16, 1 << 25]
    first = astra_columns(IDS, result_flags=flags)
    second = astra_columns([7], result_flags=[1 << 40])
    stars = read_allstar(several_fits(tmp_path / "astra.fits", first, second))
    assert stars.source_id.tolist() == [7, *sorted(IDS)]
    names = dict(zip(stars.source_id.tolist(), stars.aspcapflag.tolist(), strict=True))
    expected = {
        50: 0,
        20: bits_of(("NO_GRID", "NO_ASPCAP_RESULT"), ASPCAPFLAG),
        40: bits_of(("TEFF_WARN",), ASPCAPFLAG),
        10: bits_of(("ALPHA_M_BAD",), ASPCAPFLAG),
        30: bits_of(("CHI2_BAD",), ASPCAPFLAG),
    }
    assert {star: names[star] for star in expected} == expected
    # A flag that this version does not know counts as bad.
    assert names[7] & bits_of(("TEFF_BAD",), ASPCAPFLAG)
    np.testing.assert_allclose(stars.labels[0], [GIANT[row.apogee] for row in labels.LABELS])
    assert stars.remarks[0].endswith("astra.fits: rows of 2 tables: HDU 1, HDU 2")
    with pytest.raises(InputError, match=r"tables of Astra's .* and of allStar of DR17"):
        read_allstar(several_fits(tmp_path / "both.fits", first, allstar_columns(IDS)))


@pytest.mark.parametrize("sentinel", [-999.99, -9999.0, -999.0, 99.99])
def test_sentinels_are_no_labels_and_are_counted(tmp_path: Path, sentinel: float) -> None:
    m_h = np.array([-0.1, sentinel, 0.0, -0.2, 0.3], np.float32)
    error = np.array([0.01, 0.0, 0.01, sentinel, 0.02], np.float32)
    g = np.array([12.0, 12.0, 0.0, sentinel, 12.0], np.float32)
    parallax = np.array([0.0, -0.5, 1.0, 1.0, 1.0])
    changed = {
        "M_H": m_h,
        "M_H_ERR": error,
        "GAIAEDR3_PHOT_G_MEAN_MAG": g,
        "GAIAEDR3_PARALLAX": parallax,
    }
    stars = read_allstar(write(tmp_path, **changed))
    row = np.argsort(np.argsort(IDS))  # IDS are out of order, stars ascend
    column = labels.names().index("m_h")
    np.testing.assert_array_equal(np.isnan(stars.labels[row, column]), [0, 1, 0, 0, 0])
    assert stars.labels[row, column][2] == 0.0
    np.testing.assert_array_equal(np.isnan(stars.label_error[row, column]), [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(np.isnan(stars.gaia["phot_g_mean_mag"][row]), [0, 0, 1, 1, 0])
    np.testing.assert_array_equal(stars.gaia["parallax"][row], parallax)
    said = "\n".join(stars.remarks)
    assert "column M_H: sentinels taken as missing values: 1" in said
    assert "column M_H_ERR: sentinels taken as missing values: 2" in said
    assert "column GAIAEDR3_PHOT_G_MEAN_MAG: sentinels taken as missing values: 2" in said
    assert "PARALLAX" not in said


def test_ids_of_dr2_are_refused_or_mapped(tmp_path: Path) -> None:
    columns = allstar_columns(IDS)
    columns["GAIA_SOURCE_ID"] = columns.pop("GAIAEDR3_SOURCE_ID") + 1000
    path = several_fits(tmp_path / "dr16.fits", columns)
    with pytest.raises(InputError, match=r"GAIA_SOURCE_ID|gaia_source_id does not tell"):
        read_allstar(path)
    pairs = {
        "dr2_source_id": np.array(IDS) + 1000,
        "dr3_source_id": np.array(IDS),
        "angular_distance": np.zeros(5),
    }
    mapping = text(tmp_path / "dr2_neighbourhood.csv", pairs)
    stars = read_allstar(path, IdChoice(release="dr2", mapping=mapping))
    assert stars.source_id.tolist() == sorted(IDS)
    assert stars.remarks[-1] == f"{mapping}: 5 of 5 ids of DR2 are mapped to DR3"
