"""What a library throws at a damaged file becomes one line that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aspgap_jax.errors import InputError

__all__ = ["one_line", "reading"]

LONGEST = 160


@contextmanager
def reading(where: object, what: str) -> Iterator[None]:
    """Turn whatever a library raises in the body into an ``InputError``.

    Astropy, h5py, Arrow and expat have no class of errors for damaged files: a byte in the
    wrong place gives KeyError, TypeError, UnboundLocalError and others. The body must
    therefore hold calls of the library alone.

    Args:
        where: file and place.
        what: what is damaged: "FITS file".

    Returns:
        Nothing, for a ``with`` statement.

    Raises:
        InputError: anything was raised.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{where}: damaged {what} ({one_line(error)}); download it again"
        ) from error


def one_line(error: BaseException) -> str:
    """The text of an error, short; its class where it says nothing by itself.

    Args:
        error: of a reader.

    Returns:
        At most ``LONGEST`` characters, without line breaks.
    """
    text = " ".join(str(error).split())
    bare = isinstance(error, KeyError | UnboundLocalError | TypeError | MemoryError) or not text
    shown = f"{type(error).__name__}: {text}".rstrip(": ") if bare else text
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."
