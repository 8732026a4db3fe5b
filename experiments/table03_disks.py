"""Table 3 and Fig. 18: low- and high-alpha disk, precision, recall, confusion matrix.

Run: python experiments/table03_disks.py --run runs/demo
Needs: reference labels of stars with -0.9 < [M/H] < 0.
Expect: the paper: low 0.97 and 0.96, high 0.93 and 0.94 (precision, recall); the demo: 0.92
and 0.95, 0.86 and 0.78.
"""

from aspgap_jax.suite import script

script.run("table03")
