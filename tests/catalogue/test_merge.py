"""Parts become one catalogue: rows, columns, cuts and order against direct computation."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from aspgap_jax import flags, plots
from aspgap_jax.catalogue import merge
from aspgap_jax.catalogue.diagrams import Plane
from aspgap_jax.catalogue.hats import COUNT_ORDER, Pixel, partition
from aspgap_jax.catalogue.merge import build_catalogue
from aspgap_jax.catalogue.parts import RECORD, PartRecord, read_part_record
from aspgap_jax.cli import main
from aspgap_jax.errors import InputError
from aspgap_jax.files.tables import parquet_table
from aspgap_jax.prediction.batches import DEFAULT, LabelColumns
from aspgap_jax.preprocessing.selection import CATALOGUE_SELECTIONS
from aspgap_jax.survey.gaia_lookup import open_gaia
from aspgap_jax.survey.healpix import nested_pixels, pixel_centres
from support.table_files import CONTAINERS

STARS = 4000
SPECS = LabelColumns(DEFAULT).specs


def made_up_labels(n: int = STARS) -> dict[str, np.ndarray]:
    """Labels spread over and beyond the limits of every cut; ids all over the sky."""
    rng = np.random.default_rng(3)
    columns = {
        "source_id": rng.choice(12 * 4**12, n, replace=False) * 2**35 + rng.integers(0, 2**35, n),
        "teff_xp": rng.uniform(2900, 5700, n),
        "logg_xp": rng.uniform(-0.3, 5.0, n),
        "moh_xp": rng.uniform(-2.7, 0.7, n),
        "aom_xp": rng.uniform(-0.15, 0.65, n),
        "e_teff_xp": rng.uniform(20, 400, n),
        "e_logg_xp": rng.uniform(0.01, 0.3, n),
        "e_moh_xp": rng.uniform(0.01, 1.1, n),
        "e_aom_xp": rng.uniform(0.01, 0.55, n),
        "snr_bp": rng.uniform(10, 1000, n),
        "snr_rp": rng.uniform(10, 1000, n),
        "flags": rng.integers(0, 4, n),
    }
    columns["teff_xp"][:50] = np.nan
    whole = {spec.name: columns.get(spec.name, np.full(n, np.nan)) for spec in SPECS}
    return {spec.name: whole[spec.name].astype(spec.dtype) for spec in SPECS}


def made_up_gaia(ids: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    n = len(ids)
    bp = rng.uniform(9, 17, n).astype(np.float32)
    # Near the centre of the pixel that the id names.
    ra, dec = pixel_centres(ids)
    return {
        "source_id": ids,
        "ra": ra,
        "dec": dec,
        "parallax": rng.normal(0.5, 1.0, n),
        "ruwe": rng.uniform(0.8, 2.0, n).astype(np.float32),
        "phot_g_mean_mag": (bp - 0.4).astype(np.float32),
        "phot_bp_mean_mag": bp,
        "phot_rp_mean_mag": (bp - rng.uniform(0.4, 2.0, n)).astype(np.float32),
    }


def write_part(path: Path, columns: dict[str, np.ndarray]) -> None:
    with parquet_table(path, SPECS) as table:
        table.append(columns)
        table.annotate({RECORD: PartRecord("made up", path.name, "done").to_json()})


@pytest.fixture(scope="module")
def labels() -> dict[str, np.ndarray]:
    return made_up_labels()


@pytest.fixture(scope="module")
def gaia(labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    # Gaia's table is in another order, and lacks some of the stars.
    order = np.random.default_rng(5).permutation(STARS)[:-200]
    return {name: values[order] for name, values in made_up_gaia(labels["source_id"]).items()}


@pytest.fixture(scope="module")
def parts(labels: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    for number, rows in enumerate(np.array_split(np.arange(STARS), 3)):
        if number == 2:
            # Ten stars of the first file are in the last one too.
            rows = np.append(rows, np.arange(10))
        write_part(folder / f"{number}.parquet", {n: v[rows] for n, v in labels.items()})
    (folder / ".2.abc.tmp.parquet").write_bytes(b"what a kill left")
    return folder


@pytest.fixture(scope="module")
def gaia_tables(gaia: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gaia")
    half = len(gaia["ra"]) // 2
    Table({name: values[:half] for name, values in gaia.items()}).write(folder / "a.fits")
    Table({n: v[half:] for n, v in gaia.items()}).write(folder / "b.csv", format="ascii.csv")
    (folder / "manifest.json").write_text("{}")
    return folder


def joined(labels: dict[str, np.ndarray], gaia: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The catalogue before its cuts, by a dictionary."""
    row_of = {int(star): row for row, star in enumerate(gaia["source_id"])}
    rows = [row_of.get(int(star), -1) for star in labels["source_id"]]
    columns = dict(labels)
    for name, values in gaia.items():
        if name != "source_id":
            columns[name] = np.array([values[row] if row >= 0 else np.nan for row in rows])
    columns["bp_rp"] = columns["phot_bp_mean_mag"] - columns["phot_rp_mean_mag"]
    poor = columns["ruwe"] > 1.4
    columns["flags"] = columns["flags"] | np.where(poor, flags.bit("POOR_ASTROMETRY"), 0)
    return columns


