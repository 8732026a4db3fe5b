"""The XP store: spectra of all stars, compact and quick to stream.

Layout of one file (format version 1), a part of a larger store or a store of its
own; ``coefficients`` are sampled fluxes where ``representation`` is ``sampled``::

    /source_id           int64   (star)        Gaia source id
    /coefficients        float32 (star, xp)    BP then RP; NaN where missing
    /errors              float32 (star, xp)    their 1-sigma errors
    /g_mag               float32 (star)        Gaia G [mag], NaN where unknown
    /present             bool    (star, band)  whether the star has BP, RP
    /n_relevant_bases    int16   (star, band)  -1 where missing
    /n_measurements      int32   (star, band)  -1 where missing
    /chi_squared         float32 (star, band)  NaN where missing
    /standard_deviation  float32 (star, band)  NaN where missing
    attributes: format, format_version, representation, n_bp, release (of Gaia; empty
    where unknown), record (JSON: the input file, its checksum, and what was left out of it)

Each dataset carries its unit in the attribute ``unit``. The four per-band
datasets are absent for sampled spectra. Correlations are not kept. Datasets are
unfiltered: gzip would read 20 times as slowly for a fifth of the size.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int64

from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import replace_file
from aspgap_jax.survey.xp.chunk import BANDS, WAVELENGTH, XPChunk
from aspgap_jax.survey.xp.damage import reading
from aspgap_jax.survey.xp.releases import of_coefficients

__all__ = [
    "StoreWriter",
    "is_store",
    "read_ids",
    "read_parts",
    "read_record",
    "read_store",
    "write_store",
]

FORMAT = "aspgap XP store"
FORMAT_VERSION = 1
# Rows a chunk of HDF5. 1024 x 110 float32 is 450 kB: below the 1 MB of HDF5's
# chunk cache, and large enough to stream.
ROWS = 1024
UNITS = {"continuous": "e-/s", "sampled": "W m-2 nm-1"}
SPECTRA: dict[str, type[np.generic]] = {"coefficients": np.float32, "errors": np.float32}
PER_STAR: dict[str, type[np.generic]] = {"source_id": np.int64, "g_mag": np.float32}
PER_BAND: dict[str, type[np.generic]] = {
    "present": np.bool_,
    "n_relevant_bases": np.int16,
    "n_measurements": np.int32,
    "chi_squared": np.float32,
    "standard_deviation": np.float32,
}


class StoreWriter:
    """Appends chunks to a store file; use it through :func:`write_store`."""

    def __init__(self, file: h5py.File, disk: _Disk) -> None:
        self._file = file
        self._disk = disk
        self._layout: tuple[str, int, int, str] | None = None
        self.stars = 0

    def append(self, chunk: XPChunk) -> None:
        """Append the stars of ``chunk``.

        Raises:
            OSError: the disk is full, or cannot be written to.
            InputError: the chunk has another representation or size than the first.
        """
        size = chunk.coefficients.shape[1]
        layout = (chunk.representation, size, chunk.n_bp, chunk.release)
        if self._layout is None:
            self._layout = layout
            self._create(chunk)
        elif layout != self._layout:
            raise InputError(
                f"XP store: a chunk of {_words(layout)} after {_words(self._layout)}; "
                f"write them to different stores"
            )
        stop = self.stars + len(chunk)
        for name, dataset in self._file.items():
            dataset.resize(stop, axis=0)
            dataset[self.stars : stop] = getattr(chunk, name)
        self.stars = stop
        self._file.flush()
        self._disk.check()

    def _create(self, chunk: XPChunk) -> None:
        attributes = self._file.attrs
        attributes["format"] = FORMAT
        attributes["format_version"] = FORMAT_VERSION
        attributes["representation"] = chunk.representation
        attributes["n_bp"] = chunk.n_bp
        attributes["release"] = chunk.release
        types = PER_STAR | SPECTRA
        if chunk.representation == "continuous":
            types |= PER_BAND
        units = dict.fromkeys(SPECTRA, UNITS[chunk.representation]) | {"g_mag": "mag"}
        for name, dtype in types.items():
            shape = getattr(chunk, name).shape[1:]
            dataset = self._file.create_dataset(
                name, (0, *shape), dtype=dtype, maxshape=(None, *shape), chunks=(ROWS, *shape)
            )
            dataset.attrs["unit"] = units.get(name, "")

    def record(self, record: Mapping[str, Any]) -> None:
        """Keep what is to be known of the input file (JSON types)."""
        self._file.attrs["record"] = json.dumps(dict(record))


def _words(layout: tuple[str, int, int, str]) -> str:
    representation, size, n_bp, release = layout
    named = f" of {release.upper()}" if release else ""
    return f"{representation} spectra{named} of {size} values ({n_bp} BP)"


@contextmanager
def write_store(path: Path) -> Iterator[StoreWriter]:
    """Write a store file: it appears whole at the end of the block, or not at all.

    Args:
        path: of the finished file.

    Yields:
        What takes chunks of stars and the record.

    Raises:
        OSError: the disk is full, or cannot be written to.
    """
    with replace_file(Path(path)) as temporary, _Disk(temporary) as disk:
        with h5py.File(disk, "w") as file:
            yield StoreWriter(file, disk)
        disk.check()


def is_store(file: h5py.File) -> bool:
    """Whether an open HDF5 file is an XP store.

    Args:
        file: open for reading.

    Returns:
        True for one of any version.
    """
    return bool(file.attrs.get("format") == FORMAT)


def read_store(file: h5py.File, path: Path, *, chunk_size: int) -> Iterator[XPChunk]:
    """Chunks of an open store file (:func:`aspgap_jax.survey.xp.read.read_xp` opens it).

    Args:
        file: the open file.
        path: the name to show in messages.
        chunk_size: stars a chunk.

    Returns:
        An iterator of chunks.

    Raises:
        InputError: another version, or damaged.
    """
    with reading(path, "XP store"):
        version = int(file.attrs["format_version"])
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path}: has version {version} of the XP store, this aspgap reads "
            f"{FORMAT_VERSION}; ingest the original files again"
        )
    with reading(path, "XP store"):
        stars = len(file["coefficients"])
    for start in range(0, stars, chunk_size):
        with reading(f"{path} after star {start}", "XP store"):
            chunk = _chunk_of(file, slice(start, min(start + chunk_size, stars)))
        yield chunk


def _chunk_of(file: h5py.File, rows: slice) -> XPChunk:
    """Some stars of a store; raises whatever h5py and NumPy raise where it is damaged."""
    representation = str(file.attrs["representation"])
    size, n_bp = file["coefficients"].shape[1], int(file.attrs["n_bp"])
    # Stores of before have no such attribute.
    release = file.attrs.get("release", of_coefficients((n_bp, size - n_bp), None))
    columns = {name: file[name][rows] for name in file}
    n = rows.stop - rows.start
    bands = len(BANDS) if representation == "continuous" else 0
    for name, dtype in PER_BAND.items():
        columns.setdefault(name, np.zeros((n, bands), dtype))
    if any(len(values) != n for values in columns.values()):
        raise ValueError("its columns differ in length")
    on_grid = representation == "sampled" and size == len(WAVELENGTH)
    return XPChunk(
        source_id=columns["source_id"],
        representation=representation,
        coefficients=columns["coefficients"],
        errors=columns["errors"],
        finite=np.isfinite(columns["coefficients"]) & np.isfinite(columns["errors"]),
        n_bp=n_bp,
        wavelength=WAVELENGTH if on_grid else None,
        g_mag=columns["g_mag"],
        ruwe=np.full(n, np.nan),
        present=columns["present"],
        n_relevant_bases=columns["n_relevant_bases"].astype(np.int32),
        n_measurements=columns["n_measurements"].astype(np.int32),
        chi_squared=columns["chi_squared"],
        standard_deviation=columns["standard_deviation"],
        release=str(release),
    )


def read_parts(folder: Path, *, chunk_size: int) -> Iterator[XPChunk]:
    """Chunks of all parts in a folder, part after part in the order of their names.

    Args:
        folder: of the store.
        chunk_size: stars a chunk.

    Returns:
        An iterator of chunks.

    Raises:
        InputError: a part is damaged, or is none.
    """
    for path in sorted(folder.glob("*.h5")):
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise InputError(
                f"{path}: damaged part of an XP store ({error}); remove it and run "
                f"`aspgap ingest` again"
            ) from error
        with file:
            if not is_store(file):
                raise InputError(f"{path}: no part of an XP store; move it out of {folder}")
            yield from read_store(file, path, chunk_size=chunk_size)


def read_record(path: Path) -> dict[str, Any] | None:
    """The record of a store file; ``None`` where there is no readable one.

    Args:
        path: of any file.

    Returns:
        The record as it was written.
    """
    try:
        with h5py.File(path, "r") as file:
            if not is_store(file) or file.attrs["format_version"] != FORMAT_VERSION:
                return None
            record = json.loads(file.attrs["record"])
            return record if isinstance(record, dict) else None
    except (OSError, KeyError, ValueError):
        return None


def read_ids(path: Path) -> Int64[np.ndarray, " star"]:
    """The source ids of a store file.

    Args:
        path: of a store file.

    Returns:
        In the order of its rows.
    """
    with h5py.File(path, "r") as file:
        return np.asarray(file["source_id"][()], np.int64)


class _Disk:
    """A file for HDF5 to write to that remembers an error instead of raising it.

    HDF5 cannot close a file whose disk is full: the process ends in a segmentation
    fault. So HDF5 is told that all is well, nothing more is written, and
    :meth:`check` raises the error once HDF5 has returned.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._error: OSError | None = None

    def __enter__(self) -> _Disk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def check(self) -> None:
        """Raise the first error of writing, if there was one."""
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror) from self._error

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        place = 0
        while self._error is None and place < len(view):
            try:
                # A full disk may take a part of the data before it refuses.
                written = self._file.write(view[place:])
                if not written:
                    raise OSError(errno.EIO, "nothing was written")
                place += written
            except OSError as error:
                self._error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        if self._error is None:
            try:
                return self._file.truncate(size)
            except OSError as error:
                self._error = error
        return size or 0

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer) or 0

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size) or b""

    def flush(self) -> None:
        # Unbuffered: nothing to do.
        pass
