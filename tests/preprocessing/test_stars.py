"""Training sets with other labels than they came with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.labels import KNOWN, LABELS, index
from aspgap_jax.preprocessing.cuts import apply_cuts
from aspgap_jax.preprocessing.selection import training_selection
from support.made_up import made_up_stars

C_FE = KNOWN[index("c_fe", KNOWN)]
OWN = (C_FE, LABELS[0])


def test_columns_become_labels_and_labels_columns() -> None:
    stars = made_up_stars(30)
    carbon = np.linspace(-0.3, 0.3, 30, dtype=np.float32)
    given = replace(stars, columns={**stars.columns, "c_fe": carbon, "e_c_fe": 0 * carbon + 0.02})
    own = given.with_labels(OWN)
    np.testing.assert_array_equal(own.labels, np.stack([carbon, stars.labels[:, 0]], axis=1))
    np.testing.assert_array_equal(own.label_error[:, 0], np.float32(0.02))
    assert own.label_table == OWN
    assert set(own.columns) == {
        "snr", "logg", "m_h", "alpha_m", "e_logg", "e_m_h", "e_alpha_m"
    }  # fmt: skip
    # And back: nothing is lost.
    back = own.with_labels(LABELS)
    np.testing.assert_array_equal(back.labels, stars.labels)
    np.testing.assert_array_equal(back.label_error, stars.label_error)
    assert set(back.columns) == {"snr", "c_fe", "e_c_fe"}


def test_cuts_go_on_with_labels_that_are_not_trained() -> None:
    """Of two giants and a dwarf one lacks [C/Fe], which has one error for all."""
    stars = made_up_stars(3)
    values = np.tile(np.float32([4500, 2.0, 0.0, 0.1]), (3, 1))
    values[2, 1] = 4.5
    carbon = np.float32([0.1, np.nan, 0.1])
    columns = {"snr": np.full(3, 300, np.float32), "c_fe": carbon}
    stars = replace(stars, labels=values, label_error=values * 0 + 0.01, columns=columns)
    own = stars.with_labels((replace(C_FE, error=0.05), LABELS[0]))
    np.testing.assert_array_equal(own.label_error[:, 0], np.float32(0.05))
    for missing, left in (("drop", [0]), ("keep", [0, 1])):
        kept = apply_cuts(own, training_selection("giants", missing, own.label_table))
        assert kept.source_id.tolist() == stars.source_id[left].tolist()


def test_a_column_that_is_not_there_is_named_with_its_neighbours() -> None:
    stars = replace(made_up_stars(3), columns={"c_fee": np.zeros(3, np.float32)})
    with pytest.raises(InputError, match=r"train\.h5: no column c_fe \(near: c_fee\): leave"):
        stars.with_labels(OWN, table="train.h5")
    stars = replace(stars, columns={"c_fe": np.zeros(3, np.float32)})
    with pytest.raises(InputError, match="no column e_c_fe, the errors of c_fe: give one error"):
        stars.with_labels(OWN)
