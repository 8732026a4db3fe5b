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
from aspgap_jax.preprocessing.apogee_flags import ASPCAPFLAG, REJECTED
from aspgap_jax.preprocessing.cuts import apply_cuts
from aspgap_jax.preprocessing.selection import UNFLAGGED
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.apogee import read_allstar
from support.apogee_files import ERRORS, GIANT, allstar_columns, star_name, write_allstar

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
