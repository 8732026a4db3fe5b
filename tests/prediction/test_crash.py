"""SIGKILL at the worst moments of a prediction: whole parts stay, half parts never appear."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from aspgap_jax.catalogue.parts import read_part_record
from aspgap_jax.config import PredictOptions
from aspgap_jax.prediction.bundle import save_bundle
from aspgap_jax.prediction.files import predict_files
from support.bundles import flat_star, gaia_bundle
from support.xp_files import write_bulk

OPTIONS = PredictOptions(batch_size=8, second_path=False)
# The n-th part is hit: inside it, before it gets its name, and right after.
MOMENTS = {"inside part 2": 1, "before the name of part 3": 2, "after the name of part 3": 3}

RUN = """
import os, signal, sys
from pathlib import Path
from aspgap_jax.prediction import output
from aspgap_jax.config import PredictOptions
from aspgap_jax.prediction.bundle import load_bundle
from aspgap_jax.prediction.files import predict_files

moment, bundle, out, *files = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

write, name = output.PartWriter.__call__, Path.replace
batches = 0

def killed_inside(self, item):
    global batches
    write(self, item)
    batches += 1
    # 3 batches and the end of part 1, then 2 batches of part 2, one of them on the disk.
    self._table and self._table.flush()
    if moment == "inside part 2" and batches == 6:
        die()

def killed_at_the_name(self, target):
    if Path(target).name.startswith("c.csv") and moment == "before the name of part 3":
        die()
    name(self, target)
    if Path(target).name.startswith("c.csv") and moment == "after the name of part 3":
        die()

output.PartWriter.__call__ = killed_inside
Path.replace = killed_at_the_name
options = PredictOptions(batch_size=8, second_path=False)
predict_files(files, Path(out), *load_bundle(Path(bundle)), options)
"""


def whole_parts(out: Path) -> dict[str, int]:
    """The parts, each readable to its end, and when they were written."""
    found = {}
    for path in sorted(out.glob("*.parquet")):
        if path.name[0] == ".":
            continue
        record = read_part_record(path)
        assert record is not None
        table = pq.read_table(path)
        assert len(table) == record.predicted + record.unpredicted == 20
        found[path.name] = path.stat().st_mtime_ns
    return found


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_kill_loses_no_whole_part_and_leaves_no_half_one(tmp_path: Path) -> None:
    bundle, info = gaia_bundle()
    save_bundle(tmp_path / "bundle", bundle, info)
    files = [
        str(write_bulk(tmp_path / f"{name}.csv.gz", [flat_star(100 * n + m) for m in range(1, 21)]))
        for n, name in enumerate("abcd")
    ]
    out = tmp_path / "out"
    before: dict[str, int] = {}
    for moment, parts in MOMENTS.items():
        command = [sys.executable, "-c", RUN, moment, str(tmp_path / "bundle"), str(out), *files]
        if moment == "after the name of part 3":
            # Two parts are there, the third is to come again.
            (out / "c.csv.gz.parquet").unlink(missing_ok=True)
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        after = whole_parts(out)
        assert len(after) == parts, moment
        # What was whole has not been touched.
        assert before.items() <= after.items()
        before = after
    done = predict_files(files, out, bundle, info, OPTIONS)
    assert [len(done.with_status(s)) for s in ("done", "skipped", "failed")] == [1, 3, 0]
    assert (done.total("read"), done.total("predicted")) == (80, 80)
    assert before.items() <= whole_parts(out).items()
    # Nothing else is left, and the labels are those of a run that nothing stopped.
    names = {f"{name}.csv.gz.parquet" for name in "abcd"} | {"manifest.json"}
    assert {path.name for path in out.iterdir()} == names
    predict_files(files, tmp_path / "whole", bundle, info, OPTIONS)
    for name in names - {"manifest.json"}:
        a, b = (pq.read_table(folder / name) for folder in (out, tmp_path / "whole"))
        for column in a.column_names:
            np.testing.assert_allclose(a[column].to_numpy(), b[column].to_numpy(), rtol=1e-5)
