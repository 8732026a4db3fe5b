"""VOTables written block by block: rows in BINARY2, so that no digit is lost.

Also without rows, for the metadata of Parquet (VOParquet 1.0) and as the only place that
says which units the standard (VOUnits) lists.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import IO
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from astropy import units

from aspgap_jax.columns import Columns, ColumnSpec

__all__ = ["VOTable", "in_standard_units", "votable"]

# NumPy type: datatype of VOTable.
DATATYPES = {"i2": "short", "i4": "int", "i8": "long", "f4": "float", "f8": "double"}
# Where the rows of a table go.
DATA = "</TABLE>"
BINARY2 = '<DATA><BINARY2><STREAM encoding="base64">\n', "</STREAM></BINARY2></DATA>\n"


class VOTable:
    """Takes the blocks of a table.

    Args:
        file: open for bytes.
        specs: columns.
    """

    def __init__(self, file: IO[bytes], specs: Sequence[ColumnSpec]) -> None:
        self._file = file
        before, self._after = votable(specs).split(DATA)
        file.write((before + BINARY2[0]).encode())
        # A row is the bits of its missing values, none (NaN says it itself), then the values.
        missing = ("missing", np.uint8, (-(-len(specs) // 8),))
        values = [(s.name, np.dtype(s.dtype).newbyteorder(">")) for s in specs]
        self._dtype = np.dtype([missing, *values])
        self._held = b""

    def append(self, columns: Columns) -> None:
        """Append rows, ``[row]``."""
        names = self._dtype.names or ()
        rows = np.zeros(len(columns[names[1]]), self._dtype)
        for name in names[1:]:
            rows[name] = columns[name]
        self._held += rows.tobytes()
        # Three bytes are four letters: what is left over waits for the next block.
        whole = len(self._held) // 3 * 3
        self._file.write(base64.b64encode(self._held[:whole]) + b"\n")
        self._held = self._held[whole:]

    def finish(self) -> None:
        """Write what stands behind the rows."""
        self._file.write(base64.b64encode(self._held))
        self._file.write((BINARY2[1] + DATA + self._after).encode())


def votable(specs: Sequence[ColumnSpec]) -> str:
    """A VOTable with these columns and without data.

    Args:
        specs: columns.

    Returns:
        XML.
    """
    fields = "\n".join(_field(spec) for spec in specs)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
        f'<RESOURCE>\n<TABLE name="catalogue">\n{fields}\n{DATA}\n</RESOURCE>\n</VOTABLE>\n'
    )


def _field(spec: ColumnSpec) -> str:
    unit, description = in_standard_units(spec)
    attributes = {"name": spec.name, "datatype": DATATYPES[np.dtype(spec.dtype).str[1:]]}
    attributes |= {"unit": unit} if unit else {}
    attributes |= {"ucd": spec.ucd} if spec.ucd else {}
    words = " ".join(f"{name}={quoteattr(text)}" for name, text in attributes.items())
    return f"<FIELD {words}><DESCRIPTION>{escape(description)}</DESCRIPTION></FIELD>"


def in_standard_units(spec: ColumnSpec) -> tuple[str, str]:
    """Unit and description of a column; a unit that VOUnits does not list is in the latter.

    Args:
        spec: the column.

    Returns:
        Both, the unit empty where it has none or the standard none.

    Examples:
        >>> in_standard_units(ColumnSpec("logg_xp", "dex", "Surface gravity", np.float32))
        ('', 'Surface gravity [dex]')
    """
    try:
        units.Unit(spec.unit, format="vounit", parse_strict="raise")
    except ValueError:
        return "", f"{spec.description} [{spec.unit}]".strip()
    return spec.unit, spec.description
