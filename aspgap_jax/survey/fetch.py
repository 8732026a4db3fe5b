"""Fetch XP spectra and Gaia columns from the archive, and account for every star.

A folder that is fetched into holds one FITS file a request ("part") and
``manifest.json``, which says of every requested id whether it was delivered, is
missing in the archive, or could not be fetched. The same call goes on where it
was interrupted, and tries again what failed.

Manifest (format version 1): ``what``, ``server``, ``request`` (SHA-256 of what was
asked), the totals, and ``parts``: name -> file, SHA-256, requested, delivered,
missing (ids), failed (ids), and the error.
"""

from __future__ import annotations

import errno
import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import replace_file
from aspgap_jax.files.locks import locked
from aspgap_jax.survey import gaia
from aspgap_jax.survey.archive import (
    DATALINK_LIMIT,
    SPECTRA,
    TRANSIENT,
    Archive,
    sky_condition,
)
from aspgap_jax.survey.manifest import Manifest, Part
from aspgap_jax.survey.xp import read_xp, releases

__all__ = ["fetch_sky", "fetch_sources", "fetch_spectra", "whole_files"]

ATTEMPTS = 4
WAIT_S = 5.0
# After so many failed parts in a row the archive is taken to be down.
GIVE_UP = 3
# Trouble on this side, which no further attempt mends.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
PIXELS_A_PART = 128


# Downloads into a file and returns the ids in it, and what the number of them
# should be; None where only the request itself says so.
Download = Callable[[Path], tuple[np.ndarray, int | None]]


@dataclass(frozen=True)
class _Request:
    name: str
    ids: tuple[int, ...] | None
    download: Download


def fetch_spectra(
    ids: Int64[np.ndarray, " star"],
    folder: Path,
    *,
    kind: str = "XP_CONTINUOUS",
    server: str | None = None,
    release: str = releases.DEFAULT,
    chunk_size: int = DATALINK_LIMIT,
    attempts: int = ATTEMPTS,
    wait_s: float = WAIT_S,
) -> Manifest:
    """Fetch the XP spectra of stars through DataLink.

    Args:
        ids: Gaia source ids; repeated ones are asked for once.
        folder: where the files go; ``aspgap prepare`` and ``aspgap ingest`` read them.
        kind: ``XP_CONTINUOUS`` or ``XP_SAMPLED``.
        server: base URL of the archive; ``None``: astroquery's.
        release: Gaia's, a key of :data:`aspgap_jax.survey.xp.releases.RELEASES`.
        chunk_size: stars a request, 5,000 at most.
        attempts: how often a request is made before it counts as failed.
        wait_s: pause before the second attempt; doubled before each further one.

    Returns:
        What was delivered, what is missing in the archive, what failed.

    Raises:
        InputError: a setting is out of range, no id is given, the folder holds
            another request, or astroquery is not installed.
    """
    if kind not in SPECTRA:
        raise InputError(f"no spectra {kind!r}; the archive has {', '.join(SPECTRA)}")
    archive = Archive(server, release)
    if kind.lower() not in archive.release.retrieval:
        raise InputError(
            f"Gaia {release.upper()} has no {kind} spectra; it has "
            f"{', '.join(name.upper() for name in archive.release.retrieval)}"
        )

    def download(part: tuple[int, ...]) -> Download:
        def run(file: Path) -> tuple[np.ndarray, None]:
            # The archive leaves no file behind where it has none of the spectra.
            file.unlink(missing_ok=True)
            archive.spectra(part, kind, file)
            chunks = read_xp(file) if file.is_file() else ()
            found = [chunk.source_id for chunk in chunks]
            return np.concatenate([np.empty(0, np.int64), *found]), None

        return run

    return _fetch_ids(ids, folder, kind, archive, download, chunk_size, attempts, wait_s)


