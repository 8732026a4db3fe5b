"""From the parts of a prediction to one catalogue: Gaia's columns, cuts, order, format.

Parts stream through in blocks: each block gets Gaia's columns, passes the cuts, and
what is left is sorted by sky into temporary files, from which the catalogue is then
written pixel after pixel. Memory holds one block, or the stars of one pixel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from tqdm import tqdm

from aspgap_jax import flags
from aspgap_jax.catalogue.diagrams import Abundance, ColourMagnitude, Kiel
from aspgap_jax.catalogue.hats import CENTRES, COUNT_ORDER, HEALPIX, HatsWriter, Pixel, partition
from aspgap_jax.catalogue.parts import find_parts, read_part
from aspgap_jax.columns import COLUMNS, Columns, ColumnSpec
from aspgap_jax.errors import InputError
from aspgap_jax.files.access import check_new
from aspgap_jax.files.atomic import new_folder
from aspgap_jax.files.locks import locked
from aspgap_jax.files.tables import (
    SUFFIXES,
    parquet_table,
    write_table,
)
from aspgap_jax.labels import LABELS
from aspgap_jax.preprocessing.cuts import Condition, left_after, require_columns
from aspgap_jax.preprocessing.selection import CATALOGUE_SELECTIONS, NO_FLAG, QUALITY
from aspgap_jax.preprocessing.stars import Cut
from aspgap_jax.preprocessing.where import check_columns
from aspgap_jax.preprocessing.where import where as expression
from aspgap_jax.survey.gaia_lookup import GaiaLookup, open_gaia
from aspgap_jax.survey.healpix import MAX_ORDER, nested_pixels, source_id_pixels
from aspgap_jax.survey.tables import Remarks

__all__ = ["Built", "build_catalogue"]

BLOCK_ROWS = 131_072
# Rows that are sorted in memory, and of a row group of what they are sorted into.
RUN_ROWS = 524_288
RUN_GROUP_ROWS = 8_192
MAX_ROWS = 500_000
"""Stars of a partition of Parquet: about 80 MB."""
KEY = HEALPIX.name


@dataclass(frozen=True)
class Built:
    """What became of the parts.

    Attributes:
        path: the catalogue.
        rows: its stars.
        cuts: what was asked, and how many rows were left after each.
        repeated: rows left out because their star was there already.
        absent: columns of Table 2 that neither parts nor Gaia tables have.
        colour_magnitude: Fig. 10, of the stars before its two cuts; ``None`` without
            parallaxes and G magnitudes.
        kiel: Fig. 11, left; ``None`` for parts without the paper's labels.
        abundance: Fig. 11, right, likewise.
        remarks: what was left out or replaced in Gaia's tables, and how many stars they have.
    """

    path: Path
    rows: int
    cuts: tuple[Cut, ...]
    repeated: int
    absent: tuple[str, ...]
    colour_magnitude: ColourMagnitude | None
    kiel: Kiel | None
    abundance: Abundance | None
    remarks: tuple[str, ...] = ()


def build_catalogue(
    parts: Sequence[Path],
    out: Path,
    *,
    gaia: Sequence[Path] = (),
    select: str = "all",
    unflagged: bool = False,
    where: str = "",
    overwrite: bool = False,
    max_rows: int = MAX_ROWS,
) -> Built:
    """Merge the parts of predictions into a catalogue.

    Args:
        parts: folders that ``aspgap predict`` wrote, or parts in them.
        out: one file in the format of its suffix (:mod:`aspgap_jax.files.tables`), or, without
            one, a folder of Parquet files (:mod:`aspgap_jax.catalogue.hats`).
        gaia: tables with further columns, see :func:`open_gaia`.
        select: a key of :data:`CATALOGUE_SELECTIONS`.
        unflagged: leave out every star with a flag.
        where: leave out every star that does not pass this expression over the columns
            (:func:`aspgap_jax.preprocessing.where.where`).
        overwrite: replace what is there, once the new one is whole.
        max_rows: stars of a partition.

    Returns:
        What was written, what each cut left, and the counts for Figures 10 and 11.

    Raises:
        InputError: there are no parts, a column that a cut needs is missing, or
            ``out`` exists or cannot be used, or no star is left.
    """
    if out.suffix and out.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"--out {out}: has another suffix than {', '.join(SUFFIXES)}; choose one of them, or "
            "a folder"
        )
    check_new(out, overwrite=overwrite, folder=not out.suffix)
    found = find_parts(parts)
    files = found.files
    asked = (expression(where),) if where else ()
    cuts = (*CATALOGUE_SELECTIONS[select], *((NO_FLAG,) if unflagged else ()), *asked)
    out.parent.mkdir(parents=True, exist_ok=True)
    remarks = Remarks()
    for remark in found.remarks:
        remarks.say(remark)
    with (
        locked(out, beside=True),
        open_gaia(gaia, remarks=remarks) as lookup,
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent) as place,
    ):
        specs = _specs(files, lookup)
        names = [spec.name for spec in specs]
        for condition in asked:
            check_columns(condition, names)
        if (lacking := _lacking_labels(specs)) and CATALOGUE_SELECTIONS[select]:
            raise InputError(
                f"--select {select} cuts on the paper's labels, and the parts have no "
                f"{', '.join(sorted(lacking))}: they are of a bundle for other labels; "
                "take --select all"
            )
        require_columns(
            cuts,
            names,
            table="the table of the parts",
            cure="pass Gaia's columns with --gaia TABLE (`aspgap fetch gaia_source` gets them)",
        )
        runs = _Runs(Path(place), specs)
        counts, colour_magnitude = _select(files, lookup, cuts, specs, runs)
        if lookup is not None:
            lookup.check(remarks)
        _check_left(counts)
        if not out.suffix and not {"ra", "dec"} <= {spec.name for spec in specs}:
            remarks.say(
                f"no positions (--gaia TABLE has them): {' and '.join(s.name for s in CENTRES)} "
                "are centres of HEALPix pixels by source id, within an arcminute of the stars"
            )
        pixels = partition(runs.counts, max_rows)
        drawn = not _lacking_labels(specs)
        kiel, abundance = (Kiel(), Abundance()) if drawn else (None, None)
        rows = 0
        with _output(out, specs, max_rows, overwrite) as write:
            for pixel in tqdm(pixels, desc="write", unit="pixel", disable=None, leave=False):
                columns = _unique(runs.read(pixel))
                write(pixel, columns)
                if kiel is not None and abundance is not None:
                    kiel.add_stars(columns)
                    abundance.add_stars(columns)
                rows += len(columns[KEY])
    return Built(
        path=out,
        rows=rows,
        cuts=tuple(counts),
        repeated=counts[-1].left - rows,
        absent=tuple(s.name for s in COLUMNS if s.name not in {spec.name for spec in specs}),
        colour_magnitude=colour_magnitude,
        kiel=kiel,
        abundance=abundance,
        remarks=remarks.lines,
    )


def _check_left(counts: Sequence[Cut]) -> None:
    if not counts[-1].left:
        last = next(cut.name for cut in counts if not cut.left)
        raise InputError(
            "the parts hold no stars; predict some first"
            if not counts[0].left
            else f"no star of the {counts[0].left:,} is left after the cut '{last}'; there is "
            "nothing to write a catalogue of"
        )


def _specs(files: Sequence[Path], lookup: GaiaLookup | None) -> tuple[ColumnSpec, ...]:
    """Table 2 as far as it is there, then the other columns of the parts."""
    of_parts: dict[str, ColumnSpec] = {}
    for file in files:
        for column in pq.read_schema(file):
            words = {k.decode(): v.decode() for k, v in (column.metadata or {}).items()}
            dtype = np.dtype(column.type.to_pandas_dtype()).type
            of_parts.setdefault(
                column.name,
                ColumnSpec(
                    column.name,
                    words.get("unit", ""),
                    words.get("description", ""),
                    dtype,
                    words.get("ucd", ""),
                ),
            )
    names = set(of_parts) | set(lookup.names if lookup else ())
    if {"phot_bp_mean_mag", "phot_rp_mean_mag"} <= names:
        names.add("bp_rp")
    table_2 = {spec.name: spec for spec in COLUMNS if spec.name in names}
    return (*table_2.values(), *(s for name, s in of_parts.items() if name not in table_2))


def _lacking_labels(specs: Sequence[ColumnSpec]) -> set[str]:
    """Columns of the paper's labels that the parts, made by another bundle, do not have."""
    return {label.catalogue for label in LABELS} - {spec.name for spec in specs}


