"""The one reader: any XP file in, chunks of stars out."""

from __future__ import annotations

import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import releases
from aspgap_jax.survey.xp.assemble import Assembler, OnBadRow
from aspgap_jax.survey.xp.chunk import BadRow, XPChunk, regrouped
from aspgap_jax.survey.xp.damage import reading
from aspgap_jax.survey.xp.detect import BROKEN_STREAM, OpenedXP, open_xp
from aspgap_jax.survey.xp.header import Header, read_header
from aspgap_jax.survey.xp.loose import loose_table
from aspgap_jax.survey.xp.notes import Notes, OnNote
from aspgap_jax.survey.xp.plan import NoSpectra, Plan, is_foreign, plan_of
from aspgap_jax.survey.xp.stars import LongRows, StarRows, finished, is_long, star_rows
from aspgap_jax.survey.xp.store import is_store, read_parts, read_store
from aspgap_jax.survey.xp.table import Stated, Table
from aspgap_jax.survey.xp.text import is_archive_row, read_text
from aspgap_jax.survey.xp.votable import votable_tables

__all__ = ["CHUNK_SIZE", "OnStars", "read_table", "read_xp"]

CHUNK_SIZE = 4096
OnStars = Callable[[Sequence[int]], None]
# GaiaXPy writes the grid of a csv file into another one beside it.
SAMPLING = ("_sampling.csv", "pos")
# Lines that are looked at to tell the archive's text from other.
FIRST_LINES = 20
# Members of an archive that are told by name; the others are counted.
SHOWN_MEMBERS = 3


def read_xp(
    path: str | Path,
    *,
    chunk_size: int = CHUNK_SIZE,
    correlations: bool = False,
    release: str = "",
    on_bad_row: OnBadRow | None = None,
    on_note: OnNote | None = None,
) -> Iterator[XPChunk]:
    """Read Gaia XP spectra, continuous or sampled, in chunks of stars.

    The format is told by the content: csv of the bulk files (ECSV, gzip), ECSV,
    DataLink's csv and text of any other separator, FITS, VOTable (text, BINARY,
    BINARY2), HDF5 (one dataset a column, astropy, vaex, pandas), Parquet, Feather, zip
    archives of all these, and the XP store, as a file or as the folder that ``aspgap
    ingest`` writes. A row is a star, or, where fluxes are single numbers, a wavelength.
    All tables of a file are read. Memory does not grow with the length of the file (a
    gzipped FITS or HDF5 file is unpacked to a temporary file first).

    Args:
        path: the file, or a folder of store parts.
        chunk_size: stars a chunk; the last one may have fewer.
        correlations: whether to read the correlation matrices too, which are
            14 times as many numbers as the spectra.
        release: the Gaia release of the spectra, a key of
            :data:`aspgap_jax.survey.xp.releases.RELEASES`; empty: as the file says.
        on_bad_row: called with each row that is left out because it is
            damaged (``list.append`` collects them). ``None``: raise instead.
        on_note: called at the end of the file with a line for each kind of thing that
            was converted, replaced, guessed or left out. ``None``: they are warnings.

    Yields:
        Chunks in the order of the file, fluxes in W m^-2 nm^-1 on the archive's grid.
        Rows may repeat a source id: they are given as they are.

    Raises:
        InputError: the file cannot be read, is damaged, or is no XP table; or a
            row is bad and ``on_bad_row`` is ``None``.

    Examples:
        A table of one sampled spectrum, its arrays written as the bulk files have them.

        >>> flux = f"[{','.join(['1e-17'] * 343)}]"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "xp.csv")
        ...     _ = path.write_text(f'source_id,flux,flux_error\\n42,"{flux}","{flux}"\\n')
        ...     (chunk,) = read_xp(path)
        >>> chunk.representation, chunk.source_id.tolist(), chunk.coefficients.shape
        ('sampled', [42], (1, 343))
    """
    path = Path(path)
    if chunk_size < 1:
        raise InputError(f"chunk_size must be at least 1, got {chunk_size}")
    if release:
        release = releases.release(release).name
    reader = _Reader(chunk_size, correlations, release, on_bad_row)
    if path.is_dir() and any(path.glob("*.h5")):
        _no_correlations(path, correlations)
        for chunk in read_parts(path, chunk_size=chunk_size):
            yield _of_release(chunk, release)
        return
    yield from _noted(regrouped(reader.file(path, path), chunk_size), reader.notes, path, on_note)


