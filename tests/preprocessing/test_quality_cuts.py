"""Section 4.2: each cut on stars made to pass it or not."""

from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.preprocessing.quality_cuts import (
    CATALOGUE_SELECTIONS,
    is_luminous,
    pseudo_luminosity,
)


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
