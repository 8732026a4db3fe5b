"""``ingest``: counts that reconcile, damage that stays local, runs that continue."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.files.locks import Holder
from aspgap_jax.survey import ingest as module
from aspgap_jax.survey.ingest import ingest
from aspgap_jax.survey.xp import XPChunk, manifest, read_xp
from support.foreign_files import write_foreign
from support.held_locks import held_by_another
from support.xp_files import bulk_text, sampled_star, star, without, write_bulk


def bulk_files(folder: Path, files: int = 3, stars: int = 5) -> list[Path]:
    return [
        write_bulk(
            folder / f"XpContinuousMeanSpectrum_{n}.csv.gz",
            [star(100 * n + k) for k in range(1, stars + 1)],
        )
        for n in range(1, files + 1)
    ]


def list_md5(folder: Path, files: list[Path]) -> None:
    lines = [f"{hashlib.md5(f.read_bytes()).hexdigest()}  {f.name}" for f in files]
    (folder / "_MD5SUM.txt").write_text("\n".join(lines) + "\n")


def ids(out: Path) -> list[int]:
    return [int(i) for chunk in read_xp(out) for i in chunk.source_id]


def reconciles(summary) -> None:
    for record in summary.files:
        assert record.rows == record.stored + record.bad + record.duplicates
    manifest = json.loads(summary.manifest.read_text())
    assert manifest["totals"]["rows"] == sum(
        manifest["totals"][name] for name in ("stored", "bad", "duplicates")
    )
    assert manifest["totals"]["rows"] == sum(file["rows"] for file in manifest["files"])


@pytest.mark.parametrize("processes", [1, 2])
def test_tables_without_spectra_in_a_folder_are_left_out_by_name(tmp_path, processes):
    foreign = write_foreign(tmp_path / "mine" / "tables")
    bulk_files(tmp_path / "mine", files=1)
    summary = ingest([tmp_path / "mine"], tmp_path / "store", processes=processes)
    left_out = [Path(record.file).name for record in summary.with_status("foreign")]
    assert (left_out, len(summary.with_status("done"))) == (foreign, 1)
    assert "1 files: 1 ingested, 0 complete before, 0 failed\n5 rows: 5 stored" in str(summary)
    assert f"left out: no XP spectra: {tmp_path / 'mine' / 'tables'}" in str(summary)
    assert f", ... ({len(foreign)})" in str(summary)
    reconciles(summary)
    pattern = ingest([f"{tmp_path}/mine/*/*.csv", *bulk_files(tmp_path)], tmp_path / "b")
    assert len(pattern.with_status("foreign")) == 1
    named = ingest([tmp_path / "mine" / "tables" / "joined.fits"], tmp_path / "c", processes=1)
    assert len(named.with_status("failed")) == 1
    with pytest.raises(InputError, match="none of the 8 files holds XP spectra"):
        ingest([tmp_path / "mine" / "tables"], tmp_path / "d", processes=processes)


@pytest.mark.parametrize("processes", [1, 2])
def test_store_holds_what_the_files_hold(tmp_path, processes):
    files = bulk_files(tmp_path)
    list_md5(tmp_path, files[:2])
    summary = ingest(files, tmp_path / "store", processes=processes, chunk_size=2)
    assert [record.status for record in summary.files] == ["done"] * 3
    assert [bool(record.md5) for record in summary.files] == [True, True, False]
    assert summary.total("stored") == 15
    assert summary.repeated == 0
    reconciles(summary)
    stored = XPChunk.concatenate(list(read_xp(tmp_path / "store")))
    read = XPChunk.concatenate([chunk for file in files for chunk in read_xp(file)])
    np.testing.assert_array_equal(stored.source_id, read.source_id)
    np.testing.assert_array_equal(stored.coefficients, read.coefficients.astype(np.float32))
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [
        *(f"{file.name}.h5" for file in files),
        "manifest.json",
    ]


def test_second_run_does_only_what_is_missing(tmp_path):
    files = bulk_files(tmp_path)
    out = tmp_path / "store"
    ingest(files, out, processes=1)
    parts = sorted(out.glob("*.h5"))
    untouched = {part: part.stat().st_mtime_ns for part in parts}
    parts[1].unlink()
    parts[2].write_bytes(b"torn")
    again = ingest(files, out, processes=1)
    assert [record.status for record in again.files] == ["skipped", "done", "done"]
    assert parts[0].stat().st_mtime_ns == untouched[parts[0]]
    assert ids(out) == [100 * n + k for n in (1, 2, 3) for k in range(1, 6)]
    reconciles(again)
    # A file that was replaced is read again, and files of earlier runs stay listed.
    write_bulk(files[0], [star(7)])
    third = ingest(files[:1], out, processes=1)
    assert [record.status for record in third.files] == ["done"]
    manifest = json.loads(third.manifest.read_text())
    assert [file["stored"] for file in manifest["files"]] == [1, 5, 5]


def test_files_of_one_name_are_told_apart(tmp_path):
    files = []
    for number in (1, 2):
        (tmp_path / f"in{number}").mkdir()
        rows = [star(10 * number + k) for k in range(number)]
        files.append(write_bulk(tmp_path / f"in{number}/XP_CONTINUOUS_RAW.csv.gz", rows))
    out = tmp_path / "store"
    # In one command, in two, and again.
    ingest(files, tmp_path / "one", processes=1)
    assert sorted(ids(tmp_path / "one")) == [10, 20, 21]
    for file in files:
        ingest([file], out, processes=1)
    again = ingest(files[::-1], out, processes=1)
    assert [record.status for record in again.files] == ["skipped"] * 2
    assert sorted(ids(out)) == [10, 20, 21]
    assert json.loads(again.manifest.read_text())["totals"]["stored"] == 3
    reconciles(again)
    # The content counts, not the time; what has changed is said.
    os.utime(files[0], ns=(1, 1))
    assert ingest(files[:1], out, processes=1).files[0].status == "skipped"
    write_bulk(files[0], [star(30)])
    changed = ingest(files, out, processes=1)
    assert [record.status for record in changed.files] == ["done", "skipped"]
    assert "it has changed since it was ingested" in str(changed)
    assert sorted(ids(out)) == [20, 21, 30]


def test_a_folder_is_ingested_in_any_depth(tmp_path):
    files = bulk_files(tmp_path, 2)
    deep = tmp_path / "in/deep"
    deep.mkdir(parents=True)
    for file, folder in zip(files, (tmp_path / "in", deep), strict=True):
        file.rename(folder / file.name)
    (deep / "plot.png").write_text("")
    summary = ingest([tmp_path / "in"], tmp_path / "store", processes=1)
    assert summary.total("stored") == 10
    assert "no tables: deep/plot.png (1)" in str(summary)
    assert json.loads(summary.manifest.read_text())["remarks"] == list(summary.remarks)


def test_a_file_that_another_process_ingests_is_left_to_it(tmp_path):
    files = bulk_files(tmp_path, 2)
    out = tmp_path / "store"
    other = Holder(pid=1, path=str(files[0].resolve()))
    with held_by_another(out / f"{files[0].name}.h5", other):
        summary = ingest(files, out, processes=1)
    assert [record.status for record in summary.files] == ["left", "done"]
    assert f"left: {files[0]}: left to process 1 on" in str(summary)
    assert "1 left to other processes" in str(summary)
    reconciles(summary)
    assert len(ids(out)) == 5


def test_a_store_of_another_version_is_refused(tmp_path):
    (file,) = bulk_files(tmp_path, 1)
    out = tmp_path / "store"
    ingest([file], out, processes=1)
    with h5py.File(out / f"{file.name}.h5", "r+") as part:
        record = json.loads(part.attrs["record"])
        del record["digest"]
        part.attrs["record"] = json.dumps(record)
    with pytest.raises(InputError, match=r"another version of aspgap.*choose another --out"):
        ingest([file], out, processes=1)


def test_damaged_rows_and_duplicates_are_counted(tmp_path):
    rows = [star(n) for n in range(1, 41)]
    rows[9] = rows[4]
    rows[20] = without(rows[20], "bp") | {"source_id": 21}
    rows[30]["rp_coefficients"][53:] = np.nan
    rows[35]["bp_coefficients"] = rows[35]["bp_coefficients"][:54]
    rows[36]["rp_chi_squared"] = "large"
    file = write_bulk(tmp_path / "a.csv.gz", rows)
    summary = ingest([file], tmp_path / "store", processes=1, chunk_size=4)
    (record,) = summary.files
    assert (record.rows, record.stored, record.bad, record.duplicates) == (40, 37, 2, 1)
    assert (record.without_bp, record.without_rp, record.masked) == (1, 0, 2)
    assert record.problems == (
        "row 36 (source_id 36): bp_coefficients has 54 values, the file's other rows have 55; "
        "left out",
        "row 37 (source_id 37): rp_chi_squared is 'large', not a number; left out",
    )
    assert "37 stored, 2 damaged, 1 duplicates" in str(summary)
    assert "a.csv.gz: row 36" in str(summary)
    assert ids(tmp_path / "store") == [n for n in range(1, 41) if n not in (10, 36, 37)]
    reconciles(summary)


def broken_files(folder: Path) -> list[tuple[Path, str]]:
    text = bulk_text([star(n) for n in range(1, 9)]).encode()
    (folder / "truncated.csv.gz").write_bytes(gzip.compress(text)[:-3000])
    (folder / "empty.csv.gz").write_bytes(b"")
    (folder / "folder").mkdir()
    (folder / "other.fits").write_bytes(b"SIMPLE  =                    T" + b" " * 3000)
    (folder / "header.csv").write_text(bulk_text([star(1)]).rpartition("\n1,")[0] + "\n")
    (folder / "hopeless.csv").write_text(bulk_text([star(1)]).replace("[", "<"))
    return [
        (folder / "truncated.csv.gz", "truncated gzip"),
        (folder / "empty.csv.gz", "is empty"),
        (folder / "folder", "is a directory"),
        (folder / "other.fits", "FITS"),
        (folder / "header.csv", "none of its 0 rows can be used"),
        (folder / "hopeless.csv", "none of its 1 rows can be used"),
        (folder / "absent.csv", "cannot be opened"),
    ]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_damaged_file_fails_alone(tmp_path, processes):
    good = bulk_files(tmp_path, 2)
    bad = broken_files(tmp_path)
    files = [good[0], *(file for file, _ in bad), good[1]]
    out = tmp_path / "store"
    summary = ingest(files, out, processes=processes)
    assert [record.status for record in summary.files] == ["done", *["failed"] * len(bad), "done"]
    for record, (file, what) in zip(summary.files[1:-1], bad, strict=True):
        assert what in record.problems[0]
        assert str(file) in record.problems[0]
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"{file.name}.h5" for file in good),
        "manifest.json",
    ]
    assert f"{len(bad)} failed" in str(summary)
    reconciles(summary)


def test_wrong_md5_fails_until_the_file_is_right(tmp_path):
    files = bulk_files(tmp_path, 2)
    list_md5(tmp_path, files)
    right = files[1].read_bytes()
    files[1].write_bytes(right[:-1] + b"x")
    summary = ingest(files, tmp_path / "store", processes=1)
    assert [record.status for record in summary.files] == ["done", "failed"]
    assert "its MD5 is" in summary.files[1].problems[0]
    assert "download it again" in summary.files[1].problems[0]
    files[1].write_bytes(right)
    again = ingest(files, tmp_path / "store", processes=1)
    assert [record.status for record in again.files] == ["skipped", "done"]
    assert json.loads(again.manifest.read_text())["totals"]["failed"] == 0


def test_ids_in_two_parts_are_reported(tmp_path):
    files = [
        write_bulk(tmp_path / "a.csv.gz", [star(n) for n in (1, 2, 9)]),
        write_bulk(tmp_path / "b.csv.gz", [star(n) for n in (2, 3, 9)]),
        write_bulk(tmp_path / "c.csv.gz", [star(n) for n in (20, 21)]),
    ]
    summary = ingest(files, tmp_path / "store", processes=1)
    assert summary.repeated == 2
    assert "2 source ids stand in more than one part" in str(summary)


def test_sampled_files(tmp_path):
    rows = [sampled_star(n) for n in (1, 2)]
    rows[1]["flux"][:3] = np.nan
    summary = ingest([write_bulk(tmp_path / "a.csv.gz", rows)], tmp_path / "s", processes=1)
    assert (summary.total("stored"), summary.total("masked")) == (2, 3)


def test_wrong_use_is_told(tmp_path):
    with pytest.raises(InputError, match="no files to ingest"):
        ingest([], tmp_path)
    with pytest.raises(InputError, match="processes must be at least 1"):
        ingest([tmp_path / "a"], tmp_path, processes=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        ingest([tmp_path / "a"], tmp_path / "file" / "store")


@pytest.mark.parametrize("processes", [1, 2])
def test_full_disk_is_one_line_and_loses_nothing(tmp_path, processes):
    """A limit on the size of files stands in for the disk: the second part is too large."""
    files = [*bulk_files(tmp_path, 1), tmp_path / "large.csv.gz"]
    lines = bulk_text([star(1000)]).splitlines()
    rows = [lines[-1].replace("1000,", f"{n},", 1) for n in range(1000, 2400)]
    files[1].write_bytes(gzip.compress("\n".join([*lines[:-1], *rows, ""]).encode(), 1))
    out = tmp_path / "store"
    ingest(files[:1], out, processes=1)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    limit = max(len(data) for data in before.values()) + 1000
    code = textwrap.dedent(
        f"""
        import resource, sys
        from aspgap_jax.errors import InputError
        from aspgap_jax.survey.ingest import ingest

        if __name__ == "__main__":
            resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
            extra = [] if {processes} == 1 else [{str(files[1])!r} + ".copy"]
            try:
                ingest([*{[str(f) for f in files]!r}, *extra], {str(out)!r}, processes={processes})
            except InputError as error:
                print(error)
        """
    )
    (tmp_path / "large.csv.gz.copy").write_bytes(files[1].read_bytes())
    (tmp_path / "run.py").write_text(code)
    ran = subprocess.run(
        [sys.executable, tmp_path / "run.py"], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("\n") == 1
    assert "the disk is full" in ran.stdout
    assert "run the same command again" in ran.stdout
    assert {p.name for p in out.iterdir()} == set(before)
    assert (out / f"{files[0].name}.h5").read_bytes() == before[f"{files[0].name}.h5"]
    # With space again, the same call does the rest.
    assert [r.status for r in ingest(files, out, processes=1).files] == ["skipped", "done"]


def test_unwritable_manifest_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(manifest, "write_text", full)
    files = bulk_files(tmp_path, 2)
    with pytest.raises(InputError, match=r"disk is full.*2 of 2 files are complete"):
        ingest(files, tmp_path / "store", processes=1)
    assert len(ids(tmp_path / "store")) == 10


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_leaves_whole_parts_only(tmp_path, processes):
    small = bulk_files(tmp_path, 1)
    lines = bulk_text([star(1000)]).splitlines()
    rows = [lines[-1].replace("1000,", f"{n},", 1) for n in range(1000, 9000)]
    text = "\n".join([*lines[:-1], *rows, ""])
    large = [tmp_path / f"large_{n}.csv" for n in range(3)]
    large[0].write_text(text)
    for path in large[1:]:
        path.hardlink_to(large[0])
    out = tmp_path / "store"
    code = textwrap.dedent(
        f"""
        from aspgap_jax.survey.ingest import ingest

        if __name__ == "__main__":
            try:
                ingest({[str(f) for f in small + large]!r}, {str(out)!r}, processes={processes},
                       chunk_size=64)
            except KeyboardInterrupt as stop:
                print(stop)
        """
    )
    (tmp_path / "run.py").write_text(code)
    run = subprocess.Popen(
        [sys.executable, tmp_path / "run.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    first = out / f"{small[0].name}.h5"
    deadline = time.monotonic() + 60
    while not (first.exists() and list(out.glob(".large*"))) and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # As a terminal does: to the whole group.
    os.killpg(run.pid, signal.SIGINT)
    stdout, stderr = run.communicate(timeout=60)
    assert run.returncode == 0, stderr
    assert "Traceback" not in stderr
    assert "of 4 files are complete; run the same command to continue" in stdout
    assert not list(out.glob(".*"))
    left = sorted(out.glob("*.h5"))
    assert first in left
    assert len(left) < 4
    for part in left:
        assert sum(map(len, read_xp(part))) == (5 if part == first else 8000)
    assert ingest(small, out, processes=1).files[0].status == "skipped"


def test_a_fault_of_the_reader_fails_one_file(tmp_path, monkeypatch):
    files = bulk_files(tmp_path, 2)

    def faulty(path, **options):
        if path == files[0]:
            raise RuntimeError("on\npurpose")
        return read_xp(path, **options)

    monkeypatch.setattr(module, "read_xp", faulty)
    summary = ingest(files, tmp_path / "store", processes=1)
    assert [record.status for record in summary.files] == ["failed", "done"]
    assert "RuntimeError: on purpose; a fault of aspgap" in summary.files[0].problems[0]


def test_what_a_killed_run_left_is_removed(tmp_path):
    (file,) = bulk_files(tmp_path, 1)
    out = tmp_path / "store"
    out.mkdir()
    stale = out / f".{file.name}.abc123.tmp.h5"
    stale.write_bytes(b"half")
    ingest([file], out, processes=1)
    assert not stale.exists()
    assert len(ids(out)) == 5
