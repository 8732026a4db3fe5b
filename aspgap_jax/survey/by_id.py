"""Stars by their Gaia source ids: spectra, and G, positions and ruwe, from the archive or a cache.

The cache is a folder of downloads (:mod:`aspgap_jax.survey.fetch`), one a request::

    CACHE/HOST-dr3/xp_continuous/DIGEST/   parts and manifest.json
    CACHE/HOST-dr3/gaia_source/DIGEST/

Of each star that was asked for, only what no earlier download holds is asked for again.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from astropy.io import fits
from jaxtyping import Bool, Int64

from aspgap_jax.errors import InputError
from aspgap_jax.survey import gaia
from aspgap_jax.survey.archive import TRANSIENT, Archive
from aspgap_jax.survey.fetch import ATTEMPTS, WAIT_S, fetch_sources, fetch_spectra, whole_files
from aspgap_jax.survey.ids import BY_NAME, id_column
from aspgap_jax.survey.manifest import Manifest
from aspgap_jax.survey.tables import Place, Unfit, find_columns, source_ids
from aspgap_jax.survey.xp import XPChunk, read_xp, releases
from aspgap_jax.survey.xp.cells import id_of

__all__ = ["Asked", "ByIds", "Lookup", "asked_ids", "cache_folder", "ids_of_query"]

# 12 x 4^12 pixels of HEALPix level 12, whose numbers are the leading bits of a source id.
LAST_ID = 12 * 4**12 * 2**35 - 1
DESIGNATION = re.compile(r"gaia\s+e?dr3\s+(\d+)", re.IGNORECASE)
# Ids that a line names.
SHOWN = 3


def cache_folder() -> Path:
    """Where downloads are kept by default.

    Returns:
        ``$XDG_CACHE_HOME/aspgap-jax/archive``; without it, below ``~/.cache``.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aspgap-jax" / "archive"


@dataclass(frozen=True)
class Asked:
    """Ids as they were given.

    Attributes:
        source_id: int64 ``[row]``; -1 where what was given is none.
        reasons: why not, by the row.
    """

    source_id: Int64[np.ndarray, " row"]
    reasons: dict[int, str]


def asked_ids(given: Any) -> Asked:
    """Gaia DR3 source ids from numbers, text of digits or designations ("Gaia DR3 123").

    Args:
        given: one or any number of them.

    Returns:
        The ids, and what is wrong with those that are none.

    Raises:
        InputError: nothing was given, or there is no id among it.
    """
    given = [given] if isinstance(given, str | int | np.integer) else given
    values = given.tolist() if hasattr(given, "tolist") else list(given)
    found = np.full(len(values), -1, np.int64)
    reasons: dict[int, str] = {}
    for row, value in enumerate(values):
        if isinstance(value, str) and (named := DESIGNATION.fullmatch(value.strip())):
            value = named[1]
        whole = id_of(value)
        if isinstance(whole, int) and 0 < whole <= LAST_ID:
            found[row] = whole
        else:
            shown = "a missing id" if whole is None else str(whole)
            why = "" if not isinstance(whole, int) else ", which lies outside of the sky"
            reasons[row] = f"{shown}: no Gaia DR3 source id{why}; write it with all its digits"
    if not (found > 0).any():
        raise InputError(next(iter(reasons.values()), "no source ids were given"))
    return Asked(found, reasons)


def ids_of_query(text: str, archive: Archive) -> Int64[np.ndarray, " star"]:
    """The source ids that an ADQL query gives.

    Args:
        text: the query; its answer has a column of DR3's ids (``source_id``).
        archive: to ask.

    Returns:
        Ids in the order of the answer.

    Raises:
        InputError: the query fails, or its answer has no ids.
    """
    where = Path("the archive's answer")
    try:
        answer = archive.query(text)
    except TRANSIENT as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"the query failed ({reason}): {text}") from None
    try:
        wanted, _ = id_column(answer.colnames, BY_NAME, gaia.GAIA_IDS)
    except Unfit as error:
        raise InputError(f"{where}: {error}") from None
    place = find_columns(answer.colnames, wanted.accepted)[0]
    ids = source_ids(answer.columns[place], Place(where, "", answer.colnames[place]))
    if not (ids > 0).any():
        raise InputError(f"the query finds no stars: {text}")
    return ids[ids > 0]


