"""A HATS catalogue of spectra, labelled by LSDB partition by partition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aspgap_jax.catalogue.hats import COUNT_ORDER, HEALPIX, HatsWriter, partition
from aspgap_jax.columns import COLUMNS, ColumnSpec
from aspgap_jax.config import PredictOptions
from aspgap_jax.prediction.bundle import save_bundle
from aspgap_jax.prediction.predictor import Predictor
from aspgap_jax.survey.healpix import MAX_ORDER, nested_pixels
from aspgap_jax.survey.xp import WAVELENGTH
from support.bundles import gaia_bundle
from support.xp_habits import sampled, table_of

# LSDB brings Dask and Numba, which are more than all the rest.
lsdb = pytest.importorskip("lsdb", reason="LSDB is not installed (pip install lsdb)")
pytestmark = pytest.mark.filterwarnings("ignore")

IDS = [5_853_498_713_190_525_697 + 2 * n for n in range(6)]
RA, DEC = np.array([10.0, 10.1, 150.0, 150.1, 290.0, 290.2]), np.array([5, 5, -40, -40, 70, 70.0])


def write_hats(folder: Path, *, lists: bool) -> Path:
    """Spectra in the layout of our catalogues, as lists or a number a column."""
    rows = sampled(*IDS)
    known = {spec.name: spec for spec in COLUMNS}
    specs = [known[name] for name in ("source_id", "ra", "dec", "phot_g_mean_mag")]
    columns = {
        "source_id": np.array(IDS),
        "ra": RA,
        "dec": DEC,
        "phot_g_mean_mag": np.array([row["phot_g_mean_mag"] for row in rows]),
        HEALPIX.name: nested_pixels(RA, DEC, MAX_ORDER),
    }
    for name in ("flux", "flux_error") if not lists else ():
        for n, wavelength in enumerate(WAVELENGTH):
            specs.append(ColumnSpec(f"{name}_{wavelength:g}", "", "", np.float64))
            columns[specs[-1].name] = np.array([row[name][n] for row in rows])
    counts = np.bincount(nested_pixels(RA, DEC, COUNT_ORDER), minlength=12 * 4**COUNT_ORDER)
    folder.mkdir()
    writer = HatsWriter(folder, "xp", specs, 2)
    for pixel in partition(counts, 2):
        inside = columns[HEALPIX.name] >= pixel.first
        inside &= columns[HEALPIX.name] < pixel.stop
        order = np.flatnonzero(inside)[np.argsort(columns[HEALPIX.name][inside])]
        writer.write(pixel, {name: values[order] for name, values in columns.items()})
    writer.finish()
    if lists:
        add_lists(folder / "dataset")
    return folder


def add_lists(dataset: Path) -> None:
    spectra = {row["source_id"]: row for row in sampled(*IDS)}
    for path in dataset.glob("Norder=*/Dir=*/*.parquet"):
        table = pq.read_table(path, partitioning=None)
        for name in ("flux", "flux_error"):
            cells = [spectra[star.as_py()][name].tolist() for star in table["source_id"]]
            table = table.append_column(name, pa.array(cells, pa.list_(pa.float64())))
        pq.write_table(table, path)
    for name in ("_common_metadata", "_metadata"):
        pq.write_metadata(table.schema, dataset / name)


@pytest.mark.parametrize("lists", [True, False])
def test_partitions_get_the_labels_of_the_table(tmp_path: Path, lists: bool) -> None:
    save_bundle(tmp_path / "bundle", *gaia_bundle())
    predictor = Predictor(tmp_path / "bundle", PredictOptions(batch_size=4, second_path=False))
    catalog = lsdb.open_catalog(write_hats(tmp_path / "xp", lists=lists))
    assert len(catalog.get_healpix_pixels()) > 1
    labels = catalog.map_partitions(predictor)
    # What it knows of its columns before anything is computed is what comes.
    found = labels.compute()
    assert found.dtypes["teff_xp"] == labels.dtypes["teff_xp"] == np.float32
    expected = predictor(table_of(sampled(*IDS)))
    found = found.sort_values("source_id")
    assert found["source_id"].tolist() == IDS
    for name in ("teff_xp", "e_aom_xp", "phot_g_mean_mag", "flags"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, err_msg=name)
    # With positions it is a catalogue again.
    placed = catalog.map_partitions(lambda stars: stars[["ra", "dec"]].assign(**predictor(stars)))
    placed.write_catalog(tmp_path / "labels", catalog_name="labels")
    near = lsdb.open_catalog(tmp_path / "labels").cone_search(150.0, -40.0, radius_arcsec=3600)
    assert sorted(near.compute()["source_id"]) == IDS[2:4]
