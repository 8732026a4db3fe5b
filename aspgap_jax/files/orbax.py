"""Training checkpoints, and pytrees on disk. The only import of Orbax.

A checkpoint is a folder with the items ``state`` (arrays), ``scalers`` (arrays),
``config`` and ``metrics`` (JSON). Its arrays are saved from host memory and come
back as host memory, so a checkpoint made on one kind and number of devices goes on
on any other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from aspgap_jax.errors import InputError

__all__ = [
    "Checkpoints",
    "from_host",
    "load_arrays",
    "open_checkpoints",
    "save_arrays",
    "to_host",
    "wait_for_others",
]

Tree = TypeVar("Tree")
EMPTY = "arrays without elements"

# Orbax logs every save at the level of warnings where absl is not set up.
logging.getLogger("absl").setLevel(logging.ERROR)

# More than a pre-training takes.
BARRIER_SECONDS = 7 * 24 * 3600


class Checkpoints:
    """The checkpoints of a training: the newest two, and the best.

    Saving is asynchronous: the arrays are copied to the host at once and written in
    the background. A kill during that leaves a temporary folder that is no
    checkpoint.
    """

    def __init__(
        self, manager: ocp.CheckpointManager, folder: Path, config: Mapping[str, Any], scalers: Any
    ) -> None:
        self._manager = manager
        self._folder = folder
        self._config = dict(config)
        self._scalers = to_host(scalers)

    def latest(self) -> int | None:
        """The newest step that was saved whole, or ``None``."""
        newest: int | None = self._manager.latest_step()
        return newest

    def kept(self) -> list[int]:
        """The steps on disk, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, loss: float) -> None:
        """Save in the background; the state may be donated after the return.

        Args:
            step: larger than those before, or it is not saved again.
            state: a pytree of arrays.
            loss: the lowest one is kept.
        """
        # The latest is on disk already: Orbax would say nothing and do nothing.
        if (latest := self.latest()) is not None and step <= latest:
            return
        items = {
            "state": ocp.args.StandardSave(to_host(state)),
            "scalers": ocp.args.StandardSave(self._scalers),
            "config": ocp.args.JsonSave(self._config),
        }
        self._manager.save(
            step, args=ocp.args.Composite(**items), metrics={"valid_nll": float(loss)}
        )

    def wait(self) -> None:
        """Return when what was saved is on disk."""
        self._manager.wait_until_finished()

    def restore(self, template: Tree) -> Tree:
        """The newest state, in host memory; typed keys are keys again.

        Args:
            template: a state with the same shapes.

        Raises:
            InputError: the checkpoint is damaged, has other shapes, or was scaled
                otherwise: the training set has changed since.
        """
        folder = self._folder / str(self.latest())
        items = {
            "state": ocp.args.StandardRestore(to_host(template)),
            "scalers": ocp.args.StandardRestore(self._scalers),
        }
        try:
            restored = self._manager.restore(self.latest(), args=ocp.args.Composite(**items))
            _check_shapes(restored.state, items["state"].item)
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise InputError(
                f"{folder}: the checkpoint cannot be read ({_first_line(error)}): "
                "delete that folder to go on from an older one"
            ) from error
        pairs = zip(jax.tree.leaves(self._scalers), jax.tree.leaves(restored.scalers), strict=True)
        # Other hardware may round otherwise.
        if not all(np.allclose(now, then, rtol=1e-4, equal_nan=True) for now, then in pairs):
            raise InputError(
                f"{folder}: the training set has changed since this checkpoint: "
                "choose another --out"
            )
        state: Tree = from_host(restored.state, template)
        return state


@contextmanager
def open_checkpoints(
    folder: Path, *, config: Mapping[str, Any], scalers: Any
) -> Iterator[Checkpoints]:
    """The checkpoints below ``folder``; waits for unfinished saves at the end.

    Of several processes, only the one that calls this reads and writes.

    Args:
        folder: made where it is missing.
        config: stored beside every state (JSON).
        scalers: of the training; stored, and compared when a state is restored.

    Returns:
        The checkpoints, for a ``with`` statement.
    """
    keep = preservation_policy.AnyPreservationPolicy(
        [
            preservation_policy.LatestN(2),
            # Sorted from bad to good, the last one is kept.
            preservation_policy.BestN(
                get_metric_fn=lambda metrics: metrics["valid_nll"], reverse=True, n=1
            ),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=keep,
        # Decides nothing beside the policy, but without it metrics are not written.
        best_fn=lambda metrics: metrics["valid_nll"],
        best_mode="min",
        create=False,
        # What a kill during a save has left.
        cleanup_tmp_directories=True,
        multiprocessing_options=_this_process_alone(),
    )
    # Orbax makes no parents where only some processes are active.
    folder.mkdir(parents=True, exist_ok=True)
    with ocp.CheckpointManager(folder.absolute(), options=options) as manager:
        yield Checkpoints(manager, folder, config, scalers)


def _check_shapes(tree: Any, like: Any) -> None:
    """Raises ``ValueError``: to Orbax another shape in host memory is no error."""
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(like), strict=True
    ):
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            name = jax.tree_util.keystr(path)
            raise ValueError(f"{name} is {x.dtype}{x.shape}, not {y.dtype}{y.shape}")


