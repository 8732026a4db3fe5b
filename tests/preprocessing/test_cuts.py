"""Conditions applied in order, on any table, and counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.cuts import (
    Condition,
    apply_cuts,
    format_cuts,
    left_after,
    require_columns,
)
from aspgap_jax.preprocessing.stars import Cut
from support.made_up import made_up_stars

EVEN = Condition("even", ("a",), lambda c: c["a"] % 2 == 0)
ABOVE = Condition("b > 1", ("b",), lambda c: c["b"] > 1)
BOTH = Condition("a < b", ("a", "b"), lambda c: c["a"] < c["b"])


def test_each_condition_counts_what_those_before_it_left() -> None:
    table = {"a": np.array([0, 1, 2, 4]), "b": np.array([3.0, 3.0, np.nan, 2.0])}
    left = left_after((EVEN, ABOVE, BOTH), table)
    assert left.sum(axis=1).tolist() == [3, 2, 1]
    assert left[-1].tolist() == [True, False, False, False]


def test_no_condition_and_no_star() -> None:
    assert left_after((), {"a": np.arange(3)}).shape == (0, 3)
    nothing = {"a": np.empty(0, int), "b": np.empty(0)}
    assert left_after((EVEN, ABOVE), nothing).sum(axis=1).tolist() == [0, 0]
    stars = made_up_stars(3)
    assert apply_cuts(stars, ()).source_id.tolist() == stars.source_id.tolist()


def test_a_training_set_shows_every_column_by_name() -> None:
    stars = replace(made_up_stars(4), columns={"snr": np.arange(4.0), "teff": np.zeros(4)})
    table = stars.table()
    # A label is the label, whatever further columns are called.
    np.testing.assert_array_equal(table["teff"], stars.labels[:, 0])
    np.testing.assert_array_equal(table["e_alpha_m"], stars.label_error[:, 3])
    np.testing.assert_array_equal(table["snr"], np.arange(4.0))
    assert {len(column) for column in table.values()} == {4}


def test_a_missing_column_names_the_cut_the_column_and_the_cure() -> None:
    require_columns((EVEN, BOTH), ["b", "a"], table="x.csv", cure="add it")
    with pytest.raises(InputError) as caught:
        require_columns((EVEN, BOTH), ["a"], table="x.csv", cure="add it")
    assert str(caught.value) == (
        "the cut 'a < b' needs the column b, which x.csv does not have; add it"
    )


def test_counts_as_a_table() -> None:
    text = format_cuts([Cut("rows", 12_000), Cut("b > 1", 7)])
    assert [line.split() for line in text.splitlines()] == [
        ["cut", "left", "removed"],
        ["rows", "12,000"],
        ["b", ">", "1", "7", "11,993"],
    ]
