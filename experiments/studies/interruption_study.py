"""Signals at random moments of every command: the exit status must say so, always.

Run: python experiments/studies/interruption_study.py --moments 40
One command, a short training: `--only train --latest 6 --config tiny.json --data tiny.h5`.
Expect 130 after Ctrl-C and 75 after SIGTERM at every moment, or the process's death by that
signal before the first line of aspgap runs (which a shell reports as 130 and 143); 0 where it had
ended before.

What remains: some 30 ms in which Python imports ``site``, from 11 to 41 ms after its start.
Ctrl-C is an exception there already, and Python answers it with exit status 1 and
"init_import_site: Failed to import the site module", before it has read which program to run. No
code of a package can change that: the script that pip writes cannot pass options to Python, of
which only -S (no ``site``) closes the gap, and that option is handed on to the processes that
``ingest`` starts, which would then find no packages. These moments are counted apart.

Seen on two cores, short inputs, 40 moments each (75 and 130 as asked, or death by the signal):
train 39 and 1 in ``site``, demo 39 and 1, ingest 21 and 19 that had ended before, plot-run 37 and
3 (on a folder that it refuses); no other status. A signal during a long compilation is obeyed at
its end.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

EXPECTED = {signal.SIGINT: (130, -signal.SIGINT), signal.SIGTERM: (75, -signal.SIGTERM)}


def commands(folder: Path, given: argparse.Namespace) -> dict[str, list[str]]:
    """The commands that are tried, by name."""
    config = ["--config", given.config] if given.config else []
    training = config + (["--data", given.data, "--select", "usable"] if given.data else [])
    found = {
        "train": ["train", *training, "--out", f"{folder}/train"],
        "demo": ["demo", *config, "--out", f"{folder}/demo"],
        "crossval": ["crossval", *training, "--out", f"{folder}/crossval"],
        "predict": ["predict", *(given.files or ["sample"]), "--out", f"{folder}/labels"],
    }
    if given.run:
        found |= {name: [name, given.run] for name in ("plot-run", "evaluate", "validate")}
    if given.parts:
        out = f"{folder}/catalogue.fits"
        found["catalogue"] = ["catalogue", given.parts, "--out", out, "--overwrite"]
    if given.files:
        found["ingest"] = ["ingest", *given.files, "--out", f"{folder}/store"]
    if given.files and given.allstar:
        found["prepare"] = [
            *("prepare", *given.files, "--allstar", given.allstar),
            *("--out", f"{folder}/train.h5", "--overwrite"),
        ]
    return found


def stop(arguments: list[str], after: float, number: signal.Signals) -> tuple[int, str]:
    """Start a command, send a signal; its status, and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aspgap_jax", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after)
    process.send_signal(number)
    _, said = process.communicate()
    return process.returncode, said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=40, help="of each command")
    parser.add_argument("--files", nargs="*", default=[], help="XP files for ingest and prepare")
    parser.add_argument("--allstar", default="", help="APOGEE's allStar for prepare")
    parser.add_argument("--run", default="", help="a finished run, for the commands that take one")
    parser.add_argument("--data", default="", help="training store for train and crossval")
    parser.add_argument("--config", default="", help="settings of train, crossval and demo")
    parser.add_argument("--only", nargs="*", default=[], help="these commands")
    parser.add_argument("--latest", type=float, default=15.0, help="seconds until the last signal")
    parser.add_argument("--parts", default="", help="folder of predictions, for catalogue")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        tried = commands(Path(folder), given)
        for name in given.only or tried:
            arguments = tried[name]
            statuses: Counter[str] = Counter()
            # Half of the moments lie in the first second: imports.
            moments = np.concatenate(
                [
                    rng.uniform(0.0, 1.0, given.moments // 2),
                    rng.uniform(1.0, given.latest, given.moments - given.moments // 2),
                ]
            )
            for after in moments:
                number = (signal.SIGINT, signal.SIGTERM)[int(rng.integers(2))]
                status, said = stop(arguments, float(after), number)
                if "init_import_site" in said:
                    statuses["site"] += 1
                    continue
                statuses[f"{number.name}: {status}"] += 1
                # Where the signal kills Python, it may show where it was.
                ours = "Traceback" in said and status != -number
                if status not in (*EXPECTED[number], 0) or ours:
                    wrong += 1
                    print(f"{name}, {number.name} after {after:.2f} s: {status}: {said[-300:]}")
            print(f"{name}: {dict(statuses)}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
