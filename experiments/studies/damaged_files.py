"""Damaged XP files through the reader: stars, named bad rows, or one line; never a traceback.

Each input is a good file (made up in every container, and the real ones of a folder, where
given) in which bytes are changed, cut out, repeated or swapped, or which ends early. It is
read in a process of its own kind, so that a crash inside a library counts too.

Run: python experiments/studies/damaged_files.py --inputs 10000
Expect: "0 raw exceptions, 0 crashes".
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import read_xp
from support.damage import damaged, good_files

# Seconds for one input; more is a hang.
PATIENCE = 60
TOGETHER = 250


def outcome(path: Path) -> str:
    """How reading ends: ``read``, ``refused``, or the raw exception and where it was raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bad: list[object] = []
            for _ in read_xp(path, on_bad_row=bad.append, on_note=[].append):
                pass
        return "read"
    except InputError as error:
        return "refused" if "\n" not in str(error) else f"two lines: {error}"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "aspgap_jax" in f.filename]
        at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
        return f"{type(error).__name__}: {str(error)[:80]} ({at}, {Path(last.filename).name})"


def batch(files: dict[str, bytes], seeds: range, answers: multiprocessing.Queue) -> None:
    """Damage and read some inputs; each is announced before it is read."""
    names = sorted(files)
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            name = names[seed % len(names)]
            path = Path(folder) / name.rpartition("/")[2]
            path.write_bytes(damaged(files[name], seed))
            answers.put((seed, name, None))
            answers.put((seed, name, outcome(path)))
            path.unlink()


def main() -> None:
    """Read damaged inputs and count how it ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of real files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = good_files(Path(folder))
    for folder in args.real:
        files |= {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}
    context = multiprocessing.get_context("fork")
    ends: Counter[str] = Counter()
    raw: Counter[str] = Counter()
    seed, stop = args.seed, args.seed + args.inputs
    while seed < stop:
        answers = context.Queue()
        seeds = range(seed, min(seed + TOGETHER, stop))
        process = context.Process(target=batch, args=(files, seeds, answers))
        process.start()
        last, end = (seed, "", None), "crash"
        while seed < seeds.stop:
            try:
                last = answers.get(timeout=PATIENCE if process.is_alive() else 1)
            except Exception:
                end = "hang" if process.is_alive() else "crash"
                raw[f"{end} (seed {last[0]}, {last[1]})"] += 1
                ends[end] += 1
                seed = last[0] + 1
                break
            if last[2] is not None:
                known = last[2] in ("read", "refused")
                ends[last[2] if known else "raw"] += 1
                if not known:
                    raw[last[2]] += 1
                    print(f"seed {last[0]}, {last[1]}: {last[2]}", flush=True)
                seed = last[0] + 1
        process.kill()
        process.join()
    for what, count in raw.most_common():
        print(f"{count:6,}  {what}")
    print(
        f"{args.inputs:,} damaged inputs of {len(files)} files: {ends['read']:,} read, "
        f"{ends['refused']:,} refused in one line, {ends['raw']:,} raw exceptions, "
        f"{ends['crash']:,} crashes, {ends['hang']:,} hangs"
    )


if __name__ == "__main__":
    main()
