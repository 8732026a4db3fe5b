"""What a folder stands for: everything readable in it, in any depth, and a word about the rest."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from aspgap_jax.catalogue.parts import RECORD
from aspgap_jax.columns import COLUMNS
from aspgap_jax.errors import InputError
from aspgap_jax.files.tables import parquet_table, write_table
from aspgap_jax.survey.folders import find_files


def touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return [folder / name for name in names]


def test_a_folder_is_walked_in_the_order_of_its_paths(tmp_path: Path) -> None:
    files = touch(tmp_path, "a.csv.gz", "b/b.fits", "b/c/1.vot", "b/c/2.parquet", "d.h5", "noname")
    touch(tmp_path, "notes.md", "b/plot.png", "b/c/.a.tmp.csv", "_MD5SUM.txt", ".cache/x.csv")
    found = find_files([tmp_path])
    assert found.files == tuple(files)
    assert found.inside == set(files)
    assert found.remarks == (
        f"{tmp_path}: left out: no tables: b/plot.png, notes.md (2); hidden: 2",
    )


def test_the_grid_that_gaiaxpy_writes_beside_spectra_is_no_spectrum(tmp_path: Path) -> None:
    files = touch(tmp_path, "stars.csv")
    touch(tmp_path, "stars_sampling.csv")
    assert find_files([tmp_path]).files == tuple(files)


def test_many_foreign_files_are_counted(tmp_path: Path) -> None:
    (good,) = touch(tmp_path, "a.csv")
    touch(tmp_path, *(f"{n}.png" for n in range(5)))
    assert find_files([tmp_path]).remarks == (
        f"{tmp_path}: left out: no tables: 0.png, 1.png, 2.png, ... (5)",
    )
    assert find_files([tmp_path / "*.csv"]).files == (good,)


def test_what_aspgap_wrote_as_output_is_no_input(tmp_path: Path) -> None:
    spectra = tmp_path / "store.h5"
    with h5py.File(spectra, "w") as file:
        file.attrs["format"] = "aspgap XP store"
    with parquet_table(tmp_path / "out/a.parquet", COLUMNS[:1]) as table:
        table.annotate({RECORD: "{}"})
    with parquet_table(tmp_path / "mine.parquet", COLUMNS[:1]):
        pass
    with write_table(tmp_path / "catalogue.h5", COLUMNS[:1]):
        pass
    touch(tmp_path, "manifest.json", "run/config.json", "run/log.jsonl", "run/stars.csv")
    touch(tmp_path, "model/bundle.json", "model/params/d/0")
    found = find_files([tmp_path])
    assert found.files == (tmp_path / "mine.parquet", spectra)
    assert found.remarks == (
        f"{tmp_path}: left out: written by aspgap: catalogue.h5, model, out/a.parquet, ... (4)",
    )
    # A run alone holds nothing to read.
    assert find_files([tmp_path / "run"]).files == (tmp_path / "run",)


def test_what_is_absent_stands_for_itself(tmp_path: Path) -> None:
    given = [tmp_path / "absent.csv", tmp_path / "*.nothing", tmp_path / "empty"]
    given[2].mkdir()
    assert find_files(given).files == tuple(given)


def test_the_same_file_twice_is_taken_once(tmp_path: Path) -> None:
    a, b = touch(tmp_path, "in/a.csv", "in/b.csv")
    (tmp_path / "link.csv").symlink_to(a)
    found = find_files([a, tmp_path / "in", tmp_path / "link.csv"])
    assert found.files == (a, b)
    assert found.remarks == ("2 files were given more than once and are taken once",)
    assert find_files([tmp_path / "in/**"]) == ((a, b), {a, b}, ())


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    (far,) = touch(tmp_path, "far/away.csv")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/far").symlink_to(tmp_path / "far")
    (tmp_path / "in/up").symlink_to(tmp_path / "in")
    assert find_files([tmp_path / "in"]).files == (tmp_path / "in/far" / far.name,)


def test_of_hats_the_data_count(tmp_path: Path) -> None:
    data = touch(
        tmp_path, "cat/dataset/Norder=0/Npix=1.parquet", "cat/dataset/Norder=0/Npix=2.parquet"
    )
    touch(tmp_path, "cat/hats.properties", "cat/partition_info.csv", "cat/dataset/_metadata")
    touch(tmp_path, "margin/hats.properties", "margin/dataset/Norder=0/Npix=1.parquet")
    assert find_files([tmp_path / "cat"]).files == tuple(data)
    (tmp_path / "collection.properties").write_text("hats_primary_table_url = cat\n")
    assert find_files([tmp_path]).files == tuple(data)
    (tmp_path / "collection.properties").write_text("obs_collection=x\n")
    with pytest.raises(InputError, match="names no hats_primary_table_url"):
        find_files([tmp_path])
