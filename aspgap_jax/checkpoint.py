"""Training checkpoints, and pytrees on disk. The only import of Orbax."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from aspgap_jax.errors import InputError
from aspgap_jax.train import TrainState

__all__ = ["Checkpoints", "load_arrays", "open_checkpoints", "save_arrays"]

# Orbax logs every save at the level of warnings where absl is not set up.
logging.getLogger("absl").setLevel(logging.ERROR)


class Checkpoints:
    """The checkpoints of a training, newest two kept; saving is asynchronous."""

    def __init__(self, manager: ocp.CheckpointManager, folder: Path) -> None:
        self._manager = manager
        self._folder = folder

    def latest(self) -> int | None:
        """The newest epoch that was saved whole, or ``None``."""
        return self._manager.latest_step()

    def save(self, epoch: int, state: TrainState) -> None:
        """Save in the background; the state may be donated after the return."""
        self._manager.save(epoch, args=ocp.args.Composite(state=ocp.args.StandardSave(state)))

    def restore(self, template: TrainState) -> TrainState:
        """The newest state.

        Args:
            template: a state with the same shapes.

        Raises:
            InputError: the checkpoint is damaged or has other shapes.
        """
        epoch = self.latest()
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
        try:
            restored = self._manager.restore(
                epoch, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            )
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise InputError(
                f"{self._folder / str(epoch)}: the checkpoint cannot be read "
                f"({_first_line(error)}): delete that folder to go on from an older one"
            ) from error
        return restored.state


@contextmanager
def open_checkpoints(folder: Path) -> Iterator[Checkpoints]:
    """The checkpoints below ``folder``; waits for unfinished saves at the end."""
    options = ocp.CheckpointManagerOptions(max_to_keep=2)
    with ocp.CheckpointManager(folder.absolute(), options=options) as manager:
        yield Checkpoints(manager, folder)


def save_arrays(folder: Path, arrays: Any) -> None:
    """Write a pytree of arrays to a new folder."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute(), arrays)


def load_arrays(folder: Path, abstract: Any) -> Any:
    """Read a pytree of arrays.

    Args:
        folder: of :func:`save_arrays`.
        abstract: the same pytree of shapes and dtypes.

    Raises:
        InputError: it is damaged or has other shapes.
    """
    # The arrays may come from another machine: put them on this one's first device.
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    placed = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract
    )
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(folder.absolute(), placed)
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise InputError(
            f"{folder.parent}: the bundle's arrays cannot be read ({_first_line(error)}): "
            "copy it again, or train again"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:120]
