"""Radiative transfer with a source function linear in optical depth (Milne-Eddington)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ["emergent_flux"]

# Gauss quadrature of 2 mu dmu on [0, 1]: exact for polynomials of degree 3.
ANGLES = ((6.0 - np.sqrt(6.0)) / 10.0, (6.0 + np.sqrt(6.0)) / 10.0)
_FIRST = (2.0 / 3.0 - ANGLES[1]) / (ANGLES[0] - ANGLES[1])
WEIGHTS = (_FIRST, 1.0 - _FIRST)


def emergent_flux(
    depth: Float[Array, " layer"],
    ratio: Float[Array, "layer ..."],
    slope: Float[Array, ""],
) -> Float[Array, "*wave"]:
    """Emergent flux in units of pi a, for the source function S = a (1 + slope * depth).

    Integrating the transfer equation by parts gives

        F / (pi a) = 1 + slope * integral 2 E3(t) d(depth),   dt = ratio * d(depth),

    with the optical depth t at the wavelength in question. Between layers the
    ratio is taken as the mean of its ends, for which the integral is exact; above
    the first layer and below the last it is constant. For one ratio r throughout
    this is the Milne-Eddington result 1 + (2/3) slope / r.

    Args:
        depth: reference optical depth of the layers, increasing.
        ratio: opacity at each wavelength over the reference opacity, > 0.
        slope: of the source function.

    Returns:
        A number a wavelength.
    """
    shape = (len(ANGLES),) + (1,) * (ratio.ndim - 1)
    mu = jnp.asarray(ANGLES, ratio.dtype).reshape(shape)
    weight = jnp.asarray(WEIGHTS, ratio.dtype).reshape(shape)

    def descend(
        carry: tuple[Array, Array], layer: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        passed, total = carry
        above, below, width = layer
        step = 0.5 * (above + below)[None] * (width / mu)
        total = total + passed * (-jnp.expm1(-step) / step) * width
        return (passed * jnp.exp(-step), total), None

    top = ratio[0][None] * depth[0] / mu
    start = jnp.exp(-top), -jnp.expm1(-top) / top * depth[0]
    (passed, total), _ = jax.lax.scan(descend, start, (ratio[:-1], ratio[1:], jnp.diff(depth)))
    total = total + passed * mu / ratio[-1][None]
    return 1.0 + slope * jnp.sum(weight * total, axis=0)
