"""Columns found in any case, after a join, or spread over numbered columns."""

from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import BANDS, read_xp
from aspgap_jax.survey.xp.names import Names, numbered
from support.xp_files import as_table, bulk_text, read_all, same, sampled_star, star, write_bulk
from support.xp_habits import arrow_table, noted, sampled, table_of, write_arrow, write_tables_fits


def renamed(rows, change):
    return [{change(name): value for name, value in row.items()} for row in rows]


@pytest.mark.parametrize("change", [str.upper, str.title, str.capitalize])
@pytest.mark.parametrize("make", [star, sampled_star])
def test_case_does_not_matter(tmp_path, change, make):
    rows = [make(n) for n in range(1, 6)]
    plain = read_all(write_bulk(tmp_path / "plain.csv.gz", rows))
    same(read_all(write_bulk(tmp_path / "a.csv.gz", renamed(rows, change))), plain)
    # Numbers of 32 bits, which text shortens.
    write_tables_fits(tmp_path / "plain.fits", [as_table(rows)])
    write_tables_fits(tmp_path / "a.fits", [as_table(renamed(rows, change))])
    same(read_all(tmp_path / "a.fits"), read_all(tmp_path / "plain.fits"))


def test_the_exact_name_wins_and_two_others_are_refused(tmp_path):
    rows = [{"SOURCE_ID": 9} | row for row in sampled(1, 2)]
    write_arrow(tmp_path / "a.parquet", arrow_table(rows), "parquet")
    assert noted(tmp_path / "a.parquet")[0].source_id.tolist() == [1, 2]
    rows = [{"FLUX": row["Flux"]} | row for row in renamed(sampled(1, 2), str.capitalize)]
    write_arrow(tmp_path / "b.parquet", arrow_table(rows), "parquet")
    with pytest.raises(InputError, match="FLUX, Flux could all be flux"):
        noted(tmp_path / "b.parquet")


def test_a_name_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text('source_id,flux,flux,flux_error\n1,"[1,2]","[1,2]","[1,2]"\n')
    with pytest.raises(InputError, match="flux, flux could all be flux"):
        noted(tmp_path / "a.csv")
    with pytest.raises(InputError, match="no name of text"):
        Names(("a", 5), "here")


@pytest.mark.parametrize("change", [str, str.upper])
def test_after_a_join_the_first_table_counts(tmp_path, change):
    rows = [
        {"source_id_1": row["source_id"], "flux": row["flux"], "flux_error": row["flux_error"]}
        | {"phot_g_mean_mag_1": 12.0, "phot_g_mean_mag_2": 9.0, "source_id_2": row["source_id"]}
        for row in sampled(1, 2)
    ]
    write_tables_fits(tmp_path / "a.fits", [table_of(renamed(rows, change))])
    chunk, bad, _ = noted(tmp_path / "a.fits")
    assert not bad
    assert chunk.source_id.tolist() == [1, 2]
    assert chunk.g_mag.tolist() == [12.0, 12.0]


def test_ids_that_a_join_made_differ_leave_the_row_out(tmp_path):
    rows = [
        {f"{name}_1" if name == "source_id" else name: value for name, value in row.items()}
        | {"source_id_2": row["source_id"] + (row["source_id"] == 2)}
        for row in sampled(1, 2, 3)
    ]
    write_arrow(tmp_path / "a.parquet", arrow_table(rows), "parquet")
    chunk, bad, _ = noted(tmp_path / "a.parquet")
    assert chunk.source_id.tolist() == [1, 3]
    assert "source_id_1 is 2, source_id_2 is 3" in bad[0].what
    # The spectra of the first table are of its stars.
    rows = [{f"{n}_1" if n.startswith("flux") else n: v for n, v in row.items()} for row in rows]
    write_arrow(tmp_path / "b.parquet", arrow_table(rows), "parquet")
    assert noted(tmp_path / "b.parquet")[0].source_id.tolist() == [1, 2, 3]


# --- one number a column

PATTERNS = {
    "bp_1, bp_1_error": ("{band}_{n}", "{band}_{n}_error", 1),
    "bp_coefficients_0": ("{band}_coefficients_{n}", "{band}_coefficient_errors_{n}", 0),
    "bp_coefficients[1]": ("{band}_coefficients[{n}]", "{band}_coefficient_errors[{n}]", 1),
    "BP_COEF01, BP_ERR01": ("{BAND}_COEF{n:02d}", "{BAND}_ERR{n:02d}", 1),
    "e_bp_0": ("{band}_{n}", "e_{band}_{n}", 0),
}


