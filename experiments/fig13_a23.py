"""Figure 13: against Andrae et al. 2023 (A23).

Run: python experiments/fig13_a23.py --run runs/demo --external a23=a23.fits
Needs: --external a23=FILE: doi 10.5281/zenodo.7945154, with the columns source_id,
teff_xgboost, logg_xgboost, mh_xgboost.
Expect: the paper: scatter of 73 K, 0.2 and 0.1 dex; 45 K, 0.12 and 0.07 dex at high quality.
"""

from aspgap_jax.suite import script

script.run("figure13")