def _select(
    files: Sequence[Path],
    lookup: GaiaLookup | None,
    cuts: Sequence[Condition],
    specs: Sequence[ColumnSpec],
    runs: _Runs,
) -> tuple[list[Cut], ColourMagnitude | None]:
    """Pass the rows of all parts through the cuts into ``runs``."""
    left = np.zeros(len(cuts) + 1, np.int64)
    known = {spec.name for spec in specs}
    needed = {"parallax", "phot_g_mean_mag"}
    plane = ColourMagnitude() if needed <= known and not _lacking_labels(specs) else None
    for file in tqdm(files, desc="select", unit="part", disable=None, leave=False):
        for block in _blocks(file, lookup, specs):
            # Row 0 has all stars, row n those that the first n cuts leave.
            keep = np.vstack([np.ones((1, len(block[KEY])), bool), left_after(cuts, block)])
            left += keep.sum(axis=1)
            if plane is not None:
                # Figure 10 draws the two cuts in its plane, so it has the stars before them.
                plane.add_stars(_rows(block, keep[min(len(cuts), len(QUALITY))]))
            runs.append(_rows(block, keep[-1]))
    runs.flush()
    names = ["rows of the parts", *(cut.name for cut in cuts)]
    return [Cut(name, int(n)) for name, n in zip(names, left, strict=True)], plane