def read_table(
    table: Table,
    where: Path,
    *,
    chunk_size: int = CHUNK_SIZE,
    correlations: bool = False,
    release: str = "",
    on_bad_row: OnBadRow | None = None,
    on_note: OnNote | None = None,
    on_stars: OnStars | None = None,
) -> Iterator[XPChunk]:
    """Read a table that is in no file as :func:`read_xp` reads those of files.

    Args:
        table: of :func:`aspgap_jax.survey.xp.memory.in_memory`.
        where: what messages call it.
        chunk_size: stars a chunk.
        correlations: whether to read the correlation matrices too.
        release: the Gaia release of the spectra; empty: as the table says.
        on_bad_row: called with each row that is left out. ``None``: raise instead.
        on_note: called with what was converted or guessed. ``None``: they are warnings.
        on_stars: called with the rows, from 1, in which the next stars begin, the bad ones
            among them: the others are those of the chunks, in this order.

    Returns:
        An iterator of chunks.

    Raises:
        InputError: it is no XP table; or a row is bad and ``on_bad_row`` is ``None``.
    """
    if release:
        release = releases.release(release).name
    reader = _Reader(chunk_size, correlations, release, on_bad_row, on_stars)
    plan = plan_of(table, where, reader.notes, correlations=correlations)
    chunks = regrouped(reader.rows(table, plan, where), chunk_size)
    yield from _noted(chunks, reader.notes, where, on_note)


def _noted(
    chunks: Iterator[XPChunk], notes: Notes, path: Path, on_note: OnNote | None
) -> Iterator[XPChunk]:
    """The chunks, and what there is to say after the last of them."""
    try:
        yield from chunks
    except InputError:
        _say(notes, path, on_note)
        raise
    _say(notes, path, on_note)


def _say(notes: Notes, path: Path, on_note: OnNote | None) -> None:
    for line in notes.lines():
        if on_note is not None:
            on_note(line)
        else:
            warnings.warn(f"{path}: {line}", stacklevel=4)


