"""Figure 19: against Andrae et al. 2023, near the Galactic plane and far from it.

Run: python experiments/fig19_latitude.py --run runs/demo --external a23=a23.fits
Needs: --external a23=FILE, as for Fig. 13.
Expect: no systematic offset between |b| < 10 and |b| > 30 deg, but a larger scatter near the
plane.
"""

from aspgap_jax.suite import script

script.run("figure19")
