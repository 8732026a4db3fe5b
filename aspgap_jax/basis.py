"""The basis of hallucinated spectra: a mean and a few components, frozen with the APOGEE decoder.

A decoder reads a handful of labels from thousands of pixels, so most spectra that give the
right labels look like nothing. A hallucinator with a basis says only how much of each
component there is: its line depths are ``mean + z @ vectors``. The components are those of the
decoder's training spectra, scaled so that z has unit variance over them; among all spectra
that give the right labels, the prior 1/2 |z|^2 makes the likeliest one the cheapest. Were
spectra and labels jointly Gaussian, that would be E[spectrum | labels].

The basis is the collection ``basis`` of the decoder's variables, beside their ``params``:
where it is absent the hallucinator gives the pixels themselves, as in the paper.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from aspgap_jax.typing import Array, Float

__all__ = ["expand", "has_basis", "reader_of", "width", "with_basis"]

Variables = Any
BASIS = "basis"


def with_basis(
    decoder: Variables,
    mean: Float[Array, "*split pixel"],
    vectors: Float[Array, "*split component pixel"],
) -> Variables:
    """The variables of an APOGEE decoder with a basis beside them.

    Args:
        decoder: what the decoder has learnt.
        mean: line depths where z = 0.
        vectors: their change for each component, by one standard deviation.

    Returns:
        The variables of both.
    """
    return decoder | {BASIS: {"mean": mean, "vectors": vectors}}


def has_basis(decoder: Variables) -> bool:
    """Whether a decoder has a basis beside it.

    Args:
        decoder: of pre-training.

    Returns:
        As asked.
    """
    return BASIS in decoder


def width(decoder: Variables) -> int:
    """What the hallucinator gives: components of the basis, or else the pixels.

    Args:
        decoder: with or without a basis; a leading axis is passed over.

    Returns:
        Their number.
    """
    if has_basis(decoder):
        return int(decoder[BASIS]["vectors"].shape[-2])
    return int(decoder["params"]["Dense_0"]["kernel"].shape[-2])


def expand(decoder: Variables, given: Float[Array, "star component"]) -> Float[Array, "star pixel"]:
    """Line depths of what the hallucinator gives: components, or else the depths themselves.

    Args:
        decoder: with or without a basis.
        given: of the hallucinator.

    Returns:
        Line depths, 1 - flux.
    """
    if not has_basis(decoder):
        return given
    basis = decoder[BASIS]
    return jnp.asarray(basis["mean"][None, :] + given @ basis["vectors"])


def reader_of(decoder: Variables) -> Variables:
    """The decoder that reads what the hallucinator gives, without a spectrum between them.

    Between the basis and the decoder's first layer W there is no nonlinearity:
    (mean + z B) W + b is the layer z (B W) + (mean W + b).

    Args:
        decoder: with or without a basis.

    Returns:
        Its layers alone; the first takes components where there is a basis.
    """
    layers = decoder["params"]
    if not has_basis(decoder):
        return {"params": layers}
    basis, first = decoder[BASIS], layers["Dense_0"]
    product = jnp.matmul(basis["vectors"], first["kernel"], precision="highest")
    shift = jnp.matmul(basis["mean"], first["kernel"], precision="highest")
    return {"params": layers | {"Dense_0": {"kernel": product, "bias": first["bias"] + shift}}}
