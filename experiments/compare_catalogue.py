"""Any catalogue of labels: all stars, high quality, and by Galactic latitude.

Run: python experiments/compare_catalogue.py --run runs/demo --external other=labels.fits
Needs: --external other=FILE with Gaia DR3 source ids and one label or more.
Expect: numbers to be read beside those of Fig. 13 and 14.
"""

import sys

from aspgap_jax.suite import script

if __name__ == "__main__":
    sys.exit(script.main("comparison_other"))
