"""The label table: one row a stellar label, and the only source of their order.

A :data:`LabelSet` says what the ``label`` axis of an array means. A run, its bundle and
its predictions carry their own (:attr:`aspgap_jax.config.Config.labels`); by default it is
:data:`LABELS`, the paper's four. :data:`KNOWN` adds further ones that APOGEE measures;
users define more in a file (:mod:`aspgap_jax.files.label_tables`). What is the paper's
own, its cuts and validations, is of the four.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from aspgap_jax.errors import InputError

__all__ = [
    "KNOWN",
    "LABELS",
    "Label",
    "LabelSet",
    "Outlier",
    "from_values",
    "index",
    "lacking",
    "names",
    "to_values",
]

RESERVED = ("source_id", "xp", "xp_error", "g_mag")
"""Names that the columns of a training set have already."""


@dataclass(frozen=True)
class Outlier:
    """When a residual counts as an outlier (paper eq. 5 and section 4.1).

    Attributes:
        bound: the largest residual that is not an outlier.
        relative: whether ``bound`` is a fraction of the true value instead of
            a value in the label's unit.

    Raises:
        InputError: the bound is not positive.
    """

    bound: float
    relative: bool = False

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise InputError(f"the outlier bound must be > 0, got {self.bound}")


@dataclass(frozen=True)
class Label:
    """One stellar label.

    Attributes:
        name: key in files and tables, ``teff``.
        symbol: how figures write it (matplotlib mathtext).
        unit: physical unit, such as ``K`` or ``dex``.
        outlier: bound of eq. 5.
        catalogue: column of the paper's Table 2; its error is ``e_`` + column.
        description: the words of Table 2.
        sample: column of the real sample; its error is column + ``_err``.
        apogee: column of APOGEE's allStar; its error is column + ``_ERR``, or ``e_`` + column.
        limits: the range that Table 1 (conditions 1-4) trusts, in ``unit``.
        max_error: the largest APOGEE error that Table 1 (6-9) accepts.
        decimals: digits after the point in printed tables.
        ucd: what kind of quantity it is, in the words of the IVOA's UCD1+.
        error: 1-sigma error of every star, for a label whose table has no column of errors.

    Raises:
        InputError: a name that is no name, or is another column's already.
    """

    name: str
    symbol: str
    unit: str
    outlier: Outlier
    catalogue: str
    description: str
    sample: str
    apogee: str
    limits: tuple[float, float]
    max_error: float
    decimals: int
    ucd: str = ""
    error: float | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name) or self.name in RESERVED:
            raise InputError(
                f"no label can be called {self.name!r}: lower-case letters, digits and _, "
                f"and not {', '.join(RESERVED)}"
            )
        if self.error is not None and not self.error > 0:
            raise InputError(f"{self.name}: the error must be > 0, got {self.error}")

    @property
    def plain(self) -> str:
        """Symbol as plain text.

        Examples:
            >>> [label.plain for label in LABELS]
            ['Teff', 'log g', '[M/H]', '[α/M]']
        """
        text = self.symbol.replace(r"\alpha", "\N{GREEK SMALL LETTER ALPHA}").replace(r"\rm ", "")
        return re.sub(r"[\\_{}$]", "", text)

    @property
    def axis(self) -> str:
        """Symbol with unit, as figures print it."""
        return f"{self.symbol} [{self.unit}]"


LabelSet = tuple[Label, ...]
"""Labels in the order of a ``label`` axis."""

LABELS: LabelSet = (
    Label(
        name="teff",
        symbol=r"$T_{\rm eff}$",
        unit="K",
        outlier=Outlier(0.15, relative=True),
        catalogue="teff_xp",
        description="Effective temperature",
        sample="teff",
        apogee="TEFF",
        limits=(3000.0, 7000.0),
        max_error=50.0,
        decimals=1,
        ucd="phys.temperature.effective",
    ),
    Label(
        name="logg",
        symbol=r"$\log g$",
        unit="dex",
        outlier=Outlier(0.15, relative=True),
        catalogue="logg_xp",
        description="Surface gravity",
        sample="logg",
        apogee="LOGG",
        limits=(0.0, 5.5),
        max_error=0.05,
        decimals=3,
        ucd="phys.gravity",
    ),
    # The sample carries [Fe/H], which stands in for [M/H] there.
    Label(
        name="m_h",
        symbol=r"[M/H]",
        unit="dex",
        outlier=Outlier(0.15),
        catalogue="moh_xp",
        description="Metallicity",
        sample="fe_h",
        apogee="M_H",
        limits=(-2.5, 0.6),
        max_error=0.02,
        decimals=3,
        ucd="phys.abund.Z",
    ),
    Label(
        name="alpha_m",
        symbol=r"[$\alpha$/M]",
        unit="dex",
        outlier=Outlier(0.05),
        catalogue="aom_xp",
        description="Alpha-element abundance",
        sample="alpha_m",
        apogee="ALPHA_M",
        limits=(-0.1, 0.6),
        max_error=0.02,
        decimals=3,
        ucd="phys.abund",
    ),
)
"""The labels, in the order of every array with a ``label`` axis."""


def _abundance(element: str, words: str, bound: float = 0.1) -> Label:
    name = f"{element.lower()}_fe"
    return Label(
        name=name,
        symbol=f"[{element}/Fe]",
        unit="dex",
        outlier=Outlier(bound),
        catalogue=f"{name}_xp",
        description=f"{words} abundance over iron",
        sample=name,
        apogee=name.upper(),
        limits=(-1.0, 1.0),
        max_error=0.1,
        decimals=3,
    )


KNOWN: LabelSet = (
    *LABELS,
    _abundance("C", "Carbon"),
    _abundance("N", "Nitrogen"),
    _abundance("O", "Oxygen"),
    _abundance("Mg", "Magnesium", 0.05),
    _abundance("Al", "Aluminium"),
    _abundance("Si", "Silicon", 0.05),
    _abundance("Ca", "Calcium", 0.05),
    _abundance("Mn", "Manganese"),
    _abundance("Ni", "Nickel", 0.05),
)
"""The paper's, and abundances of DR17's allStar."""


def names(table: LabelSet = LABELS) -> tuple[str, ...]:
    """Names of all labels, in column order.

    Args:
        table: the labels.

    Returns:
        Keys in files and tables.

    Examples:
        >>> names()
        ('teff', 'logg', 'm_h', 'alpha_m')
    """
    return tuple(label.name for label in table)


def index(name: str, table: LabelSet = LABELS) -> int:
    """Column of the label ``name`` in every array with a ``label`` axis.

    Args:
        name: its key.
        table: the labels of that axis.

    Returns:
        The column, counted from 0.

    Raises:
        KeyError: no label has that name; the known ones are listed.

    Examples:
        >>> index("m_h")
        2
    """
    try:
        return names(table).index(name)
    except ValueError:
        known = ", ".join(names(table))
        raise KeyError(f"no label {name!r}; the label table has {known}") from None


def lacking(table: LabelSet) -> tuple[str, ...]:
    """Which of the paper's labels a set does not have.

    Args:
        table: the labels.

    Returns:
        Names; none where the paper's cuts, synthesis and validations apply.

    Examples:
        >>> lacking(LABELS[:3])
        ('alpha_m',)
    """
    return tuple(label.name for label in LABELS if label.name not in names(table))


def to_values(table: LabelSet) -> list[dict[str, Any]]:
    """Labels for JSON.

    Args:
        table: the labels.

    Returns:
        A mapping a label.
    """
    return [asdict(label) for label in table]


def from_values(values: list[dict[str, Any]]) -> LabelSet:
    """What :func:`to_values` made.

    Args:
        values: a mapping a label.

    Returns:
        The labels.

    Examples:
        >>> from_values(to_values(LABELS)) == LABELS
        True
    """
    return tuple(
        Label(**row | {"outlier": Outlier(**row["outlier"]), "limits": tuple(row["limits"])})
        for row in values
    )