def test_the_whole_catalogue(
    parts: Path, gaia_tables: Path, labels: dict, gaia: dict, tmp_path: Path
) -> None:
    built = build_catalogue([parts], tmp_path / "all.h5", gaia=[gaia_tables])
    assert built.cuts == (("rows of the parts", STARS + 10),)
    assert (built.rows, built.repeated) == (STARS, 10)
    assert "radial_velocity" in built.absent
    assert "ra" not in built.absent
    expected = joined(labels, gaia)
    with h5py.File(tmp_path / "all.h5") as file:
        # In the order of the sky; compare in the order of the ids.
        ids = file["source_id"][()]
        pixels = ids >> 35
        assert (np.diff(pixels) >= 0).all()
        order, wanted = np.argsort(ids), np.argsort(expected["source_id"])
        for name in file:
            np.testing.assert_allclose(
                file[name][()][order], expected[name][wanted], rtol=1e-6, err_msg=name
            )
        assert (file["parallax"].attrs["unit"], file["teff_xp"].attrs["unit"]) == ("mas", "K")


def test_the_cuts_of_section_4_2(
    parts: Path, gaia_tables: Path, labels: dict, gaia: dict, tmp_path: Path
) -> None:
    built = build_catalogue([parts], tmp_path / "rgb.fits", gaia=[gaia_tables], select="rgb")
    # Count by hand; the ten repeated rows count until they are removed.
    columns = joined(labels, gaia)
    weight = np.ones(STARS)
    weight[:10] = 2
    keep = np.ones(STARS, bool)
    counts = [STARS + 10]
    for cut in CATALOGUE_SELECTIONS["rgb"]:
        keep &= cut.keep(columns)
        counts.append(int(weight[keep].sum()))
    assert [cut.left for cut in built.cuts] == counts
    assert 0 < counts[-1] < counts[-2] < counts[1] < counts[0]
    table = Table.read(tmp_path / "rgb.fits")
    assert set(table["source_id"]) == set(columns["source_id"][keep])
    assert len(table) == built.rows == keep.sum()
    with fits.open(tmp_path / "rgb.fits", checksum=True) as hdus:
        hdus.verify("exception")
    # Figure 10 has the stars before its cuts, Figure 11 those that are left.
    assert built.colour_magnitude is not None
    assert built.colour_magnitude.counts.sum() + built.colour_magnitude.outside == counts[-3]
    assert built.kiel.counts.sum() == built.abundance.counts.sum() == keep.sum()
    cell = np.unravel_index(built.kiel.counts.argmax(), built.kiel.counts.shape)
    inside = keep.copy()
    for name, edges, place in (
        ("teff_xp", built.kiel.x, cell[0]),
        ("logg_xp", built.kiel.y, cell[1]),
    ):
        inside &= (columns[name] >= edges[place]) & (columns[name] < edges[place + 1])
    np.testing.assert_allclose(built.kiel.mean[cell], columns["moh_xp"][inside].mean(), rtol=1e-5)


