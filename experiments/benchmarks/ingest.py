"""Speed of reading bulk XP files: against other readers, and against gunzip alone.

The files are synthetic repeats of real spectra: the two real stars of the shared
data with every coefficient, error and correlation perturbed by 5%, written in the
format of the bulk files, correlation columns included (39 kB of text a star). The
readers take turns; each figure is the median of the rounds, in rows per second of
CPU time (all threads counted), so other load on the machine matters little.
GaiaXPy takes no gzip and gets the unpacked file; it reads the correlations,
because it cannot do without. pandas reads as the original AspGap code did:
coefficients and errors, the lists parsed cell by cell.

Run: python experiments/benchmarks/ingest.py --json ingest.json
Expect, on one core: 0.6 or more of the speed of isal alone, more than 8 times
GaiaXPy, and a peak below 200 MB whatever the length of the file. The rates of
`ingest` are of wall time, so they compare only where all cores are free: then two
processes are 1.9 times as fast as one.
Needs `pip install GaiaXPy` and the shared data beside the checkout (ASPGAP_SHARED).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gzip
import importlib
import io
import json
import multiprocessing
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import orjson
from isal import igzip

from aspgap_jax.survey.ingest import ingest
from aspgap_jax.survey.xp import read_xp

SHARED = Path(os.environ.get("ASPGAP_SHARED", Path(__file__).resolve().parents[3] / "shared"))
LISTS = tuple(f"{band}_coefficient{name}" for band in ("bp", "rp") for name in ("s", "_errors"))


def make_files(folder: Path, rows: int, few: int) -> dict[str, Path]:
    """A long bulk file, and a short one packed and unpacked for the slow readers."""
    text = (SHARED / "data/xp_formats/XP_CONTINUOUS_RAW.ecsv").read_text().splitlines()
    head = [line for line in text if line.startswith("#")]
    header, *stars = csv.reader(line for line in text if not line.startswith("#"))
    arrays = [n for n, name in enumerate(header) if "coefficient" in name]
    rng = np.random.default_rng(0)

    def line(row: int) -> bytes:
        cells = [cell.encode() for cell in stars[row % len(stars)]]
        cells[0] = str(int(cells[0]) + row).encode()
        for n in arrays:
            dtype = np.float64 if header[n].endswith("coefficients") else np.float32
            values = np.array(orjson.loads(cells[n]), dtype)
            values *= (1 + 0.05 * rng.standard_normal(len(values))).astype(dtype)
            cells[n] = b'"' + orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY) + b'"'
        return b",".join(cells) + b"\n"

    files = {"long": folder / "long.csv.gz", "short": folder / "short.csv.gz"}
    begin = ("\n".join([*head, ",".join(header)]) + "\n").encode()
    # zlib's default level, close to that of the archive's files.
    with gzip.open(files["long"], "wb", 6) as long, gzip.open(files["short"], "wb", 6) as short:
        long.write(begin)
        short.write(begin)
        for row in range(rows):
            text_row = line(row)
            long.write(text_row)
            if row < few:
                short.write(text_row)
    files["plain"] = folder / "short.csv"
    with gzip.open(files["short"]) as packed, files["plain"].open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    return files


def decompress(path: Path) -> None:
    """What no reader can be faster than."""
    with igzip.open(path, "rb") as file:
        while file.read(1 << 20):
            pass


def read_ours(path: Path, correlations: bool = False) -> None:
    """This package's reader."""
    for _ in read_xp(path, correlations=correlations):
        pass


def read_gaiaxpy(path: Path) -> None:
    """GaiaXPy's reader."""
    # Imported here and below, so that the processes of `ingest` start without them.
    from gaiaxpy.file_parser.parse_internal_continuous import InternalContinuousParser

    with contextlib.redirect_stdout(io.StringIO()):
        InternalContinuousParser().parse_file(str(path))


def read_pandas(path: Path) -> None:
    """The original's way: pandas, and the lists of a column one by one."""
    import pandas

    frame = pandas.read_csv(path, comment="#", usecols=["source_id", *LISTS])
    for name in LISTS:
        np.stack([np.fromstring(cell[1:-1], sep=",") for cell in frame[name]])


def read_astropy(path: Path) -> None:
    """Astropy's ECSV reader."""
    from astropy.table import Table

    Table.read(path, format="ascii.ecsv")


def speeds(readers: dict[str, tuple[Callable[[], None], int]], rounds: int) -> dict[str, float]:
    """Rows per second of CPU time, median of rounds in which the readers take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for name in ("gaiaxpy.file_parser.parse_internal_continuous", "pandas", "astropy.table"):
        importlib.import_module(name)
    for _ in range(rounds):
        for name, (read, _) in readers.items():
            start = time.process_time()
            read()
            seconds[name].append(time.process_time() - start)
    return {name: rows / float(np.median(seconds[name])) for name, (_, rows) in readers.items()}


def peak_mb(path: Path) -> float:
    """Most memory of a fresh process that reads ``path``, MB."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (path,))


def _peak(path: Path) -> float:
    read_ours(path)
    # Not getrusage: what it tells of a child includes the parent before the exec.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def scaling(path: Path, folder: Path, processes: Sequence[int]) -> dict[int, float]:
    """Rows per second of wall time of ``ingest``, on as many files as make it fair."""
    files = []
    for n in range(24 * max(processes)):
        files.append(folder / f"copy_{n}.csv.gz")
        files[-1].hardlink_to(path)
    found = {}
    for n in processes:
        out = folder / f"store_{n}"
        start = time.perf_counter()
        summary = ingest(files, out, processes=n)
        found[n] = summary.total("stored") / (time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of reading bulk XP files.")
    parser.add_argument("--rows", type=int, default=8000, help="stars in the long file")
    parser.add_argument("--few", type=int, default=400, help="stars for the slow readers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the four ratios here")
    options = parser.parse_args()
    # The readers compared are noisy about their own future.
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_files(folder, options.rows, options.few)
        long, short = files["long"], files["short"]
        read_ours(short)
        rates = speeds(
            {
                "isal, decompression alone": (lambda: decompress(long), options.rows),
                "this package": (lambda: read_ours(long), options.rows),
                "this package, correlations": (lambda: read_ours(short, True), options.few),
                "GaiaXPy": (lambda: read_gaiaxpy(files["plain"]), options.few),
                "pandas": (lambda: read_pandas(short), options.few),
                "astropy": (lambda: read_astropy(short), options.few),
            },
            options.rounds,
        )
        for reader, rate in rates.items():
            print(f"{reader:28s} {rate:8.0f} rows/s a core")
        peaks = {path.name: peak_mb(path) for path in (short, long)}
        for file, peak in peaks.items():
            print(f"peak memory, {file:15s} {peak:8.0f} MB")
        cores = sorted({1, os.cpu_count() or 1})
        for n, rate in scaling(long, folder, cores).items():
            print(f"ingest, processes: {n:<9d} {rate:8.0f} rows/s")
    ours = rates["this package"]
    result = {
        "vs_gaiaxpy": ours / rates["GaiaXPy"],
        "of_decompression": ours / rates["isal, decompression alone"],
        "vs_pandas": ours / rates["pandas"],
        "peak_mb": peaks["long.csv.gz"],
    }
    print(json.dumps(result))
    if options.json:
        options.json.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
