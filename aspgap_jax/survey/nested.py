"""Columns inside columns: structs of Arrow, as LSDB and nested-pandas write spectra.

A struct of lists (``spectrum: {wavelength: [...], flux: [...]}``), a list of structs (the
same, value by value) and a struct of numbers stand for their fields, each a column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Flat", "flat_columns", "flat_values"]

BANDS = ("bp", "rp")


class Flat(NamedTuple):
    """A column of numbers, text or lists.

    Attributes:
        name: its own; that of a field of a struct with the struct's in front where the
            struct is named after a band, or where others have the name too.
        field: its description in the schema.
        top: name of the column of the table that has it.
        place: number of that column.
        inside: which field of that column it is; ``None`` where it is the column itself.
    """

    name: str
    field: pa.Field
    top: str
    place: int
    inside: int | None = None


def flat_columns(schema: pa.Schema) -> tuple[Flat, ...]:
    """The columns of a schema, those inside others among them.

    Args:
        schema: of a table.

    Returns:
        In the order of the schema.
    """
    found = [each for place, field in enumerate(schema) for each in _fields_of(field, place)]
    count = Counter(each.name for each in found)
    return tuple(
        each._replace(name=f"{each.top}_{each.name}")
        if each.inside is not None and (count[each.name] > 1 or each.top.lower() in BANDS)
        else each
        for each in found
    )


def _fields_of(field: pa.Field, place: int) -> Iterator[Flat]:
    struct = _struct_of(field.type)
    if struct is None:
        yield Flat(field.name, field, field.name, place)
        return
    for number in range(struct.num_fields):
        inner = struct.field(number)
        yield Flat(inner.name, inner, field.name, place, number)


def _struct_of(kind: pa.DataType) -> pa.StructType | None:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return kind if pa.types.is_struct(kind) else None


def flat_values(column: Any, inside: int | None) -> Any:
    """The values of a column, or of a field in it.

    Args:
        column: of Arrow.
        inside: of :class:`Flat`.

    Returns:
        An Arrow array of as many rows; null where the struct is.
    """
    if inside is None:
        return column
    if pa.types.is_struct(column.type):
        return pc.struct_field(column, [inside])
    # Without the offset of a slice, which Arrow cannot rebuild a list with.
    whole = pa.concat_arrays([column])
    kind = pa.LargeListArray if pa.types.is_large_list(column.type) else pa.ListArray
    values = pc.struct_field(whole.values, [inside])
    return kind.from_arrays(whole.offsets, values, mask=whole.is_null())
