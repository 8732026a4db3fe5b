"""Line profiles: Doppler and damping widths and the Voigt function."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aspgap_jax.synthesis.chemistry import PerLayer

__all__ = ["doppler_velocity", "van_der_waals_width", "voigt"]

# Weideman (1994, SIAM J. Numer. Anal. 31, 1497), table 1: coefficients of the
# rational series of the Faddeeva function.
_TERMS = 16


def _weideman(terms: int) -> tuple[float, tuple[float, ...]]:
    """Scale L and the coefficients, highest power first."""
    m = 2 * terms
    k = np.arange(-m + 1, m)
    scale = np.sqrt(terms / np.sqrt(2.0))
    t = scale * np.tan(k * np.pi / (2 * m))
    f = np.concatenate([[0.0], np.exp(-(t**2)) * (scale**2 + t**2)])
    series = np.real(np.fft.fft(np.fft.fftshift(f))) / (2 * m)
    return float(scale), tuple(float(a) for a in series[1 : terms + 1][::-1])


_SCALE, _SERIES = _weideman(_TERMS)


def voigt(
    damping: Float[Array, "*shape"], offset: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Voigt function H(a, u) = Re w(u + i a), H(0, 0) = 1, for a >= 0.

    Rational series of Weideman (1994) with 16 terms; the area under H over u is
    sqrt(pi). Written in real arithmetic, which compiles to faster code.

    Args:
        damping: a, Lorentzian half-width over the Doppler width.
        offset: u, distance from the line's centre in Doppler widths.

    Returns:
        Between 0 and 1.
    """
    # Z = (L + i z) / (L - i z) with z = u + i a.
    down = _SCALE + damping
    norm = 1.0 / (down * down + offset * offset)
    up = _SCALE - damping
    zr = (up * down - offset * offset) * norm
    zi = offset * (up + down) * norm
    pr = jnp.full_like(zr, _SERIES[0])
    pi = jnp.zeros_like(zr)
    for coefficient in _SERIES[1:]:
        pr, pi = pr * zr - pi * zi + coefficient, pr * zi + pi * zr
    # w = 2 P / (L - i z)^2 + (1 / sqrt(pi)) / (L - i z)
    qr, qi = down * norm, offset * norm  # 1 / (L - i z)
    sr, si = qr * qr - qi * qi, 2.0 * qr * qi
    return jnp.asarray(2.0 * (pr * sr - pi * si) + qr * (1.0 / np.sqrt(np.pi)))


def doppler_velocity(
    temperature: Float[Array, ""], mass: Float[Array, " line"], turbulence: Float[Array, ""]
) -> Float[Array, " line"]:
    """Doppler width b = sqrt(2 k T / m + xi^2) in km/s; mass in u, turbulence xi in km/s.

    Args:
        temperature: K.
        mass: of the atom or molecule, u.
        turbulence: microturbulence xi, km/s.

    Returns:
        km/s, a line each.
    """
    return jnp.sqrt(1.662892e-2 * temperature / mass + turbulence**2)


def van_der_waals_width(
    temperature: PerLayer, hydrogen: PerLayer, log_c6: Float[Array, " line"]
) -> Float[Array, "layer line"]:
    """Full width gamma_6 (rad/s) by collisions with hydrogen atoms.

    gamma_6 = 17 v^(3/5) C_6^(2/5) N_H, v the mean relative speed (Unsoeld 1955;
    Gray 2005, chapter 11), with the mass of hydrogen for the reduced mass.

    Args:
        temperature: K.
        hydrogen: density of hydrogen atoms, cm^-3.
        log_c6: log10 of the interaction constant, cm^6 / s.

    Returns:
        rad/s, ``[layer, line]``.
    """
    speed = 1.4551e4 * jnp.sqrt(temperature)  # cm/s
    c6 = jnp.power(10.0, 0.4 * (log_c6 + 30.0)) * 1e-12
    return 17.0 * (speed**0.6 * hydrogen)[:, None] * c6[None, :]
