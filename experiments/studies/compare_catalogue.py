"""Any catalogue of labels: all stars, high quality, and by Galactic latitude.

Run: python experiments/studies/compare_catalogue.py --run runs/demo --external other=labels.fits
Needs: --external other=FILE with Gaia DR3 source ids and one label or more.
Expect: numbers to be read beside those of Fig. 13 and 14.
"""

from aspgap_jax.suite import script

script.run("comparison_other")
