"""What commands that read data lose shows in their exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from aspgap_jax.cli import main
from support.xp_files import star, write_bulk


def test_ingest_with_a_damaged_row_is_done_in_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [star(number) for number in range(1, 5)]
    good = write_bulk(tmp_path / "good.csv.gz", rows)
    rows[2]["source_id"] = "nonsense"
    bad = write_bulk(tmp_path / "bad.csv.gz", rows)
    for files, status in (([good], 0), ([good, bad], 1), ([bad], 1)):
        line = ["ingest", *map(str, files), "--out", str(tmp_path / "store"), "--processes", "1"]
        # The second time, from the record of the part.
        assert (main(line), main(line)) == (status, status)
    assert "1 damaged" in capsys.readouterr().out


def test_options_are_checked_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    there, nowhere, file = (str(tmp_path / name) for name in ("file", "nowhere", "file/x"))
    store = ["prepare", there, "--out", str(tmp_path / "new.h5"), "--allstar"]
    for line, message in (
        ([*store, nowhere], "--allstar "),
        ([*store, there, "--gaia", nowhere], "--gaia "),
        ([*store, there, "--spectra", there], "--spectra "),
        (["ingest", there, "--out", file], "is a file, not a folder"),
        (["predict", there, "--out", file], "is a file, not a folder"),
        (["predict", there, "--gaia", nowhere], "--gaia "),
        (["fetch", "bulk_list", "--ids", there, "--out", there], "exists already"),
        (["train", "--data", nowhere, "--out", str(tmp_path / "run")], "--data "),
        (["validate", str(tmp_path), "--external", f"a23={nowhere}"], "--external a23: "),
    ):
        assert main(line) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
