"""Every figure, drawn from arrays; nothing is read, and only :func:`save` writes.

Figures are objects of their own: no pyplot, so no global state and no display.
Widths are those of a two-column page; dense layers are rasterised in vector files.
"""

from aspgap_jax.plots.causality import attribution, conditional_information, residual_trends
from aspgap_jax.plots.cross_validation import (
    chi_distribution,
    learning_curves,
    one_to_one,
    one_to_one_by_sigma,
    training_set,
)
from aspgap_jax.plots.gradients import gradient_agreement, gradient_spectra
from aspgap_jax.plots.grid import grid_search
from aspgap_jax.plots.rgb_sample import catalogue_labels, rgb_selection
from aspgap_jax.plots.star_card import star_card
from aspgap_jax.plots.style import save

__all__ = [
    "attribution",
    "catalogue_labels",
    "chi_distribution",
    "conditional_information",
    "gradient_agreement",
    "gradient_spectra",
    "grid_search",
    "learning_curves",
    "one_to_one",
    "one_to_one_by_sigma",
    "residual_trends",
    "rgb_selection",
    "save",
    "star_card",
    "training_set",
]
