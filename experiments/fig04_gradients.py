"""Figure 4: hallucinated gradient spectra d(flux)/d(label) against those of physics.

Run: python experiments/fig04_gradients.py --run runs/demo --out fig04 \
         --external kurucz=kurucz_apogee_network.npz
Input: a run with its bundle and spectra; optionally the network of Kurucz spectra of
kareemelbadry/binspec, the one yardstick that the training has not seen.
Expect, from the demo run: whole hallucinated gradients that do not correlate with physics
(below 0.1), for 98% of them is what the initialisation left where the APOGEE decoder sees
nothing; in the part that it sees, correlations with the synthesis of 0.4 for Teff and 0.3 for
[alpha/M], with Kurucz spectra of 0.2 for Teff alone. The paper, whose decoder saw real ones,
shows an example that agrees and gives no number.
"""

from aspgap_jax.suite import script

script.run("figure04")
