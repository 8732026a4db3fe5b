"""Orbits against astropy's coordinates and a numerical integration."""

from __future__ import annotations

import sys

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import CartesianDifferential, Galactocentric, SkyCoord

from aspgap_jax.errors import InputError
from aspgap_jax.validation.dynamics import (
    SOLAR_MOTION,
    SUN_HEIGHT,
    SUN_RADIUS,
    SUN_VELOCITY,
    PhaseSpace,
    orbits,
)


def phase_space(n: int) -> PhaseSpace:
    rng = np.random.default_rng(0)
    return PhaseSpace(
        ra=rng.uniform(0, 360, n),
        dec=rng.uniform(-60, 60, n),
        parallax=rng.uniform(0.5, 5, n),
        pmra=rng.normal(0, 5, n),
        pmdec=rng.normal(0, 5, n),
        radial_velocity=rng.normal(0, 30, n),
    )


def test_orbits() -> None:
    pytest.importorskip("galpy", reason="galpy is not installed (extra dynamics)")
    phase = phase_space(3)
    found = orbits(phase)
    place = SkyCoord(
        phase.ra * u.deg,
        phase.dec * u.deg,
        distance=1 / phase.parallax * u.kpc,
        pm_ra_cosdec=phase.pmra * u.mas / u.yr,
        pm_dec=phase.pmdec * u.mas / u.yr,
        radial_velocity=phase.radial_velocity * u.km / u.s,
    )
    towards, along, up = SOLAR_MOTION
    frame = Galactocentric(
        galcen_distance=SUN_RADIUS * u.kpc,
        z_sun=SUN_HEIGHT * u.kpc,
        galcen_v_sun=CartesianDifferential([-towards, SUN_VELOCITY + along, up] * u.km / u.s),
    )
    star = place.transform_to(frame)
    x, y, z = (each.to_value(u.kpc) for each in (star.x, star.y, star.z))
    vx, vy, vz = (each.to_value(u.km / u.s) for each in (star.v_x, star.v_y, star.v_z))
    # astropy's frame turns the other way.
    np.testing.assert_allclose(found.l_z, y * vx - x * vy, rtol=1e-4)
    assert (found.l_z > 0).all()
    # Near the Sun the disk's circular speed lies near 233 km/s, and the escape speed near 550:
    # Phi = -v_esc^2 / 2.
    potential = found.energy - 0.5 * (vx**2 + vy**2 + vz**2)
    assert (np.sqrt(-2 * potential) > 480).all()
    assert (np.sqrt(-2 * potential) < 620).all()
    # Small vertical oscillations: J_z = E_z / nu with nu near 70-90 km/s/kpc at the Sun.
    assert (found.j_z > 0).all()
    assert (found.j_z < (vz**2 + 90**2 * z**2) / 60 + 1).all()
    # The guiding radius L_z / v_c lies between pericentre and apocentre.
    pericentre = found.apocentre * (1 - found.eccentricity) / (1 + found.eccentricity)
    guiding = found.l_z / SUN_VELOCITY
    assert (pericentre < 1.02 * guiding).all()
    assert (found.apocentre > 0.98 * guiding).all()
    assert (found.apocentre >= 0.999 * np.hypot(np.hypot(x, y), z)).all()
    nothing = orbits(PhaseSpace(*[np.zeros(0)] * 6))
    assert [len(each) for each in nothing] == [0] * 5


def test_without_galpy_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "galpy.orbit", None)
    with pytest.raises(InputError, match=r'pip install "galpy>=1\.10"'):
        orbits(phase_space(2))
