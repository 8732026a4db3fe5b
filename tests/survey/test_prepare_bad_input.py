"""Bad input of the join: one line that says what is wrong, and no store."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.snr import LeastSNR
from aspgap_jax.survey.gaia import read_source_ids
from support.apogee_files import (
    IDS,
    Inputs,
    allstar_columns,
    gaia_table,
    write_allstar,
    write_gaia,
    write_xp,
    xp_columns,
)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path)


Spoil = Callable[[Inputs], dict[str, Any]]


def gaia_with(change: Callable[[Table], Any], kind: str = "fits") -> Spoil:
    def spoil(inputs: Inputs) -> dict[str, Any]:
        table = gaia_table(IDS)
        changed = change(table)
        path = write_gaia(kind, changed if isinstance(changed, Table) else table, inputs.folder)
        return {"gaia": [path]}

    return spoil


def contradicting(table: Table) -> Table:
    table.add_row(table[1])
    table["phot_g_mean_mag"][-1] = 19.0
    return table


def text_in_g(table: Table) -> None:
    table["phot_g_mean_mag"] = ["11", "12", "bright", "13", "", "14"]


def other_ids(inputs: Inputs) -> dict[str, Any]:
    return {"xp": [write_xp(inputs.xp, xp_columns([1, 2, 3]))]}


def mixed(inputs: Inputs) -> dict[str, Any]:
    columns = xp_columns(IDS[3:])
    for name in ("bp_coefficients", "bp_coefficient_errors"):
        columns[name] = columns[name][:, :50]
    columns["bp_n_parameters"][:] = 50
    first = write_xp(inputs.folder / "a.fits", xp_columns(IDS[:3]))
    return {"xp": [first, write_xp(inputs.folder / "b.fits", columns)]}


def truncated(inputs: Inputs) -> dict[str, Any]:
    inputs.gaia.write_bytes(inputs.gaia.read_bytes()[:5800])
    return {}


def no_table(inputs: Inputs) -> dict[str, Any]:
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(inputs.gaia, overwrite=True)
    return {}


BAD: dict[str, tuple[Spoil, str]] = {
    "no overlap with XP": (other_ids, "none of the 3 XP spectra .* is of one of the 6 stars"),
    "no overlap with Gaia": (
        gaia_with(lambda t: t.replace_column("source_id", np.arange(1, 7))),
        "no star of allStar has both an XP spectrum .6 have one. and a row",
    ),
    "no source_id": (
        gaia_with(lambda t: t.remove_column("source_id")),
        "no column source_id; accepted is source_id or gaiaedr3_source_id in any case",
    ),
    "no G": (gaia_with(lambda t: t.remove_column("phot_g_mean_mag")), "no column phot_g_mean_mag"),
    "ids as floats": (
        gaia_with(lambda t: t.replace_column("source_id", t["source_id"].astype(float))),
        "rounds 19-digit ids",
    ),
    "text in an id": (
        gaia_with(lambda t: t.replace_column("source_id", ["1", "2", "x3", "4", "5", "6"]), "csv"),
        "row 3: column source_id is 'x3', not an integer",
    ),
    "text in G": (gaia_with(text_in_g, "csv"), "row 3: column phot_g_mean_mag is 'bright'"),
    "contradicting rows": (gaia_with(contradicting), f"{IDS[1]} occurs twice with different"),
    "truncated": (truncated, r"gaia\.fits: no readable table .*truncated"),
    "no table": (no_table, "a FITS file without a table"),
    "an absent table": (lambda inputs: {"gaia": [inputs.folder / "no"]}, "no such file"),
    "no such selection": (
        lambda inputs: {"select": "best"},
        "known: giants, broad, table_1, usable",
    ),
    "no XP file": (lambda inputs: {"xp": []}, "no XP file given"),
    "mixed lengths": (mixed, r"b\.fits: has 50 \+ 55 coefficients, .* 55 \+ 55 coefficients"),
    "nothing left": (
        lambda inputs: {"least": LeastSNR(min_snr_high=1e9)},
        "no star is left after the cut",
    ),
    "no spectra": (lambda inputs: {"spectra_dir": inputs.folder}, "no file aspcapStar"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_inputs_are_one_line_and_leave_no_store(inputs: Inputs, case: str) -> None:
    spoil, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        inputs.prepare(**spoil(inputs))
    assert "\n" not in str(caught.value)
    assert not inputs.out.exists()
    assert not [path for path in inputs.folder.iterdir() if path.name.startswith(".")]


def test_an_earlier_store_survives_a_failure(inputs: Inputs) -> None:
    inputs.prepare()
    before = inputs.out.read_bytes()
    with pytest.raises(InputError):
        inputs.prepare(least=LeastSNR(min_snr_low=1e9))
    assert inputs.out.read_bytes() == before


def test_a_disk_without_room(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six stars of 110 values and errors in float32 take 5,280 bytes."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5279))
    with pytest.raises(InputError, match=r"needs 5\.28e-06 GB"):
        inputs.prepare()
    assert not inputs.out.exists()
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5280))
    assert inputs.prepare().stars == 6


def test_without_g_anywhere(inputs: Inputs) -> None:
    columns = allstar_columns(IDS) | {"GAIAEDR3_PHOT_G_MEAN_MAG": None}
    write_allstar(inputs.allstar, columns)
    with pytest.raises(InputError, match="has no column GAIAEDR3_PHOT_G_MEAN_MAG"):
        inputs.prepare(gaia=[])


@pytest.mark.parametrize("text", ["", "no table here", "source_id,phot_g_mean_mag\n"])
def test_texts_that_are_no_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gaia.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"gaia\.csv: no "):
        read_source_ids(path)


def test_a_gzipped_table(tmp_path: Path) -> None:
    path = tmp_path / "gaia.csv.gz"
    plain = write_gaia("csv", gaia_table(IDS), tmp_path)
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_source_ids(path).tolist() == IDS
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="no readable table"):
        read_source_ids(path)
    plain.write_bytes(plain.read_bytes()[:-15])
    with pytest.raises(InputError, match="no readable table"):
        read_source_ids(plain)
