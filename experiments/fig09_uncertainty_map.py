"""Figure 9: predicted uncertainty against G and S/N.

Run: python experiments/fig09_uncertainty_map.py --run runs/demo
Needs: S/N columns, or the sampled spectra of the run.
Expect: sigma correlates more with S/N than with G, for every label.
"""

from aspgap_jax.suite import script

script.run("figure09")
