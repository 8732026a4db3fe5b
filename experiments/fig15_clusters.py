r"""Figure 15: [M/H] of open clusters against the literature.

Run: python experiments/fig15_clusters.py --run runs/demo \
         --external cluster_members=occam_member-DR16.fits --external clusters=literature.csv
Needs: --external cluster_members=FILE (Donor et al. 2020, occam_member-DR16.fits: CLUSTER,
APOGEE_ID, RV_PROB, FEH_PROB, PM_PROB) and --external clusters=FILE (NAME, FE_H).
Expect: the paper: 66 of 67 clusters within 0.2 dex, those with many members within 0.07 dex.
"""

from aspgap_jax.suite import script

script.run("figure15")