def test_partitions_by_sky(
    parts: Path, gaia_tables: Path, labels: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several sorted runs, each of several row groups.
    monkeypatch.setattr(merge, "RUN_ROWS", 1500)
    monkeypatch.setattr(merge, "RUN_GROUP_ROWS", 100)
    out = tmp_path / "hats"
    build_catalogue([parts], out, gaia=[gaia_tables], max_rows=300)
    files = sorted((out / "dataset").rglob("*.parquet"))
    assert len(files) > 12
    seen: list[int] = []
    for file in files:
        table = pq.read_table(file, partitioning=None)
        order, pixel = (int(p.partition("=")[2]) for p in (file.parts[-3], file.stem))
        assert len(table) <= 300
        index = table["_healpix_29"].to_numpy()
        assert (np.diff(index) >= 0).all()
        assert (index >> 2 * (29 - order) == pixel).all()
        ra, dec = table["ra"].to_numpy(), table["dec"].to_numpy()
        placed = np.isfinite(ra)
        np.testing.assert_array_equal(nested_pixels(ra[placed], dec[placed], order), pixel)
        seen += table["source_id"].to_pylist()
    assert sorted(seen) == sorted(labels["source_id"].tolist())
    properties = (out / "hats.properties").read_text()
    assert f"hats_nrows={STARS}\n" in properties
    listed = (out / "partition_info.csv").read_text().splitlines()
    assert listed[0] == "Norder,Npix"
    assert len(listed) == len(files) + 1
    assert pq.read_metadata(out / "dataset/_metadata").num_rows == STARS
    # Any reader of Hive partitions.
    assert ds.dataset(out / "dataset", partitioning="hive").count_rows() == STARS


def test_partitions_through_duckdb(parts: Path, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    build_catalogue([parts], tmp_path / "hats", max_rows=1000)
    query = f"select count(*), count(distinct Norder) from '{tmp_path}/hats/dataset/**/*.parquet'"
    # Npix names the files, so of the pixels it sees the orders.
    rows, orders = duckdb.sql(query).fetchall()[0]
    assert rows == STARS
    assert orders >= 1


def test_without_positions_the_ids_tell_the_pixels(parts: Path, tmp_path: Path) -> None:
    built = build_catalogue([parts], tmp_path / "plain", max_rows=1000)
    assert built.colour_magnitude is None
    assert "within an arcminute" in built.remarks[-1]
    properties = (tmp_path / "plain/properties").read_text()
    assert properties == (tmp_path / "plain/hats.properties").read_text()
    assert "hats_col_ra=healpix_ra\n" in properties
    assert f"hats_nrows={STARS}\n" in properties
    for file in (tmp_path / "plain/dataset").rglob("*.parquet"):
        order = int(file.parts[-3].partition("=")[2])
        rows = pq.read_table(file, partitioning=None)
        ids = rows["source_id"].to_numpy()
        assert (ids >> 35 + 2 * (12 - order) == int(file.stem.partition("=")[2])).all()
        # HATS wants the index to be that of the positions, and in order.
        index = rows["_healpix_29"].to_numpy()
        positions = (rows[f"healpix_{axis}"].to_numpy() for axis in ("ra", "dec"))
        np.testing.assert_array_equal(index, nested_pixels(*positions, 29))
        assert (np.diff(index) >= 0).all()
        np.testing.assert_array_equal(index >> 34, ids >> 35)


def test_pixels_are_as_large_as_they_may_be() -> None:
    counts = np.zeros(12 * 4**COUNT_ORDER, np.int64)
    counts[: 4**COUNT_ORDER // 4] = 1  # a quarter of base pixel 0, even
    counts[-1] = 10**6
    everything = int(counts.sum())
    assert partition(counts, everything)[0] == Pixel(0, 0)
    assert partition(counts, 4**COUNT_ORDER // 16) == (
        *(Pixel(2, n) for n in range(4)),
        Pixel(COUNT_ORDER, len(counts) - 1),
    )


def test_gaia_columns_are_found_by_id(gaia_tables: Path, gaia: dict) -> None:
    with open_gaia([gaia_tables], ("ruwe", "parallax")) as lookup:
        assert lookup is not None
        asked = np.array([gaia["source_id"][17], 5, gaia["source_id"][-1]])
        found, columns = lookup.find(asked)
        np.testing.assert_array_equal(found, [True, False, True])
        np.testing.assert_allclose(columns["ruwe"], [gaia["ruwe"][17], np.nan, gaia["ruwe"][-1]])
        assert lookup.names == ("ruwe", "parallax")


@pytest.mark.parametrize("container", ["Parquet", "HATS", "bar", "HDF5, vaex", "gzipped VOTable"])
def test_gaia_tables_in_any_container(
    parts: Path, labels: dict, gaia: dict, tmp_path: Path, container: str
) -> None:
    columns = {name.upper(): values for name, values in gaia.items()}
    columns["RUWE"] = np.where(np.arange(len(columns["RUWE"])) < 7, 0.0, columns["RUWE"])
    if container.startswith("HDF5"):
        columns["RUWE"] = columns["RUWE"].astype(np.float64)
    path = CONTAINERS[container](tmp_path / "gaia", columns)
    built = build_catalogue([parts], tmp_path / "out.parquet", gaia=[path])
    found = pq.read_table(tmp_path / "out.parquet")
    g = dict(zip(found["source_id"].to_pylist(), found["phot_g_mean_mag"].to_pylist(), strict=True))
    expected = dict(zip(gaia["source_id"].tolist(), gaia["phot_g_mean_mag"].tolist(), strict=True))
    assert {star: g[star] for star in expected} == pytest.approx(expected, rel=1e-6)
    (share,) = (line for line in built.remarks if line.startswith(f"{path}: 3,8"))
    (replaced,) = (line for line in built.remarks if "sentinels" in line)
    # Ten stars are in two parts.
    assert share.endswith("are among its 3,800")
    assert replaced.endswith("column RUWE: sentinels taken as missing values: 7 (0: 7)")


def test_gaia_tables_without_the_stars_are_an_error(
    parts: Path, gaia: dict, tmp_path: Path
) -> None:
    columns = {"source_id": np.arange(1, 51), "phot_g_mean_mag": np.full(50, 12.0)}
    for container in ("comma", "Parquet"):
        path = CONTAINERS[container](tmp_path / container, columns)
        with pytest.raises(InputError, match=r"--gaia .*: has none of the 4,010 stars"):
            build_catalogue([parts], tmp_path / "out.fits", gaia=[path])
        assert not (tmp_path / "out.fits").exists()
    # A few are a warning.
    columns["source_id"][:3] = gaia["source_id"][:3]
    path = CONTAINERS["comma"](tmp_path / "few.csv", columns)
    built = build_catalogue([parts], tmp_path / "out.fits", gaia=[path])
    little = "less than 10% of the smaller: are the ids of the same release?"
    assert any(line.endswith(little) for line in built.remarks)


def test_what_cannot_be_done_is_said(parts: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs the column bp_rp.*--gaia"):
        build_catalogue([parts], tmp_path / "x.fits", select="rgb")
    with pytest.raises(InputError, match="no predictions there"):
        build_catalogue([tmp_path], tmp_path / "x.fits")
    with pytest.raises(InputError, match="no part of a prediction"):
        build_catalogue([parts / ".2.abc.tmp.parquet"], tmp_path / "x.fits")
    with pytest.raises(InputError, match="another suffix"):
        build_catalogue([parts], tmp_path / "x.txt")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(InputError, match="exists already"):
        build_catalogue([parts], tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_the_command_counts_and_draws(
    parts: Path, gaia_tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rgb.parquet"
    arguments = ["catalogue", str(parts), "--out", str(out), "--gaia", str(gaia_tables)]
    assert main([*arguments, "--select", "rgb"]) == 0
    printed = capsys.readouterr().out
    assert "L_pseudo" in printed
    assert f"{STARS + 10:,}" in printed
    for name in ("figure10_rgb_selection", "figure11_catalogue"):
        assert (tmp_path / "rgb_figures" / f"{name}.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["c.fits", "c.h5", "c.parquet", "c.csv", "c.vot", "hats"])
def test_what_exists_is_replaced_when_asked(
    name: str, parts: Path, gaia_tables: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / name

    def kept() -> dict[Path, bytes]:
        files = out.rglob("*") if out.is_dir() else [out]
        return {file: file.read_bytes() for file in files if file.is_file()}

    line = ["catalogue", str(parts), "--out", str(out), "--gaia", str(gaia_tables)]
    assert main(line) == 0
    first = kept()
    capsys.readouterr()
    assert main(line) == 2
    error = capsys.readouterr().err
    assert ("exists already" in error, "--overwrite" in error) == (True, True)
    # One that comes to nothing leaves what was there.
    nobody = [*line, "--select", "rgb", "--overwrite", "--gaia", str(tmp_path / "nowhere.fits")]
    assert main(nobody) == 2
    assert "nowhere.fits: no such file" in capsys.readouterr().err
    assert kept() == first
    assert main([*line, "--select", "predicted", "--overwrite"]) == 0
    assert kept() != first
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_figures_are_not_replaced_unasked(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "figures" / "figure11_catalogue.png"
    mine.parent.mkdir()
    mine.write_text("mine")
    line = ["catalogue", str(parts), "--out", str(tmp_path / "c.h5"), "--figures"]
    assert main([*line, str(mine.parent)]) == 2
    assert "figure11_catalogue.png: exists already" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert not (tmp_path / "c.h5").exists()


def test_a_catalogue_of_nothing_is_an_error(parts: Path, tmp_path: Path) -> None:
    (part, *_) = sorted(p for p in parts.glob("*.parquet") if p.name[0] != ".")
    record = read_part_record(part)
    assert record is not None
    for stars, message in ((0, "the parts hold no stars"), (3, "after the cut 'all labels pred")):
        empty = tmp_path / f"{stars}.parquet"
        with parquet_table(empty, SPECS) as table:
            table.append(
                {
                    spec.name: np.full(stars, np.nan).astype(spec.dtype)
                    if np.dtype(spec.dtype).kind == "f"
                    else np.arange(stars, dtype=spec.dtype)
                    for spec in SPECS
                }
            )
            table.annotate({RECORD: record.to_json()})
        for name in ("nothing.fits", "nothing"):
            with pytest.raises(InputError, match=message):
                build_catalogue([empty], tmp_path / name, select="predicted")
            assert not (tmp_path / name).exists()


def test_unflagged_stars_alone(parts: Path, labels: dict, tmp_path: Path) -> None:
    built = build_catalogue([parts], tmp_path / "c.fits", unflagged=True)
    clean = labels["source_id"][labels["flags"] == 0]
    assert 0 < len(clean) < len(labels["source_id"])
    assert set(Table.read(tmp_path / "c.fits")["source_id"]) == set(clean)
    assert built.cuts[-1].name == "no flag is set"


def test_stars_that_pass_an_expression(
    parts: Path, labels: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["catalogue", str(parts), "--out", str(tmp_path / "c.ecsv")]
    assert main([*line, "--where", "teff_xp < 4500 and (logg_xp > 2 or flags & LOW_SNR == 0)"]) == 0
    inside = (labels["teff_xp"] < 4500) & ((labels["logg_xp"] > 2) | (labels["flags"] & 2 == 0))
    assert set(Table.read(tmp_path / "c.ecsv")["source_id"]) == set(labels["source_id"][inside])
    # Ten stars are in the parts twice.
    rows = inside.sum() + inside[:10].sum()
    assert f"{STARS + 10 - rows:,} of {STARS + 10:,} rows were left out" in capsys.readouterr().out
    for text, words in (
        ("teff < 4500", "no column teff (did you mean teff_xp?); the columns are source_id, teff_"),
        ("teff_xp <", "no expression (invalid syntax)"),
        ("exit() < 1", "'exit()' is not understood"),
    ):
        assert main([*line[:-1], str(tmp_path / "d.csv"), "--where", text]) == 2
        error = capsys.readouterr().err
        assert (words in error, error.count("\n")) == (True, 1)
    assert not (tmp_path / "d.csv").exists()


def test_a_damaged_part_is_named(parts: Path, tmp_path: Path) -> None:
    (part, *_) = sorted(p for p in parts.glob("*.parquet") if p.name[0] != ".")
    bad = tmp_path / part.name
    content = bytearray(part.read_bytes())
    # The footer stays whole, which says what the file is.
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)
    bad.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"damaged, or of another format; remove it and predict"):
        build_catalogue([bad], tmp_path / "c.fits")
    assert not (tmp_path / "c.fits").exists()


def test_planes_count_what_has_no_place() -> None:
    plane = Plane((0.0, 1.0), (0.0, 1.0))
    plane.add(np.array([0.5, 2.0, np.nan]), np.array([0.5, 0.5, 0.5]), np.array([3.0, 1.0, 1.0]))
    assert (plane.counts.sum(), plane.outside) == (1, 2)
    assert np.nansum(plane.mean) == 3.0
    # An empty plane is drawn too.
    plots.catalogue_labels(Plane((0.0, 1.0), (0.0, 1.0)), Plane((0.0, 1.0), (0.0, 1.0)))
