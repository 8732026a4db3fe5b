"""Cells and names as people write them: parsed where they are clear, else the row is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspgap_jax.errors import InputError
from aspgap_jax.survey.tables import Place, Remarks, Wanted, find_columns, numbers, read_whole
from aspgap_jax.survey.tables import source_ids as ids
from aspgap_jax.survey.tables.text import read_header
from aspgap_jax.survey.tables.values import integers, texts
from support.table_files import text

PLACE = Place(Path("t.csv"), "", "x", 5)
BIG = 5853418002145112704


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([BIG, 7, 0, -9999]), [BIG, 7, -1, -1]),
        (np.array([BIG, 7], np.uint64), [BIG, 7]),
        (np.array([7.0, np.nan, -1.0]), [7, -1, -1]),
        (np.array([str(BIG), " 7 ", "null", "", "--"]), [BIG, 7, -1, -1, -1]),
        (np.array([str(BIG).encode(), b"7\x00"]), [BIG, 7]),
        (np.array([f"Gaia DR3 {BIG}", "Gaia EDR3 7"]), [BIG, 7]),
        (np.array(["7.0", "1e3", "+5"]), [7, 1000, 5]),
        (np.array([BIG, None, "7"], object), [BIG, -1, 7]),
        (pa.array([BIG, None], pa.int64()), [BIG, -1]),
        (pa.array([str(BIG), None, "NaN"]), [BIG, -1, -1]),
        (pa.array([str(BIG), "7"]).dictionary_encode(), [BIG, 7]),
        (pa.array([BIG, None], pa.decimal128(19, 0)), [BIG, -1]),
        (pa.array([str(BIG)], pa.large_string()), [BIG]),
        (np.ma.array([BIG, 7], mask=[False, True]), [BIG, -1]),
    ],
)
def test_ids_of_every_type(values: object, expected: list[int]) -> None:
    found = ids(values, PLACE)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([1.0, float(BIG)]), "row 6: column x is 5853418002145113088, of type float64"),
        (np.array([3.0e8], np.float32), "row 5: .* of type float32, which rounds 19-digit ids"),
        (np.array(["7", "5.853418002145113e+18"]), "row 6: .* a float, which rounds 19-digit ids"),
        (np.array([f"{BIG}.0"]), "row 5: .* which rounds"),
        (pa.array([1.0, float(BIG)]), "row 6: .* which rounds"),
        (np.array([1.5]), "row 5: column x is 1.5, not an integer"),
        (np.array(["7", "7.5"]), "row 6: column x is '7.5', not an integer"),
        (np.array(["7", f"Gaia DR2 {BIG}"]), "row 6: column x is 'Gaia DR2 .* not an integer"),
        (np.array(["1_0"]), "row 5: column x is '1_0', not an integer"),
        (np.array([2**63 + 5], np.uint64), "row 5: .* not a 64-bit integer"),
        (np.array(["9223372036854775808"]), "row 5: .* not an integer"),
        (np.ones((2, 2), int), "column x holds arrays"),
        (np.ones(2, complex), "column x holds no integers"),
        (pa.array([[1], [2]]), "column x holds arrays"),
    ],
)
def test_ids_that_would_be_another_star_are_refused(values: object, words: str) -> None:
    with pytest.raises(InputError, match=rf"^t\.csv.*{words}"):
        ids(values, PLACE)


@given(st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=5))
def test_ids_survive_as_text_and_integers(values: list[int]) -> None:
    for given_as in (np.array(values), np.array([str(v) for v in values]), pa.array(values)):
        assert ids(given_as, PLACE).tolist() == values


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            np.array(["1.5", "", "null", "NaN", "N/A", "--", "<NA>", "1e3"]),
            [1.5, *[np.nan] * 6, 1e3],
        ),
        (np.array(["True", "false"]), [1, 0]),
        (np.array([True, False]), [1, 0]),
        (np.array([1, 2], ">i2"), [1, 2]),
        (pa.array([True, None]), [1, np.nan]),
        (pa.array([None, None]), [np.nan, np.nan]),
        (pa.array([1.5, None], pa.float32()), [1.5, np.nan]),
        (np.array(["inf", "-3.5e-2", "+7"]), [np.inf, -0.035, 7]),
    ],
)
def test_numbers_of_every_type(values: object, expected: list[float]) -> None:
    np.testing.assert_array_equal(numbers(values, PLACE), expected)


@pytest.mark.parametrize("cell", ["bright", "1,5", "12 mag", "1d5", "1_0"])
def test_text_that_is_no_number_names_its_row(cell: str) -> None:
    for values in (np.array(["1", cell]), pa.array(["1", cell])):
        with pytest.raises(InputError, match=rf"row 6: column x is '{cell}', not a number"):
            numbers(values, PLACE)


def test_text_of_every_type() -> None:
    for values in (np.array([" a", "b "]), np.array([b"a", b"b"]), pa.array(["a", " b"])):
        assert texts(values, PLACE).tolist() == ["a", "b"]
    assert texts(pa.array(["a", None]), PLACE).tolist() == ["a", ""]
    assert texts(np.array([1, 2]), PLACE).tolist() == ["1", "2"]
    assert integers(np.array([], object), PLACE).tolist() == []


@pytest.mark.parametrize(
    ("columns", "accepted", "found"),
    [
        (("SOURCE_ID", "Teff"), ("teff",), (1,)),
        (("TEFF", "teff_1"), ("teff",), (0,)),
        (("teff_1", "teff_2", "logg"), ("teff",), (0, 1)),
        (("teff_x", "teff_y"), ("teff",), (0, 1)),
        (("Teff", "TEFF"), ("teff",), (0, 1)),
        (("feh", "m_h"), ("m_h", "feh"), (1,)),
        (("feh_1", "m_h"), ("feh", "m_h"), (1,)),
        (("gmag", "Gmag"), ("Gmag",), (1,)),
        (("gmag",), ("Gmag",), ()),
        (("teff_err",), ("teff",), ()),
        ((" teff ",), ("teff",), (0,)),
    ],
)
def test_columns_by_name(
    columns: tuple[str, ...], accepted: tuple[str, ...], found: tuple[int, ...]
) -> None:
    assert find_columns(columns, accepted) == found


def test_copies_that_agree_are_one_column_and_others_are_refused(tmp_path: Path) -> None:
    wanted = [Wanted("teff", ("teff",))]
    one = np.array([4000.0, np.nan, 5000.0])
    path = text(tmp_path / "joined.csv", {"teff_1": one, "teff_2": one})
    np.testing.assert_array_equal(read_whole(path, wanted, Remarks()).columns["teff"], one)
    other = np.array([4000.0, np.nan, 5100.0])
    path = text(tmp_path / "joined.csv", {"teff_1": one, "teff_2": other})
    with pytest.raises(InputError, match=r"joined\.csv, row 3: columns teff_1 and teff_2 go by"):
        read_whole(path, wanted, Remarks())
    path = tmp_path / "case.parquet"
    pq.write_table(pa.table({"Teff": one, "TEFF": other}), path)
    with pytest.raises(InputError, match=r"row 3: columns Teff and TEFF .*5000.0 and 5100.0"):
        read_whole(path, wanted, Remarks())


def test_sentinels_are_missing_and_counted_by_column(tmp_path: Path) -> None:
    wanted = [Wanted("g", ("g",), kind="magnitude"), Wanted("plx", ("plx",), kind="parallax")]
    columns = {"g": np.array([12.0, 0.0, 99.99, 0.0]), "plx": np.array([0.0, -1.0, -999.0, 99.99])}
    remarks = Remarks()
    found = read_whole(text(tmp_path / "t.csv", columns), wanted, remarks).columns
    np.testing.assert_array_equal(found["g"], [12.0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(found["plx"], [0.0, -1.0, np.nan, 99.99])
    g, plx = remarks.lines
    assert "column g: sentinels taken as missing values: 3 (0: 2, 99.99: 1)" in g
    assert "column plx: sentinels taken as missing values: 1" in plx


@pytest.mark.parametrize(
    ("head", "columns", "delimiter", "lines"),
    [
        ("a,b\n1,2\n", ("a", "b"), ",", 1),
        ("\ufeffa;b\n", ("a", "b"), ";", 1),
        ("# c\n\na\tb\n", ("a", "b"), "\t", 3),
        ('"a,b"|c\n', ("a,b", "c"), "|", 1),
        ("# %ECSV 1.0\n# ---\n# delimiter: ','\na,b\n", ("a", "b"), ",", 4),
        ("# %ECSV 1.0\n# ---\na b\n", ("a", "b"), " ", 3),
        ("# a b\n1 2.5\n", ("a", "b"), " ", 1),
        ("source_id\n17\n", ("source_id",), ",", 1),
        ("a,b\r1,2\r", ("a", "b"), ",", 1),
    ],
)
def test_headers(head: str, columns: tuple[str, ...], delimiter: str, lines: int) -> None:
    assert read_header(head, whole=False) == (columns, delimiter, lines)


def test_a_row_of_another_length_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv"
    for content, row in (("# c\na,b\n1,2\n3\n", 2), ("a,b\n1,2\n3,4\n5,6,7\n", 3)):
        path.write_text(content)
        with pytest.raises(
            InputError, match=rf"cut\.csv, row {row}: no readable table \(Expected 2"
        ):
            read_whole(path, [Wanted("a", ("a",))], Remarks())
