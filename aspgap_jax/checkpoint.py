"""Training checkpoints and bundles on disk. The only import of Orbax.

A bundle is a folder: ``arrays/`` (Orbax) and ``bundle.json`` (what the arrays
are). Nothing is pickled.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from aspgap_jax import config, labels, model
from aspgap_jax.atomic import write_text
from aspgap_jax.config import Config
from aspgap_jax.crossval import Assignment
from aspgap_jax.errors import InputError
from aspgap_jax.predict import Bundle
from aspgap_jax.scaling import RobustScaler, Scalers
from aspgap_jax.train import TrainState

__all__ = [
    "BundleInfo",
    "Checkpoints",
    "load_bundle",
    "open_checkpoints",
    "save_bundle",
]

# Orbax logs every save at the level of warnings where absl is not set up.
logging.getLogger("absl").setLevel(logging.ERROR)

FORMAT_VERSION = 1


@dataclass(frozen=True)
class BundleInfo:
    """What stands in ``bundle.json``.

    Attributes:
        config: of the training.
        representation: of the spectra it takes, ``continuous`` or ``sampled``.
        n_xp: width of such a spectrum.
        n_pixels: width of an APOGEE-like spectrum.
        label_names: label columns, in order.
        members: which training each member is.
        apogee_spectra: what the APOGEE decoder was pre-trained on.
    """

    config: Config
    representation: str
    n_xp: int
    n_pixels: int
    label_names: tuple[str, ...]
    members: tuple[Assignment, ...]
    apogee_spectra: str


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


def save_bundle(folder: Path, bundle: Bundle, info: BundleInfo) -> None:
    """Write a bundle; ``bundle.json`` comes last and marks it whole."""
    folder = folder.absolute()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "arrays", bundle)
    description = dataclasses.asdict(info) | {
        "format_version": FORMAT_VERSION,
        "config": json.loads(config.to_json(info.config)),
        "members": [member._asdict() for member in info.members],
    }
    write_text(folder / "bundle.json", json.dumps(description, indent=2) + "\n")


def load_bundle(folder: Path) -> tuple[Bundle, BundleInfo]:
    """Read a bundle, or the one inside a run folder.

    Raises:
        InputError: there is none, it is damaged, or it has other labels.
    """
    folder = folder.absolute()
    if (folder / "bundle").is_dir():
        folder = folder / "bundle"
    info = _read_info(folder / "bundle.json")
    if info.label_names != labels.names():
        raise InputError(
            f"{folder}: predicts {', '.join(info.label_names)}, the label table has "
            f"{', '.join(labels.names())}: train again"
        )
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            bundle = checkpointer.restore(folder / "arrays", _abstract_bundle(info))
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise InputError(
            f"{folder}: the bundle's arrays cannot be read ({_first_line(error)}): "
            "copy it again, or train again"
        ) from error
    return bundle, info


def _read_info(path: Path) -> BundleInfo:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise InputError(
            f"{path.parent}: no finished bundle there (no {path.name}): "
            "make one with `aspgap train` or `aspgap crossval`"
        ) from None
    try:
        stored = json.loads(text)
        return BundleInfo(
            config=config.from_json(json.dumps(stored["config"]), source=str(path)),
            representation=stored["representation"],
            n_xp=stored["n_xp"],
            n_pixels=stored["n_pixels"],
            label_names=tuple(stored["label_names"]),
            members=tuple(Assignment(**member) for member in stored["members"]),
            apogee_spectra=stored["apogee_spectra"],
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no valid bundle description ({error!r})") from error


def _abstract_bundle(info: BundleInfo) -> Bundle:
    """Shapes and dtypes of a bundle's arrays."""
    cfg = info.config.model
    n_labels, n_members = len(info.label_names), len(info.members)

    def scaler(width: int) -> RobustScaler:
        return RobustScaler(jnp.zeros(width), jnp.zeros(width))

    def one(key: jax.Array) -> Bundle:
        return Bundle(
            params=model.init(key, cfg, n_xp=info.n_xp, n_pixels=info.n_pixels),
            decoder=model.init_apogee_decoder(key, cfg, n_pixels=info.n_pixels),
            scalers=Scalers(scaler(info.n_xp), scaler(n_labels)),
        )

    keys = jax.random.split(jax.random.key(0), n_members)
    shapes = jax.eval_shape(jax.vmap(one), keys)
    # The arrays may come from another machine: put them on this one's first device.
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(partial(_with_sharding, sharding=sharding), shapes)


def _with_sharding(leaf: Any, *, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:120]
