"""Figure 7: rms, MAE, scatter, bias and formal error against S/N.

Run: python experiments/fig07_precision.py --run runs/demo
Needs: reference labels, and S/N columns or the sampled spectra of the run.
Expect: all but the bias fall with S/N; [alpha/M] falls least. The paper reaches 40 K, 0.10,
0.05 and 0.02 dex at an RP S/N of 800.
"""

from aspgap_jax.suite import script

script.run("figure07")
