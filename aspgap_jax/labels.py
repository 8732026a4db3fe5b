"""The label table: one row a stellar label, and the only source of their order.

Every array with a ``label`` axis follows :data:`LABELS`. To infer another
label, add a row here: sizes, scalers, losses, tables and figures follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["LABELS", "Label", "Outlier", "index", "names"]


@dataclass(frozen=True)
class Outlier:
    """When a residual counts as an outlier (paper eq. 5 and section 4.1).

    Attributes:
        bound: the largest residual that is not an outlier.
        relative: whether ``bound`` is a fraction of the true value instead of
            a value in the label's unit.
    """

    bound: float
    relative: bool = False


@dataclass(frozen=True)
class Label:
    """One stellar label.

    Attributes:
        name: key in files and tables, ``teff``.
        symbol: how figures write it (matplotlib mathtext).
        unit: physical unit, ``K`` or ``dex``.
        outlier: bound of eq. 5.
        catalogue: column of the paper's Table 2; its error is ``e_`` + column.
        description: the words of Table 2.
        sample: column of the real sample; its error is column + ``_err``.
        apogee: column of APOGEE's allStar; its error is column + ``_ERR``.
        limits: the range that Table 1 (conditions 1-4) trusts, in ``unit``.
        max_error: the largest APOGEE error that Table 1 (6-9) accepts.
        decimals: digits after the point in printed tables.
        ucd: what kind of quantity it is, in the words of the IVOA's UCD1+.
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


LABELS: tuple[Label, ...] = (
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


def names() -> tuple[str, ...]:
    """Names of all labels, in column order.

    Returns:
        Keys in files and tables.

    Examples:
        >>> names()
        ('teff', 'logg', 'm_h', 'alpha_m')
    """
    return tuple(label.name for label in LABELS)


def index(name: str) -> int:
    """Column of the label ``name`` in every array with a ``label`` axis.

    Args:
        name: its key.

    Returns:
        The column, counted from 0.

    Raises:
        KeyError: no label has that name; the known ones are listed.

    Examples:
        >>> index("m_h")
        2
    """
    try:
        return names().index(name)
    except ValueError:
        raise KeyError(f"no label {name!r}; the label table has {', '.join(names())}") from None
