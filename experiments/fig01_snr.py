"""Figure 1: distributions of the S/N of the XP spectra of a run.

Run: python experiments/fig01_snr.py --run runs/demo
Needs: the S/N columns of a training store, or the sampled spectra of the run.
Expect: with coefficients, most stars above 100 (1-10) and above 1 (11-55); the sample has
sampled spectra, whose S/N is another quantity: medians of 42 (BP) and 98 (RP).
"""

from aspgap_jax.suite import script

script.run("figure01")
