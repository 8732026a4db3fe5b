"""Every figure, drawn from arrays; nothing is read, and only :func:`save` writes.

Figures are objects of their own: no pyplot, so no global state and no display.
Widths are those of a two-column page; dense layers are rasterised in vector files.
"""

from aspgap_jax.plots.cross_validation import (
    chi_distribution,
    learning_curves,
    one_to_one,
    one_to_one_by_sigma,
    training_set,
)
from aspgap_jax.plots.style import save

__all__ = [
    "chi_distribution",
    "learning_curves",
    "one_to_one",
    "one_to_one_by_sigma",
    "save",
    "training_set",
]
