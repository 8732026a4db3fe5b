"""The Gaia archive as astroquery speaks to it: ADQL jobs (TAP) and spectra (DataLink)."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import re
import socket
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
from astropy.table import Table

from aspgap_jax.errors import InputError
from aspgap_jax.extras import cure
from aspgap_jax.survey import gaia
from aspgap_jax.survey.tables import Place, numbers, source_ids
from aspgap_jax.survey.xp import releases

__all__ = ["DATALINK_LIMIT", "SPECTRA", "TRANSIENT", "Archive", "adql", "sky_condition"]

DATALINK_LIMIT = 5000
"""The most source ids that the archive accepts in one DataLink request."""
SPECTRA: tuple[str, ...] = ("XP_CONTINUOUS", "XP_SAMPLED")
# How the archive refuses a request, as against failing at it.
REFUSED = re.compile(r"Error 4\d\d|DATA_STRUCTURE|DATAMODEL_")
# Level 8 of Gaia's HEALPix grid: the leading bits of a source id.
IDS_PER_PIXEL = 2**43
N_PIXELS = 12 * 4**8
TIMEOUT_S = 600.0

TRANSIENT = (
    *(OSError, EOFError, HTTPException, SystemError, ValueError),
    *(zipfile.BadZipFile, zlib.error, ExpatError),
)
"""What a broken, truncated or refused answer may raise; worth another attempt."""


def adql(select: str, condition: str, release: str = releases.DEFAULT) -> str:
    """ADQL on ``gaia_source``; Appendix A is ``adql("*", "has_xp_continuous = 'true'")``.

    Args:
        select: the columns.
        condition: what follows WHERE.
        release: a key of :data:`aspgap_jax.survey.xp.releases.RELEASES`.

    Returns:
        The query.
    """
    return f"SELECT {select} FROM {releases.release(release).source_table} WHERE {condition}"


def sky_condition(first: int, last: int, release: str = releases.DEFAULT) -> str:
    """The stars of Appendix A in the HEALPix level-8 pixels ``first`` to ``last``.

    The archive gives at most 3 million rows a query, so that the 220 million of
    Appendix A have to be asked for piece by piece.

    Args:
        first: pixel.
        last: pixel, included.
        release: of Gaia, a key of the table of releases.

    Returns:
        What follows WHERE.

    Raises:
        InputError: no such range of pixels.
    """
    if not 0 <= first <= last < N_PIXELS:
        raise InputError(
            f"HEALPix level-8 pixels {first} to {last}: no such range; "
            f"pass two ascending numbers from 0 to {N_PIXELS - 1}"
        )
    low, high = first * IDS_PER_PIXEL, (last + 1) * IDS_PER_PIXEL - 1
    spectra = releases.release(release).with_spectra
    return f"{spectra} AND source_id BETWEEN {low} AND {high}"


class Archive:
    """A connection to a Gaia archive.

    Args:
        server: base URL of the archive, ``https://host/``; ``None``: the one
            that astroquery names.
        release: which Gaia release to ask for, a key of
            :data:`aspgap_jax.survey.xp.releases.RELEASES`.

    Raises:
        InputError: astroquery is not installed, or the URL is none.
    """

    def __init__(self, server: str | None = None, release: str = releases.DEFAULT) -> None:
        try:
            # Not astroquery.gaia: importing that asks the archive for its news.
            tap = importlib.import_module("astroquery.utils.tap")
        except ImportError:
            raise InputError(f"fetching needs astroquery: {cure('gaia')}") from None
        self.release = releases.release(release)
        self._structures = self.release.structures
        self.server = _default_server() if server is None else server
        if not self.server.startswith(("http://", "https://")):
            raise InputError(f"{self.server}: no URL of an archive; it starts with https://")
        # The contexts are where the archive keeps its two services.
        self._tap, self._data = (
            tap.TapPlus(
                url=self.server,
                server_context=context,
                tap_context="tap",
                data_context="data",
                use_names_over_ids=True,
            )
            for context in ("tap-server", "data-server")
        )

    def query(self, text: str) -> Table:
        """Run an ADQL query as an asynchronous job, wait for it, and read its table.

        Raises:
            Exception: one of :data:`TRANSIENT`.
        """
        with _quiet():
            job = self._tap.launch_job_async(text, output_format="votable")
            return job.get_results()

    def count(self, condition: str) -> int:
        """How many sources fulfil a condition."""
        return int(self.query(adql("COUNT(*) AS n", condition, self.release.name))["n"][0])

    def sources(self, condition: str) -> Table:
        """Gaia's columns, those of :data:`aspgap_jax.survey.gaia.COLUMN_NAMES`, of sources.

        Args:
            condition: what follows WHERE.

        Returns:
            ``source_id`` and those columns as plain numbers, NaN where missing.

        Raises:
            InputError: the archive's answer has no source ids.
        """
        columns = (gaia.SOURCE_ID, *gaia.COLUMN_NAMES)
        answer = self.query(adql(", ".join(columns), condition, self.release.name))
        where = Path("the archive's answer")
        # Services differ in the case of the names that they give back.
        given = {name.lower(): answer[name] for name in answer.colnames}
        if gaia.SOURCE_ID not in given:
            raise InputError(f"{where} to {condition!r} has no column {gaia.SOURCE_ID}")
        ids = source_ids(given[gaia.SOURCE_ID], Place(where, "", gaia.SOURCE_ID))
        table = Table({gaia.SOURCE_ID: ids})
        for name in gaia.COLUMN_NAMES:
            if name in given:
                values = numbers(given[name], Place(where, "", name))
                table[name] = values.astype(gaia.gaia_dtype(name))
                table[name].unit = gaia.UNITS[name] or None
        return table

    def spectra(self, ids: Sequence[int], kind: str, into: Path) -> None:
        """Download the XP spectra of sources as one FITS file; nothing if there are none.

        Args:
            ids: at most :data:`DATALINK_LIMIT` source ids.
            kind: one of :data:`SPECTRA`.
            into: the file to write.

        Raises:
            Exception: one of :data:`TRANSIENT`.
        """
        request = {
            "ID": ",".join(map(str, ids)),
            "RETRIEVAL_TYPE": self.release.retrieval[kind.lower()],
            "FORMAT": "fits",
            "USE_ZIP_ALWAYS": "true",
        }
        packed = into.with_suffix(".zip")
        try:
            self._load(request, packed)
            with zipfile.ZipFile(packed) as bundle:
                members = [name for name in bundle.namelist() if name.endswith(".fits")]
                if len(members) > 1:
                    raise ValueError(f"the answer holds {len(members)} files instead of one")
                # Reading a member checks its CRC: what is cut short does not pass.
                for member in members:
                    into.write_bytes(bundle.read(member))
        finally:
            packed.unlink(missing_ok=True)

    def _load(self, request: dict[str, str], packed: Path) -> None:
        """Ask for one file of all stars, by the name that the archive has for that.

        The names change with the release; of an archive that refuses the new one the old
        one is asked, and what it took is kept.
        """
        for structure in self._structures:
            try:
                with _quiet():
                    self._data.load_data(
                        params_dict=request | {"DATA_STRUCTURE": structure},
                        output_file=str(packed),
                    )
            except TRANSIENT as error:
                if structure == self._structures[-1] or not REFUSED.search(str(error)):
                    raise
            else:
                self._structures = (structure,)
                return


def _default_server() -> str:
    gaia_module: Any = importlib.import_module("astroquery.gaia")
    parameters = inspect.signature(gaia_module.GaiaClass).parameters
    return str(parameters["gaia_tap_server"].default)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """astroquery prints errors that it raises as well, and waits for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


def pixels_of(ids: np.ndarray) -> np.ndarray:
    """HEALPix level-8 pixels of source ids."""
    return np.asarray(ids) // IDS_PER_PIXEL
