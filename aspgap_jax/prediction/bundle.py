"""What training gives and what predicts, and both on disk.

A bundle is a folder: ``bundle.json`` (what it is), ``arrays/`` (the :class:`Bundle`,
Orbax) and, in the bundle of a run, ``networks/`` (the :class:`Networks`), or else, if
spectra are to be hallucinated, ``hallucinator/`` (the small :class:`Hallucinator`). Nothing
is pickled. One bundle comes with the package: :func:`released_bundle`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

import aspgap_jax
from aspgap_jax import config, labels
from aspgap_jax.config import Config
from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text
from aspgap_jax.files.orbax import load_arrays, save_arrays
from aspgap_jax.model import Absorbed, Params, Variables, last_of_hallucinator
from aspgap_jax.prediction.correlation import Correlation
from aspgap_jax.prediction.domain import Domain
from aspgap_jax.prediction.photometry import Photometry
from aspgap_jax.prediction.uncertainty import Calibration
from aspgap_jax.preprocessing.folds import Assignment
from aspgap_jax.preprocessing.scaling import Scalers
from aspgap_jax.typing import Array, Float

__all__ = [
    "Bundle",
    "BundleInfo",
    "Hallucinator",
    "Networks",
    "check_spectra",
    "hallucinator_of",
    "load_bundle",
    "load_hallucinator",
    "load_info",
    "load_networks",
    "released_bundle",
    "save_bundle",
]

FORMAT_VERSION = 6


class Networks(NamedTuple):
    """The networks as they were trained ``[member, ...]``.

    Attributes:
        params: encoder, hallucinator and XP decoder.
        decoder: the frozen APOGEE decoder of the second branch.
        scalers: of spectra and labels.
    """

    params: Params
    decoder: Variables
    scalers: Scalers


class Bundle(NamedTuple):
    """All that predicts; of :func:`aspgap_jax.prediction.assess.assess`.

    Attributes:
        params: of every member, with latents and hallucinated spectrum absorbed
            ``[member, ...]``.
        scalers: of every member's spectra and labels ``[member, ...]``.
        calibration: of the uncertainties.
        correlation: of the errors of a star's labels.
        domain: scores and thresholds of the flags.
        photometry: synthetic magnitudes; G where a file has none, and how far a given
            one may be from it.
        instrument: from BP and RP coefficients to sampled fluxes, in units of
            :data:`aspgap_jax.prediction.spectra.FLUX_UNIT`; no columns where the
            networks take coefficients themselves.
    """

    params: Absorbed
    scalers: Scalers
    calibration: Calibration
    correlation: Correlation
    domain: Domain
    photometry: Photometry
    instrument: Float[Array, "xp coeff"]


class Hallucinator(NamedTuple):
    """What a :class:`Bundle` lacks to make spectra.

    Attributes:
        last: the hallucinator's last layer, and the basis of its spectra where there is one,
            float16 ``[member, ...]``.
    """

    last: Variables


@dataclass(frozen=True)
class BundleInfo:
    """What stands in ``bundle.json``.

    Attributes:
        config: of the training.
        representation: of the spectra it takes, ``continuous`` or ``sampled``.
        n_xp: width of such a spectrum.
        n_coefficients: width of a spectrum of coefficients that it takes too,
            through the instrument matrix; 0 if it takes none.
        release: the Gaia release of the coefficients it was trained on; empty where
            unknown, and for ``sampled``.
        n_parameters: trainable parameters of a member.
        label_names: label columns, in order.
        members: which training each member is.
        apogee_spectra: what the APOGEE decoder was pre-trained on.
    """

    config: Config
    representation: str
    n_xp: int
    n_coefficients: int
    release: str
    n_parameters: int
    label_names: tuple[str, ...]
    members: tuple[Assignment, ...]
    apogee_spectra: str


def released_bundle() -> Path:
    """The folder of the bundle that comes with the package.

    Returns:
        A path that :func:`load_bundle` reads.
    """
    return Path(aspgap_jax.__file__).parent / "data" / "released"


def check_spectra(info: BundleInfo, representation: str, n_xp: int) -> None:
    """Whether a bundle takes such spectra.

    Args:
        info: of the bundle.
        representation: ``continuous`` or ``sampled``.
        n_xp: values of a spectrum.

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


def hallucinator_of(networks: Networks) -> Hallucinator:
    """What makes spectra of networks whose labels a bundle predicts.

    Args:
        networks: as they were trained.

    Returns:
        A few MB where the hallucinator has a basis, or narrow layers.
    """
    last = jax.vmap(last_of_hallucinator)(networks.params, networks.decoder)
    # Depths are of order 0.1: float16 keeps them to 1e-4.
    return Hallucinator(jax.tree.map(lambda leaf: leaf.astype(jnp.float16), last))


