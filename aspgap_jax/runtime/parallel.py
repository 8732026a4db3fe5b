"""Devices: one function with a named axis, on one of them, several, or several hosts.

A function ``f(*args, axis_name)`` pools over ``axis_name`` whatever it takes means
of, and takes its share of the work by ``lax.axis_index(axis_name)``; without a name
it does all the work. :func:`over_devices` compiles it for a :class:`Layout`:

- ``one``: ``jax.jit`` on JAX's default device;
- ``pmap``: ``jax.pmap`` over the devices of this host;
- ``mesh``: ``shard_map`` over the devices of all processes.

Every device holds all arguments whole. What comes out is the same on each.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from aspgap_jax.errors import InputError
from aspgap_jax.runtime.output import detail

__all__ = [
    "AXIS",
    "ONE_DEVICE",
    "Layout",
    "check_devices",
    "choose",
    "free_bytes",
    "initialize",
    "is_main",
    "on_device",
    "one_copy",
    "over_devices",
    "platform",
    "replicate",
]

AXIS = "device"
"""Name of the axis that shares a batch."""

EVERYWHERE = PartitionSpec()
"""Of an array that every device of a mesh holds whole."""


class Layout(NamedTuple):
    """On what a training runs.

    Attributes:
        kind: how functions are compiled, see the module.
        devices: those that share every batch; empty for JAX's default device.
    """

    kind: Literal["one", "pmap", "mesh"]
    devices: tuple[jax.Device, ...]


ONE_DEVICE = Layout("one", ())


def initialize(
    coordinator: str | None = None, processes: int | None = None, process_id: int | None = None
) -> bool:
    """Join the other processes of a run; before any other use of JAX.

    Without arguments, the tasks of a Slurm job step find each other.

    Args:
        coordinator: ``host:port`` on which process 0 listens.
        processes: how many there are.
        process_id: which of them this one is, from 0.

    Returns:
        whether there are several processes.

    Raises:
        InputError: some of the arguments are missing, or they do not fit together.
    """
    # It would take SIGTERM for itself, which is ours to obey.
    jax.config.update("jax_enable_preemption_service", False)
    given = (coordinator, processes, process_id)
    if coordinator is not None and processes is not None and process_id is not None:
        if not 0 <= process_id < processes:
            raise InputError(
                f"process id {process_id}: must be from 0 to {processes - 1}, "
                f"one less than the number of processes"
            )
        jax.distributed.initialize(coordinator, processes, process_id)
        return processes > 1
    if given != (None, None, None):
        raise InputError(
            "several processes need a coordinator (host:port), their number and the id of this "
            f"one: got {coordinator}, {processes}, {process_id}"
        )
    # Of the step, not the job: the batch script itself is not one of the tasks.
    if "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        jax.distributed.initialize()
        return True
    return False


def check_devices() -> None:
    """See that JAX has a device of the kind that ``JAX_PLATFORMS`` asks for.

    Raises:
        InputError: it has none.
    """
    try:
        devices = jax.devices()
    # JAX has several, AssertionError among them.
    except Exception as error:
        asked = os.environ.get("JAX_PLATFORMS", "")
        reason = f" ({' '.join(str(error).split())[:150]})" if str(error) else ""
        raise InputError(
            f"JAX finds no device of the kind that JAX_PLATFORMS={asked} asks for{reason}: "
            "unset it, or install JAX for that device"
        ) from error
    kinds = ", ".join(sorted({device.device_kind for device in devices}))
    detail(f"aspgap: JAX {jax.__version__} on {len(devices)} of {kinds}")


def free_bytes() -> int | None:
    """Memory that the arrays of a training may take: the device's, or what the host has left.

    Returns:
        Bytes; ``None`` where neither tells.
    """
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit:
        return int(limit)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return None if found is None else 1024 * int(found.split()[1])


def is_main() -> bool:
    """Whether this is the process that writes files.

    Returns:
        True for process 0, and where there is one process alone.
    """
    return jax.process_index() == 0


def choose(
    kind: Literal["auto", "one", "pmap", "mesh"] = "auto", count: int | None = None
) -> Layout:
    """A layout for the devices at hand.

    Args:
        kind: ``auto`` is ``mesh`` for several processes, ``pmap`` for several
            devices of one process, ``one`` otherwise.
        count: use the first so many devices of this host; all by default.

    Returns:
        The layout.

    Raises:
        InputError: there are not so many, or several processes would each train
            alone.
    """
    several = jax.process_count() > 1
    if several and (kind in ("one", "pmap") or count is not None):
        raise InputError(
            f"{jax.process_count()} processes train on all their devices together, as a mesh: "
            "leave out the layout and the number of devices, or start one process"
        )
    devices = tuple(jax.devices())
    if count is not None:
        if not 1 <= count <= len(devices):
            raise InputError(f"{count} devices asked for, this host has 1 to {len(devices)}")
        devices = devices[:count]
    if kind == "auto":
        kind = "mesh" if several else "pmap" if len(devices) > 1 else "one"
    return Layout(kind, devices[:1] if kind == "one" else devices)


def platform(layout: Layout) -> str:
    """``cpu``, ``gpu`` or ``tpu``.

    Args:
        layout: of devices; an empty one means JAX's default.

    Returns:
        The kind of its first device.
    """
    return layout.devices[0].platform if layout.devices else jax.default_backend()


def on_device(tree: Any) -> Any:
    """Host arrays as arrays of JAX's default device, which can be donated.

    Args:
        tree: NumPy arrays.

    Returns:
        The same tree of JAX arrays.
    """
    return jax.tree.map(jnp.asarray, tree)


def replicate(layout: Layout, tree: Any) -> Any:
    """Put a copy of a pytree on every device of a layout.

    With several processes each passes the same values. On one device an array that
    is there already is not copied, so that donating the result uses it up.

    Args:
        layout: of :func:`choose`.
        tree: host or device arrays, typed keys among them.

    Returns:
        what functions of :func:`over_devices` take; under ``pmap`` arrays have a
        leading device axis.
    """
    if layout.kind == "one":
        return jax.device_put(tree, layout.devices[0]) if layout.devices else tree
    mesh = _mesh(layout)
    here = [d for d in layout.devices if d.process_index == jax.process_index()]
    stacked = layout.kind == "pmap"
    sharding = NamedSharding(mesh, PartitionSpec(AXIS) if stacked else EVERYWHERE)

    def put(x: Any) -> jax.Array:
        x = np.asarray(x)
        shape = (len(layout.devices), *x.shape) if stacked else x.shape
        # From the host, so that no copy shares its memory with the original.
        copies = [jax.device_put(x[None] if stacked else x, device) for device in here]
        return jax.make_array_from_single_device_arrays(shape, sharding, copies)

    return _through_key_data(put, tree)


def one_copy(layout: Layout, tree: Any) -> Any:
    """A pytree of a layout's devices as this process's first device holds it.

    It may be a view: copy it before its owner is donated.

    Args:
        layout: of the tree.
        tree: on its devices.

    Returns:
        The pytree.
    """
    if layout.kind == "one":
        return tree

    here = _through_key_data(lambda x: x.addressable_data(0), tree)
    return _first(here) if layout.kind == "pmap" else here


@jax.jit
def _first(tree: Any) -> Any:
    """Of every leaf the first row, in one program."""
    return jax.tree.map(lambda x: x[0], tree)


def over_devices(
    layout: Layout, function: Callable[..., Any], *, donate: tuple[int, ...] = ()
) -> Callable[..., Any]:
    """Compile ``function(*args, axis_name)`` for a layout.

    Args:
        layout: of :func:`choose`.
        function: see the module.
        donate: positions of arguments whose memory the results may take.

    Returns:
        a function of ``*args``, which :func:`replicate` has placed.
    """
    if layout.kind == "one":
        return jax.jit(partial(function, axis_name=None), donate_argnums=donate)
    named = partial(function, axis_name=AXIS)
    if layout.kind == "pmap":
        mapped: Callable[..., Any] = jax.pmap(
            named, AXIS, devices=layout.devices, donate_argnums=donate
        )
        return mapped
    # Without check_vma=False the gradient of a replicated parameter is summed over the
    # devices behind our back, and comes out too large by their number.
    shared = jax.shard_map(
        named, mesh=_mesh(layout), in_specs=EVERYWHERE, out_specs=EVERYWHERE, check_vma=False
    )
    return jax.jit(shared, donate_argnums=donate)


def _mesh(layout: Layout) -> Mesh:
    return Mesh(np.array(layout.devices), (AXIS,), axis_types=(AxisType.Auto,))


def _through_key_data(function: Callable[[Any], jax.Array], tree: Any) -> Any:
    """Apply ``function`` to all leaves, to typed keys by way of their numbers."""

    def apply(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            key: jax.Array = jax.random.wrap_key_data(function(jax.random.key_data(leaf)))
            return key
        moved: jax.Array = function(leaf)
        return moved

    return jax.tree.map(apply, tree)
