"""The components of which hallucinated spectra are made, fitted to a decoder's spectra."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from aspgap_jax.errors import InputError
from aspgap_jax.training.spectra_batches import BLOCK_ROWS, SpectraReader, training_count

__all__ = ["principal_components"]

ROWS = 2048
"""Spectra of a split that are enough: 70 MB."""
SMALLEST = 1e-6
"""Standard deviation over the largest one below which a component is rounding."""


def principal_components(
    spectra: SpectraReader, count: int
) -> tuple[Float[np.ndarray, "split pixel"], Float[np.ndarray, "split component pixel"]]:
    """Mean and principal components of the line depths that every split's decoder trains on.

    Args:
        spectra: of every split; those held out are left alone, and of many, 2,048 are used.
        count: components wanted.

    Returns:
        The mean depth, and each component by one standard deviation, largest first and
        its largest value positive; for :func:`aspgap_jax.basis.with_basis`.

    Raises:
        InputError: the spectra of a split do not span so many.
    """
    n_train = training_count(spectra.shape[1])
    starts = np.arange(0, n_train, BLOCK_ROWS)
    chosen = np.linspace(0, len(starts) - 1, min(len(starts), ROWS // BLOCK_ROWS)).astype(int)
    depth = 1.0 - spectra.read([(s, min(s + BLOCK_ROWS, n_train)) for s in starts[chosen].tolist()])
    fitted = [_of_split(part, count) for part in depth]
    means, vectors = zip(*fitted, strict=True)
    return np.stack(means), np.stack(vectors)


def _of_split(
    depth: Float[np.ndarray, "spectrum pixel"], count: int
) -> tuple[Float[np.ndarray, " pixel"], Float[np.ndarray, "component pixel"]]:
    depth = depth.astype(np.float64)
    mean = depth.mean(axis=0)
    away = depth - mean
    # There are fewer spectra than pixels: A A^T has the eigenvalues of A^T A that are not 0.
    squares, sides = np.linalg.eigh(away @ away.T)
    squares, sides = squares[::-1], sides[:, ::-1]
    spanned = int((squares > SMALLEST**2 * squares[0]).sum())
    if count > spanned:
        raise InputError(
            f"hallucinator_basis is {count}, the {len(depth)} spectra that a decoder trains on "
            f"span {spanned} components: lower --model.hallucinator-basis, or raise "
            "--pretrain.n-spectra where there are few"
        )
    vectors = sides[:, :count].T @ away / np.sqrt(len(depth) - 1)
    # An eigenvector's sign is arbitrary: a resumed training must find the same.
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    vectors *= np.sign(largest)
    return mean.astype(np.float32), vectors.astype(np.float32)
