"""The paper's validations, one study a figure or table, and what runs them all.

A study takes the inputs of a run and gives numbers and figures. To add one, write a
function from :class:`Inputs` to :class:`Result` and its row in :data:`STUDIES`.
"""

from aspgap_jax.suite import (
    catalogues,
    causality,
    cross_validation,
    gradients,
    orbits,
    plausibility,
    strangest,
)
from aspgap_jax.suite.study import Drawn, Inputs, Missing, Result, Study, open_inputs

__all__ = ["STUDIES", "Drawn", "Inputs", "Missing", "Result", "Study", "open_inputs"]

STUDIES: tuple[Study, ...] = tuple(
    sorted(
        (
            *catalogues.STUDIES,
            *causality.STUDIES,
            *cross_validation.STUDIES,
            *gradients.STUDIES,
            *orbits.STUDIES,
            *plausibility.STUDIES,
            *strangest.STUDIES,
        ),
        key=lambda study: (not study.name.startswith(("figure", "table")), study.name),
    )
)
"""Every study: the paper's figures by number, its tables, and what goes beyond it."""
