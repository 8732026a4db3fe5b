"""AspGap in JAX: stellar labels, with uncertainties, from Gaia XP spectra."""

from importlib.metadata import version

__version__ = version("aspgap-jax")
__all__ = ["__version__"]
