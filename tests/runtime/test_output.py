"""Printing goes on when nobody reads, and so does the work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aspgap_jax.runtime.output import to_a_reader_that_may_go

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
