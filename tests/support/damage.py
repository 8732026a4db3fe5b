"""Good XP files in every container, and random damage to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aspgap_jax.survey.xp import read_xp
from aspgap_jax.survey.xp.store import write_store
from support.xp_files import WRITERS, bulk_text, sampled_star, star
from support.xp_habits import (
    arrow_table,
    fits_bytes,
    long_rows,
    sampled,
    table_of,
    write_arrow,
    write_colfits,
    write_combined,
    write_tables_fits,
    write_tables_votable,
    write_vaex,
    zip_of,
)

__all__ = ["damaged", "good_files"]


def good_files(folder: Path) -> dict[str, bytes]:
    """Files of a few stars, by name."""
    small = [star(n, sizes=(4, 3)) for n in range(1, 5)]
    rows = sampled(1, 2, 3)
    units = {"flux": "Jy", "flux_error": "Jy"}
    tables = [table_of(rows[:2], units), table_of(rows[2:], units)]
    for name, writer in WRITERS.items():
        writer(folder / f"continuous {name}", small)
    WRITERS["ecsv"](folder / "sampled ecsv", [sampled_star(1), sampled_star(2)])
    write_tables_fits(folder / "several.fits", tables)
    write_tables_votable(folder / "several.xml", tables)
    write_tables_votable(folder / "text.xml", tables, "tabledata")
    write_combined(folder / "combined.xml", rows)
    write_colfits(folder / "colfits.fits", rows)
    write_vaex(folder / "vaex.hdf5", rows)
    table_of(rows, units).write(folder / "a.h5", format="hdf5", path="data", serialize_meta=True)
    table_of(rows, units).write(folder / "meta.ecsv", format="ascii.ecsv")
    write_arrow(folder / "a.parquet", arrow_table(rows), "parquet")
    write_arrow(folder / "a.feather", arrow_table(rows), "feather")
    long_rows(rows, "source_id").write(folder / "long.csv", format="ascii.csv")
    long_rows(rows, "source_id").write(folder / "long.fits")
    (folder / "mac.csv").write_text(bulk_text(small).replace("\n", "\r"), newline="")
    (folder / "tabs.tsv").write_text(bulk_text(small, header=False).replace('","', '"\t"'))
    zip_of(folder / "a.zip", {"1.fits": fits_bytes(table_of(rows[:1])), "2.csv": b"a,b\n1,2\n"})
    with write_store(folder / "store.h5") as store:
        for chunk in read_xp(folder / "continuous ecsv"):
            store.append(chunk)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def damaged(data: bytes, seed: int) -> bytes:
    """A file with one to four faults: bytes, cuts, splices, repeats, an early end."""
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        # Half of the faults fall on the first bytes, where headers are.
        reach = len(out) if rng.random() < 0.5 else min(len(out), 6000)
        at = int(rng.integers(reach))
        size = int(rng.choice([1, 1, 2, 8, 80, 2880]))
        match int(rng.integers(6)):
            case 0:
                out[at : at + 1] = bytes([int(rng.integers(256))])
            case 1:
                out[at : at + 1] = bytes([out[at] ^ (1 << int(rng.integers(8)))])
            case 2:
                del out[at : at + size]
            case 3:
                out[at:at] = out[at : at + size]
            case 4:
                other = int(rng.integers(len(out)))
                out[at : at + size] = out[other : other + size]
            case 5:
                del out[int(rng.integers(len(out))) :]
    return bytes(out)
