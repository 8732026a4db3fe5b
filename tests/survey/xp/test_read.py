"""Readers against GaiaXPy's on real files, against each other, and on damaged files."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

from aspgap_jax.survey.xp import XPChunk, read_xp
from support.xp_files import (
    WRITERS,
    bulk_text,
    cells,
    read_all,
    real_rows,
    same,
    sampled_star,
    star,
    without,
    write_bulk,
    write_hdf5,
)

CONTINUOUS = (
    "XP_CONTINUOUS_RAW.csv",
    "XP_CONTINUOUS_RAW.ecsv",
    "XP_CONTINUOUS_RAW.fits",
    "XP_CONTINUOUS_RAW.xml",
    "XP_CONTINUOUS_RAW_plain.xml",
    "XP_CONTINUOUS_RAW_with_missing_BP.ecsv",
)
SAMPLED = tuple(f"XP_SAMPLED_RAW_dr3int6.{ending}" for ending in ("csv", "ecsv", "fits"))
BANDS = ("bp", "rp")


# --- real files


def gaiaxpy_rows(path: Path, parser: type):
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        frame, _ = parser().parse_file(str(path))
    return frame.to_dict("records")


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_agrees_with_gaiaxpy(shared, name):
    internal = pytest.importorskip("gaiaxpy.file_parser.parse_internal_continuous")
    path = shared / "data/xp_formats" / name
    theirs = gaiaxpy_rows(path, internal.InternalContinuousParser)
    ours = read_all(path, correlations=True)
    assert ours.source_id.tolist() == [row["source_id"] for row in theirs]
    low = np.tril_indices(55, -1)
    seen = 0
    for star_index, row in enumerate(theirs):
        for band, prefix in enumerate(BANDS):
            there = np.ndim(row[f"{prefix}_coefficients"]) == 1
            assert ours.present[star_index, band] == there
            if not there:
                assert np.isnan(ours.coefficients[star_index, ours.band(band)]).all()
                assert ours.n_measurements[star_index, band] == -1
                continue
            seen += 1
            for values, column in (
                (ours.coefficients, "coefficients"),
                (ours.errors, "coefficient_errors"),
            ):
                np.testing.assert_array_equal(
                    values[star_index, ours.band(band)], row[f"{prefix}_{column}"]
                )
            matrix = row[f"{prefix}_coefficient_correlations"]
            np.testing.assert_array_equal(ours.correlations[star_index, band], matrix[low])
            for field in (
                "n_relevant_bases",
                "n_measurements",
                "chi_squared",
                "standard_deviation",
            ):
                assert getattr(ours, field)[star_index, band] == row[f"{prefix}_{field}"], field
    assert seen >= 4
    assert (ours.finite.sum(axis=1) == 55 * ours.present.sum(axis=1)).all()


@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_agrees_with_gaiaxpy(shared, name):
    external = pytest.importorskip("gaiaxpy.file_parser.parse_external")
    path = shared / "data/xp_formats" / name
    theirs = gaiaxpy_rows(path, external.ExternalParser)
    ours = read_all(path)
    assert ours.representation == "sampled"
    assert ours.source_id.tolist() == [row["source_id"] for row in theirs]
    for index, row in enumerate(theirs):
        np.testing.assert_array_equal(ours.coefficients[index], row["flux"])
        np.testing.assert_array_equal(ours.errors[index], row["flux_error"])
    assert ours.wavelength is not None
    assert (ours.wavelength[0], ours.wavelength[-1], len(ours.wavelength)) == (336, 1020, 343)
    assert ours.present.shape == (2, 0)


def test_bulk_file_of_real_stars(shared, tmp_path):
    rows = real_rows(shared)
    path = write_bulk(tmp_path / "bulk.csv.gz", [*rows, without(rows[0], "bp"), rows[1]])
    chunk = read_all(path, correlations=True)
    assert chunk.present.tolist() == [[True, True], [True, True], [False, True], [True, True]]
    same(chunk[:2], read_all(shared / "data/xp_formats/XP_CONTINUOUS_RAW.ecsv", correlations=True))


# --- every format gives the same


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("kind", ["continuous", "DR4", "sampled"])
def test_formats_agree_whatever_the_name(tmp_path, format, kind):
    sizes = (60, 50) if kind == "DR4" else (55, 55)
    make = sampled_star if kind == "sampled" else lambda n: star(n, sizes=sizes)
    rows = [make(4000 + n) for n in range(7)]
    path = tmp_path / "no_name_to_go_by"
    WRITERS[format](path, rows)
    chunks = list(read_xp(path, chunk_size=3, correlations=kind != "sampled"))
    assert [len(chunk) for chunk in chunks] == [3, 3, 1]
    chunk = XPChunk.concatenate(chunks)
    assert chunk.source_id.tolist() == [row["source_id"] for row in rows]
    if kind == "sampled":
        expected = np.stack([row["flux"] for row in rows])
    else:
        expected = np.stack(
            [np.concatenate([row[f"{band}_coefficients"] for band in BANDS]) for row in rows]
        )
        assert chunk.n_bp == sizes[0]
        pairs = [size * (size - 1) // 2 for size in sizes]
        assert np.isfinite(chunk.correlations).sum(axis=2).tolist() == [pairs] * 7
        n_relevant = [[row[f"{band}_n_relevant_bases"] for band in BANDS] for row in rows]
        assert chunk.n_relevant_bases.tolist() == n_relevant
    np.testing.assert_allclose(chunk.coefficients, expected, rtol=1e-7)
    assert chunk.finite.all()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_missing_band_in_a_mirror_is_masked(tmp_path, flat, fill):
    rows = [star(1), star(2)]
    for name in ("coefficients", "coefficient_errors"):
        rows[1][f"bp_{name}"] = np.full(55, fill)
    write_hdf5(tmp_path / "mirror", rows, flat=flat)
    chunk = read_all(tmp_path / "mirror")
    assert chunk.present.tolist() == [[True, True], [False, True]]
    assert np.isnan(chunk.coefficients[1, :55]).all()
    assert chunk.finite.sum(axis=1).tolist() == [110, 55]


def test_magnitude_and_scalars_are_read(tmp_path):
    rows = [star(1) | {"phot_g_mean_mag": 12.5}, star(2) | {"phot_g_mean_mag": None}]
    chunk = read_all(write_bulk(tmp_path / "a.csv.gz", rows))
    np.testing.assert_array_equal(chunk.g_mag, [12.5, np.nan])
    assert np.isnan(read_all(write_bulk(tmp_path / "b.csv.gz", [star(1)])).g_mag).all()


@pytest.mark.parametrize("word", ["null", "NaN", "nan"])
def test_missing_values_inside_a_list(tmp_path, word):
    text = bulk_text([star(n) for n in range(1, 6)])
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("3,"))
    cut = re.sub(r"(\[[^\]]*),[^,\]]*,[^,\]]*\]", rf"\1,{word},{word}]", lines[at], count=1)
    path = tmp_path / "a.csv"
    path.write_text("\n".join([*lines[:at], cut, *lines[at + 1 :]]) + "\n")
    chunk = read_all(path)
    expected = np.ones((5, 110), bool)
    expected[2, 53:55] = False
    np.testing.assert_array_equal(chunk.finite, expected)
    assert np.isnan(chunk.coefficients[2, 53:55]).all()
    assert chunk.present.all()


@pytest.mark.parametrize("band", BANDS)
def test_a_band_that_no_star_has(tmp_path, band):
    rows = [without(star(n), band) for n in range(1, 6)]
    chunks = list(read_xp(write_bulk(tmp_path / "a.csv.gz", rows), chunk_size=2))
    assert [chunk.coefficients.shape for chunk in chunks] == [(2, 110), (2, 110), (1, 110)]
    assert (~chunks[0].present[:, BANDS.index(band)]).all()


def test_first_stars_without_a_band_do_not_fix_its_size(tmp_path):
    rows = [without(star(n, sizes=(60, 55)), "bp") for n in (1, 2)] + [star(3, sizes=(60, 55))]
    assert read_all(write_bulk(tmp_path / "a.csv.gz", rows)).n_bp == 60


def test_chunks_select_and_join(tmp_path):
    chunk = read_all(write_bulk(tmp_path / "a.csv.gz", [star(n) for n in range(1, 5)]))
    assert chunk[chunk.source_id > 2].source_id.tolist() == [3, 4]
    assert chunk[np.array([3, 0])].coefficients.tolist() == [
        chunk.coefficients[3].tolist(),
        chunk.coefficients[0].tolist(),
    ]
    same(XPChunk.concatenate([chunk[:1], chunk[1:]]), chunk)


def test_memory_does_not_grow_with_the_file(tmp_path):
    line = ",".join(cells(star(10**9)))
    head = bulk_text([star(1)])

    def peak(n: int) -> int:
        path = tmp_path / "long.csv.gz"
        with gzip.open(path, "wt", compresslevel=1) as file:
            file.write(head)
            for _ in range(n):
                file.write(line + "\n")
        tracemalloc.start()
        assert sum(map(len, read_xp(path, chunk_size=64))) == n + 1
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(1200) < 1.2 * peak(400)
