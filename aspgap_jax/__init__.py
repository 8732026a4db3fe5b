"""AspGap in JAX: stellar labels, with uncertainties, from Gaia XP spectra."""

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """The version, when it is asked for: a command starts without looking for it."""
    if name == "__version__":
        from importlib.metadata import version

        return version("aspgap-jax")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
