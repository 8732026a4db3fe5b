"""Damaged tables: read as far as they are whole, or refused with one line, never a traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.survey.tables import Remarks, Wanted, read_whole
from support.table_files import CONTAINERS, several_fits, stars, votable

WANTED = (
    Wanted("source_id", ("source_id",), "id"),
    Wanted("g", ("phot_g_mean_mag",), kind="magnitude"),
    Wanted("designation", ("designation",), "text", required=False),
)
FOLDERS = ("HATS", "partitioned Parquet")
FILES = {name: write for name, write in CONTAINERS.items() if name not in FOLDERS}
FILES |= {
    "several HDUs": lambda path, columns: several_fits(path, columns, columns),
    "several TABLEs": lambda path, columns: votable(path, columns, columns),
}
TRIES = 25
# What headers are made of.
LETTERS = np.frombuffer(b"0123456789' =TF<>/\"\x00\xff", np.uint8)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut off, cut out, repeated, or changed where headers are."""
    data = bytearray(content)
    first, last = sorted(int(place) for place in rng.integers(0, len(data), 2))
    kind = rng.integers(5)
    if kind == 0:
        for place in rng.integers(len(data), size=rng.integers(1, 20)):
            data[place] = rng.integers(256)
    elif kind == 1:
        del data[first:]
    elif kind == 2:
        del data[first:last]
    elif kind == 3:
        data[first:first] = data[first : min(last, first + 200)] * int(rng.integers(1, 4))
    else:
        for place in rng.integers(min(len(data), 6000), size=rng.integers(1, 5)):
            data[place] = rng.choice(LETTERS)
    return bytes(data)


@pytest.mark.parametrize("container", FILES)
def test_damage_is_one_line(tmp_path: Path, container: str) -> None:
    rng = np.random.default_rng(list(FILES).index(container))
    path = tmp_path / "table"
    content = FILES[container](path, stars(20)).read_bytes()
    refused: list[str] = []
    for _ in range(TRIES):
        path.write_bytes(damaged(content, rng))
        try:
            found = read_whole(path, WANTED, Remarks()).columns
        except InputError as error:
            refused.append(str(error))
        else:
            assert found["source_id"].dtype == np.int64
            assert found["g"].dtype == np.float64
    assert refused
    for line in refused:
        assert line.startswith(f"{path}")
        assert "\n" not in line
        # Faults of our own would be hidden among those of the files.
        assert "Type-check error" not in line


@pytest.mark.parametrize("container", ["comma", "gzipped text", "FITS", "VOTable", "Parquet"])
def test_a_table_cut_short_is_never_taken_for_a_whole_one(tmp_path: Path, container: str) -> None:
    path = tmp_path / "table"
    content = CONTAINERS[container](path, stars(20)).read_bytes()
    whole = content.rstrip() if container in ("comma", "VOTable") else content
    # FITS pads its last block of 2,880 bytes; a line of text may end anywhere in its last cell.
    spare = {"FITS": 2880, "comma": 12}.get(container, 1)
    for length in np.linspace(len(whole) // 2, len(whole) - spare, 12).astype(int):
        path.write_bytes(content[:length])
        try:
            found = read_whole(path, WANTED, Remarks()).columns
        except InputError:
            continue
        # Text that ends at the end of a line looks whole, and has fewer rows.
        assert container == "comma"
        assert len(found["g"]) < 20
