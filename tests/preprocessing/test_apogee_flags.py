"""Bit numbers of APOGEE's masks, against the survey's documentation."""

from __future__ import annotations

import pytest

from aspgap_jax.preprocessing.apogee_flags import (
    ASPCAPFLAG,
    ASTRA_FLAGS,
    BAD_PIXEL,
    PIXMASK,
    REJECTED,
    bits_of,
    bits_of_text,
)


def test_bit_numbers_of_the_documentation() -> None:
    """Bits as the DR17 page on APOGEE's bit masks lists them."""
    documented = {
        "TEFF_WARN": 0,
        "LOGG_WARN": 1,
        "M_H_WARN": 3,
        "ALPHA_M_WARN": 4,
        "STAR_WARN": 7,
        "CHI2_WARN": 8,
        "VSINI_WARN": 14,
        "TEFF_BAD": 16,
        "LOGG_BAD": 17,
        "M_H_BAD": 19,
        "ALPHA_M_BAD": 20,
        "STAR_BAD": 23,
        "CHI2_BAD": 24,
        "NO_ASPCAP_RESULT": 31,
        "NO_GRID": 33,
        "FERRE_FAIL": 36,
        "PROBLEM_TARGET": 40,
        "MULTIPLE_SUSPECT": 41,
    }
    assert {name: ASPCAPFLAG[name] for name in documented} == documented
    pixels = {"BADPIX": 0, "NOSKY": 7, "SIG_SKYLINE": 12, "NOT_ENOUGH_PSF": 14, "FERRE_MASK": 16}
    assert {name: PIXMASK[name] for name in pixels} == pixels
    # Bits 0-7, 12 and 14.
    assert bits_of(BAD_PIXEL, PIXMASK) == 0b0101_0000_1111_1111


def test_flags_as_text() -> None:
    assert bits_of_text("") == 0
    assert bits_of_text("TEFF_WARN,NO_GRID") == 1 + 2**33
    with pytest.raises(KeyError, match="no flag 'TEFF_WORN'"):
        bits_of_text("TEFF_WORN")


def test_rejected_flags_are_those_of_section_2_2() -> None:
    names = [name for group in REJECTED.values() for name in group]
    expected = {
        f"{q}_{level}" for q in ("TEFF", "LOGG", "M_H", "ALPHA_M") for level in ("WARN", "BAD")
    }
    assert set(names) == expected | {"CHI2_WARN", "CHI2_BAD", "NO_GRID"}


def test_every_bit_of_astra_means_flags_of_dr17() -> None:
    for names in ASTRA_FLAGS:
        assert set(names) <= ASPCAPFLAG.keys()
    # Bits 5-8 and 13-16 of astra/models/aspcap.py: edges of the grid, parameter by parameter.
    for bit, name in ((5, "TEFF"), (7, "LOGG"), (13, "M_H"), (15, "ALPHA_M")):
        assert ASTRA_FLAGS[bit : bit + 2] == ((f"{name}_WARN",), (f"{name}_BAD",))
    assert len(ASTRA_FLAGS) == 28
