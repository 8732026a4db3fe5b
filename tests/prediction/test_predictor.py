"""The Predictor gives what streaming gives, from tables and arrays, row for row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from aspgap_jax.config import PredictOptions
from aspgap_jax.errors import InputError
from aspgap_jax.flags import bit
from aspgap_jax.prediction.bundle import save_bundle
from aspgap_jax.prediction.files import predict_files
from aspgap_jax.prediction.predictor import Predictor
from aspgap_jax.survey.xp import read_xp
from support.bundles import flat_star, gaia_bundle
from support.xp_files import as_table, cells, write_bulk

OPTIONS = PredictOptions(batch_size=8, second_path=False)
IDS = [30, 10, 50, 20, 40, 70, 60, 90, 80, 100, 11]
ARRAYS = ("bp_coefficients", "bp_coefficient_errors", "rp_coefficients", "rp_coefficient_errors")


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return [flat_star(source_id) for source_id in IDS]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    save_bundle(folder, *gaia_bundle())
    return Predictor(folder, OPTIONS)


@pytest.fixture(scope="module")
def streamed(rows: list[dict], tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("streamed")
    path = write_bulk(folder / "x.csv.gz", rows)
    predict_files([str(path)], folder / "out", *gaia_bundle(), OPTIONS)
    return Table.read(folder / "out/x.csv.gz.parquet", format="parquet")


def same(found: Table, expected: Table) -> None:
    for name in expected.colnames:
        np.testing.assert_allclose(
            np.asarray(found[name]), np.asarray(expected[name]), rtol=1e-5, err_msg=name
        )


def test_an_astropy_table(predictor: Predictor, rows: list[dict], streamed: Table) -> None:
    labels = predictor(as_table(rows))
    assert labels["source_id"].tolist() == IDS
    same(labels, streamed)
    assert str(labels["teff_xp"].unit) == "K"
    assert labels["teff_xp"].description == "Effective temperature from AspGap"


def test_a_pandas_frame(predictor: Predictor, rows: list[dict], streamed: Table) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(rows, index=[f"star {n}" for n in range(len(rows))])
    labels = predictor(frame)
    assert isinstance(labels, pandas.DataFrame)
    assert list(labels.index) == list(frame.index)
    same(Table({name: labels[name].to_numpy() for name in labels}), streamed)
    # As pandas reads the archive's CSV: the arrays are text.
    texts = [dict(zip(row, cells(row, brackets="()"), strict=True)) for row in rows]
    for row, text in zip(rows, texts, strict=True):
        row_texts = {name: text[name].strip('"') for name in ARRAYS}
        text.update(row | row_texts)
    same(
        Table({name: c.to_numpy() for name, c in predictor(pandas.DataFrame(texts)).items()}),
        streamed,
    )


def test_arrays(predictor: Predictor, rows: list[dict], streamed: Table, tmp_path: Path) -> None:
    (chunk,) = read_xp(write_bulk(tmp_path / "x.csv.gz", rows))
    labels = predictor.arrays(chunk.coefficients, chunk.errors, source_id=chunk.source_id)
    same(labels, streamed)
    bright = predictor.arrays(chunk.coefficients, chunk.errors, g_mag=np.full(len(rows), 12.0))
    assert bright["source_id"].tolist() == list(range(len(rows)))
    assert not (bright["flags"] & bit("NO_G")).any()


def test_rows_that_cannot_be_predicted_stay_in_their_place(
    predictor: Predictor, rows: list[dict], streamed: Table
) -> None:
    broken = [dict(row) for row in rows]
    broken[2]["rp_coefficients"] = broken[2]["rp_coefficients"][:40]
    broken[5] |= {name: None for name in broken[5] if name.startswith("bp_")}
    labels = predictor({name: [row[name] for row in broken] for name in broken[0]})
    assert labels["source_id"].tolist() == IDS
    lost = np.isnan(labels["teff_xp"])
    assert np.flatnonzero(lost).tolist() == [2, 5]
    assert labels["flags"][2] == bit("NOT_FINITE")
    assert labels["flags"][5] & bit("MISSING_BAND")
    same(labels[~lost], streamed[~lost])


def test_masked_columns(predictor: Predictor, rows: list[dict]) -> None:
    table = as_table(rows)
    table["phot_g_mean_mag"] = MaskedColumn(np.full(len(rows), 13.0), mask=np.arange(11) % 2 == 0)
    table["ruwe"] = MaskedColumn(np.full(len(rows), 9.0), mask=np.arange(11) != 4)
    labels = predictor(table)
    assert ((labels["flags"] & bit("NO_G")) > 0).tolist() == [n % 2 == 0 for n in range(11)]
    poor = (labels["flags"] & bit("POOR_ASTROMETRY")) > 0
    assert poor.tolist() == [n == 4 for n in range(11)]


def test_errors_name_the_cure(predictor: Predictor, rows: list[dict]) -> None:
    with pytest.raises(InputError, match="no Gaia XP table"):
        predictor(Table({"source_id": [1]}))
    with pytest.raises(InputError, match="spectra"):
        predictor.arrays(np.ones((2, 7)), np.ones((2, 7)))
    empty = predictor(as_table(rows)[:0])
    assert len(empty) == 0
