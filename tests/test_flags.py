from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

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
