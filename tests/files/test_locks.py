"""Locks: who is there is named, who is dead is not, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.files.locks import claim, guarded, locked, locking, release

HOLD = """
import sys
from contextlib import nullcontext
from pathlib import Path
from aspgap_jax.files.locks import claim, locked

target, run, part = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with locked(target, run, beside=bool(target.suffix)):
    if part:
        assert claim(Path(part)) is None
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def other(target: Path, run: str = "", part: Path | str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a target, until a line comes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(target), run, str(part)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.communicate("go\n")


@pytest.mark.parametrize("name", ["folder", "table.fits"])
def test_the_other_process_is_named(name: str, tmp_path: Path) -> None:
    target = tmp_path / name
    with other(target) as process:
        with pytest.raises(InputError) as error, locked(target, beside=name != "folder"):
            pytest.fail("it is held")
        said = str(error.value)
        assert f"process {process.pid} on {socket.gethostname()}, since 20" in said
        assert "(-c " in said
        assert "choose another --out" in said
        assert "\n" not in said
    # The other has gone.
    with locked(target, beside=name != "folder"):
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_is_in_nobodys_way(tmp_path: Path) -> None:
    part = tmp_path / "a.parquet"
    with other(tmp_path, "same", part) as process:
        found = claim(part)
        assert found is not None
        assert found.pid == process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with locked(tmp_path):
            assert claim(part) is None
            release(part)
    assert list(tmp_path.iterdir()) == []


def test_processes_of_one_run_share_a_folder_but_no_part(tmp_path: Path) -> None:
    one, two = tmp_path / "one.h5", tmp_path / "two.h5"
    with other(tmp_path, "bundle 1", one) as process:
        with (
            pytest.raises(InputError, match=f"process {process.pid}"),
            locked(tmp_path, "bundle 2"),
        ):
            pytest.fail("these are other settings")
        with locked(tmp_path, "bundle 1"):
            found = claim(one)
            assert found is not None
            assert found.pid == process.pid
            assert claim(two) is None
            # A second time it is ours already.
            assert claim(two) is None
            release(two)
    assert list(tmp_path.iterdir()) == []


def test_who_holds_a_folder_holds_it_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with locked(out):
        with locked(out), locked(out, "else"), guarded(out):
            (out / "kept").write_text("")
        with locked(out):
            pass
    assert [path.name for path in out.iterdir()] == ["kept"]


def test_a_function_holds_its_folder_if_there_is_one(tmp_path: Path) -> None:
    @locking
    def work(folder: Path, *, twice: int) -> tuple[list[str], int]:
        return [path.name for path in folder.glob(".*")], 2 * twice

    assert work(tmp_path, twice=2) == ([".running"], 4)
    assert work(tmp_path / "absent", twice=1) == ([], 2)
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_done_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wrong"), locked(tmp_path / "new"):
        raise InputError("wrong")
    assert list(tmp_path.iterdir()) == []
