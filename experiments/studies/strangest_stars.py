"""Which stars of a run are least like the others? A card each.

Run: python experiments/studies/strangest_stars.py --run runs/demo --out strangest
Input: a cross-validation with its bundle and its spectra.
Expect, from the demo run of the preset compact: 0.5% of the giants beyond a limit of the domain;
among the ten, 3389113514514547840 with a strong emission line near 656 nm.
"""

from aspgap_jax.suite import script

script.run("strangest")
