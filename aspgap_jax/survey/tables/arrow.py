"""Tables of Arrow's formats: Parquet, and Feather (which is Arrow's IPC file)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from aspgap_jax.survey.nested import flat_columns, flat_values
from aspgap_jax.survey.tables.opened import Opened
from aspgap_jax.survey.tables.source import BLOCK_ROWS, Raw, SourceTable

__all__ = ["open_feather", "open_parquet"]


@contextmanager
def open_parquet(opened: Opened) -> Iterator[list[SourceTable]]:
    """The table of a Parquet file.

    Args:
        opened: a file of that format.

    Yields:
        One table, whose blocks are read when asked for.
    """
    with pq.ParquetFile(opened.path) as file:
        flat = flat_columns(file.schema_arrow)

        def blocks(places: Sequence[int]) -> Iterator[list[Raw]]:
            # pyarrow takes names; a dot in one would mean a field of a struct.
            wanted = [flat[place] for place in places]
            tops = list(dict.fromkeys(each.top for each in wanted))
            for batch in file.iter_batches(BLOCK_ROWS, columns=tops):
                yield [flat_values(batch.column(each.top), each.inside) for each in wanted]

        yield [SourceTable("", tuple(each.name for each in flat), blocks)]


@contextmanager
def open_feather(opened: Opened) -> Iterator[list[SourceTable]]:
    """The table of a Feather file of version 2.

    Args:
        opened: a file of that format.

    Yields:
        One table, whose blocks are read when asked for.
    """
    with pa.memory_map(str(opened.path)) as stream:
        file = pa.ipc.open_file(stream)
        flat = flat_columns(file.schema)

        def blocks(places: Sequence[int]) -> Iterator[list[Raw]]:
            wanted = [flat[place] for place in places]
            tops = sorted({each.place for each in wanted})
            for number in range(file.num_record_batches):
                batch = file.get_batch(number).select(tops)
                # Arrow trusts the offsets of text in a file, and reads wherever they point.
                batch.validate(full=True)
                yield [
                    flat_values(batch.column(tops.index(each.place)), each.inside)
                    for each in wanted
                ]

        yield [SourceTable("", tuple(each.name for each in flat), blocks)]
