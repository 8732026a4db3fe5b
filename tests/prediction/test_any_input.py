"""The Predictor on whatever Python holds a table in: the labels of the plain one, or one line."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Row, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from aspgap_jax.config import PredictOptions
from aspgap_jax.errors import InputError
from aspgap_jax.flags import bit
from aspgap_jax.prediction.bundle import save_bundle
from aspgap_jax.prediction.predictor import Predictor
from support.bundles import flat_star, gaia_bundle
from support.xp_files import write_bulk, write_fits
from support.xp_habits import arrow_table, fits_bytes, long_rows, sampled, table_of

IDS = [5_853_498_713_190_525_697 + 2 * n for n in range(5)]
PARTS = ("correlations", "solution", "standard", "chi", "shrinking", "degrees", "rejected")
LABELS = ("teff_xp", "logg_xp", "moh_xp", "aom_xp", "e_teff_xp", "phot_g_mean_mag")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    save_bundle(folder, *gaia_bundle())
    return Predictor(folder, PredictOptions(batch_size=8, second_path=False))


def continuous() -> list[dict[str, Any]]:
    rows = [flat_star(n) | {"phot_g_mean_mag": 11.0 + 0.1 * (n % 7)} for n in IDS]
    return [{n: v for n, v in r.items() if not any(part in n for part in PARTS)} for r in rows]


ROWS = {"continuous": continuous(), "sampled": sampled(*IDS)}


@pytest.fixture(scope="module")
def plain(predictor: Predictor) -> dict[str, Table]:
    return {kind: predictor(table_of(rows)) for kind, rows in ROWS.items()}


def cell(labels: Any, row: int, name: str) -> Any:
    """Of any kind of table, or row."""
    if isinstance(labels, pd.DataFrame):
        return labels[name].iloc[row]
    if isinstance(labels, list):
        return labels[row][name]
    if isinstance(labels, pa.Table | pa.RecordBatch):
        return labels.column(name)[row].as_py()
    found = (
        labels[name] if isinstance(labels, dict | pd.Series | Row | np.void) else labels[name][row]
    )
    return getattr(found, "value", found)


def same_labels(labels: Any, expected: Table, rows: range | None = None) -> None:
    for row in range(len(expected)) if rows is None else rows:
        assert cell(labels, row, "source_id") == expected["source_id"][row]
        assert cell(labels, row, "flags") == expected["flags"][row]
        assert cell(labels, row, "reason") == ""
        for name in LABELS:
            np.testing.assert_allclose(cell(labels, row, name), expected[name][row], rtol=2e-5)


def structured(rows: list[dict[str, Any]]) -> np.ndarray:
    return table_of(rows).as_array()


KINDS: dict[str, tuple[Any, type]] = {
    "pandas": (lambda rows: pd.DataFrame(rows), pd.DataFrame),
    "pandas by id": (lambda rows: by_id(pd.DataFrame(rows)), pd.DataFrame),
    "pandas of arrow": (
        lambda rows: arrow_table(rows).to_pandas(types_mapper=pd.ArrowDtype),
        pd.DataFrame,
    ),
    "polars": (lambda rows: pl.from_arrow(arrow_table(rows)), pl.DataFrame),
    "arrow": (arrow_table, pa.Table),
    "record batch": (lambda rows: arrow_table(rows).to_batches()[0], pa.RecordBatch),
    "astropy": (table_of, Table),
    "quantities": (lambda rows: QTable(table_of(rows)), QTable),
    "structured": (structured, np.ndarray),
    "FITS_rec": (lambda rows: fits.BinTableHDU(table_of(rows)).data, np.ndarray),
    "rows": (lambda rows: rows, list),
    "columns": (lambda rows: {n: [row[n] for row in rows] for n in rows[0]}, Table),
}


def by_id(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_index(next(name for name in frame if name.lower() == "source_id"))


@pytest.mark.parametrize("spectra", ROWS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_table_comes_back_as_its_own(
    predictor: Predictor, plain: dict[str, Table], kind: str, spectra: str
) -> None:
    make, back = KINDS[kind]
    labels = predictor(make(ROWS[spectra]))
    assert type(labels) is back
    same_labels(labels, plain[spectra])
    # A table without rows gives the same columns.
    if kind not in ("rows", "columns"):
        none = predictor(make(ROWS[spectra])[:0])
        assert type(none) is back
        assert len(none) == 0


ONE: dict[str, tuple[Any, type]] = {
    "dict": (lambda rows: rows[1], dict),
    "series": (lambda rows: pd.DataFrame(rows).iloc[1], pd.Series),
    "astropy row": (lambda rows: table_of(rows)[1], Row),
    "void": (lambda rows: structured(rows)[1], np.void),
    "FITS_record": (lambda rows: fits.BinTableHDU(table_of(rows)).data[1], np.void),
    "named tuple": (lambda rows: list(pd.DataFrame(rows).itertuples())[1], dict),
}


@pytest.mark.parametrize("spectra", ROWS)
@pytest.mark.parametrize("kind", ONE)
def test_one_row_gives_one_row(
    predictor: Predictor, plain: dict[str, Table], kind: str, spectra: str
) -> None:
    make, back = ONE[kind]
    labels = predictor(make(ROWS[spectra]))
    assert isinstance(labels, back)
    same_labels(labels, plain[spectra][1:2], range(1))


def test_what_comes_back_keeps_index_units_and_masks(predictor: Predictor) -> None:
    rows = ROWS["sampled"]
    frame = pd.DataFrame(rows, index=pd.Index([f"s{n}" for n in range(5)], name="star"))
    assert predictor(frame).index.equals(frame.index)
    series = predictor(frame.iloc[3])
    assert (series.name, series["source_id"]) == ("s3", IDS[3])
    assert predictor(QTable(table_of(rows)))["teff_xp"].unit == u.K
    arrow = predictor(arrow_table(rows))
    assert arrow.schema.field("teff_xp").metadata[b"unit"] == b"K"
    assert arrow.schema.field("reason").type == pa.string()
    masked = Table(table_of(rows), masked=True)
    masked["source_id"].mask[2] = True
    labels = predictor(masked)
    assert labels["teff_xp"].mask.tolist() == [False, False, True, False, False]
    assert labels["teff_xp"].unit == u.K


UNITS = {"": 1.0, "W m-2 nm-1": 1.0, "erg / (Angstrom s cm2)": 1e-2, "1e-18 W / (m2 nm)": 1e-18}
OF_IDS = {
    "int64": np.int64,
    "uint64": np.uint64,
    "python": int,
    "text": str,
    "spaces": lambda value: f" {value} ",
    "float64": float,
}


@pytest.mark.filterwarnings("ignore:the table. fluxes were converted")
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    spectra=st.sampled_from(sorted(ROWS)),
    kind=st.sampled_from(sorted(KINDS)),
    case=st.sampled_from([str.lower, str.upper, str.title]),
    ids=st.sampled_from(sorted(OF_IDS)),
    unit=st.sampled_from(sorted(UNITS)),
    order=st.randoms(use_true_random=False),
)
def test_any_dress_of_a_table_gives_the_labels_of_the_plain_one(
    predictor, plain, spectra, kind, case, ids, unit, order
) -> None:
    stated = spectra == "sampled" and kind in ("astropy", "quantities", "arrow", "record batch")
    factor = UNITS[unit] if stated else 1.0
    names = list(ROWS[spectra][0])
    order.shuffle(names)
    rows = []
    for row in ROWS[spectra]:
        dressed = {}
        for name in names:
            value = OF_IDS[ids](row[name]) if name == "source_id" else row[name]
            dressed[case(name)] = value / factor if name.startswith("flux") else value
        rows.append(dressed)
    if kind in ("structured", "FITS_rec") and ids == "python":
        kind = "rows"
    table = KINDS[kind][0](rows)
    if stated and unit:
        for name in map(case, ("flux", "flux_error")):
            if isinstance(table, Table):
                table[name] = u.Quantity(np.asarray(table[name]), u.Unit(unit))
            else:
                field = table.schema.field(name).with_metadata({"unit": unit})
                at = table.schema.get_field_index(name)
                table = table.set_column(at, field, table.column(name))
    if ids == "float64":
        with pytest.raises(InputError, match=r"row 1: source_id is .*lost digits.*64-bit") as line:
            predictor(table)
        assert "\n" not in str(line.value)
        return
    same_labels(predictor(table), plain[spectra])


def with_ids(*ids: Any) -> list[dict[str, Any]]:
    return [row | {"source_id": i} for row, i in zip(ROWS["sampled"], ids, strict=True)]


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(with_ids(*IDS[:2], pd.NA, *IDS[3:])),
        pd.DataFrame(ROWS["sampled"]).assign(
            source_id=pd.array([*IDS[:2], None, *IDS[3:]], dtype="Int64")
        ),
        pl.DataFrame(with_ids(*IDS[:2], None, *IDS[3:])),
        with_ids(*map(str, IDS[:2]), "", *IDS[3:]),
        {n: [row[n] for row in with_ids(*IDS[:2], float("nan"), *IDS[3:])] for n in sampled(1)[0]},
    ],
)
def test_one_missing_id_costs_one_star(
    predictor: Predictor, plain: dict[str, Table], table: Any
) -> None:
    labels = predictor(table)
    assert cell(labels, 2, "reason") == "source_id is missing, not a positive integer"
    assert np.isnan(cell(labels, 2, "teff_xp"))
    assert cell(labels, 2, "flags") == bit("NOT_FINITE")
    for row in (0, 1, 3, 4):
        same_labels(labels, plain["sampled"], range(row, row + 1))


def test_each_row_that_fails_says_why(predictor: Predictor, plain: dict[str, Table]) -> None:
    frame = pd.DataFrame(ROWS["continuous"]).astype(
        {"source_id": object, "phot_g_mean_mag": object}
    )
    frame.loc[0, "source_id"] = "Proxima"
    frame.loc[1, "phot_g_mean_mag"] = "bright"
    frame.at[2, "rp_coefficients"] = [1.0, "x"]
    frame.at[3, "bp_coefficients"] = frame.at[3, "bp_coefficients"] * np.nan
    labels = predictor(frame)
    assert labels["reason"].tolist() == [
        "source_id is 'Proxima', not a positive integer",
        "phot_g_mean_mag is 'bright', not a number",
        "rp_coefficients holds something else than numbers",
        "MISSING_BAND: BP or RP is missing; there are no labels",
        "",
    ]
    assert labels["source_id"].tolist() == [-1, *IDS[1:]]
    assert np.isnan(labels["teff_xp"]).tolist() == [True] * 4 + [False]
    same_labels(labels, plain["continuous"], range(4, 5))
    # G as text is a number all the same.
    frame = pd.DataFrame(ROWS["continuous"]).astype({"phot_g_mean_mag": str})
    same_labels(predictor(frame), plain["continuous"])


def test_whole_ids_below_2_to_the_53_may_be_floats(predictor: Predictor) -> None:
    rows = sampled(2**53 - 1, 12, 13)
    frame = pd.DataFrame(rows).astype({"source_id": float})
    frame.loc[1, "source_id"] = 12.5
    labels = predictor(frame)
    assert labels["source_id"].tolist() == [2**53 - 1, -1, 13]
    assert "12.5" in labels["reason"][1]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (5, "the table: is an int; pass a DataFrame"),
        (np.ones((3, 110)), "arrays go to Predictor.arrays"),
        ([], "is an empty list"),
        ([1, 2], "the table, row 1: is an int"),
        ((row for row in ()), "is a generator"),
        (pd.DataFrame({"source_id": [1]}), "no Gaia XP table"),
        ({"source_id": [1, 2], "flux": [[1.0]], "flux_error": [[1.0]]}, "has 2 rows, flux has 1"),
        ({"source_id": [1, 2], "flux": 1.0}, "column flux is one value"),
        (pd.concat([pd.DataFrame(sampled(1))] * 2, axis=1), "source_id, source_id could all be"),
        (pa.table([[1], [2]], names=["source_id", "source_id"]), "could all be source_id"),
        (Table({"source_id": [1], "flux": [[1j]], "flux_error": [[1.0]]}), "holds complex128"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(
    predictor: Predictor, given: Any, says: str
) -> None:
    with pytest.raises(InputError, match=r"^the table") as line:
        predictor(given)
    assert says in str(line.value)
    assert "\n" not in str(line.value)


def test_units_of_cells_and_attributes_count(predictor: Predictor, plain: dict[str, Table]) -> None:
    cgs = u.erg / (u.s * u.cm**2 * u.AA)
    rows = [
        row | {n: row[n] * 100 * cgs for n in ("flux", "flux_error")} for row in ROWS["sampled"]
    ]
    for table in (rows, pd.DataFrame(rows), {n: [row[n] for row in rows] for n in rows[0]}):
        with pytest.warns(UserWarning, match="converted from the unit stated"):
            same_labels(predictor(table), plain["sampled"])
    rows[3]["flux"] = rows[3]["flux"].value
    with pytest.raises(InputError, match="row 4: flux is in no unit, another row's is in erg"):
        predictor(rows)
    grid = np.arange(330.0, 1031.0, 2.0)
    frame = pd.DataFrame([{"source_id": n, "flux": grid, "flux_error": grid} for n in IDS])
    frame.attrs["sampling"] = grid
    with pytest.warns(UserWarning, match="resampled"):
        predictor(frame)


def test_a_row_a_wavelength_gives_a_row_a_star(
    predictor: Predictor, plain: dict[str, Table]
) -> None:
    long = long_rows(ROWS["sampled"], "source_id", "phot_g_mean_mag")
    same_labels(predictor(long), plain["sampled"])
    frame = long.to_pandas()
    frame["flux"] = frame["flux"].astype(object)
    frame.loc[400, "flux"] = "x"
    labels = predictor(frame)
    assert labels["source_id"].tolist() == IDS
    assert labels.index.tolist() == [0, 1, 2, 3, 4]
    assert (labels["reason"] != "").tolist() == [False, True, False, False, False]
    same_labels(labels, plain["sampled"], range(2, 5))


def test_paths_are_read_as_files_are(
    predictor: Predictor, plain: dict[str, Table], tmp_path: Path
) -> None:
    write_fits(tmp_path / "a.fits", ROWS["sampled"])
    write_bulk(
        tmp_path / "b.csv.gz", [*ROWS["continuous"][:2], ROWS["continuous"][2] | {"source_id": "x"}]
    )
    same_labels(predictor(tmp_path / "a.fits"), plain["sampled"])
    both = predictor([str(tmp_path / "a.fits"), tmp_path / "b.csv.gz"])
    assert isinstance(both, Table)
    assert both["source_id"].tolist() == [*IDS, *IDS[:2], -1]
    assert both["reason"][7].startswith(f"{tmp_path / 'b.csv.gz'}, row 3: source_id is 'x'")
    same_labels(predictor(tmp_path)[:5], plain["sampled"])
    (tmp_path / "c.fits").write_bytes(fits_bytes(table_of(ROWS["sampled"]))[:4000])
    labels = predictor([tmp_path / "c.fits", tmp_path / "a.fits"])
    assert labels["source_id"].tolist() == [-1, *IDS]
    assert "c.fits" in labels["reason"][0]
    with pytest.raises(InputError, match=r"c\.fits"):
        predictor(tmp_path / "c.fits")
    with pytest.raises(InputError, match="no such file"):
        predictor("~/there is none")


def test_ruwe_of_a_file_is_that_of_the_table(predictor: Predictor, tmp_path: Path) -> None:
    table = table_of(ROWS["sampled"])
    table["RUWE"] = MaskedColumn([1.0, 3.0, -999.0, 2.0, 1.2], mask=[0, 0, 0, 1, 0])
    with pytest.warns(UserWarning, match="ruwe is -999, which stands for a missing one"):
        labels = predictor(table)
    poor = (labels["flags"] & bit("POOR_ASTROMETRY")) > 0
    assert poor.tolist() == [False, True, False, False, False]
    table["RUWE"] = table["RUWE"].filled(np.nan)
    table.write(tmp_path / "a.fits")
    with pytest.warns(UserWarning, match="ruwe is -999, which stands for a missing one"):
        np.testing.assert_array_equal(predictor(tmp_path / "a.fits")["flags"], labels["flags"])


def test_it_can_be_pickled_and_says_what_it_is(
    predictor: Predictor, plain: dict[str, Table]
) -> None:
    again = pickle.loads(pickle.dumps(predictor))
    same_labels(again(table_of(ROWS["sampled"])), plain["sampled"])
    assert repr(again) == repr(predictor)
    assert "takes sampled XP spectra of 343 values or 110 coefficients" in repr(predictor)
    assert "teff [K], logg [dex], m_h [dex], alpha_m [dex]" in repr(predictor)
    assert "\n" not in repr(predictor)


def test_tables_of_real_users_get_the_labels_of_the_plain_layout(shared: Path) -> None:
    field = shared / "data/field"
    if not field.is_dir():
        pytest.skip("the shared folder has no data/field")
    predictor = Predictor(options=PredictOptions(batch_size=64, second_path=False))
    right = predictor(field / "reference.fits")
    with pytest.warns(UserWarning, match="converted from the unit stated"):
        same_labels(predictor(QTable.read(field / "cgs_units.fits")), right)
    for table in (
        Table.read(field / "upper_case.fits"),
        Table.read(field / "topcat_join.fits"),
        pd.read_parquet(field / "list_columns.parquet"),
        pl.read_parquet(field / "list_columns.parquet"),
    ):
        same_labels(predictor(table), right)
