"""Do residuals follow brightness, reddening or the place on the sky?

Run: python experiments/studies/residual_trends.py --run runs/demo --out trends
Input: a run with predictions out of fold and the truth; BP and RP magnitudes for the colour
excess.
Expect, from the demo run: Teff and log g too high by 16 K and 0.05 dex where there is no
reddening, [alpha/M] free of trends with it to 0.003 dex, and too low by 0.015 dex towards the
Galactic centre, too high by as much towards the anticentre.
"""

from aspgap_jax.suite import script

script.run("residual_trends")