def _rows(block: Columns, keep: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[keep] for name, values in block.items()}


def _blocks(
    file: Path, lookup: GaiaLookup | None, specs: Sequence[ColumnSpec]
) -> Iterator[dict[str, np.ndarray]]:
    """The rows of a part with all columns of the catalogue, and their HEALPix pixels."""
    for batch in read_part(file, BLOCK_ROWS):
        read = {name: batch[name].to_numpy() for name in batch.schema.names}
        yield _with_gaia(read, lookup, specs)


def _with_gaia(
    read: dict[str, np.ndarray], lookup: GaiaLookup | None, specs: Sequence[ColumnSpec]
) -> dict[str, np.ndarray]:
    ids = read["source_id"]
    if lookup is not None:
        _, found = lookup.find(ids)
        for name, values in found.items():
            known = np.isfinite(values)
            read[name] = np.where(known, values, read[name]) if name in read else values
    if {"phot_bp_mean_mag", "phot_rp_mean_mag"} <= read.keys():
        read["bp_rp"] = read["phot_bp_mean_mag"] - read["phot_rp_mean_mag"]
    if "ruwe" in read:
        poor = read["ruwe"] > flags.MAX_RUWE
        read["flags"] = read["flags"] | np.where(poor, flags.bit("POOR_ASTROMETRY"), 0)
    block = {}
    # A column may be in other parts alone: the errors that were propagated, for example.
    missing = np.full(len(ids), np.nan)
    for spec in specs:
        block[spec.name] = read.get(spec.name, missing).astype(spec.dtype, copy=False)
    block[KEY] = source_id_pixels(ids, MAX_ORDER)
    if "ra" in block and "dec" in block:
        placed = np.isfinite(block["ra"]) & np.isfinite(block["dec"])
        block[KEY][placed] = nested_pixels(block["ra"][placed], block["dec"][placed], MAX_ORDER)
    return block


class _Runs:
    """Rows in temporary files, sorted within each, and counted by HEALPix pixel."""

    def __init__(self, folder: Path, specs: Sequence[ColumnSpec]) -> None:
        self._folder = folder
        self._specs = (*specs, HEALPIX)
        self._held: list[dict[str, np.ndarray]] = []
        self._waiting = 0
        self._files: list[Path] = []
        self.counts = np.zeros(12 * 4**COUNT_ORDER, np.int64)

    def append(self, columns: dict[str, np.ndarray]) -> None:
        self._held.append(columns)
        self._waiting += len(columns[KEY])
        if self._waiting >= RUN_ROWS:
            self.flush()

    def flush(self) -> None:
        """Sort and write what is held."""
        if self._waiting:
            joined = {s.name: np.concatenate([h[s.name] for h in self._held]) for s in self._specs}
            order = np.argsort(joined[KEY], kind="stable")
            pixel = joined[KEY] >> 2 * (MAX_ORDER - COUNT_ORDER)
            self.counts += np.bincount(pixel, minlength=len(self.counts))
            path = self._folder / f"{len(self._files):06d}.parquet"
            with parquet_table(path, self._specs, group_rows=RUN_GROUP_ROWS) as table:
                table.append({name: values[order] for name, values in joined.items()})
            self._files.append(path)
        self._held, self._waiting = [], 0

    def read(self, pixel: Pixel) -> dict[str, np.ndarray]:
        """The stars of a pixel, in the order of the sky."""
        # The statistics of the row groups keep most of them from being read.
        inside = (pc.field(KEY) >= pixel.first) & (pc.field(KEY) < pixel.stop)
        table = ds.dataset([str(file) for file in self._files]).to_table(filter=inside)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        order = np.argsort(columns[KEY], kind="stable")
        return {name: values[order] for name, values in columns.items()}


def _unique(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first row of each star; rows of one star have one place in the sky."""
    _, first = np.unique(columns["source_id"], return_index=True)
    if len(first) == len(columns["source_id"]):
        return columns
    first.sort()
    return {name: values[first] for name, values in columns.items()}


@contextmanager
def _output(
    out: Path, specs: Sequence[ColumnSpec], max_rows: int, overwrite: bool
) -> Iterator[Callable[[Pixel, Columns], None]]:
    """Where the stars of each pixel go: one file, or a file each."""
    if out.suffix:
        with write_table(out, specs) as table:
            yield lambda _, columns: table.append(_of(specs, columns))
        return
    with new_folder(out, overwrite=overwrite) as folder:
        hats = HatsWriter(folder, out.name, specs, max_rows)
        yield hats.write
        hats.finish()


def _of(specs: Sequence[ColumnSpec], columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {spec.name: columns[spec.name] for spec in specs}
