"""Gaia XP spectra from every format the archives deliver: one function, :func:`read_xp`."""

from __future__ import annotations

from aspgap_jax.survey.xp.assemble import OnBadRow
from aspgap_jax.survey.xp.chunk import BANDS, WAVELENGTH, BadRow, XPChunk
from aspgap_jax.survey.xp.notes import OnNote
from aspgap_jax.survey.xp.read import CHUNK_SIZE, read_xp

__all__ = [
    "BANDS",
    "CHUNK_SIZE",
    "WAVELENGTH",
    "BadRow",
    "OnBadRow",
    "OnNote",
    "XPChunk",
    "read_xp",
]
