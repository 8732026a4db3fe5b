"""Every cut of the paper on stars made to pass it or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aspgap_jax.columns import COLUMNS
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.cuts import apply_cuts, format_cuts
from aspgap_jax.preprocessing.selection import (
    CATALOGUE_SELECTIONS,
    SELECTIONS,
    is_luminous,
    on_main_sequence_or_rgb,
    pseudo_luminosity,
    snr_above,
    snr_conditions,
    training_selection,
)
from aspgap_jax.preprocessing.stars import TrainingSet
from support.made_up import made_up_stars


@pytest.mark.parametrize(
    ("teff", "logg", "kept"),
    [
        (5777.0, 4.4, True),  # the Sun
        (4500.0, 2.0, True),  # on the RGB: between 0.6 and 3.0 at this temperature
        (4500.0, 3.1, False),  # between RGB and main sequence
        (4500.0, 0.5, False),  # below the RGB's lower bound, which the table misprints
        (5000.0, 4.85, False),  # above the main sequence's bound
        (-50.0, 4.4, False),  # what a network may say of noise
        (np.nan, 4.4, False),
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
    assert table.splitlines()[-1].split() == ["S/N", ">", "200", "1", "1"]


def test_kept_stars_pass_the_cuts_on_labels_that_they_lack() -> None:
    """Of eight giants: one lacks [alpha/M], one its error, one all labels; two lack [M/H] and
    fail a cut on what they have."""
    stars = made_up_stars(8)
    values = np.tile(np.float32([4500, 2.0, 0.0, 0.1]), (8, 1))
    errors = np.tile(np.float32([5, 0.01, 0.005, 0.005]), (8, 1))
    snr = np.full(8, 300, np.float32)
    values[0, 3], errors[1, 3], values[2] = np.nan, np.nan, np.nan
    values[3:5, 2], values[3, 0], snr[4] = np.nan, 6000.0, 20.0
    stars.xp[5, 3] = np.nan
    stars = replace(stars, labels=values, label_error=errors, columns={"snr": snr})
    kept = apply_cuts(stars, training_selection("giants", "keep"))
    assert kept.source_id.tolist() == stars.source_id[[0, 1, 6, 7]].tolist()
    assert [cut.left for cut in kept.cuts][:2] == [7, 6]
    dropped = apply_cuts(stars, training_selection("giants"))
    assert dropped.source_id.tolist() == stars.source_id[[6, 7]].tolist()
    assert dropped.cuts == apply_cuts(stars, SELECTIONS["giants"]).cuts


def test_no_star_left_names_the_cut() -> None:
    stars = made_up_stars(5)
    stars.columns["snr"][:] = 10.0
    with pytest.raises(InputError, match="no star is left after the cut 'S/N > 200'"):
        apply_cuts(stars, [snr_above(200.0)])


def with_columns(**columns: list[float]) -> TrainingSet:
    n = len(next(iter(columns.values())))
    return replace(
        made_up_stars(n),
        source_id=np.arange(n),
        columns={name: np.array(values) for name, values in columns.items()},
    )


def test_figure_1_asks_for_more_and_counts() -> None:
    nan = np.nan
    sample = with_columns(
        snr_bp_low=[101.0, 100.0, 101.0, 101.0, 101.0, nan],
        snr_rp_low=[101.0, 101.0, 100.0, 101.0, 101.0, 101.0],
        snr_bp_high=[1.1, 1.1, 1.1, 1.0, 1.1, 1.1],
        snr_rp_high=[1.1, 1.1, 1.1, 1.1, 1.0, 1.1],
    )
    kept = apply_cuts(sample, snr_conditions())
    assert kept.source_id.tolist() == [0]
    assert [cut.left for cut in kept.cuts] == [4, 3, 2, 1]
    assert kept.cuts[0].name == "S/N of BP coefficients 1-10 > 100"
    assert len(apply_cuts(sample, snr_conditions(min_low=99.0, min_high=0.5))) == 5
    with pytest.raises(InputError, match="RP coefficients 11-55 > 7"):
        apply_cuts(sample.where(np.array([0])), [snr_conditions(min_high=7.0)[-1]])


def test_a_training_set_without_a_column_is_one_clear_line() -> None:
    stars = replace(made_up_stars(3), columns={})
    with pytest.raises(InputError) as caught:
        apply_cuts(stars, SELECTIONS["table_1"], table="train.h5")
    assert str(caught.value) == (
        "the cut 'S/N > 200' needs the column snr, which train.h5 does not have; prepare "
        "it with that column (`aspgap prepare`), or select by fewer (--select usable)"
    )


@pytest.mark.parametrize("name", CATALOGUE_SELECTIONS)
def test_the_catalogue_has_what_its_cuts_need(name: str) -> None:
    needed = {column for condition in CATALOGUE_SELECTIONS[name] for column in condition.needs}
    assert needed <= {spec.name for spec in COLUMNS}


def giant(**changes: float) -> dict[str, np.ndarray]:
    """A giant that passes every cut: M_G = 0, at 1 kpc."""
    star = {
        "teff_xp": 4800.0, "logg_xp": 2.5, "moh_xp": -0.3, "aom_xp": 0.1,
        "e_teff_xp": 50.0, "e_logg_xp": 0.1, "e_moh_xp": 0.05, "e_aom_xp": 0.02,
        "bp_rp": 1.2, "parallax": 1.0, "phot_g_mean_mag": 10.0,
    }  # fmt: skip
    return {name: np.array([value]) for name, value in (star | changes).items()}


def failed(select: str, **changes: float) -> list[str]:
    return [c.name for c in CATALOGUE_SELECTIONS[select] if not c.keep(giant(**changes))[0]]


def test_a_giant_passes_all() -> None:
    assert failed("rgb") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bp_rp": 0.8}, "G_BP - G_RP"),
        ({"bp_rp": np.nan}, "G_BP - G_RP"),
        ({"moh_xp": -2.6}, "m_h"),
        ({"aom_xp": 0.61}, "alpha_m"),
        ({"teff_xp": 4800.0, "logg_xp": 3.9}, "condition 5"),
        ({"e_teff_xp": 480.0}, "Teff over its error"),
        ({"e_logg_xp": 0.25}, "log g over its error"),
        ({"e_aom_xp": 0.5}, "[alpha/M]"),
        ({"e_moh_xp": 1.0}, "[M/H]"),
        ({"teff_xp": 5300.0, "logg_xp": 2.6}, "Teff < 5300"),
        # M_G = 5 at 4800 K: the bound is 19 - 0.003 x 4800 = 4.6.
        ({"phot_g_mean_mag": 15.0}, "eq. 6"),
    ],
)
def test_each_cut_takes_its_star(changes: dict[str, float], words: str) -> None:
    assert [words in name for name in failed("rgb", **changes)] == [True]


def test_eq_6_is_the_cut_in_absolute_magnitude() -> None:
    rng = np.random.default_rng(0)
    teff, g_mag = rng.uniform(3500, 5300, 2000), rng.uniform(5, 17, 2000)
    parallax = rng.uniform(0.05, 10, 2000)
    m_g = g_mag + 5 * np.log10(parallax / 1000) + 5
    np.testing.assert_array_equal(is_luminous(teff, parallax, g_mag), m_g < 19 - 0.003 * teff)
    # The identity below eq. 6.
    np.testing.assert_allclose(pseudo_luminosity(parallax, g_mag), 10 ** (m_g / 5 + 2))


def test_eq_6_holds_without_a_positive_parallax() -> None:
    star = np.array([4500.0]), np.array([-0.1]), np.array([16.0])
    assert is_luminous(*star)[0]
