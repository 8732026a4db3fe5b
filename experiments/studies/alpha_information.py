"""Does the prediction know [alpha/M] at fixed Teff, log g and [M/H]?

Conditional permutation test and matched pairs, beside two predictions that cannot know it:
cubic functions of the other labels, of APOGEE's and of AspGap's own.

Run: python experiments/studies/alpha_information.py --run runs/demo --out alpha
Input: a run with predictions out of fold and the truth.
Expect, from the demo run: partial correlation 0.53 at fixed APOGEE labels (95% of
permutations stay below 0.02), 0.47 where AspGap's own other labels are fixed too; a
function of these reaches 0.30 and 0.02, one of APOGEE's labels 0.00. Of 546 pairs of equal other
labels and reddening that differ by 0.17 dex, 84% come in the right order, with a slope of
0.42 +- 0.02: [alpha/M] is measured, and shrunk towards what the other labels suggest.
"""

from aspgap_jax.suite import script

script.run("alpha_information")
