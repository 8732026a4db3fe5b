"""Expressions of a user against NumPy, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.where import check_columns, where

STARS = {
    "source_id": np.array([5853498713190525696, 5853498713190525697, 3, 4]),
    "teff_xp": np.array([4000, 4500, np.nan, 6000], np.float32),
    "logg_xp": np.array([1, np.nan, 3, 4.5], np.float32),
    "flags": np.array([0, 2, 0, 1024], np.int32),
}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("teff_xp < 5000 and flags == 0", [0]),
        ("4000 < teff_xp <= 6000", [1, 3]),
        # Unknown is neither true nor false.
        ("teff_xp != 4000", [1, 3]),
        ("not teff_xp < 5000", [3]),
        ("logg_xp > 2 or teff_xp > 4200", [1, 2, 3]),
        ("isfinite(teff_xp) and not isfinite(logg_xp)", [1]),
        # Flags by name; 1024 is on the main sequence.
        ("flags & DWARF == 0", [0, 1, 2]),
        ("flags & (LOW_SNR | DWARF) != 0", [1, 3]),
        ("flags in [0, 1024]", [0, 2, 3]),
        ("flags not in (0, -1)", [1, 3]),
        # Ids have more digits than a float.
        ("source_id == 5853498713190525696", [0]),
        ("flags / 4 == 0.5", [1]),
        ("log10(teff_xp) - abs(-logg_xp) ** 2 / 2 > 3", [0]),
        # As pandas wants it.
        ("(teff_xp < 5000) & ~(flags == 0)", [1]),
        ("(teff_xp > 5000) | (flags == 2)", [1, 3]),
    ],
)
def test_rows_that_pass(text: str, rows: list[int]) -> None:
    assert np.flatnonzero(where(text).keep(STARS)).tolist() == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no expression"),
        ("teff_xp = 5000", "no expression"),
        ("teff_xp < 5000; flags", "no expression"),
        ("flags", "'flags' is not true or false"),
        ("flags and teff_xp < 2", "'flags' is not true or false"),
        ("flags == (teff_xp < 2)", "'teff_xp < 2' is not a number"),
        ("__import__('os').getcwd() == 0", "is not understood"),
        ("teff_xp.real < 1", "'teff_xp.real' is not understood"),
        ("teff_xp < 'cool'", "\"'cool'\" is not understood"),
        ("flags in []", "is not understood"),
        ("1 < 2", "names no column"),
        # Python binds & before <: 5000 & flags would be compared.
        ("teff_xp < 5000 & flags == 0", "chains comparisons of several kinds"),
    ],
)
def test_what_is_no_expression_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        where(text)
    assert words in str(refused.value)
    assert "teff_xp < 5000 and flags == 0" in str(refused.value)


def test_bits_of_a_number_with_digits_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be computed"):
        where("teff_xp & 2 == 0").keep(STARS)


def test_an_unknown_column_is_named_with_those_there_are() -> None:
    check_columns(where("logg_xp < 3"), STARS)
    known = "did you mean logg_xp.*the columns are source_id, teff_xp, logg_xp, flags"
    with pytest.raises(InputError, match=known):
        check_columns(where("logg_x < 3"), STARS)
