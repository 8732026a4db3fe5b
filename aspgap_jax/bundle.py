"""Bundles on disk: what prediction needs, and what it is.

A bundle is a folder: ``arrays/`` (Orbax) and ``bundle.json`` (what the arrays
are). Nothing is pickled.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from aspgap_jax import config, labels, model
from aspgap_jax.atomic import write_text
from aspgap_jax.checkpoint import load_arrays, save_arrays
from aspgap_jax.config import Config
from aspgap_jax.crossval import Assignment
from aspgap_jax.errors import InputError
from aspgap_jax.predict import Bundle
from aspgap_jax.scaling import RobustScaler, Scalers

__all__ = ["BundleInfo", "load_bundle", "save_bundle"]

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


def save_bundle(folder: Path, bundle: Bundle, info: BundleInfo) -> None:
    """Write a bundle; ``bundle.json`` comes last and marks it whole."""
    folder = folder.absolute()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    save_arrays(folder / "arrays", bundle)
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
    return load_arrays(folder / "arrays", _abstract_bundle(info)), info


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
    return jax.eval_shape(jax.vmap(one), keys)