def fetch_sources(
    ids: Int64[np.ndarray, " star"],
    folder: Path,
    *,
    server: str | None = None,
    release: str = releases.DEFAULT,
    chunk_size: int = DATALINK_LIMIT,
    attempts: int = ATTEMPTS,
    wait_s: float = WAIT_S,
) -> Manifest:
    """Fetch Gaia's columns of stars from ``gaia_source`` through ADQL.

    Arguments and errors as for :func:`fetch_spectra`. The files are tables that
    ``aspgap prepare`` takes as Gaia tables.

    Args:
        ids: Gaia source ids, each once.
        folder: to fill; what an earlier call left there counts.
        server: URL of the archive; by default that of Gaia.
        release: of the data, as in :data:`aspgap_jax.survey.xp.releases.RELEASES`.
        chunk_size: sources of a query.
        attempts: for each query.
        wait_s: seconds before the second attempt.

    Returns:
        As :func:`fetch_spectra`.
    """
    archive = Archive(server, release)

    def download(part: tuple[int, ...]) -> Download:
        return lambda file: (
            _write_sources(archive, f"source_id IN ({', '.join(map(str, part))})", file),
            None,
        )

    return _fetch_ids(ids, folder, "gaia_source", archive, download, chunk_size, attempts, wait_s)


def fetch_sky(
    first: int,
    last: int,
    folder: Path,
    *,
    server: str | None = None,
    release: str = releases.DEFAULT,
    pixels_a_part: int = PIXELS_A_PART,
    attempts: int = ATTEMPTS,
    wait_s: float = WAIT_S,
) -> Manifest:
    """Fetch Gaia's columns of all stars with XP spectra in a part of the sky (Appendix A).

    Each part is counted by the archive first; an answer with another number of
    stars does not pass.

    Args:
        first: first HEALPix level-8 pixel.
        last: last pixel, included.
        folder: where the files go.
        server: base URL of the archive; ``None``: astroquery's.
        release: Gaia's, a key of :data:`aspgap_jax.survey.xp.releases.RELEASES`.
        pixels_a_part: pixels a request; the sky has 786,432 of them, and 280 stars
            in one on average.
        attempts: how often a request is made before it counts as failed.
        wait_s: pause before the second attempt; doubled before each further one.

    Returns:
        As :func:`fetch_spectra`.

    Raises:
        InputError: as :func:`fetch_spectra`, or no such range of pixels.
    """
    sky_condition(first, last, release)
    if pixels_a_part < 1:
        raise InputError(f"pixels_a_part must be at least 1, got {pixels_a_part}")
    archive = Archive(server, release)

    def download(low: int, high: int) -> Download:
        condition = sky_condition(low, high, release)

        def run(file: Path) -> tuple[np.ndarray, int]:
            count = archive.count(condition)
            return _write_sources(archive, condition, file), count

        return run

    requests = []
    for low in range(first, last + 1, pixels_a_part):
        high = min(low + pixels_a_part - 1, last)
        requests.append(_Request(f"gaia_source_{low:06d}-{high:06d}", None, download(low, high)))
    manifest = Manifest(
        "gaia_source", archive.server, _digest("sky", *_told(archive), first, last, pixels_a_part)
    )
    return _fetch(requests, Path(folder), manifest, attempts, wait_s)


def _write_sources(archive: Archive, condition: str, file: Path) -> np.ndarray:
    table = archive.sources(condition)
    table.write(file, format="fits", overwrite=True)
    return np.asarray(table[gaia.SOURCE_ID])


def _told(archive: Archive) -> tuple[str, ...]:
    """The release, where it is not the one that folders are of which do not say."""
    name = archive.release.name
    return () if name == releases.DEFAULT else (name,)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def _fetch_ids(
    ids: np.ndarray,
    folder: Path,
    what: str,
    archive: Archive,
    download: Callable[[tuple[int, ...]], Download],
    chunk_size: int,
    attempts: int,
    wait_s: float,
) -> Manifest:
    if not 1 <= chunk_size <= DATALINK_LIMIT:
        raise InputError(f"chunk_size must be from 1 to {DATALINK_LIMIT:,}, got {chunk_size}")
    stars = np.unique(ids)
    if not len(stars) or stars[0] <= 0:
        raise InputError(
            f"source ids must be positive numbers, and at least one: got {len(stars):,} ids"
            + (f", among them {stars[0]}" if len(stars) else "")
        )
    chunks = [
        tuple(stars[start : start + chunk_size].tolist())
        for start in range(0, len(stars), chunk_size)
    ]
    requests = [
        _Request(f"{what.lower()}_{number:05d}", chunk, download(chunk))
        for number, chunk in enumerate(chunks)
    ]
    digest = _digest(what, *_told(archive), chunk_size, *stars.tolist())
    manifest = Manifest(what, archive.server, digest, repeated=len(ids) - len(stars))
    return _fetch(requests, Path(folder), manifest, attempts, wait_s)


