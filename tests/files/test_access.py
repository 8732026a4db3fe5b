"""What cannot be read or written is refused before the work, in plain words."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.files import access
from aspgap_jax.files.access import (
    check_file,
    check_files,
    check_new,
    check_writable,
    reason,
    unreadable,
)
from aspgap_jax.files.hdf5 import open_store
from aspgap_jax.labels import names


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may neither read nor write. (Tests may run as root, who may all.)"""
    monkeypatch.setattr(access.os, "access", lambda path, mode: False)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "there.csv"
    there.write_text("x")
    check_file(there)
    check_files([there, tmp_path], "--gaia", folders=True)
    with pytest.raises(InputError, match=r"nowhere: no such file; get it$"):
        check_file(tmp_path / "nowhere", "get it")
    with pytest.raises(InputError, match=r"^--gaia .*: is a folder, not a file"):
        check_files([there, tmp_path], "--gaia")
    monkeypatch.setattr(access.os, "access", lambda path, mode: mode != os.R_OK)
    with pytest.raises(InputError, match="permission denied"):
        check_file(there)


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "new" / "newer")
    (tmp_path / "file").write_text("x")
    for path in ("file", "file/folder"):
        with pytest.raises(InputError, match=r"file is a file, not a folder; choose another"):
            check_writable(tmp_path / path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nobody_writes(tmp_path: Path, nobody: None) -> None:
    for path in (tmp_path, tmp_path / "new"):
        with pytest.raises(InputError, match="permission denied"):
            check_writable(path)
    with pytest.raises(InputError, match="permission denied"):
        check_new(tmp_path / "new.fits", overwrite=True)


@pytest.mark.parametrize("folder", [False, True])
def test_what_exists_is_replaced_on_demand_alone(tmp_path: Path, folder: bool) -> None:
    new = tmp_path / "new"
    check_new(new, overwrite=False, folder=folder)
    new.mkdir() if folder else new.write_text("x")
    if folder:
        # Nothing is lost with an empty folder.
        check_new(new, overwrite=False, folder=True)
        (new / "file").write_text("x")
    with pytest.raises(InputError, match=r"exists already; .* --overwrite"):
        check_new(new, overwrite=False, folder=folder)
    check_new(new, overwrite=True, folder=folder)
    with pytest.raises(InputError, match=r"where a (file|folder) belongs"):
        check_new(new, overwrite=True, folder=not folder)


def test_reasons_are_those_of_the_system(tmp_path: Path) -> None:
    assert reason(FileNotFoundError(2, "x", "a.csv")) == "a.csv: No such file or directory"
    assert reason(OSError("plain words")) == "plain words"
    internal = OSError(28, "Unable to synchronously open file (unable to open: errno = 28)")
    assert reason(internal) == "No space left on device"
    assert unreadable(tmp_path / "x", internal) == "no such file"
    (tmp_path / "x").write_text("x")
    assert unreadable(tmp_path / "x") == ""
    assert unreadable(tmp_path / "x", internal) == "No space left on device"
    assert unreadable(tmp_path / "x", KeyError("Unable")) == "damaged, or of another format"


def make(path: Path, **attributes: object) -> Path:
    whole = {"format": "thing", "format_version": 1, "label_names": list(names())}
    with h5py.File(path, "w") as file:
        file.attrs.update(whole | attributes)
        file["x"] = np.arange(100_000)
    return path


def test_what_hdf5_says_never_reaches_the_user(tmp_path: Path) -> None:
    def read(path: Path, name: str = "x") -> None:
        with open_store(path, "thing", 1, cure="`make`") as file:
            file[name][()]

    read(make(tmp_path / "good.h5"))
    (tmp_path / "text.h5").write_text("not HDF5 at all")
    whole = (tmp_path / "good.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[:5000])
    with h5py.File(make(tmp_path / "poor.h5"), "a") as file:
        del file.attrs["format_version"]
    for path, message in (
        (tmp_path / "nowhere.h5", "no readable HDF5 file (no such file)"),
        (tmp_path, "no readable HDF5 file (is a folder, not a file)"),
        (tmp_path / "text.h5", "(damaged, or of another format)"),
        (tmp_path / "cut.h5", "(damaged, or of another format)"),
        (tmp_path / "poor.h5", "damaged or incomplete"),
    ):
        with pytest.raises(InputError) as error:
            read(path)
        assert message in str(error.value)
        assert "make" in str(error.value)
        assert not {"synchronously", "errno", "object"} & set(str(error.value).split())
    with pytest.raises(InputError, match=r"good\.h5: damaged or incomplete; write it again"):
        read(tmp_path / "good.h5", "y")


def test_faults_of_ours_stay_what_they_are(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError, match="nonsense"),
        open_store(make(tmp_path / "good.h5"), "thing", 1, cure="`make`"),
    ):
        raise KeyError("nonsense")
