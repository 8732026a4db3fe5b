"""Figure 16: vertical action and angular momentum against [alpha/M] at fixed [M/H].

Run: python experiments/fig16_orbits.py --run runs/demo --external orbits=orbits.fits
Needs: --external orbits=FILE (Kordopatis et al. 2023: source id, Lz and Jz in kpc km/s), or
--external gaia=FILE (gaia_source with radial_velocity; extra `dynamics`; some
15 ms a star).
Expect: high-alpha stars have larger J_z and smaller L_z in both bins of [M/H].
"""

from aspgap_jax.suite import script

script.run("figure16")