def _fetch(
    requests: Sequence[_Request], folder: Path, manifest: Manifest, attempts: int, wait_s: float
) -> Manifest:
    """Make the requests that ``folder`` does not answer yet, alone in it."""
    with locked(folder):
        return _fetch_alone(requests, folder, manifest, attempts, wait_s)


def _fetch_alone(
    requests: Sequence[_Request], folder: Path, manifest: Manifest, attempts: int, wait_s: float
) -> Manifest:
    if attempts < 1 or wait_s < 0:
        raise InputError(f"attempts must be >= 1 and wait_s >= 0, got {attempts} and {wait_s}")
    before = Manifest.read(folder)
    if before is not None and before.request != manifest.request:
        raise InputError(
            f"{folder}: holds another request ({before.what}, {before.requested:,} stars); "
            f"fetch into another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for request in requests:
        part = before.parts.get(request.name) if before is not None else None
        if part is None or not _is_done(part, folder):
            part = _unfetched(request, "not tried yet")
        manifest.parts[request.name] = part
    manifest.write(folder)
    failures = 0
    open_requests = [r for r in requests if manifest.parts[r.name].error]
    for request in tqdm(open_requests, desc=manifest.what, unit="request", disable=None):
        if failures < GIVE_UP:
            part = _attempt(request, folder, attempts, wait_s)
            failures = failures + 1 if part.error else 0
        else:
            part = _unfetched(request, f"not tried after {GIVE_UP} failed requests in a row")
        manifest.parts[request.name] = part
        manifest.write(folder)
    return manifest


def _is_done(part: Part, folder: Path) -> bool:
    if part.error:
        return False
    return not part.file or (
        (folder / part.file).is_file() and _checksum(folder / part.file) == part.sha256
    )


def whole_files(folder: Path) -> list[Path]:
    """The files of a folder that was fetched into, those alone that are as they came.

    Args:
        folder: any.

    Returns:
        None of a folder without a manifest, or with a damaged one.
    """
    try:
        manifest = Manifest.read(folder)
    except InputError:
        return []
    parts = [] if manifest is None else manifest.parts.values()
    return [folder / part.file for part in parts if part.file and _is_done(part, folder)]


def _unfetched(request: _Request, error: str) -> Part:
    if request.ids is None:
        return Part(error=error)
    return Part(requested=len(request.ids), failed=list(request.ids), error=error)


def _attempt(request: _Request, folder: Path, attempts: int, wait_s: float) -> Part:
    """Make one request until it succeeds, or ``attempts`` times."""
    error = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(wait_s * 2.0 ** (attempt - 1))
        try:
            return _once(request, folder)
        except TRANSIENT as trouble:
            if isinstance(trouble, OSError) and trouble.errno in DISK_FULL:
                raise InputError(
                    f"{folder}: cannot be written ({trouble.strerror}); make room and run "
                    f"the same command again, it goes on from here"
                ) from trouble
            reason = " ".join(str(trouble).split())[:200]
            error = f"{type(trouble).__name__}: {reason}"
    return _unfetched(request, error)


def _once(request: _Request, folder: Path) -> Part:
    target = folder / f"{request.name}.fits"
    with suppress(_Nothing), replace_file(target) as temporary:
        ids, count = request.download(temporary)
        delivered = np.unique(ids)
        part = _accounted(request, delivered, count)
        if not len(delivered):
            raise _Nothing
        part.file, part.sha256 = target.name, _checksum(temporary)
    if not part.file:
        # What lies there is damaged, or the request would not have been made.
        target.unlink(missing_ok=True)
    return part


class _Nothing(Exception):
    """The archive has none of the stars: no file is to be made."""


def _accounted(request: _Request, delivered: np.ndarray, count: int | None) -> Part:
    if request.ids is None:
        if count != len(delivered):
            raise ValueError(f"{len(delivered):,} stars came where the archive counts {count:,}")
        return Part(requested=count, delivered=len(delivered))
    asked = np.array(request.ids)
    foreign = np.setdiff1d(delivered, asked)
    if len(foreign):
        raise ValueError(f"{len(foreign):,} stars came that were not asked for: {foreign[0]}, ...")
    missing = np.setdiff1d(asked, delivered)
    return Part(requested=len(asked), delivered=len(delivered), missing=missing.tolist())


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
