"""The XP store: what is written is read again; a failed write leaves nothing."""

from __future__ import annotations

import errno
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import XPChunk, read_xp
from aspgap_jax.survey.xp.store import read_record, write_store
from support import TESTS
from support.xp_files import sampled_star, star, without, write_bulk


@pytest.fixture
def chunk(tmp_path):
    rows = [star(n) | {"phot_g_mean_mag": 10.0 + n} for n in range(1, 8)]
    rows[3] = without(rows[3], "bp") | {"source_id": 4, "phot_g_mean_mag": None}
    return next(read_xp(write_bulk(tmp_path / "a.csv.gz", rows)))


def write(path, *chunks):
    with write_store(path) as store:
        for chunk in chunks:
            store.append(chunk)
        store.record({"file": "a.csv.gz"})


def test_round_trip_in_chunks(tmp_path, chunk):
    path = tmp_path / "store.h5"
    write(path, chunk[:3], chunk[3:])
    parts = list(read_xp(path, chunk_size=2))
    assert [len(part) for part in parts] == [2, 2, 2, 1]
    back = XPChunk.concatenate(parts)
    assert back.coefficients.dtype == np.float32
    assert back.wavelength is None
    for name in XPChunk.__dataclass_fields__:
        expected = getattr(chunk, name)
        if isinstance(expected, np.ndarray) and expected.dtype == np.float64:
            expected = expected.astype(np.float32)
        np.testing.assert_array_equal(getattr(back, name), expected, err_msg=name)
    assert back.finite[3].sum() == 55
    assert np.isnan(back.g_mag[3])
    assert read_record(path) == {"file": "a.csv.gz"}


def test_layout_is_the_documented_one(tmp_path, chunk):
    path = tmp_path / "store.h5"
    write(path, chunk)
    with h5py.File(path) as file:
        found = {
            name: (data.dtype.name, data.shape, data.attrs["unit"]) for name, data in file.items()
        }
        assert all(data.chunks[0] == 1024 for data in file.values())
    assert found == {
        "source_id": ("int64", (7,), ""),
        "coefficients": ("float32", (7, 110), "e-/s"),
        "errors": ("float32", (7, 110), "e-/s"),
        "g_mag": ("float32", (7,), "mag"),
        "present": ("bool", (7, 2), ""),
        "n_relevant_bases": ("int16", (7, 2), ""),
        "n_measurements": ("int32", (7, 2), ""),
        "chi_squared": ("float32", (7, 2), ""),
        "standard_deviation": ("float32", (7, 2), ""),
    }


def test_sampled_spectra_and_a_folder_of_parts(tmp_path):
    for name, ids in (("a", (1, 2)), ("b", (3,))):
        source = write_bulk(tmp_path / f"{name}.csv.gz", [sampled_star(n) for n in ids])
        write(tmp_path / "store" / f"{name}.h5", *read_xp(source))
    back = list(read_xp(tmp_path / "store"))
    assert [part.source_id.tolist() for part in back] == [[1, 2], [3]]
    assert back[0].present.shape == (2, 0)
    assert back[0].wavelength is not None
    np.testing.assert_array_equal(back[1].coefficients[0], sampled_star(3)["flux"])


def test_wrong_use_is_told(tmp_path, chunk):
    sampled = next(read_xp(write_bulk(tmp_path / "s.csv.gz", [sampled_star(1)])))
    with pytest.raises(InputError, match=r"sampled spectra of 343 values .* after continuous"):
        write(tmp_path / "mixed.h5", chunk, sampled)
    assert not (tmp_path / "mixed.h5").exists()
    write(tmp_path / "store.h5", chunk)
    with pytest.raises(InputError, match="an XP store has no correlations"):
        list(read_xp(tmp_path / "store.h5", correlations=True))
    with h5py.File(tmp_path / "store.h5", "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(InputError, match=r"has version 99.*ingest the original files again"):
        list(read_xp(tmp_path / "store.h5"))
    assert read_record(tmp_path / "store.h5") is None
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x.h5").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"x\.h5: damaged part.*aspgap ingest"):
        list(read_xp(tmp_path / "folder"))


def test_an_error_leaves_the_old_file(tmp_path, chunk):
    path = tmp_path / "store.h5"
    write(path, chunk)
    before = path.read_bytes()
    sampled = next(read_xp(write_bulk(tmp_path / "a.csv.gz", [sampled_star(1)])))
    with pytest.raises(InputError, match="different stores"):
        write(path, chunk, sampled)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv.gz", "store.h5"]


def test_full_disk_is_an_oserror_and_not_a_crash(tmp_path):
    """HDF5 ends in a segmentation fault when a full disk is reported to it."""
    script = textwrap.dedent(
        f"""
        import resource, sys
        sys.path.insert(0, {str(TESTS)!r})
        from pathlib import Path
        from support.xp_files import star, write_bulk
        from aspgap_jax.survey.xp import read_xp
        from aspgap_jax.survey.xp.store import write_store
        folder = Path({str(tmp_path)!r})
        chunk = next(read_xp(write_bulk(folder / "a.csv.gz", [star(n) for n in range(1, 4)])))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            with write_store(folder / "store.h5") as store:
                for _ in range(100):
                    store.append(chunk)
        except OSError as error:
            print(error.errno)
        """
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.strip()) == (0, str(errno.EFBIG)), ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv.gz"]
