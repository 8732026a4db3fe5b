"""Labels by name, and users' own from TOML."""

from __future__ import annotations

from pathlib import Path

import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.files.label_tables import choose_labels, read_label_table
from aspgap_jax.labels import KNOWN, LABELS, from_values, index, lacking, names, to_values

AGE = '[age]\nunit = "Gyr"\noutlier = 0.3\nrelative = true\ncolumn = "AGE_ML"\nerror = 1\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_names_in_any_order_with_own_ones_among_them(tmp_path: Path) -> None:
    found = choose_labels("logg, age,teff", written(tmp_path, AGE))
    assert names(found) == ("logg", "age", "teff")
    assert found[0] == LABELS[1]
    age = found[1]
    assert (age.unit, age.outlier.bound, age.outlier.relative) == ("Gyr", 0.3, True)
    assert (age.catalogue, age.apogee, age.error) == ("age_xp", "AGE_ML", 1.0)
    assert index("age", found) == 1
    assert lacking(found) == ("m_h", "alpha_m")
    assert from_values(to_values(found)) == found


def test_an_own_label_goes_before_one_of_the_table(tmp_path: Path) -> None:
    path = written(tmp_path, '[c_fe]\nunit = "dex"\noutlier = 0.2\ncolumn = "C_FE_2"')
    assert choose_labels("c_fe", path)[0].apogee == "C_FE_2"
    assert choose_labels("c_fe")[0].apogee == "C_FE"


def test_all_known_names_and_columns_differ() -> None:
    assert len(set(names(KNOWN))) == len(KNOWN) == len({label.catalogue for label in KNOWN})


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("", "no name; write for example"),
        ("teff,teff", "teff is given twice"),
        ("teff,alfa_m", r"no label alfa_m \(near: alpha_m.*\); known are teff, logg"),
    ],
)
def test_names_that_are_none(wanted: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_labels(wanted)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age = 3", r"\[age\]: write a table: \[age\]"),
        ("[age", "no valid TOML"),
        ('[age]\nunit = "Gyr"', "needs outlier"),
        ("[age]\noutlier = 2.0", "needs unit"),
        (AGE + "outlir = 3", r"no key outlir \(near: outlier\)"),
        (AGE.replace("0.3", "-1"), "the outlier bound must be > 0, got -1"),
        (AGE.replace("0.3", "true"), "outlier = True is of another type"),
        (AGE.replace("true", "1"), "relative = 1 is of another type"),
        (AGE.replace("= 1\n", "= 0\n"), "age: the error must be > 0, got 0"),
        (AGE.replace("[age]", "[g_mag]"), "no label can be called 'g_mag'"),
        (AGE.replace("[age]", '["my age"]'), "no label can be called 'my age'"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_label_table(written(tmp_path, text))
    assert "own.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--label-table .*none\.toml: No such file"):
        read_label_table(tmp_path / "none.toml")
