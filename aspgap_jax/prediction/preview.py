"""The first predicted stars, as the command line prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aspgap_jax import labels
from aspgap_jax.catalogue.parts import PartRecord, read_part
from aspgap_jax.flags import decode

__all__ = ["first_stars", "format_stars"]


def first_stars(out: Path, records: Sequence[PartRecord], count: int) -> str:
    """A table of the first ``count`` stars of the parts in ``out``.

    Args:
        out: folder of the parts.
        records: of the parts.
        count: stars at most.

    Returns:
        Lines of text.
    """
    blocks: list[Mapping[str, np.ndarray]] = []
    left = count
    for record in records:
        if left <= 0 or record.status == "failed":
            continue
        for batch in read_part(out / record.part, left):
            blocks.append({n: batch[n].to_numpy() for n in batch.schema.names})
            left -= len(batch)
            break
    if not blocks:
        return ""
    names = set(blocks[0]).intersection(*blocks)
    return format_stars({name: np.concatenate([b[name] for b in blocks]) for name in names})


def format_stars(columns: Mapping[str, np.ndarray]) -> str:
    """Source id, labels with their errors, and the names of the flags, a line a star."""
    header = ["source_id", *(f"{row.name} [{row.unit}]" for row in labels.LABELS), "flags"]
    rows = [header]
    for star in range(len(columns["source_id"])):
        cells = [str(columns["source_id"][star])]
        for row in labels.LABELS:
            value = columns[row.catalogue][star]
            error = columns[f"e_{row.catalogue}"][star]
            digits = max(row.decimals - 1, 0)
            cells.append(f"{value:.{digits}f} +- {error:.{digits}f}" if np.isfinite(value) else "-")
        cells.append(" ".join(decode(int(columns["flags"][star]))) or "none")
        rows.append(cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False))
        + f"  {row[-1]}"
        for row in rows
    ]
    return "\n".join(lines)
