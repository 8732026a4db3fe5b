"""Figure 4: hallucinated gradient spectra d(flux)/d(label) against those of physics.

Run: python experiments/fig04_gradients.py --run runs/demo --out fig04 \
         --external cannon=cannon_apokasc_gc.npz --external kurucz=kurucz_apogee_network.npz
Input: a run with its bundle and spectra; optionally a Cannon of real APOGEE giants, and the
network of Kurucz spectra of kareemelbadry/binspec, which no network here has seen.
Expect what stands in experiments/docs/results.md: spectra that correlate with those of the
decoder's teacher at 0.99, and gradients far above chance. The paper shows an example that
agrees and gives no number.
"""

from aspgap_jax.suite import script

script.run("figure04")
