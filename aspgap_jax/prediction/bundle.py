"""Bundles on disk: what prediction needs, and what it is.

A bundle is a folder: ``arrays/`` (Orbax) and ``bundle.json`` (what the arrays
are). Nothing is pickled. One comes with the package: :func:`released_bundle`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

import aspgap_jax
from aspgap_jax import config, labels, model
from aspgap_jax.config import Config
from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text
from aspgap_jax.files.orbax import load_arrays, save_arrays
from aspgap_jax.prediction.domain import (
    N_COMPONENTS,
    N_LATENT,
    SCORES,
    Domain,
    LatentStatistics,
    hull_directions,
)
from aspgap_jax.prediction.photometry import BANDS, Photometry
from aspgap_jax.prediction.predict import Bundle, Trust, with_second_path, without_spectra
from aspgap_jax.prediction.uncertainty import Calibration
from aspgap_jax.preprocessing.folds import Assignment
from aspgap_jax.preprocessing.representation import Whitened
from aspgap_jax.preprocessing.scaling import RobustScaler, Scalers

__all__ = ["BundleInfo", "check_spectra", "load_bundle", "released_bundle", "save_bundle"]

FORMAT_VERSION = 2


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
        n_coefficients: width of a spectrum of coefficients that it takes too,
            through the instrument matrix; 0 if it takes none.
        whole: whether it has the hallucinator and the APOGEE decoder themselves,
            or only their merged second path (the released bundle, for its size).
    """

    config: Config
    representation: str
    n_xp: int
    n_pixels: int
    label_names: tuple[str, ...]
    members: tuple[Assignment, ...]
    apogee_spectra: str
    n_coefficients: int = 0
    whole: bool = True


def released_bundle() -> Path:
    """The folder of the bundle that comes with the package."""
    return Path(aspgap_jax.__file__).parent / "data" / "released"


def check_spectra(info: BundleInfo, representation: str, n_xp: int) -> None:
    """Whether a bundle takes such spectra.

    Raises:
        InputError: it does not, with what it takes.
    """
    takes = {info.representation: info.n_xp}
    if info.n_coefficients:
        takes["continuous"] = info.n_coefficients
    if takes.get(representation) != n_xp:
        words = " or ".join(f"{name} spectra of {width} values" for name, width in takes.items())
        raise InputError(
            f"the bundle takes {words}, the input has {representation} ones of {n_xp}: "
            "use another bundle"
        )


def save_bundle(folder: Path, bundle: Bundle, info: BundleInfo) -> None:
    """Write a bundle; ``bundle.json`` comes last and marks it finished.

    Args:
        folder: is replaced.
        bundle: of :func:`aspgap_jax.prediction.assess.assess`; of
            :func:`aspgap_jax.prediction.predict.without_spectra` where ``info.whole`` is false.
        info: what it is.
    """
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


def load_bundle(folder: Path | None = None) -> tuple[Bundle, BundleInfo]:
    """Read a bundle, or the one inside a run folder.

    Args:
        folder: ``None`` for the bundle that comes with the package.

    Raises:
        InputError: there is none, it is damaged, of an older format, or it has
            other labels.
    """
    folder = released_bundle() if folder is None else folder.absolute()
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
        if stored["format_version"] != FORMAT_VERSION:
            raise InputError(
                f"{path.parent}: a bundle of format {stored['format_version']}, this version reads "
                f"{FORMAT_VERSION}: train again"
            )
        return BundleInfo(
            config=config.from_json(json.dumps(stored["config"]), source=str(path)),
            representation=stored["representation"],
            n_xp=stored["n_xp"],
            n_pixels=stored["n_pixels"],
            label_names=tuple(stored["label_names"]),
            members=tuple(Assignment(**member) for member in stored["members"]),
            apogee_spectra=stored["apogee_spectra"],
            n_coefficients=stored["n_coefficients"],
            whole=stored["whole"],
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no valid bundle description ({error!r})") from error


def _abstract_bundle(info: BundleInfo) -> Bundle:
    """Shapes and dtypes of a bundle's arrays."""
    cfg = info.config.model
    n_labels, n_members = len(info.label_names), len(info.members)

    def one(key: jax.Array) -> Bundle:
        seen = _representation(info)
        return Bundle(
            params=model.init(key, cfg, n_xp=seen.n_inputs, n_pixels=info.n_pixels),
            decoder=model.init_apogee_decoder(key, cfg, n_pixels=info.n_pixels),
            scalers=Scalers(seen, _scaler(n_labels)),
        )

    def all_of_it() -> Bundle:
        networks = jax.vmap(one)(jax.random.split(jax.random.key(0), n_members))
        bundle = with_second_path(networks)._replace(trust=_abstract_trust(info))
        return bundle if info.whole else without_spectra(bundle)

    return jax.eval_shape(all_of_it)


def _representation(info: BundleInfo) -> RobustScaler | Whitened:
    data = info.config.data
    if data.representation == "robust":
        return _scaler(info.n_xp)
    width = jnp.zeros(info.n_xp)
    return Whitened(width, width, jnp.zeros((info.n_xp, data.components)))


def _scaler(width: int) -> RobustScaler:
    return RobustScaler(jnp.zeros(width), jnp.zeros(width))


def _abstract_trust(info: BundleInfo) -> Trust:
    n_xp, n_labels, latent = info.n_xp, len(info.label_names), info.config.model.latent
    components = min(N_COMPONENTS, n_xp)
    directions = len(hull_directions())
    latents = (len(info.members), latent)
    per_label = jnp.zeros(n_labels)
    return Trust(
        calibration=Calibration(per_label, per_label, per_label, jnp.zeros(2), jnp.zeros(())),
        domain=Domain(
            scaler=_scaler(n_xp),
            low=jnp.zeros(n_xp),
            high=jnp.zeros(n_xp),
            basis=jnp.zeros((n_xp, components)),
            intrinsic=jnp.zeros(components),
            noise=jnp.zeros(components),
            residual=jnp.zeros(2),
            latents=LatentStatistics(
                jnp.zeros(latents), jnp.zeros((*latents, min(N_LATENT, latent)))
            ),
            labels=_scaler(n_labels),
            hull_low=jnp.zeros(directions),
            hull_high=jnp.zeros(directions),
            sigma_trend=jnp.zeros(3),
            ln_snr=jnp.zeros(2),
            thresholds=jnp.zeros(len(SCORES)),
            band_snr=jnp.zeros(2),
            bands=jnp.zeros((2, n_xp), bool),
        ),
        photometry=Photometry(jnp.zeros((len(BANDS), n_xp))),
        instrument=jnp.zeros((n_xp, info.n_coefficients)),
    )
