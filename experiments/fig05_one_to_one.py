"""Figure 5: labels predicted out of fold against APOGEE's, with the outlier rate of eq. 5.

Run: python experiments/fig05_one_to_one.py --run runs/demo
Needs: reference labels in the run.
Expect: the numbers of metrics.json; the paper's rms is 48 K, 0.12, 0.07 and 0.03 dex.
"""

from aspgap_jax.suite import script

script.run("figure05")
