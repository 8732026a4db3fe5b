"""Text tables of other hands: separators, line ends, lists as NumPy prints them."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pandas as pd
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp.cells import as_list, id_of
from aspgap_jax.survey.xp.header import read_header
from support.xp_files import bulk_text, read_all, same, star
from support.xp_habits import noted, numpy_text, sampled, table_of

ROWS = sampled(101, 102, 103)


def lists(values, how):
    shown = [repr(float(v)) for v in values]
    return {
        "json": "[" + ", ".join(shown) + "]",
        "tuple": "(" + ", ".join(shown) + ")",
        "bare": " ".join(shown),
        "numpy": numpy_text(values),
        "repr": f"array([{', '.join(shown)}], dtype=float64)",
        "scalars": "[" + ", ".join(f"np.float64({v})" for v in shown) + "]",
        "semicolons": "[" + ";".join(shown) + "]",
    }[how]


def text(rows, separator, how, quote='"', end="\n"):
    lines = [separator.join(rows[0])]
    for row in rows:
        cells = [
            f"{quote}{lists(v, how)}{quote}" if isinstance(v, np.ndarray) else str(v)
            for v in row.values()
        ]
        lines.append(separator.join(cells))
    return end.join(lines) + end


def right(path, rows=ROWS):
    chunk, bad, notes = noted(path)
    assert (bad, notes) == ([], [])
    assert chunk.source_id.tolist() == [row["source_id"] for row in rows]
    np.testing.assert_allclose(chunk.coefficients, [row["flux"] for row in rows], rtol=1e-14)
    np.testing.assert_allclose(chunk.errors, [row["flux_error"] for row in rows], rtol=1e-14)
    np.testing.assert_array_equal(chunk.g_mag, [row["phot_g_mean_mag"] for row in rows])


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("how", ["json", "tuple", "bare", "numpy", "repr", "scalars"])
def test_separators_and_lists(tmp_path, separator, how):
    (tmp_path / "a.txt").write_text(text(ROWS, separator, how))
    right(tmp_path / "a.txt")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("how", ["json", "semicolons"])
@pytest.mark.parametrize("packed", [False, True])
def test_line_ends(tmp_path, end, how, packed):
    data = text(ROWS, ",", how, end=end).encode()
    (tmp_path / "a.csv").write_bytes(gzip.compress(data) if packed else data)
    right(tmp_path / "a.csv")


def test_the_last_line_needs_no_end(tmp_path):
    for end in ("\n", "\r"):
        (tmp_path / "a.csv").write_bytes(text(ROWS, "\t", "json", end=end).rstrip().encode())
        right(tmp_path / "a.csv")


def test_what_pandas_and_astropy_write(tmp_path):
    with np.printoptions(threshold=10_000, precision=17):
        pd.DataFrame(ROWS).to_csv(tmp_path / "a.csv", index=False)
        pd.DataFrame(ROWS).to_csv(tmp_path / "b.csv", sep=";")
    right(tmp_path / "a.csv")
    right(tmp_path / "b.csv")
    table_of(ROWS).write(tmp_path / "a.ecsv", format="ascii.ecsv")
    right(tmp_path / "a.ecsv")
    table_of(ROWS).write(tmp_path / "b.ecsv", format="ascii.ecsv", delimiter=",")
    right(tmp_path / "b.ecsv")


def test_a_header_in_a_comment(tmp_path):
    whole = text(ROWS, " ", "json")
    (tmp_path / "a.txt").write_text("# made by hand\n#" + whole)
    right(tmp_path / "a.txt")


def test_an_array_that_numpy_has_shortened_is_no_spectrum(tmp_path):
    pd.DataFrame([row | {"flux": np.resize(row["flux"], 2000)} for row in ROWS]).to_csv(
        tmp_path / "a.csv", index=False
    )
    _, bad, _ = noted(tmp_path / "a.csv")
    assert len(bad) == 3
    assert "flux is shortened ('...'): write it with all its numbers" in bad[0].what


@pytest.mark.parametrize("how", ["numpy", "bare"])
def test_a_quote_that_is_lost_costs_one_row(tmp_path, how):
    rows = sampled(*range(1, 7))
    whole = text(rows, ",", how)
    start = whole.index("\n3,") + 1
    damaged = whole[:start] + whole[start:].replace('"', "", 1)
    (tmp_path / "a.csv").write_text(damaged)
    chunk, bad, _ = noted(tmp_path / "a.csv")
    assert chunk.source_id.tolist() == [1, 2, 4, 5, 6]
    assert len(bad) >= 1


def test_a_row_with_a_cell_too_few_or_text_is_named(tmp_path):
    lines = text(ROWS, "\t", "json").splitlines()
    lines[1] = lines[1].rpartition("\t")[0]
    lines[2] = re.sub(r"\[[^,]*", "[many", lines[2], count=1)
    (tmp_path / "a.tsv").write_text("\n".join(lines) + "\n")
    chunk, bad, _ = noted(tmp_path / "a.tsv")
    assert chunk.source_id.tolist() == [103]
    assert [row.row for row in bad] == [1, 2]
    assert bad[0].what == "has 3 columns, the header has 4"
    assert "'many' where a number belongs" in bad[1].what


def test_continuous_spectra_too(tmp_path):
    rows = [star(n) for n in (1, 2, 3)]
    (tmp_path / "plain.csv").write_text(bulk_text(rows))
    lines = bulk_text(rows, header=False).splitlines()
    tabs = "\n".join(re.sub(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', "\t", line) for line in lines)
    (tmp_path / "a.tsv").write_text(tabs + "\n")
    same(read_all(tmp_path / "a.tsv"), read_all(tmp_path / "plain.csv"))


def test_lists_and_what_is_none():
    assert as_list("x", "[1, null, nan]").tolist()[0] == 1.0
    assert np.isnan(as_list("x", "(1 nan --)")).tolist() == [False, True, True]
    assert as_list("x", "null") is None
    assert as_list("x", "[]") is None
    for cell, what in (
        ("[1, 2", "not a list"),
        ("1.0", "not a list"),
        ("[1,,2]", "'' where a number"),
        ("[1_0, 2]", "'1_0' where a number"),
    ):
        with pytest.raises(ValueError, match=what):
            as_list("x", cell)


def test_ids_are_whole_numbers_or_told():
    big = 5853498713190525696
    for value in (big, str(big), f" {big} ", str(big).encode(), np.uint64(big), 12.0):
        assert id_of(value) == (12 if value == 12.0 else big)
    assert "lost digits" in str(id_of(float(big)))
    for value in ("Gaia DR2 5", True, "1.5", -0.5):
        assert not isinstance(id_of(value), int)
    assert id_of(None) is None
    assert id_of(float("nan")) is None


def test_headers():
    assert read_header(b"a,b;c\n1").delimiter == ","
    assert read_header(b"a;b;c,d\n1").delimiter == ";"
    assert read_header(b'"x,y,z"\tb\n').columns == ("x,y,z", "b")
    assert read_header(b"a  b\t\n").columns == ("a  b", "")
    assert read_header(b"no end") is None
    with pytest.raises(InputError, match=r"x\.ecsv: damaged ECSV header"):
        read_header(b"# %ECSV 1.0\n# ---\n# datatype: [{\na,b\n", "x.ecsv")
