"""The error that a user reads as one line."""

__all__ = ["InputError", "TooFewStars"]


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what and the cure.

    The command line prints the message alone and exits with status 2.
    """


class TooFewStars(InputError):
    """Nothing is wrong with the stars but their number."""
