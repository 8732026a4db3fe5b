"""Figure 17: the Poor Old Heart, Gaia-Enceladus/Sausage, and the LMC.

Run: python experiments/fig17_halo.py --run runs/demo --external orbits=orbits.fits
Needs: orbits as for Fig. 16, with ecc, Rapo [kpc] and energy [km^2/s^2]; --external lmc=FILE
(Jimenez-Arranz et al. 2023: source_id and probability); any of them alone will do.
Expect: most GES and LMC stars below the dividing line; loose, radial orbits less often
high-alpha than bound ones.
"""

from aspgap_jax.suite import script

script.run("figure17")
