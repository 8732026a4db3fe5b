"""Figure 2: the labels of the training set.

Run: python experiments/fig02_training_set.py --run runs/demo
Needs: reference labels in the run.
Expect: 19,686 giants in the demo, 142,130 stars in the paper.
"""

from aspgap_jax.suite import script

script.run("figure02")
