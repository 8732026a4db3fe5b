"""Tables of Arrow's formats: Parquet, and Feather (which is Arrow's IPC file)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

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
        names = tuple(file.schema_arrow.names)

        def blocks(places: Sequence[int]) -> Iterator[list[Raw]]:
            # pyarrow takes names; a dot in one would mean a field of a struct.
            wanted = [names[place] for place in places]
            for batch in file.iter_batches(BLOCK_ROWS, columns=list(dict.fromkeys(wanted))):
                yield [batch.column(name) for name in wanted]

        yield [SourceTable("", names, blocks)]


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

        def blocks(places: Sequence[int]) -> Iterator[list[Raw]]:
            wanted = sorted(set(places))
            for number in range(file.num_record_batches):
                batch = file.get_batch(number).select(wanted)
                # Arrow trusts the offsets of text in a file, and reads wherever they point.
                batch.validate(full=True)
                yield [batch.column(wanted.index(place)) for place in places]

        yield [SourceTable("", tuple(file.schema.names), blocks)]