@dataclass
class _Reader:
    """What holds for all files that one call reads."""

    chunk_size: int
    correlations: bool
    release: str
    on_bad_row: OnBadRow | None
    on_stars: OnStars | None = None
    notes: Notes = field(default_factory=Notes)

    def file(self, file: Path, path: Path) -> Iterator[XPChunk]:
        """Chunks of a file that messages call ``path``."""
        with open_xp(file, path) as opened:
            try:
                if opened.kind == "zip":
                    yield from self._archive(opened, file, path)
                elif opened.kind == "text":
                    yield from self._text(opened, path)
                else:
                    yield from self._container(opened, file, path)
            except BROKEN_STREAM as error:
                raise InputError(
                    f"{path}: cannot be read to its end ({error}); download it again"
                ) from error

    def _archive(self, opened: OpenedXP, file: Path, path: Path) -> Iterator[XPChunk]:
        """Chunks of the files in a zip archive; one that cannot be read fails alone."""
        with _on_disk(opened, file) as whole, _zip(whole, path) as archive:
            members = [m for m in archive.infolist() if not _is_hidden(m)]
            failed: list[tuple[str, InputError]] = []
            good = 0
            for member in members:
                with tempfile.NamedTemporaryFile(suffix=".member") as unpacked:
                    try:
                        with reading(path / member.filename, "member of a ZIP archive"):
                            with archive.open(member) as stream:
                                while part := stream.read(1 << 20):
                                    unpacked.write(part)
                            unpacked.flush()
                        for chunk in self.file(Path(unpacked.name), path / member.filename):
                            good += 1
                            yield chunk
                    except InputError as error:
                        if self.on_bad_row is None and not isinstance(error, NoSpectra):
                            raise
                        failed.append((member.filename, error))
            if not good:
                if not failed:
                    raise InputError(f"{path}: the archive is empty")
                raise min((why for _, why in failed), key=is_foreign)
            for name, why in failed:
                what = str(why).removeprefix(str(path / name)).lstrip(": ,")
                if not isinstance(why, NoSpectra) and self.on_bad_row is not None:
                    self.on_bad_row(BadRow(0, -1, what, name))
            self._leave_out([name for name, why in failed if isinstance(why, NoSpectra)])

    def _leave_out(self, names: list[str]) -> None:
        if names:
            shown = ", ".join(names[:SHOWN_MEMBERS]) + (", ..." if names[SHOWN_MEMBERS:] else "")
            self.notes.add(f"{len(names)} without XP spectra left out: {shown}")

    def _text(self, opened: OpenedXP, path: Path) -> Iterator[XPChunk]:
        # A header without a line end, or one longer than any table's.
        header = read_header(opened.head, str(path)) or read_header(opened.head + b"\n", str(path))
        if header is None:
            raise InputError(f"{path}: has no header line; pass XP spectra with their header")
        table = loose_table(opened.stream, header)
        stated = dict(table.stated) | {"comments": Stated(header.comments)} | _beside(path)
        table = replace(table, stated=stated)
        plan = plan_of(table, path, self.notes, correlations=self.correlations)
        if not _is_archive_text(opened.head, header, plan):
            yield from self.rows(table, plan, path)
            return
        canonical = {found: name for name, found in plan.source.items()}
        names = tuple(canonical.get(name, name) for name in header.columns)
        assembler = Assembler(path, plan.layout, self.chunk_size, self.on_bad_row)
        try:
            for chunk in read_text(opened.stream, header._replace(columns=names), assembler):
                yield finished(plan, chunk, self.release, self.notes)
        except BROKEN_STREAM as error:
            raise InputError(
                f"{path}: damaged or truncated gzip data after row {assembler.row} ({error}); "
                f"download it again"
            ) from error

    def _container(self, opened: OpenedXP, file: Path, path: Path) -> Iterator[XPChunk]:
        if opened.kind == "votable":
            yield from self._tables(votable_tables(opened.stream, path), path)
            return
        with _on_disk(opened, file) as whole:
            # Astropy and Arrow take long to import, and each process of `ingest` would.
            if opened.kind == "fits":
                from aspgap_jax.survey.xp.fits_tables import fits_tables

                yield from self._tables(fits_tables(whole, path), path)
            elif opened.kind == "arrow":
                from aspgap_jax.survey.xp.arrow import arrow_tables

                yield from self._tables(arrow_tables(whole, path), path)
            else:
                yield from self._hdf5(whole, path)

    def _hdf5(self, file: Path, path: Path) -> Iterator[XPChunk]:
        from aspgap_jax.survey.xp.hdf5_layouts import hdf5_tables

        with reading(path, "HDF5 file"):
            opened = h5py.File(file, "r")
        with opened:
            with reading(path, "HDF5 file"):
                store = is_store(opened)
            if store:
                _no_correlations(path, self.correlations)
                for chunk in read_store(opened, path, chunk_size=self.chunk_size):
                    yield _of_release(chunk, self.release)
            else:
                yield from self._tables(hdf5_tables(opened, path), path)

    def _tables(self, tables: Iterator[Table], path: Path) -> Iterator[XPChunk]:
        """Chunks of all tables that hold spectra; the others are named."""
        others: list[tuple[Table, InputError]] = []
        good = False
        for table in tables:
            try:
                plan = plan_of(table, path, self.notes, correlations=self.correlations)
            except InputError as error:
                if not isinstance(error, NoSpectra) and self.on_bad_row is None:
                    raise
                others.append((table, error))
                continue
            # A table without rows is a table of spectra all the same.
            good = True
            yield from self.rows(table, plan, path)
        if not good and others:
            raise _closest(others)
        for table, why in others:
            if not isinstance(why, NoSpectra) and self.on_bad_row is not None:
                what = str(why).removeprefix(f"{path}, {table.place}").lstrip(": ")
                self.on_bad_row(BadRow(0, -1, what, table.place))
            else:
                shown = ", ".join(table.names[:4]) + (", ..." if table.names[4:] else "")
                self.notes.add(f"{table.place} holds no XP spectra and was left out: has {shown}")

    def rows(self, table: Table, plan: Plan, path: Path) -> Iterator[XPChunk]:
        """Chunks of one table."""
        assembler = Assembler(path, plan.layout, self.chunk_size, self.on_bad_row, table.place)
        long: LongRows | None = None
        for raw in table.rows(plan.columns, self.chunk_size):
            first = assembler.row + 1
            if not assembler.row and is_long(plan, raw):
                long = LongRows(plan, self.notes)
            if long is None:
                stars = star_rows(plan, raw, first, self.notes)
                assembler.row += len(stars.rows)
            else:
                stars = long.add(raw, first)
                assembler.row += len(next(iter(raw.values())))
            self._take(assembler, stars)
            for chunk in assembler.full():
                yield finished(plan, chunk, self.release, self.notes)
        if plan.ids is not None and long is None and assembler.row > 1:
            raise InputError(
                f"{plan.where}: has {assembler.row} spectra and the source id of one; pass a "
                f"column source_id"
            )
        if long is not None:
            self._take(assembler, long.finish())
        for chunk in assembler.rest():
            yield finished(plan, chunk, self.release, self.notes)

    def _take(self, assembler: Assembler, stars: StarRows) -> None:
        assembler.add(stars.batch, stars.rows)
        if self.on_stars is not None:
            self.on_stars(stars.rows)


