from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.files import orbax
from aspgap_jax.files.orbax import open_checkpoints
from aspgap_jax.preprocessing.scaling import RobustScaler
from aspgap_jax.typing import Array, Float

SCALERS = RobustScaler(jnp.arange(3.0), jnp.ones(3))


def state(value: float) -> dict[str, jax.Array]:
    keys = jax.random.split(jax.random.key(int(value)), 2)
    return {"step": jnp.asarray(7), "params": jnp.full((4, 5), value), "key": keys}


def open_(folder: Path, scalers: RobustScaler = SCALERS):
    return open_checkpoints(folder, config={"train": {"seed": 3}}, scalers=scalers)


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    with open_(tmp_path / "run" / "checkpoints") as checkpoints:
        assert checkpoints.latest() is None
        for epoch, loss in enumerate([3.0, 1.0, 2.0, 4.0, 5.0, 6.0], start=1):
            checkpoints.save(epoch, state(epoch), loss)
        checkpoints.wait()
        assert checkpoints.kept() == [2, 5, 6]
        # The same epoch again, as at the end of a training: nothing to do.
        checkpoints.save(6, state(60), 0.0)
    with open_(tmp_path / "run" / "checkpoints") as checkpoints:
        assert checkpoints.latest() == 6
        restored = checkpoints.restore(state(0))
        # The best one is known after a restart too.
        checkpoints.save(7, state(7), 7.0)
        checkpoints.wait()
        assert checkpoints.kept() == [2, 6, 7]
        np.testing.assert_array_equal(restored["params"], state(6)["params"])
        assert jnp.issubdtype(restored["key"].dtype, jax.dtypes.prng_key)
        np.testing.assert_array_equal(
            jax.random.key_data(restored["key"]), jax.random.key_data(state(6)["key"])
        )


def test_config_and_scalers_stand_beside_the_state(tmp_path: Path) -> None:
    with open_(tmp_path) as checkpoints:
        checkpoints.save(1, state(1), 0.5)
    assert {"state", "scalers", "config", "metrics"} <= {p.name for p in (tmp_path / "1").iterdir()}
    assert json.loads((tmp_path / "1" / "config" / "metadata").read_text()) == {
        "train": {"seed": 3}
    }
    stored = orbax.load_arrays(tmp_path / "1" / "scalers", RobustScaler)
    np.testing.assert_array_equal(stored.centre, SCALERS.centre)


def test_another_training_set_is_not_mixed_in(tmp_path: Path) -> None:
    with open_(tmp_path) as checkpoints:
        checkpoints.save(1, state(1), 0.5)
    # Other hardware rounds otherwise; other stars scale otherwise.
    rounded = jax.tree.map(lambda leaf: leaf * (1 + 1e-6), SCALERS)
    with open_(tmp_path, rounded) as checkpoints:
        checkpoints.restore(state(0))
    other = jax.tree.map(lambda leaf: leaf * 1.01, SCALERS)
    with (
        open_(tmp_path, other) as checkpoints,
        pytest.raises(InputError, match="the training set has changed"),
    ):
        checkpoints.restore(state(0))


def test_a_kill_during_a_save_leaves_no_checkpoint(tmp_path: Path) -> None:
    with open_(tmp_path) as checkpoints:
        checkpoints.save(1, state(1), 0.5)
    # What Orbax leaves of a save that did not end.
    half = tmp_path / "2.orbax-checkpoint-tmp"
    (half / "state").mkdir(parents=True)
    (half / "state" / "data").write_bytes(b"half")
    with open_(tmp_path) as checkpoints:
        assert checkpoints.latest() == 1
        checkpoints.save(2, state(2), 0.4)
    with open_(tmp_path) as checkpoints:
        assert checkpoints.latest() == 2
        np.testing.assert_array_equal(checkpoints.restore(state(0))["params"], state(2)["params"])
    assert not half.exists()


def test_what_is_saved_survives_the_donation_of_the_state(tmp_path: Path) -> None:
    step = jax.jit(lambda x: x * 0.0 - 1.0, donate_argnums=0)
    live = jnp.full((1000, 1000), 5.0)
    with open_(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": live}, 0.0)
        step(live).block_until_ready()
    with open_(tmp_path) as checkpoints:
        restored = checkpoints.restore({"x": jnp.zeros((1000, 1000))})
    assert (restored["x"] == 5.0).all()


def test_states_of_several_devices_are_saved_as_one_array(tmp_path: Path) -> None:
    mesh = jax.make_mesh((4,), ("device",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.NamedSharding(mesh, jax.sharding.PartitionSpec("device"))
    values = np.arange(8.0, dtype=np.float32)
    with open_(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": jax.device_put(values, split)}, 0.0)
    with open_(tmp_path) as checkpoints:
        restored = checkpoints.restore({"x": jnp.zeros(8)})
    np.testing.assert_array_equal(restored["x"], values)


def test_another_shape_is_one_clear_line(tmp_path: Path) -> None:
    with open_(tmp_path) as checkpoints:
        checkpoints.save(1, state(1), 0.5)
        checkpoints.wait()
        wrong = state(1) | {"params": jnp.zeros((2, 2))}
        with pytest.raises(
            InputError, match=r"/1: the checkpoint cannot be read \(\['params'\] is float32\(4, 5\)"
        ) as error:
            checkpoints.restore(wrong)
    assert "\n" not in str(error.value)


class Pair(NamedTuple):
    scaler: RobustScaler
    free: Any


class Kinds(NamedTuple):
    either: Pair | RobustScaler
    none: Float[Array, "three zero"]
    layers: Any


def test_arrays_round_trip_those_without_elements_too(tmp_path: Path) -> None:
    layers = {"params": {"Dense_0": {"kernel": jnp.ones((2, 3, 4)), "bias": jnp.arange(3)}}}
    for either in (SCALERS, Pair(SCALERS, jnp.ones(2))):
        arrays = Kinds(either, jnp.zeros((3, 0)), layers)
        folder = tmp_path / type(either).__name__
        orbax.save_arrays(folder, arrays)
        loaded = orbax.load_arrays(folder, Kinds)
        assert jax.tree.structure(loaded) == jax.tree.structure(arrays)
        for a, b in zip(jax.tree.leaves(arrays), jax.tree.leaves(loaded), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_array_equal(a, b)
        with pytest.raises(InputError, match=r"arrays cannot be read \(no Pair: it has"):
            orbax.load_arrays(folder, Pair)
