"""Figure 8: residuals over their uncertainties, their normal fit and coverage.

Run: python experiments/fig08_chi.py --run runs/demo
Needs: reference labels in the run.
Expect: sigma 1.0 +- 0.1 (the paper: about 1.3); coverage of 0.73 to 0.77 at 68% and of 0.94 to
0.96 at 95% in the demo: a narrow core with wide wings.
"""

from aspgap_jax.suite import script

script.run("figure08")
