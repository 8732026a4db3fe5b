"""Which wavelengths carry [alpha/M]? Integrated gradients between matched stars.

Run: python experiments/studies/alpha_attribution.py --run runs/demo --out alpha
Input: a cross-validation with its bundle and spectra. Coefficients are mapped to wavelength by
Gaia's instrument model (extra ``gaia``).
Expect, from the demo run: of a predicted change of 0.079 dex (true: 0.168), 0.021 from the
broad shape and 0.058 from features, most of them TiO: +0.036 at 665 nm, -0.026 at 705 nm,
+0.008 at 759 nm. Mg b gives 0.009, Ca H&K 0.004, Na D 0.002, the Ca triplet -0.001.
"""

from aspgap_jax.suite import script

script.run("alpha_attribution")
