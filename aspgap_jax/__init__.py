"""AspGap in JAX: stellar labels, with uncertainties, from Gaia XP spectra.

::

    import aspgap_jax as ag

    labels = ag.Predictor()(table)  # or ag.Predictor("runs/all")
    model = ag.fit(training_table)

What is in ``__all__`` is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aspgap_jax.errors import InputError as InputError
    from aspgap_jax.flags import decode as decode
    from aspgap_jax.prediction.hallucination import gradient_spectra as gradient_spectra
    from aspgap_jax.prediction.hallucination import hallucinate as hallucinate
    from aspgap_jax.prediction.predictor import Predictor as Predictor
    from aspgap_jax.suite.star_card import star_card as star_card
    from aspgap_jax.training.estimator import AspGap as AspGap
    from aspgap_jax.training.estimator import fit as fit
    from aspgap_jax.training.finished import load_run as load_run

    __version__: str

__all__ = [
    "AspGap",
    "InputError",
    "Predictor",
    "__version__",
    "decode",
    "fit",
    "gradient_spectra",
    "hallucinate",
    "load_run",
    "star_card",
]

_FROM = {
    "AspGap": "training.estimator",
    "InputError": "errors",
    "Predictor": "prediction.predictor",
    "decode": "flags",
    "fit": "training.estimator",
    "gradient_spectra": "prediction.hallucination",
    "hallucinate": "prediction.hallucination",
    "load_run": "training.finished",
    "star_card": "suite.star_card",
}


def __getattr__(name: str) -> Any:
    """What is asked for: a command starts without looking for it (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("aspgap-jax")
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
