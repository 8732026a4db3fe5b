"""What a run's APOGEE decoders are pre-trained on: real spectra, or emulated ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from aspgap_jax import labels, synthesis
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.atomic import replace_file
from aspgap_jax.errors import InputError
from aspgap_jax.survey.store import read_spectra

__all__ = ["EMULATED", "REAL", "emulated_spectra", "real_spectra"]

REAL = "real APOGEE spectra of training stars"
EMULATED = "emulated spectra (LTE synthesis of the H band at labels of training stars)"

MIN_SPECTRA = 20
"""Fewer real spectra than this train no decoder."""


def emulated_spectra(path: Path, at: np.ndarray) -> np.ndarray:
    """Spectra at the labels ``at``, from ``path`` where it has them.

    Args:
        path: HDF5 file of an earlier call, or to be written.
        at: labels of the table ``[member, spectrum, label]``.

    Returns:
        normalised flux, float32 ``[member, spectrum, pixel]``.
    """
    if path.is_file():
        with h5py.File(path, "r") as file:
            if file["labels"].shape == at.shape and np.array_equal(file["labels"][()], at):
                return file["flux"][()]
    flat = at.reshape(-1, at.shape[-1])
    flux = synthesis.synthesize_in_batches(flat, synthesis.load_lines())
    flux = flux.reshape(*at.shape[:-1], -1)
    with replace_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["description"] = EMULATED
        file.attrs["label_names"] = list(labels.names())
        file["labels"] = at
        file["flux"] = flux
    return flux


def real_spectra(
    store: Path, row_of: np.ndarray, candidates: Sequence[np.ndarray], count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """APOGEE spectra of training stars, drawn at random from a training store.

    Args:
        store: the training store.
        row_of: the store's row of every star of the run ``[star]``.
        candidates: training stars of every split, as star numbers.
        count: spectra wanted a split; fewer where fewer stars have one.
        seed: of the draws.

    Returns:
        star numbers ``[split, spectrum]`` and normalised flux, float32
        ``[split, spectrum, pixel]``. Bad pixels are set to the continuum: there
        the decoder is to read nothing.

    Raises:
        InputError: a split has fewer than 20 stars with a spectrum.
    """
    chosen, fluxes = [], []
    for i, stars in enumerate(candidates):
        drawn = np.random.default_rng([seed, i]).permutation(stars)
        numbers, parts, found = [], [], 0
        for start in range(0, len(drawn), count):
            # HDF5 wants ascending rows.
            block = drawn[start : start + count]
            block = block[np.argsort(row_of[block])]
            flux, _ = read_spectra(store, row_of[block])
            has_one = np.isfinite(flux).any(axis=1)
            numbers.append(block[has_one])
            parts.append(np.nan_to_num(flux[has_one], nan=1.0))
            found += int(has_one.sum())
            if found >= count:
                break
        if found < MIN_SPECTRA:
            raise InputError(
                f"{store}: {found} training stars of a fold have an APOGEE spectrum, at least "
                f"{MIN_SPECTRA} are needed: prepare the store with more spectra, or without any"
            )
        chosen.append(np.concatenate(numbers)[:count])
        fluxes.append(np.concatenate(parts)[:count])
    common = min(len(numbers) for numbers in chosen)
    flux = np.stack([flux[:common] for flux in fluxes]).reshape(-1, common, N_PIXELS)
    return np.stack([numbers[:common] for numbers in chosen]), flux