def to_host(tree: Any) -> Any:
    """A copy of a pytree in host memory; typed keys become their data.

    The copy shares no memory with the device, whose buffers may be donated.

    Args:
        tree: arrays and typed keys.

    Returns:
        The same tree of NumPy arrays.
    """

    def leaf(value: Any) -> np.ndarray:
        return np.array(jax.random.key_data(value) if _is_key(value) else value)

    return jax.tree.map(leaf, tree)


def from_host(tree: Any, template: Any) -> Any:
    """What :func:`to_host` made a copy of, still in host memory but for its keys.

    Args:
        tree: of :func:`to_host`.
        template: the same pytree with the types that are wanted.

    Returns:
        The pytree of ``template``.
    """

    def leaf(value: np.ndarray, like: Any) -> Any:
        return jax.random.wrap_key_data(jnp.asarray(value)) if _is_key(like) else value

    return jax.tree.map(leaf, tree, template)


def _is_key(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def wait_for_others(name: str) -> None:
    """Return when every process has come here; at once where there is one.

    Unlike a collective operation of the devices, this may take hours.

    Args:
        name: unique among the waits of a run.
    """
    everyone = set(range(jax.process_count()))
    ocp.multihost.sync_global_processes(name, processes=everyone, timeout=BARRIER_SECONDS)


def save_arrays(folder: Path, arrays: Any) -> None:
    """Write a NamedTuple of arrays, mappings of arrays and such NamedTuples to a new folder.

    Args:
        folder: must not be there yet.
        arrays: the NamedTuple.
    """
    host = to_host(arrays)
    # Orbax refuses arrays without elements; their shape says all about them.
    empty = {
        _name(path): (leaf.shape, str(leaf.dtype))
        for path, leaf in jax.tree_util.tree_leaves_with_path(host)
        if not leaf.size
    }
    stored = jax.tree.map(lambda leaf: leaf if leaf.size else None, host)
    with _checkpointer() as checkpointer:
        checkpointer.save(folder.absolute(), stored, custom_metadata={EMPTY: empty})
    # It names the folder on the machine that wrote it. Reading does without.
    (folder / "commit_success.txt").unlink(missing_ok=True)


def load_arrays(folder: Path, kind: type[Tree]) -> Tree:
    """Read what :func:`save_arrays` wrote; shapes and types are those on disk.

    Args:
        folder: of the arrays.
        kind: the NamedTuple that they are, its fields annotated with their types.

    Returns:
        The NamedTuple, on this machine's first device.

    Raises:
        InputError: they are damaged, or another NamedTuple.
    """
    # The arrays may come from another machine: put them on this one's first device.
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    try:
        with _checkpointer() as checkpointer:
            metadata = checkpointer.metadata(folder.absolute())
            abstract = jax.tree.map(place, metadata.item_metadata.tree)
            stored = checkpointer.restore(folder.absolute(), abstract)
        empty = (metadata.custom_metadata or {}).get(EMPTY, {})
        found: Tree = _as_kind(kind, stored, {n: jnp.zeros(*like) for n, like in empty.items()})
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise InputError(
            f"{folder.parent}: the arrays cannot be read ({_first_line(error)}): "
            "copy them again, or train again"
        ) from error
    return found


def _as_kind(kind: Any, stored: Any, empty: Mapping[str, jax.Array], name: str = "") -> Any:
    """Nested mappings as the NamedTuples that they were."""
    if name in empty:
        return empty[name]
    # Where several kinds are allowed, their fields tell them apart.
    kinds = [each for each in (kind, *get_args(kind)) if hasattr(each, "_fields")]
    if not kinds:
        return stored
    found = next((each for each in kinds if set(each._fields) == set(stored)), None)
    if found is None:
        raise ValueError(f"no {kinds[0].__name__}: it has {', '.join(stored)}")
    hints = get_type_hints(found)
    return found(
        **{
            field: _as_kind(hints[field], value, empty, f"{name}.{field}")
            for field, value in stored.items()
        }
    )


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path)


def _checkpointer() -> ocp.StandardCheckpointer:
    return ocp.StandardCheckpointer(multiprocessing_options=_this_process_alone())


def _this_process_alone() -> ocp.options.MultiprocessingOptions:
    """Orbax would have all processes take part, and wait for those that do not."""
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process_{me}"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:120]
