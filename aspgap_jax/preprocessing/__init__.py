"""Section 2 of the paper: stars, their selection, scaling, folds."""
