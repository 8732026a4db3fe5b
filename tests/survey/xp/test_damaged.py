"""Damaged rows and files: reported in one line, and whatever is whole survives."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import XPChunk, read_xp
from support.damage import damaged as damage
from support.damage import good_files
from support.xp_files import (
    WRITERS,
    bulk_text,
    collect,
    read_all,
    same,
    sampled_star,
    star,
    write_bulk,
    write_votable,
)

# --- damaged rows


def damaged(change) -> tuple[str, int]:
    """A file of 80 stars of which the 41st is changed."""
    lines = bulk_text([star(n) for n in range(1, 81)]).splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line.startswith("41,"))
    lines[at] = change(lines[at])
    return "".join(lines), 41


BAD_ROWS = {
    "a value short": (lambda row: re.sub(r",[^,\]]*\]", "]", row, count=1), "has 54 values"),
    "a value more": (lambda row: row.replace("]", ",1.0]", 1), "has 56 values"),
    "text in a list": (lambda row: row.replace("[", "[abc", 1), "'abc"),
    "true in a list": (lambda row: re.sub(r"\[[^,]*,", "[true,", row, count=1), "'true'"),
    "nothing in a list": (lambda row: row.replace("]", ",]", 1), "'' where a number"),
    "digits grouped": (lambda row: re.sub(r"\[[^,]*,", "[1_000,", row, count=1), "'1_000'"),
    "text in a scalar": (lambda row: row.replace(",955,", ",many,", 1), "'many', not a number"),
    "half a count": (lambda row: row.replace(",955,", ",955.5,", 1), "not a count"),
    "a column short": (lambda row: row.replace(",955,", ",", 1), "has 25 columns"),
    "cut in a list": (lambda row: row[: row.index("]") - 40] + "\n", "cut or wrongly quoted"),
    "cut in the correlations": (lambda row: row[:9000] + "\n", "cut or wrongly quoted"),
    "cut between": (lambda row: row[: row.index('"')] + "\n", "has 10 columns"),
    "no errors": (
        lambda row: (
            re.sub(r'"\[[^"]*"', "null", row[: row.index('","') + 1], count=1)
            + row[row.index('","') + 1 :]
        ),
        "is missing",
    ),
    "id of text": (lambda row: "Gaia DR2 " + row, "source_id is"),
    "negative id": (lambda row: "-" + row, "source_id is"),
    "id too large": (lambda row: "9" * 19 + row, "source_id is"),
    "binary": (lambda row: "\x00\x01\x02\n", "columns"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_damaged_row_is_reported_and_the_rest_survives(tmp_path, case):
    change, what = BAD_ROWS[case]
    text, row = damaged(change)
    path = tmp_path / "a.csv"
    path.write_text(text)
    chunks, bad = collect(path, chunk_size=30)
    assert [b.row for b in bad] == [row]
    assert what in bad[0].what
    ids = np.concatenate([chunk.source_id for chunk in chunks])
    assert ids.tolist() == [n for n in range(1, 81) if n != row]
    path.write_text(bulk_text([star(n) for n in range(1, 81) if n != row]))
    same(XPChunk.concatenate(chunks), read_all(path))
    path.write_text(text)
    with pytest.raises(InputError, match=rf"a\.csv, row {row}.*remove the row"):
        read_all(path)


def test_first_row_damaged(tmp_path):
    lines = bulk_text([star(1), star(2)]).splitlines(keepends=True)
    lines[-2] = re.sub(r",[^,\]]*\]", "]", lines[-2], count=1)
    (tmp_path / "a.csv").write_text("".join(lines))
    chunks, bad = collect(tmp_path / "a.csv")
    assert chunks[0].source_id.tolist() == [2]
    assert str(bad[0]) == (
        "row 1 (source_id 1): bp_coefficients has 54 values, the file's other rows have 55"
    )


def test_text_in_a_votable(tmp_path):
    write_votable(tmp_path / "a.xml", [star(1), star(2)], "tabledata")
    text = (tmp_path / "a.xml").read_text().replace("<TD>2</TD>", "<TD>two</TD>", 1)
    (tmp_path / "a.xml").write_text(text)
    chunks, bad = collect(tmp_path / "a.xml")
    assert chunks[0].source_id.tolist() == [1]
    assert "source_id" in bad[0].what


# --- files that are none


def truncated_gzip(path: Path) -> None:
    whole = gzip.compress(bulk_text([star(n) for n in range(1, 60)]).encode())
    path.write_bytes(whole[: len(whole) // 2])


def corrupt_gzip(path: Path) -> None:
    whole = bytearray(gzip.compress(bulk_text([star(n) for n in range(1, 60)]).encode()))
    whole[len(whole) // 2 : len(whole) // 2 + 200] = b"\xff" * 200
    path.write_bytes(whole)


def other_fits(path: Path) -> None:
    Table({"ra": [1.0], "dec": [2.0]}).write(path, format="fits")


def truncated(writer):
    def write(path: Path) -> None:
        writer(path, [star(n) for n in range(1, 5)])
        whole = path.read_bytes()
        path.write_bytes(whole[: 2 * len(whole) // 3])

    return write


BAD_FILES = {
    "truncated gzip": (truncated_gzip, "truncated gzip data after row"),
    "corrupt gzip": (corrupt_gzip, "gzip data|columns|quoted|number|row"),
    "gzip of nothing": (lambda path: path.write_bytes(gzip.compress(b"")), "is empty"),
    "broken gzip header": (lambda path: path.write_bytes(b"\x1f\x8bnonsense"), "gzip"),
    "empty": (lambda path: path.write_bytes(b""), "is empty; download it again"),
    "absent": (lambda path: None, "No such file"),
    "a directory": (lambda path: path.mkdir(), "is a directory; pass the files in it"),
    "no XP table (FITS)": (other_fits, "no Gaia XP table.* has ra, dec"),
    "image only (FITS)": (lambda path: fits.PrimaryHDU(np.ones(3)).writeto(path), "has no table"),
    "truncated FITS": (truncated(WRITERS["fits"]), "damaged FITS"),
    "truncated VOTable": (truncated(WRITERS["votable"]), "damaged or truncated VOTable"),
    "truncated BINARY2": (truncated(WRITERS["binary2"]), "damaged or truncated VOTable"),
    "truncated HDF5": (truncated(WRITERS["hdf5"]), "damaged HDF5"),
    "no XP table (csv)": (lambda path: path.write_text("ra,dec\n1,2\n"), "no Gaia XP table"),
    "a web page": (lambda path: path.write_text("<html>busy</html>"), "HTML or XML"),
    "a ZIP archive": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(60)), "ZIP archive"),
    "binary": (lambda path: path.write_bytes(bytes(range(256))), "unknown format"),
    "no newline": (lambda path: path.write_text("abc"), "no Gaia XP table"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_raise_one_line(tmp_path, case):
    write, what = BAD_FILES[case]
    path = tmp_path / "bad_file"
    write(path)
    with pytest.raises(InputError, match=what) as caught:
        list(read_xp(path))
    assert "bad_file" in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_rows_before_the_damage_are_given(tmp_path):
    truncated_gzip(tmp_path / "a.csv.gz")
    chunks = read_xp(tmp_path / "a.csv.gz", chunk_size=1)
    assert [int(next(chunks).source_id[0]) for _ in range(20)] == list(range(1, 21))
    with pytest.raises(InputError, match="truncated"):
        list(chunks)


def test_wrong_use_is_told(tmp_path):
    path = write_bulk(tmp_path / "a.csv.gz", [sampled_star(1)])
    with pytest.raises(InputError, match="sampled spectra have no correlations"):
        list(read_xp(path, correlations=True))
    with pytest.raises(InputError, match="chunk_size must be at least 1"):
        list(read_xp(path, chunk_size=0))
    rows = [{name: value for name, value in star(1).items() if not name.endswith("correlations")}]
    with pytest.raises(InputError, match="has no columns bp_coefficient_correlations"):
        list(read_xp(write_bulk(tmp_path / "b.csv.gz", rows), correlations=True))
    assert len(read_all(tmp_path / "b.csv.gz")) == 1


# --- fuzz

FEW = settings(max_examples=60, deadline=None, derandomize=True)
SMALL = [star(n, sizes=(3, 4)) for n in range(1, 9)]
TEXT = bulk_text(SMALL).encode()


def outcome(path: Path, data: bytes, **options):
    path.write_bytes(data)
    try:
        return collect(path, **options)
    except InputError:
        return None


@FEW
@given(data=st.data())
def test_damaged_bytes_never_crash(tmp_path_factory, data):
    """Any damage gives stars, reported rows or an InputError; whole rows survive."""
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    start = data.draw(st.integers(TEXT.index(b"\n1,") + 1, len(TEXT) - 1))
    stop = data.draw(st.integers(start, min(start + 30, len(TEXT))))
    new = data.draw(st.binary(max_size=20) | st.sampled_from([b'"', b"\n", b"]", b",", b"[", b"1"]))
    got = outcome(path, TEXT[:start] + new + TEXT[stop:], correlations=True)
    assert got is not None
    chunks, bad = got
    first = TEXT[:start].count(b"\n") - 5
    touched = TEXT[start:stop].count(b"\n") + 1
    ids = [int(i) for chunk in chunks for i in chunk.source_id]
    whole = [row["source_id"] for n, row in enumerate(SMALL) if not first <= n < first + touched]
    assert set(whole) <= set(ids)
    assert len(ids) + len(bad) >= len(SMALL) - touched


@FEW
@given(
    values=st.lists(
        st.floats(allow_nan=True, allow_infinity=False, width=64), min_size=3, max_size=3
    ),
    style=st.sampled_from([("[]", ","), ("()", ", ")]),
    block=st.integers(1, 400),
)
def test_any_number_survives_the_text(tmp_path_factory, values, style, block):
    """In one by one and bulk parsing alike, at any block boundary."""
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    rows = [row | {"bp_coefficients": np.array(values)} for row in SMALL]
    path.write_text(bulk_text(rows, brackets=style[0], separator=style[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aspgap_jax.survey.xp.text.BLOCK", block)
        chunk = read_all(path)
    expected = np.tile(values, (len(SMALL), 1))
    np.testing.assert_array_equal(chunk.coefficients[:, :3], expected)
    np.testing.assert_array_equal(chunk.finite[:, :3], np.isfinite(expected))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return good_files(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("seed", range(12))
def test_damage_anywhere_in_any_container_is_told_in_one_line(tmp_path, whole, seed):
    """``experiments/studies/damaged_files.py`` does it ten thousand times."""
    for n, (name, data) in enumerate(whole.items()):
        path = tmp_path / name.replace("/", "_")
        path.write_bytes(damage(data, 1000 * seed + n))
        refusal = ""
        try:
            list(read_xp(path, on_bad_row=[].append, on_note=[].append))
        except InputError as error:
            refusal = str(error)
        assert "\n" not in refusal, name


@FEW
@given(
    head=st.binary(max_size=200), prefix=st.sampled_from([b"", b"\x1f\x8b\x08", b"<VOTABLE", b"#"])
)
def test_any_bytes_are_data_or_an_input_error(tmp_path_factory, head, prefix):
    path = tmp_path_factory.getbasetemp() / "bytes"
    got = outcome(path, prefix + head)
    assert got is None
