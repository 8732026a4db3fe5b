"""Figure 6: Fig. 5 coloured by the predicted uncertainty.

Run: python experiments/fig06_uncertainty.py --run runs/demo
Needs: reference labels in the run.
Expect: stars of the highest quarter of sigma have 2.6 to 5.3 times the rms of the lowest
quarter in the demo.
"""

from aspgap_jax.suite import script

script.run("figure06")
