"""Labels in a notebook: a table of stars in, a table of labels out.

::

    import aspgap_jax as ag
    predictor = ag.Predictor()
    labels = predictor(table)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import numpy as np
from astropy.table import Table
from jaxtyping import Bool, Float, Int32, Int64
from tqdm import tqdm

from aspgap_jax import flags
from aspgap_jax.columns import COLUMNS, Columns, ColumnSpec
from aspgap_jax.config import PredictOptions
from aspgap_jax.errors import InputError
from aspgap_jax.prediction.answers import REASON, as_given, as_table
from aspgap_jax.prediction.batches import DEFAULT, BatchLabeller, BatchLabels, LabelColumns
from aspgap_jax.prediction.bundle import Bundle, BundleInfo, load_bundle
from aspgap_jax.prediction.output import NO_LABELS
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.by_id import Lookup, asked_ids
from aspgap_jax.survey.inputs import Delivery, as_chunk, delivered, expand, read_given, read_source
from aspgap_jax.survey.xp import BadRow, XPChunk, releases
from aspgap_jax.survey.xp.instrument import read_instrument
from aspgap_jax.survey.xp.memory import InMemory, in_memory

__all__ = ["Predictor"]

# How messages call a table that is in no file.
TABLE = Path("the table")
# Inputs that take no longer need no progress bar.
SOON_S = 2.0
IDS = "; pass source ids as 64-bit integers, as text of digits, or as pandas' Int64"

T = TypeVar("T")
# Of ``gaia_source``, beside the labels of stars that were asked for by their ids.
BY_ID = ("ra", "dec", "phot_g_mean_mag", "ruwe")


class LookedUp(NamedTuple):
    """Labels of stars that were asked for by their ids.

    Attributes:
        columns: by name, a row for each id.
        specs: of the columns, in order.
        lines: what was lost, one line each.
    """

    columns: Columns
    specs: tuple[ColumnSpec, ...]
    lines: tuple[str, ...]


class Predictor:
    """A bundle, ready to predict.

    It can be pickled, so that Dask's workers and LSDB's ``map_partitions`` take it.

    Args:
        bundle: folder of a bundle or of a run; ``None``: the released one.
        options: how to predict.
        release: the Gaia release of coefficients, a key of
            :data:`aspgap_jax.survey.xp.releases.RELEASES`; empty: as the tables say.
        instrument: file of the matrix that samples that release's coefficients.

    Attributes:
        info: what the bundle is.
        folder: where it was; ``None`` for the released one.

    Raises:
        InputError: there is no bundle, it is damaged, or no such release or matrix.
    """

    def __init__(
        self,
        bundle: str | Path | None = None,
        options: PredictOptions = DEFAULT,
        *,
        release: str = "",
        instrument: str | Path | None = None,
    ) -> None:
        matrix = None if instrument is None else read_instrument(Path(instrument))
        if release:
            release = releases.release(release).name
        folder = None if bundle is None else Path(bundle)
        self._start(folder, *load_bundle(folder), options, Delivery(release, matrix))

    def _start(
        self,
        folder: Path | None,
        model: Bundle,
        info: BundleInfo,
        options: PredictOptions,
        delivery: Delivery,
    ) -> None:
        self.info = info
        self.folder = folder
        self._model = model
        self._options = options
        self._delivery = delivery
        self._labeller = BatchLabeller(model, info, options)
        self._columns = LabelColumns(options, info.config.labels)
        self._values = self._columns.specs
        self._specs = (*self._values, REASON)

    def __getstate__(self) -> tuple[Any, ...]:
        model = jax.tree.map(np.asarray, self._model)
        return self.folder, model, self.info, self._options, self._delivery

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._start(*state)

    def __repr__(self) -> str:
        info = self.info
        takes = f"{info.representation} XP spectra of {info.n_xp} values"
        if info.n_coefficients:
            takes += f" or {info.n_coefficients} coefficients"
        gives = ", ".join(f"{row.name} [{row.unit}]" for row in info.config.labels)
        return (
            f"<Predictor of {self.folder or 'the released bundle'}: {len(info.members)} networks; "
            f"takes {takes}; gives {gives}, their errors and flags>"
        )

    def __call__(self, stars: Any) -> Any:
        """Labels of the stars of a table, or of files.

        Names in any case, units, wavelength grids, lists in cells, sentinels and ids are
        read as in files (:func:`aspgap_jax.survey.xp.read.read_xp`): what the archive, TOPCAT,
        pandas, astropy or Arrow make of a table of XP spectra gives the labels of the file.
        What was converted, replaced or guessed is told by warnings.

        Args:
            stars: a DataFrame (pandas, polars), an astropy Table, an Arrow table, a
                structured array, a mapping of columns, a list of rows, or one row, with
                ``source_id`` (or an index of that name) and the coefficients of BP and RP
                with their errors, or ``flux`` and ``flux_error``. ``phot_g_mean_mag`` (or
                ``g_mag``) and ``ruwe`` are used where given. Or the path of a file or folder,
                or a list of such.

        Returns:
            A row for each star of a table, in its order, as the kind of table that was
            given: a DataFrame with the index of ``stars``; an astropy Table with units and
            descriptions, missing labels masked where ``stars`` has masks. A row without
            labels has NaN, flags, and the reason in the column ``reason``. Of files, an
            astropy Table in which rows that could not be read follow the others of their file.

        Raises:
            InputError: it holds no XP spectra, or none of its rows can be read, or the bundle
                takes no such spectra.
        """
        notes: list[str] = []
        if (paths := _as_paths(stars)) is not None:
            found = as_table(self._of_files(paths, notes), self._specs)
        else:
            given = in_memory(stars, TABLE)
            columns = self._of_table(given, notes)
            found = as_given(columns, self._specs, stars, one=given.one)
        for note in dict.fromkeys(notes):
            warnings.warn(note, stacklevel=2)
        return found

    def arrays(
        self,
        xp: Float[np.ndarray, "star xp"],
        xp_error: Float[np.ndarray, "star xp"],
        *,
        source_id: Int64[np.ndarray, " star"] | None = None,
        g_mag: Float[np.ndarray, " star"] | None = None,
        ruwe: Float[np.ndarray, " star"] | None = None,
        representation: Literal["continuous", "sampled"] = "continuous",
    ) -> Table:
        """Labels of the stars of arrays, in their order.

        Args:
            xp: coefficients, BP then RP, or sampled fluxes in W m^-2 nm^-1.
            xp_error: their 1-sigma errors; NaN where unknown.
            source_id: row numbers by default.
            g_mag: Gaia G, mag; by default it is taken from the spectra.
            ruwe: Gaia's ruwe, for the flag of poor astrometry.
            representation: ``continuous`` for coefficients, or ``sampled``.

        Returns:
            An astropy Table with units and descriptions.

        Raises:
            InputError: the bundle takes no such spectra.
        """
        stars = len(xp)
        unknown = np.full(stars, np.nan)
        chunk = as_chunk(
            TrainingSet(
                source_id=np.arange(stars) if source_id is None else source_id,
                xp=xp,
                xp_error=xp_error,
                g_mag=unknown if g_mag is None else g_mag,
                labels=unknown,
                label_error=unknown,
                representation=representation,
                columns={} if ruwe is None else {"ruwe": ruwe},
            )
        )
        size = self._labeller.batch_size
        parts = (chunk[start : start + size] for start in range(0, stars, size))
        return as_table(self._labelled(parts, stars), self._specs)

    def ids(
        self,
        ids: Any,
        *,
        cache: str | Path | None = None,
        server: str | None = None,
        release: str = releases.DEFAULT,
    ) -> Table:
        """Labels of stars by their Gaia source ids, from the Gaia archive.

        What was fetched before comes from a cache. Stars that are lost are told by warnings.

        Args:
            ids: numbers, text of digits, or designations ("Gaia DR3 5853498713190525696").
            cache: folder of downloads; by default ``~/.cache/aspgap-jax/archive``.
            server: base URL of the archive; Gaia's by default.
            release: Gaia release to ask for.

        Returns:
            A row for each id, in their order, with Gaia's positions beside the labels. The
            column ``reason`` says why a star has no labels.

        Raises:
            InputError: there is no id among ``ids``, or astroquery is not installed.
        """
        where = None if cache is None else Path(cache)
        found = self.looked_up(ids, Lookup(where, server, release))
        for line in found.lines:
            warnings.warn(line, stacklevel=2)
        return as_table(found.columns, found.specs)

    def looked_up(self, ids: Any, lookup: Lookup) -> LookedUp:
        """Labels of stars by their Gaia source ids.

        Args:
            ids: as :meth:`ids` has them.
            lookup: how they are looked up.

        Returns:
            A row for each id, and a line for each thing that was lost.

        Raises:
            InputError: as :meth:`ids`.
        """
        asked = asked_ids(ids)
        continuous = self.info.representation == "continuous" or self.info.n_coefficients
        kind = "XP_CONTINUOUS" if continuous else "XP_SAMPLED"
        found = replace(lookup, kind=kind)(asked.source_id[asked.source_id > 0])
        chunks = delivered(found.chunks(self._labeller.batch_size), self._delivery)
        good = self._labelled(chunks, len(found.source_id))
        lost = [BadRow(0, star, why) for star, why in found.reasons.items()]
        none = [BadRow(0, -1, why) for why in asked.reasons.values()]
        whole = self._joined([good, self._unread(lost), self._unread(none)])
        place = {star: row for row, star in enumerate(whole["source_id"].tolist()) if star > 0}
        first = len(whole["source_id"]) - len(none)
        strays = iter(range(first, first + len(none)))
        rows = [place[n] if n > 0 else next(strays) for n in asked.source_id.tolist()]
        columns = {name: values[rows] for name, values in whole.items()}
        by_id = [spec for spec in COLUMNS if spec.name in BY_ID]
        specs = [self._specs[0], *(s for s in by_id if s not in self._specs), *self._specs[1:]]
        at = np.searchsorted(found.source_id, asked.source_id).clip(max=len(found.source_id) - 1)
        known = found.source_id[at] == asked.source_id
        for spec in by_id:
            values = found.columns.get(spec.name, np.full(len(found.source_id), np.nan))
            columns[spec.name] = np.where(known, values[at], np.nan).astype(spec.dtype)
        told = dict(zip(columns["source_id"].tolist(), columns[REASON.name].tolist(), strict=True))
        lines = [f"{star}: {why}" for star, why in told.items() if why and star > 0]
        return LookedUp(columns, tuple(specs), (*asked.reasons.values(), *found.problems, *lines))

    def _of_table(self, given: InMemory, notes: list[str]) -> Columns:
        bad: list[BadRow] = []
        begun: list[int] = []
        chunks = read_given(
            given.table,
            TABLE,
            chunk_size=self._labeller.batch_size,
            correlations=self._options.propagate == "full",
            on_bad_row=bad.append,
            on_note=lambda note: notes.append(f"{TABLE}: {note}"),
            on_stars=begun.extend,
            delivery=self._delivery,
        )
        good = self._labelled(chunks, given.rows)
        if bad and not len(good["source_id"]):
            cure = IDS if bad[0].what.startswith("source_id") else ""
            raise InputError(f"{TABLE}: none of its rows can be read ({bad[0]}){cure}")
        lost = [row.row for row in bad]
        rows = np.concatenate([np.setdiff1d(begun, lost), lost]).astype(np.int64)
        whole = self._joined([good, self._unread(bad)])
        order = np.argsort(rows, kind="stable")
        return {name: values[order] for name, values in whole.items()}

    def _of_files(self, paths: Sequence[str], notes: list[str]) -> Columns:
        """Columns of the stars of files; one that cannot be read fails alone."""
        sources, left_out = expand(paths)
        notes += left_out
        blocks: list[Columns] = []
        reasons: list[str] = []
        for source in sources:
            bad: list[BadRow] = []
            said: list[str] = []
            chunks = read_source(
                source,
                chunk_size=self._labeller.batch_size,
                correlations=self._options.propagate == "full",
                on_bad_row=bad.append,
                on_note=said.append,
                delivery=self._delivery,
            )
            try:
                blocks.append(self._labelled(chunks))
            except InputError as error:
                bad = [BadRow(0, -1, str(error))]
            notes += [f"{source.path}: {note}" for note in said]
            told = [
                row._replace(
                    what=row.what if str(source.path) in row.what else f"{source.path}, {row}"
                )
                for row in bad
            ]
            blocks.append(self._unread(told))
            reasons += [row.what for row in told]
        columns = self._joined(blocks)
        if reasons and len(columns["source_id"]) == len(reasons):
            raise InputError(reasons[0])
        return columns

    def _labelled(self, chunks: Iterable[XPChunk], stars: int | None = None) -> Columns:
        """The columns of the stars of chunks."""
        blocks: list[Columns] = []
        # Silent where stderr is no terminal, and where there is little to do.
        with tqdm(total=stars, unit="star", desc="labels", disable=None, delay=SOON_S) as bar:
            for chunk, found in _one_ahead(self._computed(chunks)):
                block = self._columns.of(chunk.source_id, chunk.g_mag, chunk.ruwe, found)
                known = np.isfinite(block[self._columns.first])
                blocks.append(block | {REASON.name: _why_not(known, block["flags"])})
                bar.update(len(chunk))
        return self._joined(blocks)

    def _computed(self, chunks: Iterable[XPChunk]) -> Iterator[tuple[XPChunk, BatchLabels]]:
        for chunk in chunks:
            self._labeller.check(chunk)
            yield chunk, self._labeller(chunk, chunk.g_mag, chunk.ruwe)

    def _unread(self, bad: Sequence[BadRow]) -> Columns:
        """The columns of rows that no spectrum could be read from."""
        fill = {"source_id": -1, "flags": flags.bit("NOT_FINITE")}
        return {
            **{s.name: np.full(len(bad), fill.get(s.name, np.nan), s.dtype) for s in self._values},
            "source_id": np.array([row.source_id for row in bad], np.int64),
            REASON.name: np.array([row.what for row in bad], np.str_),
        }

    def _joined(self, blocks: Sequence[Columns]) -> Columns:
        blocks = [self._unread(()), *blocks]
        return {s.name: np.concatenate([block[s.name] for block in blocks]) for s in self._specs}


def _as_paths(stars: Any) -> list[str] | None:
    """The paths that were given, or ``None`` if it is something else."""
    given = [stars] if isinstance(stars, str | os.PathLike) else stars
    if not isinstance(given, list | tuple) or not given:
        return None
    if not all(isinstance(path, str | os.PathLike) for path in given):
        return None
    return [str(Path(path).expanduser()) for path in given]


def _one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The items, each after the next one was begun: the device works while the host reads."""
    held: list[T] = []
    for item in items:
        held.append(item)
        if len(held) > 1:
            yield held.pop(0)
    yield from held


def _why_not(known: Bool[np.ndarray, " star"], bits: Int32[np.ndarray, " star"]) -> np.ndarray:
    """Why stars have no labels, in the words of the flags; empty where they have some."""
    meaning = {flag.name: flag.meaning for flag in flags.FLAGS}
    told = np.full(len(known), "", np.object_)
    for name in NO_LABELS:
        told[~known & (bits & flags.bit(name) != 0) & (told == "")] = f"{name}: {meaning[name]}"
    return told.astype(np.str_)