def exploded(rows, value, error, first):
    out = []
    for row in rows:
        flat = {"source_id": row["source_id"]}
        for band in BANDS:
            for form, name in ((value, "coefficients"), (error, "coefficient_errors")):
                for n, number in enumerate(row[f"{band}_{name}"].tolist(), start=first):
                    flat[form.format(band=band, BAND=band.upper(), n=n)] = number
        out.append(flat)
    return out


@pytest.mark.parametrize("pattern", PATTERNS)
def test_exploded_coefficients_are_put_together_and_said(tmp_path, pattern):
    rows = [star(n, sizes=(12, 10)) for n in (1, 2, 3)]
    table = table_of(exploded(rows, *PATTERNS[pattern]))
    table.write(tmp_path / "a.csv", format="ascii.csv")
    write_tables_fits(tmp_path / "a.fits", [table[table.colnames[::-1]]])
    expected = np.stack([np.concatenate([r[f"{b}_coefficients"] for b in BANDS]) for r in rows])
    for name in ("a.csv", "a.fits"):
        chunk, bad, notes = noted(tmp_path / name)
        assert not bad
        np.testing.assert_allclose(chunk.coefficients, expected, rtol=1e-14)
        assert chunk.n_bp == 12
        assert len(notes) == 4
        assert notes[0].startswith("bp_coefficients is taken from 12 columns, ")


def test_exploded_tables_that_are_not_clear_are_refused(tmp_path):
    flat = exploded([star(1, sizes=(5, 5))], *PATTERNS["bp_1, bp_1_error"])[0]
    without_errors = {name: value for name, value in flat.items() if "error" not in name}
    twice = flat | {f"bp_raw_{n}": 1.0 for n in range(1, 6)}
    a_gap = {name: value for name, value in flat.items() if not name.startswith("rp_3")}
    bare = {"source_id": 1} | {f"coeff_{n}": 1.0 for n in range(110)}
    for row, what in (
        (without_errors, "no Gaia XP table: it needs"),
        (twice, r"bp_1 \.\.\. bp_5 and bp_raw_1 \.\.\. bp_raw_5 could both be the BP coefficients"),
        (a_gap, "no Gaia XP table"),
        (bare, "no Gaia XP table"),
    ):
        table_of([row]).write(tmp_path / "a.csv", format="ascii.csv", overwrite=True)
        with pytest.raises(InputError, match=what) as caught:
            noted(tmp_path / "a.csv")
        assert "\n" not in str(caught.value)


def test_a_missing_number_is_missing_and_text_is_a_damaged_row(tmp_path):
    rows = exploded([star(n, sizes=(4, 4)) for n in (1, 2, 3)], *PATTERNS["e_bp_0"])
    rows[1]["bp_2"], rows[2]["rp_0"] = "", "many"
    table_of([{n: str(v) for n, v in row.items()} for row in rows]).write(
        tmp_path / "a.csv", format="ascii.csv"
    )
    chunk, bad, _ = noted(tmp_path / "a.csv")
    assert chunk.source_id.tolist() == [1, 2]
    assert np.flatnonzero(~chunk.finite[1]).tolist() == [2]
    assert [(row.source_id, row.what) for row in bad] == [(3, "rp_0 is 'many', not a number")]


def test_numbers_are_found_anywhere_in_a_name():
    found = numbered(["flux_336", "flux_338.0", "bp_1_error", "bp_2_error", "ra", "2mass"])
    assert {stem: series.numbers for stem, series in found.items()} == {
        "flux": (336.0, 338.0),
        "bp_error": (1.0, 2.0),
    }


@pytest.mark.parametrize("release", ["Gaia DR3", "Gaia EDR3", "gaia dr4", "Gaia DR2"])
@pytest.mark.parametrize("kind", ["csv", "fits", "parquet"])
def test_a_designation_stands_for_the_source_id(tmp_path, release, kind):
    rows = [star(n) for n in range(1, 4)]
    for row in rows:
        row["DESIGNATION"] = f"{release} {row.pop('source_id')}"
    path = tmp_path / "a"
    if kind == "csv":
        path.write_text(bulk_text(rows))
    elif kind == "fits":
        table_of(rows).write(path, format="fits")
    else:
        write_arrow(path, arrow_table(rows), "parquet")
    bad = []
    chunks = list(read_xp(path, on_bad_row=bad.append, on_note=lambda line: None))
    if release == "Gaia DR2":
        assert not chunks
        assert "source_id is 'Gaia DR2 1'" in str(bad[0])
        return
    assert not bad
    assert chunks[0].source_id.tolist() == [1, 2, 3]
