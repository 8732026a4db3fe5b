"""Members are trained all at once: what memory cannot hold is refused before anything is done."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.errors import InputError
from aspgap_jax.runtime import parallel
from aspgap_jax.training.members import check_memory
from support.tiny import TINY


def weights(*widths: int) -> int:
    """Weights and biases of dense layers."""
    return sum((a + 1) * b for a, b in itertools.pairwise(widths))


def test_more_members_than_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    m = TINY.model
    given = [
        weights(343, *m.encoder, m.latent),
        weights(m.latent, *m.xp_decoder, 8),
        weights(m.latent, *m.hallucinator, m.hallucinator_basis or N_PIXELS),
    ]
    decoder = weights(N_PIXELS, *m.apogee_decoder, 4)
    # Parameters, gradient, two moments and the best of each, and a decoder, in float32.
    member = 4 * (5 * sum(given) + decoder)
    monkeypatch.setattr(parallel, "free_bytes", lambda: 100 * member + 1)
    check_memory(TINY, 99, 343)
    gb = np.format_float_positional(150 * member / 1e9, 1)
    with pytest.raises(InputError, match=f"150 trainings at once need {gb} GB.*fewer --cv.folds"):
        check_memory(TINY, 150, 343)
    monkeypatch.setattr(parallel, "free_bytes", lambda: None)
    check_memory(TINY, 10**6, 343)


def test_memory_that_is_left_is_told() -> None:
    left = parallel.free_bytes()
    assert left is None or 2**20 < left < 2**50
