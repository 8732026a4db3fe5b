"""A stand-in for the Gaia archive on the loopback: TAP jobs and DataLink bundles."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from astropy.table import Table

from support.apogee_files import gaia_table, xp_columns


class MadeUpArchive:
    """Stars, what went wrong so far, and the requests that came.

    Attributes:
        stars: source ids that the archive knows.
        without_xp: those of them that have no spectrum.
        url: base URL.
        spoil: called with the number of an answer and its body; returns the body
            to send (perhaps cut short), or an HTTP status to fail with.
        structures: the DATA_STRUCTUREs that the archive knows.
        datalink: the source ids of each DataLink request.
        requests: each DataLink request that it took.
        queries: the ADQL of each job.
    """

    def __init__(self, stars: list[int]) -> None:
        self.stars = np.array(sorted(stars))
        self.without_xp: set[int] = set()
        self.url = ""
        self.spoil: Callable[[int, bytes], bytes | int] = lambda number, body: body
        self.structures = {"RAW", "DATAMODEL_GAIA"}
        self.datalink: list[list[int]] = []
        self.requests: list[dict[str, str]] = []
        self.queries: list[str] = []
        self.answers = 0

    def bundle(self, ids: list[int]) -> bytes:
        """DataLink's zip with one FITS file of the stars that there are."""
        self.datalink.append(ids)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
            if known := sorted((set(ids) & set(self.stars.tolist())) - self.without_xp):
                table = io.BytesIO()
                Table(xp_columns(known)).write(table, format="fits")
                bundle.writestr("XP_CONTINUOUS_RAW.fits", table.getvalue())
        return packed.getvalue()

    def result(self, query: str) -> bytes:
        """A VOTable that answers the queries of this package, and any of a user."""
        if found := re.search(r"BETWEEN (\d+) AND (\d+)", query):
            low, high = map(int, found.groups())
            stars = self.stars[(self.stars >= low) & (self.stars <= high)]
        else:
            listed = re.search(r"IN \(([\d, ]+)\)", query)
            asked = self.stars if listed is None else list(map(int, listed[1].split(",")))
            # A user's own query finds every star.
            stars = np.intersect1d(self.stars, asked)
        table = gaia_table(stars.tolist())
        if "COUNT(*)" in query:
            table = Table({"n": np.array([len(stars)])})
        document = io.BytesIO()
        table.write(document, format="votable", tabledata_format="binary2")
        return document.getvalue()

    def answer(self, body: bytes) -> bytes | int:
        """The body as it is to be sent, spoilt or not."""
        self.answers += 1
        return self.spoil(self.answers, body)


def _handler(archive: MadeUpArchive) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            form = {name: v[0] for name, v in parse_qs(self.rfile.read(length).decode()).items()}
            if self.path == "/data-server/data":
                if form["DATA_STRUCTURE"] not in archive.structures:
                    self.send(400)
                    return
                archive.requests.append(form)
                ids = [int(star) for star in form["ID"].split(",")]
                self.send(archive.answer(archive.bundle(ids)))
            else:
                assert self.path == "/tap-server/tap/async"
                archive.queries.append(form["QUERY"])
                self.send_response(303)
                job = f"{archive.url}/tap-server/tap/async/{len(archive.queries) - 1}"
                self.send_header("Location", job)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def do_GET(self) -> None:
            job, what = self.path.removeprefix("/tap-server/tap/async/").split("/", 1)
            if what == "phase":
                self.send(b"COMPLETED")
            else:
                assert what == "results/result"
                self.send(archive.answer(archive.result(archive.queries[int(job)])))

        def send(self, body: bytes | int) -> None:
            status = body if isinstance(body, int) else 200
            data = b"the archive is out of order" if isinstance(body, int) else body
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serving(archive: MadeUpArchive) -> Iterator[MadeUpArchive]:
    """Serve ``archive`` on a free port of the loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(archive))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    archive.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield archive
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
