from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aspgap_jax import labels
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing import selection
from aspgap_jax.preprocessing.selection import (
    SELECTIONS,
    apply_cuts,
    format_cuts,
    on_main_sequence_or_rgb,
)
from aspgap_jax.survey import sample
from support.made_up import made_up_stars


@pytest.mark.parametrize(
    ("teff", "logg", "kept"),
    [
        (5777.0, 4.4, True),  # the Sun
        (4500.0, 2.0, True),  # on the RGB: between 0.6 and 3.0 at this temperature
        (4500.0, 3.1, False),  # between RGB and main sequence
        (4500.0, 0.5, False),  # below the RGB's lower bound, which the table misprints
        (5000.0, 4.85, False),  # above the main sequence's bound
    ],
)
def test_condition_5_of_table_1(teff: float, logg: float, kept: bool) -> None:
    assert on_main_sequence_or_rgb(np.array([teff]), np.array([logg])).tolist() == [kept]


def test_each_condition_removes_its_star_and_is_counted() -> None:
    stars = made_up_stars(9)
    values = np.tile(np.float32([4500, 2.0, 0.0, 0.1]), (9, 1))
    errors = np.tile(np.float32([5, 0.01, 0.005, 0.005]), (9, 1))
    snr = np.full(9, 300, np.float32)
    values[0, 0], values[1, 3], values[2, 1] = 7100, -0.2, 3.2
    errors[3, 0], errors[4, 2] = 51, 0.021
    snr[5] = 200
    values[6, 2] = np.nan
    stars.xp[7, 3] = np.nan
    stars = replace(stars, labels=values, label_error=errors, columns={"snr": snr})
    left = apply_cuts(stars, SELECTIONS["table_1"])
    np.testing.assert_array_equal(left.source_id, stars.source_id[8:])
    removed = -np.diff([9, *(cut.left for cut in left.cuts)])
    assert removed.sum() == 8
    assert removed.max() == 1
    table = format_cuts(left.cuts)
    assert table.splitlines()[1].split()[-1] == "8"
    assert table.splitlines()[-1].split() == [*["APOGEE", "S/N", ">", "200"], "1", "1"]


def test_no_star_left_names_the_cut() -> None:
    stars = made_up_stars(5)
    stars.columns["snr"][:] = 10.0
    with pytest.raises(InputError, match="no star is left after the cut 'APOGEE S/N > 200'"):
        apply_cuts(stars, [selection.apogee_snr_above(200.0)])


def test_the_sample_gives_the_benchmark_selection() -> None:
    stars = apply_cuts(sample.load_sample(), SELECTIONS["giants"])
    assert [cut.left for cut in stars.cuts][:3] == [40_226, 39_851, 35_326]
    assert len(stars) == 19_686
    assert len(np.unique(stars.source_id)) == 19_686
    # Physical units: the flux at 600 nm of a star of G = 15 is about 2.5e-17 W / m2 / nm.
    green = stars.xp[:, int((600 - 336) / 2)] / 10 ** (0.4 * (15 - stars.g_mag))
    assert 1e-17 < np.median(green) < 4e-17
    assert stars.xp.shape == (19_686, 343)
    assert labels.names() == ("teff", "logg", "m_h", "alpha_m")
    assert stars.columns["apogee_id"][0].startswith("2M")


def test_the_sample_is_checked(tmp_path, monkeypatch) -> None:
    short = tmp_path / sample.FILE
    short.write_bytes(b"cut short")
    with pytest.raises(InputError, match=r"9 bytes instead of 104,315,981: pip install"):
        sample.verify(short)
    monkeypatch.setattr(sample, "SIZE", 9)
    with pytest.raises(InputError, match="SHA-256"):
        sample.verify(short)


def test_a_missing_extra_gives_the_line_to_type(monkeypatch) -> None:
    monkeypatch.setattr(sample, "PACKAGE", "no-such-package")
    with pytest.raises(InputError, match=r"pip install no-such-package==1\.0\.0"):
        sample.sample_path()