def _closest(others: list[tuple[Table, InputError]]) -> InputError:
    """Why no table can be used: of the one that comes closest, which has ids or spectra."""

    def score(table: Table) -> int:
        names = {name.lower() for name in table.names if isinstance(name, str)}
        return len(names & {"source_id", "flux", "flux_error", "bp_coefficients"})

    unusable = [pair for pair in others if not isinstance(pair[1], NoSpectra)]
    unusable = unusable or [pair for pair in others if not is_foreign(pair[1])]
    return max(unusable or others, key=lambda pair: score(pair[0]))[1]


def _is_archive_text(head: bytes, header: Header, plan: Plan) -> bool:
    """Whether a text table is written as the archive writes it, which is read fast."""
    if not plan.plain or header.delimiter != ",":
        return False
    canonical = {found: name for name, found in plan.source.items()}
    names = tuple(canonical.get(name, name) for name in header.columns)
    if len(set(names)) < len(names):
        return False
    lines = head[header.length :].split(b"\n", FIRST_LINES)
    texts = [line.decode("utf-8", "replace").strip() for line in lines]
    rows = [text for text in texts[:FIRST_LINES] if text]
    named = header._replace(columns=names)
    # No row, or none that is whole within the first bytes: nothing speaks against it.
    return len(rows) < 2 or any(is_archive_row(text, named, plan.layout) for text in rows)


def _beside(path: Path) -> dict[str, Stated]:
    """The grid in the file that GaiaXPy writes beside a csv file, if it is there."""
    suffix, column = SAMPLING
    file = path.with_name(path.stem + suffix)
    try:
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError:
        return {}
    name, _, values = text.strip().partition("\n")
    return {"sampling": Stated(values.strip().strip('"'))} if name.strip() == column else {}


def _of_release(chunk: XPChunk, release: str) -> XPChunk:
    """Coefficients as of the release that the user names, if one is named."""
    named = release and chunk.representation == "continuous"
    return replace(chunk, release=release) if named else chunk


def _no_correlations(path: Path, correlations: bool) -> None:
    if correlations:
        raise InputError(f"{path}: an XP store has no correlations; read the original files")


@contextmanager
def _on_disk(opened: OpenedXP, file: Path) -> Iterator[Path]:
    """The file as one that can be mapped into memory."""
    if not opened.packed:
        yield file
        return
    with tempfile.NamedTemporaryFile(suffix=f".{opened.kind}") as unpacked:
        while part := opened.stream.read(1 << 20):
            unpacked.write(part)
        unpacked.flush()
        yield Path(unpacked.name)


@contextmanager
def _zip(file: Path, path: Path) -> Iterator[zipfile.ZipFile]:
    with reading(path, "ZIP archive"):
        archive = zipfile.ZipFile(file)
    with archive:
        yield archive


def _is_hidden(member: zipfile.ZipInfo) -> bool:
    name = Path(member.filename).name
    return member.is_dir() or name.startswith((".", "_")) or "__MACOSX" in member.filename
