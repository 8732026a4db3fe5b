"""Kiel diagram, [M/H]-[alpha/M] plane and the place of the red clump.

Run: python experiments/studies/plausibility.py --run runs/demo
Needs: reference labels in the run.
Expect: the red clump of APOGEE DR17 near log g = 2.48; XP's within 0.1 dex of it.
"""

from aspgap_jax.suite import script

script.run("plausibility")