@dataclass(frozen=True)
class ByIds:
    """What the archive has of stars.

    Attributes:
        source_id: those that were asked for, ascending.
        in_gaia: whether ``gaia_source`` has them.
        columns: Gaia's columns ``[star]``, NaN where unknown.
        reasons: why there is no spectrum, by the id.
        problems: what failed, one line each.
        files: that hold the spectra.
    """

    source_id: Int64[np.ndarray, " star"]
    in_gaia: Bool[np.ndarray, " star"]
    columns: dict[str, np.ndarray]
    reasons: dict[int, str]
    problems: tuple[str, ...]
    files: tuple[Path, ...]

    def chunks(self, chunk_size: int) -> Iterator[XPChunk]:
        """Their spectra, each star once, with G and ruwe of ``gaia_source``."""
        unknown = np.full(len(self.source_id), np.nan)
        seen: set[int] = set()
        for file in self.files:
            for chunk in read_xp(file, chunk_size=chunk_size):
                new = np.isin(chunk.source_id, self.source_id)
                new &= [star not in seen for star in chunk.source_id.tolist()]
                if not new.any():
                    continue
                seen.update(chunk.source_id[new].tolist())
                part = chunk[new]
                place = np.searchsorted(self.source_id, part.source_id)
                g_mag, ruwe = (
                    self.columns.get(name, unknown)[place].astype(np.float64)
                    for name in (gaia.G_MAG, "ruwe")
                )
                yield replace(part, g_mag=g_mag, ruwe=ruwe)


@dataclass(frozen=True)
class Lookup:
    """How stars are looked up.

    Attributes:
        cache: folder of downloads; ``None``: :func:`cache_folder`.
        server: base URL of the archive; ``None``: Gaia's.
        release: of Gaia, a key of :data:`aspgap_jax.survey.xp.releases.RELEASES`.
        kind: of the spectra, ``XP_CONTINUOUS`` or ``XP_SAMPLED``.
        attempts: how often a request is made.
        wait_s: pause before the second attempt.
    """

    cache: Path | None = None
    server: str | None = None
    release: str = releases.DEFAULT
    kind: str = "XP_CONTINUOUS"
    attempts: int = ATTEMPTS
    wait_s: float = WAIT_S

    def archive(self) -> Archive:
        """The archive that is asked."""
        return Archive(self.server, self.release)

    def __call__(self, ids: Int64[np.ndarray, " row"]) -> ByIds:
        """Look stars up, in the cache or in the archive.

        Args:
            ids: any, repeated or not.

        Returns:
            What there is of them.

        Raises:
            InputError: astroquery is not installed, or the cache cannot be written.
        """
        stars = np.unique(ids)
        asked = urlsplit(self.archive().server)
        folder = (self.cache or cache_folder()).expanduser()
        folder /= re.sub(r"[^\w.-]", "_", f"{asked.netloc}{asked.path}".strip("/"))
        folder = folder.with_name(f"{folder.name}-{self.release}")
        problems: list[str] = []
        sources, failed = self._had(
            stars, folder / "gaia_source", fetch_sources, problems, "G, position and ruwe"
        )
        in_gaia = np.zeros(len(stars), bool)
        columns: dict[str, np.ndarray] = {}
        if sources:
            in_gaia, columns = gaia.read_gaia_tables(sources, stars)
        spectra, unread = self._had(
            stars, folder / self.kind.lower(), self._spectra, problems, "spectra"
        )
        reasons = dict.fromkeys(sorted(unread), "its spectrum could not be fetched")
        delivered = _ids_in(spectra)
        release = self.release.upper()
        for star, known in zip(stars.tolist(), in_gaia.tolist(), strict=True):
            if star in delivered or star in reasons:
                continue
            absent = not known and star not in failed
            what = "is not in" if absent else "has no XP spectrum in"
            reasons[star] = f"{what} Gaia {release}"
        return ByIds(stars, in_gaia, columns, reasons, tuple(problems), tuple(spectra))

    def _spectra(self, ids: np.ndarray, folder: Path, **how: Any) -> Manifest:
        return fetch_spectra(ids, folder, kind=self.kind, **how)

    def _had(
        self,
        stars: Int64[np.ndarray, " star"],
        folder: Path,
        fetch: Callable[..., Manifest],
        problems: list[str],
        what: str,
    ) -> tuple[list[Path], set[int]]:
        """Files that hold some of the stars, and the stars that could not be fetched."""
        files: list[Path] = []
        wanted = set(stars.tolist())
        for before in sorted(folder.glob("*/")):
            for file in whole_files(before):
                if held := wanted & _ids_in([file]):
                    files.append(file)
                    wanted -= held
        if not wanted:
            return files, set()
        rest = np.array(sorted(wanted), np.int64)
        target = folder / hashlib.sha256(rest.tobytes()).hexdigest()[:16]
        done = fetch(
            rest,
            target,
            server=self.server,
            release=self.release,
            attempts=self.attempts,
            wait_s=self.wait_s,
        )
        for part, why in zip(done.failed_parts, done.failed_parts.values(), strict=True):
            lost = done.parts[part].failed
            shown = ", ".join(map(str, lost[:SHOWN])) + (", ..." if lost[SHOWN:] else "")
            problems.append(f"{what} of {len(lost):,} stars ({shown}) could not be fetched: {why}")
        return [*files, *whole_files(target)], set(done.failed)


def _ids_in(files: Sequence[Path]) -> set[int]:
    """The source ids in files that were fetched."""
    found: set[int] = set()
    for file in files:
        with fits.open(file) as hdus:
            names = {name.lower(): name for name in hdus[1].columns.names}
            found.update(np.asarray(hdus[1].data[names[gaia.SOURCE_ID]]).tolist())
    return found
