"""Array aliases with named axes.

Axis names used across the package: ``star`` (one spectrum), ``xp`` (one input
of the encoder: a coefficient or a flux sample), ``label`` (one row of a
:data:`aspgap_jax.labels.LabelSet`), ``latent``, ``pixel`` (apStar grid) and
``member`` (one trained network: a fold, repeat or seed).
"""

from jaxtyping import Array, Bool, Float, Int

XP = Float[Array, "star xp"]
Latents = Float[Array, "star latent"]
Labels = Float[Array, "star label"]
Measured = Bool[Array, "star label"]
Spectra = Float[Array, "star pixel"]
PerStar = Float[Array, " star"]
PerLabel = Float[Array, " label"]
Scalar = Float[Array, ""]
Rows = Int[Array, " row"]

__all__ = [
    "XP",
    "Array",
    "Bool",
    "Float",
    "Int",
    "Labels",
    "Latents",
    "Measured",
    "PerLabel",
    "PerStar",
    "Rows",
    "Scalar",
    "Spectra",
]
