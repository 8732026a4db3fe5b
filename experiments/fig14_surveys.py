"""Figure 14: against LAMOST LRS (SLAM), LAMOST MRS (Cycle-StarNet) and GALAH DR3.

Run: python experiments/fig14_surveys.py --run runs/demo --external galah=galah.fits
Needs: one or more of --external lamost_lrs=FILE, lamost_mrs=FILE, galah=FILE; their columns
and cuts stand in aspgap_jax/survey/external.py.
Expect: the paper: scatter of 61, 59 and 77 K; 0.14, 0.17 and 0.18 dex in log g.
"""

from aspgap_jax.suite import script

script.run("figure14")
