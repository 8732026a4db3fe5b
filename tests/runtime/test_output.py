"""Printing goes on when nobody reads, and so does the work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aspgap_jax.runtime.output import detail, remark, to_a_reader_that_may_go, to_log

PRINTS = """
import sys
from aspgap_jax.runtime.output import to_a_reader_that_may_go

with to_a_reader_that_may_go():
    for line in range(100_000):
        print("line", line, flush=line % 1000 == 0)
    print("more", file=sys.stderr)
    open(sys.argv[1], "w").write("the work is done")
"""


@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_the_work_goes_on(reader: str, tmp_path: Path) -> None:
    line = f'{sys.executable} -c "$0" "$1" | {reader}; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", line, PRINTS, str(tmp_path / "done")],
        text=True,
        capture_output=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == "more\n"
    assert (tmp_path / "done").read_text() == "the work is done"


def test_streams_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with to_a_reader_that_may_go():
        print("inside")
        assert not sys.stdout.isatty()
    assert sys.stdout is before
    assert capsys.readouterr().out == "inside\n"


def test_of_a_progress_bar_the_log_has_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    with to_a_reader_that_may_go() as printed:
        printed.choose(log=log, quiet=False, verbose=False)
        for share in (1, 50, 100):
            print(f"\r{share}%", end="", file=sys.stderr)
        print(file=sys.stderr)
        print("not yet a line", end="")
        remark("said")
        to_log("by other means")
    lines = [line.split("] ")[1] for line in log.read_text().splitlines()]
    assert lines == ["100%", "said", "by other means", "not yet a line"]
    assert capsys.readouterr() == ("not yet a line", "\r1%\r50%\r100%\nsaid\n")


def test_no_bars_where_errors_alone_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with to_a_reader_that_may_go() as printed:
        assert sys.stderr.isatty()
        printed.choose(log=None, quiet=True, verbose=False)
        assert not sys.stderr.isatty()


def test_outside_the_command_line_remarks_are_printed_and_details_are_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    remark("said")
    detail("left out")
    assert capsys.readouterr() == ("", "said\n")
