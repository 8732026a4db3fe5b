"""Labels by name: those of the label table, and a user's own from a TOML file.

A table of the file defines a label::

    [age]
    unit = "Gyr"
    outlier = 2.0          # the largest residual that is no outlier, in that unit
    # All else has a default:
    # relative = false     # true: the bound is a fraction of the true value
    # column = "AGE"       # of allStar; its error is AGE_ERR or e_AGE
    # error = 0.5          # of every star, where there is no column of errors
    # catalogue = "age_xp" # column of catalogues; its error is e_age_xp
    # symbol = "age"       # in figures (mathtext)
    # description = "Age"
    # decimals = 3
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from aspgap_jax.errors import InputError
from aspgap_jax.labels import KNOWN, Label, LabelSet, Outlier

__all__ = ["choose_labels", "near_names", "read_label_table"]

KINDS: dict[str, type | tuple[type, ...]] = {
    "unit": str,
    "outlier": (int, float),
    "relative": bool,
    "column": str,
    "error": (int, float),
    "catalogue": str,
    "symbol": str,
    "description": str,
    "decimals": int,
}
NEEDED = ("unit", "outlier")
NO_LIMIT = 1e30
"""JSON has no infinity. Table 1's limits are for the paper's labels."""


def choose_labels(wanted: str, file: Path | None = None) -> LabelSet:
    """Labels by their names.

    Args:
        wanted: names with commas between them, in the order that arrays will have.
        file: a user's own labels, which go before those of the label table.

    Returns:
        One a name.

    Raises:
        InputError: of :func:`read_label_table`, no name, one that comes twice, or one that is
            in neither; near names are told.

    Examples:
        >>> [label.unit for label in choose_labels("teff,mg_fe")]
        ['K', 'dex']
    """
    known = {label.name: label for label in KNOWN}
    if file is not None:
        known |= {label.name: label for label in read_label_table(file)}
    chosen = [name.strip() for name in wanted.split(",") if name.strip()]
    if not chosen:
        raise InputError("--labels: no name; write for example --labels teff,logg,m_h")
    for name in chosen:
        if chosen.count(name) > 1:
            raise InputError(f"--labels: {name} is given twice")
        if name not in known:
            raise InputError(
                f"--labels: no label {name}{near_names(name, list(known))}; known are "
                f"{', '.join(known)}, and those that --label-table FILE.toml defines"
            )
    return tuple(known[name] for name in chosen)


def near_names(name: str, known: list[str]) -> str:
    """Names like one that is not there, as a message goes on.

    Args:
        name: that is not there.
        known: those that are.

    Returns:
        Empty where none is like it.

    Examples:
        >>> near_names("alfa_m", ["teff", "alpha_m"])
        ' (near: alpha_m)'
    """
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    return f" (near: {', '.join(near)})" if near else ""


def read_label_table(path: Path) -> LabelSet:
    """A user's own labels.

    Args:
        path: TOML, as this module describes it.

    Returns:
        In the order of the file.

    Raises:
        InputError: not readable, no TOML, an unknown or missing key, or a value of another type.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--label-table {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--label-table {path}: no valid TOML ({error})") from None
    return tuple(_label(name, table, f"{path}: [{name}]") for name, table in tables.items())


def _label(name: str, given: Any, where: str) -> Label:
    if not isinstance(given, dict):
        raise InputError(f"{where}: write a table: [{name}], then a line a key")
    for key, value in given.items():
        if key not in KINDS:
            raise InputError(f"{where}: no key {key}{near_names(key, list(KINDS))}")
        # bool is an int to isinstance, and must not pass for one.
        if not isinstance(value, KINDS[key]) or (KINDS[key] is not bool and value is True):
            raise InputError(f"{where}: {key} = {value!r} is of another type")
    if missing := [key for key in NEEDED if key not in given]:
        raise InputError(f"{where}: needs {' and '.join(missing)}")
    error = given.get("error")
    try:
        return Label(
            name=name,
            symbol=given.get("symbol", name.replace("_", r"\_")),
            unit=given["unit"],
            outlier=Outlier(float(given["outlier"]), given.get("relative", False)),
            catalogue=given.get("catalogue", f"{name}_xp"),
            description=given.get("description", f"Label {name}"),
            sample=name,
            apogee=given.get("column", name.upper()),
            limits=(-NO_LIMIT, NO_LIMIT),
            max_error=NO_LIMIT,
            decimals=given.get("decimals", 3),
            error=None if error is None else float(error),
        )
    except InputError as problem:
        raise InputError(f"{where}: {problem}") from None
