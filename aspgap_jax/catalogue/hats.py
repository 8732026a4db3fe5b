"""A catalogue as Parquet files partitioned by sky: HEALPix pixels of similar numbers of stars.

The layout is that of HATS (IVOA note "Hierarchical Adaptive Tiling Scheme", 2025),
which LSDB reads; DuckDB, pyarrow and polars read the files as a Hive-partitioned
data set, ``dataset/**/*.parquet``, and TOPCAT reads each of them::

    dataset/Norder=K/Dir=D/Npix=N.parquet   pixel N of order K; D = N // 10000 * 10000
    dataset/_metadata, _common_metadata     of all row groups; the schema
    partition_info.csv                      the pixels
    hats.properties, properties             what the catalogue is

The stars of a file are in the order of their HEALPix pixels of order 29, which
stand in the column ``_healpix_29``. Without positions (no ``ra`` and ``dec``) two columns
give the centres of the pixels that the source ids name, within an arcminute of the stars,
and the pixels are those of the centres.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Int64

from aspgap_jax.columns import Columns, ColumnSpec
from aspgap_jax.files.tables import arrow_schema, parquet_table
from aspgap_jax.survey.healpix import MAX_ORDER, nested_pixels, pixel_centres

__all__ = ["CENTRES", "COUNT_ORDER", "HEALPIX", "HatsWriter", "Pixel", "partition"]

HEALPIX = ColumnSpec(
    "_healpix_29", "", "HEALPix pixel of order 29, nested, of ra and dec", np.int64
)
CENTRES = tuple(
    ColumnSpec(
        f"healpix_{axis}",
        "deg",
        f"{name} of the centre of the HEALPix pixel of order 12 that source_id names; the star "
        "is within an arcminute",
        np.float64,
        f"pos.eq.{axis}",
    )
    for axis, name in (("ra", "Right Ascension"), ("dec", "Declination"))
)
"""Where stars are about, by their ids alone."""
COUNT_ORDER = 8
"""The order of the pixels in which stars are counted, and the highest of a partition."""
DIRECTORY = 10_000


class Pixel(NamedTuple):
    """One HEALPix pixel, nested."""

    order: int
    number: int

    @property
    def first(self) -> int:
        """Its first pixel of order 29."""
        return self.number << 2 * (MAX_ORDER - self.order)

    @property
    def stop(self) -> int:
        """The pixel of order 29 that follows its last."""
        return (self.number + 1) << 2 * (MAX_ORDER - self.order)

    @property
    def path(self) -> Path:
        """The file of its stars, below ``dataset``."""
        directory = self.number // DIRECTORY * DIRECTORY
        return Path(f"Norder={self.order}", f"Dir={directory}", f"Npix={self.number}.parquet")


def partition(counts: Int64[np.ndarray, " pixel"], max_rows: int) -> tuple[Pixel, ...]:
    """The largest pixels with at most ``max_rows`` stars, in the order of the sky.

    Pixels without stars are left out; one of the highest order may hold more.

    Args:
        counts: stars of each pixel of order :data:`COUNT_ORDER`.
        max_rows: the most a pixel shall have.

    Returns:
        One each; with their stars they cover the sky.
    """
    by_order = [counts.reshape(12 * 4**k, -1).sum(axis=1) for k in range(COUNT_ORDER + 1)]
    found = []
    waiting = [Pixel(0, n) for n in range(11, -1, -1)]
    while waiting:
        pixel = waiting.pop()
        stars = by_order[pixel.order][pixel.number]
        if stars > max_rows and pixel.order < COUNT_ORDER:
            children = [Pixel(pixel.order + 1, 4 * pixel.number + n) for n in (3, 2, 1, 0)]
            waiting.extend(children)
        elif stars:
            found.append(pixel)
    return tuple(found)


class HatsWriter:
    """Writes the files of a catalogue, pixel after pixel.

    Args:
        folder: of the catalogue; it exists.
        name: of the catalogue.
        specs: its columns.
        max_rows: the most stars that a partition was meant to have.
    """

    def __init__(self, folder: Path, name: str, specs: Sequence[ColumnSpec], max_rows: int) -> None:
        self._folder = folder
        self._name = name
        self._placed = {"ra", "dec"} <= {spec.name for spec in specs}
        self._specs = (HEALPIX, *specs, *(() if self._placed else CENTRES))
        self._max_rows = max_rows
        self._pixels: list[Pixel] = []
        self._rows = 0

    def write(self, pixel: Pixel, columns: Columns) -> None:
        """Write the stars of a pixel, ``_healpix_29`` among the columns.

        Args:
            pixel: of :func:`partition`.
            columns: of its stars.
        """
        if not self._placed:
            ra, dec = pixel_centres(columns["source_id"])
            centres = dict(zip((spec.name for spec in CENTRES), (ra, dec), strict=True))
            # Their order is that of the pixels of order 12, by which the stars are sorted.
            columns = {**columns, **centres, HEALPIX.name: nested_pixels(ra, dec, MAX_ORDER)}
        with parquet_table(self._folder / "dataset" / pixel.path, self._specs) as table:
            table.append(columns)
        self._pixels.append(pixel)
        self._rows += table.rows

    def finish(self) -> None:
        """Write what describes the catalogue."""
        dataset = self._folder / "dataset"
        dataset.mkdir(exist_ok=True)
        schema = arrow_schema(self._specs)
        collected = []
        for pixel in self._pixels:
            metadata = pq.read_metadata(dataset / pixel.path)
            metadata.set_file_path(str(pixel.path))
            collected.append(metadata)
        pq.write_metadata(schema, dataset / "_common_metadata")
        pq.write_metadata(schema, dataset / "_metadata", metadata_collector=collected)
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerows([("Norder", "Npix"), *self._pixels])
        (self._folder / "partition_info.csv").write_text(text.getvalue(), encoding="utf-8")
        for name in ("hats.properties", "properties"):
            (self._folder / name).write_text(self._properties(), encoding="utf-8")

    def _properties(self) -> str:
        area = sum(1.0 / (12 * 4**pixel.order) for pixel in self._pixels)
        ra, dec = ("ra", "dec") if self._placed else (spec.name for spec in CENTRES)
        now = datetime.datetime.now(datetime.UTC)
        values = {
            "obs_collection": self._name,
            "dataproduct_type": "object",
            "hats_nrows": self._rows,
            "hats_col_ra": ra,
            "hats_col_dec": dec,
            "hats_col_healpix": HEALPIX.name,
            "hats_col_healpix_order": MAX_ORDER,
            "hats_npix_suffix": ".parquet",
            "hats_max_rows": self._max_rows,
            "hats_order": max((pixel.order for pixel in self._pixels), default=0),
            "moc_sky_fraction": f"{area:.5f}",
            "hats_builder": "aspgap-jax",
            "hats_creation_date": now.strftime("%Y-%m-%dT%H:%MUTC"),
            "hats_version": "v1.0",
        }
        return "#HATS catalog\n" + "".join(f"{key}={value}\n" for key, value in values.items())
