"""One device, several under pmap, a mesh, and several processes train the same."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from jax import lax

from aspgap_jax.errors import InputError
from aspgap_jax.runtime import parallel
from aspgap_jax.runtime.parallel import Layout
from aspgap_jax.training.loop import epoch_of_all
from aspgap_jax.training.step import TrainState, make_batch, share, train_step
from support import TESTS
from support.small_training import RECIPE, copied, distance, flat, one, prepare, trained

WORKER = """
import sys
from pathlib import Path
import numpy as np
from aspgap_jax.files.orbax import wait_for_others
from aspgap_jax.runtime import parallel
port, process_id, out = sys.argv[1:]
assert parallel.initialize(f"127.0.0.1:{port}", 2, int(process_id))
import jax
from support.small_training import flat, trained
layout = parallel.choose()
assert (layout.kind, len(layout.devices)) == ("mesh", 2)
result = flat(trained(layout))
np.save(Path(out) / f"{process_id}.npy", result)
wait_for_others("saved")
assert parallel.is_main() == (process_id == "0")
"""


@pytest.fixture(scope="module")
def single() -> TrainState:
    states = trained(parallel.ONE_DEVICE)
    assert int(states.step[0]) == 24
    return states


@pytest.mark.parametrize(("kind", "count"), [("pmap", 4), ("mesh", 4), ("pmap", 3)])
def test_devices_train_as_one(kind: str, count: int, single: TrainState) -> None:
    """Every term, noise and dropout on; the last device has fewer stars than the others."""
    many = trained(parallel.choose(kind, count))
    assert distance(many.params, single.params) < 1e-5
    np.testing.assert_allclose(many.best_loss, single.best_loss, rtol=1e-5)


@pytest.mark.parametrize("kind", ["pmap", "mesh"])
def test_the_gradient_is_not_multiplied_by_the_number_of_devices(kind: str) -> None:
    """With plain gradient descent: Adam would hide it."""
    stars, members, states = prepare()
    member, state = one(members, 0), one(states, 0)
    optimizer = optax.sgd(0.01)
    state = state._replace(opt_state=optimizer.init(state.params))

    def step(state: TrainState, axis_name: str | None) -> TrainState:
        position, here = share(30, axis_name)
        batch = make_batch(stars, member.scalers, member.train[position], here)
        return train_step(state, batch, member, optimizer, RECIPE, axis_name, position)[0]

    def moved(layout: Layout) -> TrainState:
        run = parallel.over_devices(layout, step)
        after = parallel.one_copy(layout, run(parallel.replicate(layout, state)))
        return jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), after.params, state.params)

    alone = moved(parallel.ONE_DEVICE)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(alone)) > 1e-3
    assert distance(moved(parallel.choose(kind, 4)), alone) < 1e-4


def test_training_moves_between_layouts() -> None:
    """A training goes on with other devices than it began with."""
    stars, members, states = prepare()
    whole, parts = states, copied(states)
    for layout in (parallel.choose("pmap", 4), parallel.choose("one")):
        placed = parallel.replicate(layout, (parts, stars, members))
        parts = parallel.one_copy(layout, epoch_of_all(RECIPE, layout)(*placed)[0])
        whole, _ = epoch_of_all(RECIPE, parallel.ONE_DEVICE)(whole, stars, members)
    assert distance(parts.params, whole.params) < 1e-5
    assert jax.random.key_data(parts.key).tolist() == jax.random.key_data(whole.key).tolist()


def test_two_processes_train_as_one(single: TrainState, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(port), str(i), str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    try:
        for worker in workers:
            output, _ = worker.communicate(timeout=300)
            assert worker.returncode == 0, output[-2000:]
    finally:
        for worker in workers:
            worker.kill()
    expected = flat(single)
    for i in range(2):
        found = np.load(tmp_path / f"{i}.npy")
        assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_every_device_gets_its_copy_and_gives_it_back() -> None:
    tree = {"x": np.arange(6.0, dtype=np.float32).reshape(2, 3), "key": jax.random.key(3)}

    def summed(tree: dict[str, jax.Array], axis_name: str | None) -> jax.Array:
        return lax.psum(tree["x"], axis_name)

    for kind in ("pmap", "mesh"):
        layout = parallel.choose(kind, 4)
        placed = parallel.replicate(layout, tree)
        back = parallel.one_copy(layout, placed)
        np.testing.assert_array_equal(back["x"], tree["x"])
        assert jax.random.key_data(back["key"]).tolist() == [0, 3]
        total = parallel.one_copy(layout, parallel.over_devices(layout, summed)(placed))
        np.testing.assert_array_equal(total, 4 * tree["x"])


def test_layouts_are_chosen_by_the_devices_at_hand() -> None:
    assert parallel.choose().kind == "pmap"
    assert len(parallel.choose().devices) == 4
    assert parallel.choose(count=1).kind == "one"
    assert parallel.choose("mesh", 2).devices == tuple(jax.devices()[:2])
    assert parallel.platform(parallel.ONE_DEVICE) == "cpu"
    with pytest.raises(InputError, match="5 devices asked for, this host has 1 to 4"):
        parallel.choose(count=5)


def test_processes_are_found_by_flags_or_by_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a: calls.append(a))
    for name in ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert not parallel.initialize()
    # The batch script of a job: in no step, whatever the size of the job.
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert not parallel.initialize()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    assert parallel.initialize()
    assert calls == [()]
    assert parallel.initialize("host:1234", 2, 1)
    assert calls[-1] == ("host:1234", 2, 1)
    with pytest.raises(InputError, match="coordinator"):
        parallel.initialize(None, 2, 0)
    with pytest.raises(InputError, match="process id 2: must be from 0 to 1"):
        parallel.initialize("host:1234", 2, 2)
