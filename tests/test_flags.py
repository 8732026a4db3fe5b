from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import MaskedColumn

from aspgap_jax.flags import FLAGS, bit, decode
from aspgap_jax.prediction.domain import SCORES


def test_every_flag_has_a_bit_of_its_own_and_words() -> None:
    assert [flag.bit for flag in FLAGS] == [2**i for i in range(len(FLAGS))]
    assert len({flag.name for flag in FLAGS}) == len(FLAGS)
    assert len(FLAGS) < 32, "the mask is an int32"
    assert all(flag.meaning and flag.computed for flag in FLAGS)


def test_bits_are_as_released() -> None:
    # A catalogue outlives the code: a bit never changes its meaning.
    assert [bit(name) for name in ("MISSING_BAND", "LATENT_OUTLIER", "DWARF", "NOT_FINITE")] == [
        1, 8, 1024, 8192,
    ]  # fmt: skip


def test_decode_names_the_bits() -> None:
    assert decode(0) == decode(np.int32(0)) == decode(jnp.int32(0)) == ()
    assert decode(bit("DWARF") | bit("MISSING_BAND")) == ("MISSING_BAND", "DWARF")
    assert decode(sum(flag.bit for flag in FLAGS)) == tuple(flag.name for flag in FLAGS)


def test_unknown_bit_is_refused() -> None:
    with pytest.raises(ValueError, match="no flag has the bits 1073741824"):
        decode((1 << 30) | 1)
    with pytest.raises(KeyError):
        bit("NOISY")


def test_every_score_sets_a_flag_of_the_table() -> None:
    assert {score.flag for score in SCORES} <= {flag.name for flag in FLAGS}
    assert len({score.name for score in SCORES}) == len(SCORES)


def test_a_column_of_flags_is_decoded_star_by_star() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    column = np.array([0, bit("NO_G"), bit("NO_G") | bit("HOT_STAR")], np.int32)
    words = ["", "NO_G", "HOT_STAR NO_G"]
    assert decode(column).tolist() == words
    assert decode(MaskedColumn(column, mask=[False, True, False])).tolist() == ["", "", words[2]]
    series = decode(pandas.Series(column, index=["a", "b", "c"], name="flags"))
    assert (series.index.tolist(), series.name, series.tolist()) == (list("abc"), "flags", words)
    assert decode(pandas.Series([None, 0, bit("NO_G")], dtype="Int64")).tolist() == ["", "", "NO_G"]
    assert decode(column[:0]).tolist() == []
    assert decode(column[2]) == ("HOT_STAR", "NO_G")
    with pytest.raises(ValueError, match="no flag has the bits"):
        decode([0, 1 << 30])
    with pytest.raises(ValueError, match="flags are integers"):
        decode([0.5])
