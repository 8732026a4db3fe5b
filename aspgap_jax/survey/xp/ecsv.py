"""What a header in astropy's YAML says: units of columns, and values for the whole table.

ECSV files have it in their comments, astropy's HDF5 tables beside the data.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.damage import one_line
from aspgap_jax.survey.xp.table import Stated

__all__ = ["Described", "described"]


class Described(NamedTuple):
    """A header.

    Attributes:
        delimiter: between the columns of ECSV; empty: not stated.
        units: column to unit, where stated.
        stated: what holds for the whole table.
    """

    delimiter: str
    units: dict[str, str]
    stated: dict[str, Stated]


def described(text: str, where: object) -> Described:
    """Read a header.

    Args:
        text: YAML.
        where: the file, for messages.

    Returns:
        What it says of the columns.

    Raises:
        InputError: it is damaged.
    """
    # Not at the top: csv without a header needs no YAML.
    import yaml  # type: ignore[import-untyped]

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Takes what astropy marks with tags of its own for plain data."""

    def plain(loader: Any, _: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node)

    # "!": tags of a file's own; those of YAML itself (tag:yaml.org) go on meaning what they do.
    Loader.add_multi_constructor("!", plain)
    try:
        found = yaml.load(text, Loader=Loader)
    except Exception as error:
        raise InputError(
            f"{where}: damaged ECSV header ({one_line(error)}); download it again"
        ) from None
    if not isinstance(found, dict):
        return Described("", {}, {})
    columns = found.get("datatype")
    units = {
        str(column["name"]): str(column["unit"])
        for column in (columns if isinstance(columns, list) else [])
        if isinstance(column, dict) and column.get("name") and column.get("unit")
    }
    return Described(str(found.get("delimiter", "")), units, _stated(found.get("meta")))


def _stated(meta: Any) -> dict[str, Stated]:
    pairs: list[tuple[Any, Any]] = []
    if isinstance(meta, dict):
        pairs = list(meta.items())
    elif isinstance(meta, list):
        # An ordered dictionary: a list of pairs, or of dictionaries of one each.
        for item in meta:
            if isinstance(item, dict):
                pairs += item.items()
            elif isinstance(item, tuple) and len(item) == 2:
                pairs.append(item)
    return {str(name).lower(): Stated(value) for name, value in pairs}