def save_bundle(
    folder: Path,
    bundle: Bundle,
    info: BundleInfo,
    networks: Networks | None = None,
    hallucinator: Hallucinator | None = None,
) -> None:
    """Write a bundle; ``bundle.json`` comes last and marks it finished.

    Args:
        folder: is replaced.
        bundle: what predicts.
        info: what it is.
        networks: as they were trained; without, the folder has half the size or less.
        hallucinator: lets it make spectra all the same, if networks are left out.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> bundle, info = load_bundle()
        >>> with TemporaryDirectory() as folder:
        ...     save_bundle(Path(folder) / "bundle", bundle, info)
        ...     load_bundle(Path(folder) / "bundle")[1] == info
        True
    """
    folder = folder.absolute()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    save_arrays(folder / "arrays", bundle)
    if networks is not None:
        save_arrays(folder / "networks", networks)
    elif hallucinator is not None:
        save_arrays(folder / "hallucinator", hallucinator)
    description = dataclasses.asdict(info) | {
        "format_version": FORMAT_VERSION,
        "members": [member._asdict() for member in info.members],
    }
    write_text(folder / "bundle.json", json.dumps(description, indent=2) + "\n")


def load_bundle(folder: Path | None = None) -> tuple[Bundle, BundleInfo]:
    """Read a bundle, or the one inside a run folder.

    Args:
        folder: ``None`` for the bundle that comes with the package.

    Returns:
        What predicts, and its description.

    Raises:
        InputError: there is none, it is damaged, or of an older format.

    Examples:
        >>> bundle, info = load_bundle()
        >>> info.representation, info.n_xp, info.label_names
        ('sampled', 343, ('teff', 'logg', 'm_h', 'alpha_m'))
    """
    folder, info = _open(folder)
    return load_arrays(folder / "arrays", Bundle), info


def load_info(folder: Path | None = None) -> BundleInfo:
    """What a bundle is, without its arrays.

    Args:
        folder: of a bundle or of a run; ``None`` for the bundle that comes with the package.

    Returns:
        Its description.

    Raises:
        InputError: there is none, or it is damaged or of an older format.
    """
    return _open(folder)[1]


def load_networks(folder: Path | None = None) -> tuple[Networks, BundleInfo]:
    """Read the networks of a bundle as they were trained.

    Args:
        folder: of a bundle or of a run.

    Returns:
        The networks with their hallucinators, and the description of the bundle.

    Raises:
        InputError: of :func:`load_bundle`, or the bundle has only what predicts.
    """
    folder, info = _open(folder)
    if not (folder / "networks").is_dir():
        raise InputError(
            f"{folder}: has only what predicts, its hallucinator was left out: use the bundle of "
            "a run (`aspgap train`, `aspgap crossval`)"
        )
    return load_arrays(folder / "networks", Networks), info


def load_hallucinator(folder: Path | None = None) -> Hallucinator:
    """Read what makes the spectra of a bundle.

    Args:
        folder: of a bundle or of a run; ``None`` for the one that comes with the package.

    Returns:
        The hallucinators, float32, of :func:`load_networks` where the bundle has networks.

    Raises:
        InputError: of :func:`load_networks`.
    """
    place, _ = _open(folder)
    if (place / "hallucinator").is_dir():
        stored = load_arrays(place / "hallucinator", Hallucinator)
    else:
        stored = hallucinator_of(load_networks(folder)[0])
    return Hallucinator(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), stored.last))


def _open(folder: Path | None) -> tuple[Path, BundleInfo]:
    """The folder of a bundle, found and checked, and what it is."""
    folder = released_bundle() if folder is None else folder.absolute()
    if (folder / "bundle").is_dir():
        folder = folder / "bundle"
    info = _read_info(folder / "bundle.json")
    if info.label_names != (expected := labels.names(info.config.labels)):
        raise InputError(
            f"{folder}: predicts {', '.join(info.label_names)}, its config has "
            f"{', '.join(expected)}: train again"
        )
    return folder, info


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
        if (version := stored.pop("format_version")) != FORMAT_VERSION:
            raise InputError(
                f"{path.parent}: a bundle of format {version}, this version reads "
                f"{FORMAT_VERSION}: train again, into another folder"
            )
        return BundleInfo(
            **stored
            | {
                "config": config.from_values(stored["config"], source=str(path)),
                "label_names": tuple(stored["label_names"]),
                "members": tuple(Assignment(**member) for member in stored["members"]),
            }
        )
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no valid bundle description ({error!r})") from error
