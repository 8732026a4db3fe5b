"""Folders that appear whole, in the place of others or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from aspgap_jax.files.atomic import new_folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "old").write_text("old")
    return tmp_path / "place"


def test_one_in_the_place_of_another(old: Path) -> None:
    with pytest.raises(FileExistsError), new_folder(old):
        pass
    with new_folder(old, overwrite=True) as folder:
        (folder / "new").write_text("new")
        assert contents(old) == {"old": "old"}
    assert contents(old) == {"new": "new"}
    assert list(old.parent.iterdir()) == [old]


def test_what_fails_costs_nothing(old: Path) -> None:
    def fails() -> None:
        with new_folder(old, overwrite=True) as folder:
            (folder / "new").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert contents(old) == {"old": "old"}
    assert list(old.parent.iterdir()) == [old]


def test_what_is_stopped_between_the_two_costs_nothing(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def stop(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt), new_folder(old, overwrite=True):
        pass
    assert contents(old) == {"old": "old"}


def test_a_file_is_no_place_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("precious")
    with pytest.raises(FileExistsError), new_folder(tmp_path / "place", overwrite=True):
        pass
    assert (tmp_path / "place").read_text() == "precious"
