"""From coefficients to the sampled spectrum, by Gaia's instrument model.

The sampled flux of a star is linear in its coefficients. The matrix is the one of
GaiaXPy's ``calibrate`` (its default model, v375wi + v142r, and grid). BP and RP
overlap between 635 and 643 nm; there GaiaXPy weights RP by a ramp from 0 to 1 and
BP by the rest. A star with one band only has no flux on the other band's side.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Bool, Float

from aspgap_jax.errors import InputError
from aspgap_jax.extras import cure
from aspgap_jax.files.atomic import replace_file
from aspgap_jax.files.npz import read_npz
from aspgap_jax.survey.xp.chunk import BANDS, WAVELENGTH, XPChunk
from aspgap_jax.survey.xp.releases import DEFAULT, release

__all__ = [
    "Instrument",
    "InstrumentModel",
    "as_sampled",
    "check_release",
    "covariance",
    "instrument_model",
    "read_instrument",
    "sample_spectra",
    "write_instrument",
]

COMMAND = "aspgap instrument-matrix"


class Instrument(NamedTuple):
    """The matrix that samples the coefficients of a release; it travels as a file.

    Attributes:
        release: whose coefficients they are.
        n_bp: how many of them are BP's.
        matrix: ``[sample, xp]``, W m^-2 nm^-1 per e-/s, on the archive's grid.
    """

    release: str
    n_bp: int
    matrix: Float[np.ndarray, "sample xp"]


class InstrumentModel(NamedTuple):
    """The design matrices, float64, in W m^-2 nm^-1 per e-/s.

    Attributes:
        wavelength: grid of the samples, ``[sample]``, nm: 336-1020 in steps of 2.
        matrix: ``[sample, xp]`` for stars with both bands, BP coefficients first.
        bp: ``[sample, coeff]`` for stars with BP alone; NaN from 643 nm on.
        rp: ``[sample, coeff]`` for stars with RP alone; NaN up to 635 nm.
    """

    wavelength: Float[np.ndarray, " sample"]
    matrix: Float[np.ndarray, "sample xp"]
    bp: Float[np.ndarray, "sample coeff"]
    rp: Float[np.ndarray, "sample coeff"]


def write_instrument(path: Path, instrument: Instrument) -> None:
    """Write a matrix as ``.npz``, whole or not at all.

    Args:
        path: the file.
        instrument: the matrix and what it is for.
    """
    with replace_file(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            release=np.array(instrument.release),
            n_bp=np.array(instrument.n_bp),
            matrix=instrument.matrix,
        )


def read_instrument(path: Path) -> Instrument:
    """Read a matrix of :func:`write_instrument`.

    Args:
        path: an ``.npz`` file.

    Returns:
        The matrix from coefficients to the 343 samples, and the release it is for.

    Raises:
        InputError: it is none.
    """
    make = f"make one by `{COMMAND}`"
    arrays = read_npz(path, ("release", "n_bp", "matrix"), kind="instrument matrix", cure=make)
    try:
        found = Instrument(
            str(arrays["release"]), int(arrays["n_bp"]), arrays["matrix"].astype(np.float64)
        )
        shape = found.matrix.shape
        if len(shape) != 2 or shape[0] != len(WAVELENGTH) or not 0 < found.n_bp < shape[1]:
            raise ValueError(f"a matrix {shape} with {found.n_bp} BP coefficients")
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: no instrument matrix ({error}): {make}") from None
    return found


def check_release(representation: str, release: str, chunk: XPChunk) -> None:
    """Whether networks know the instrument of a chunk's coefficients.

    Networks of samples have the matrix of the default release alone, networks of
    coefficients know those of their own release; another release's coefficients, even
    if they are as many, are of another basis.

    Args:
        representation: of the spectra the networks were trained on.
        release: of those spectra, where they were coefficients.
        chunk: the spectra.

    Raises:
        InputError: they do not; with the command that makes the matrix.
    """
    own = DEFAULT if representation == "sampled" else release
    n_rp = chunk.coefficients.shape[1] - chunk.n_bp
    if chunk.representation == "sampled" or chunk.release == own or n_rp < 1:
        return
    name = _in_words(chunk.release)
    if representation != "sampled":
        raise InputError(
            f"{chunk.n_bp} + {n_rp} coefficients of {name}; the bundle was trained on those of "
            f"{_in_words(release)}, which are of another basis: use a bundle of that release or of "
            f"sampled spectra, or name the release by --release"
        )
    raise InputError(
        f"{chunk.n_bp} + {n_rp} coefficients of {name}, whose instrument matrix aspgap does not "
        f"have: make it from the GaiaXPy of that release (`{COMMAND} --release dr4 --models BP RP "
        f"--out dr4.npz`) and pass --instrument dr4.npz; or name the release by --release"
    )


def _in_words(release: str) -> str:
    return f"Gaia {release.upper()}" if release else "a release that is not known"


def as_sampled(chunk: XPChunk, instrument: Instrument) -> XPChunk:
    """Coefficients as sampled spectra, their errors propagated as independent ones.

    Samples to which a band that the star does not have contributes are NaN.

    Args:
        chunk: of coefficients.
        instrument: of their release.

    Returns:
        The same stars, W m^-2 nm^-1.

    Raises:
        InputError: the matrix is for other coefficients.
    """
    width = chunk.coefficients.shape[1]
    if (chunk.n_bp, width) != (instrument.n_bp, instrument.matrix.shape[1]):
        total = instrument.matrix.shape[1]
        raise InputError(
            f"spectra have {chunk.n_bp} + {width - chunk.n_bp} coefficients, the instrument "
            f"matrix is for {instrument.n_bp} + {total - instrument.n_bp}; pass the matrix of "
            f"their release"
        )
    finite = chunk.finite
    flux = np.where(finite, chunk.coefficients, 0.0) @ instrument.matrix.T
    variance = np.where(finite, chunk.errors, 0.0) ** 2 @ (instrument.matrix**2).T
    # A coefficient that is missing spoils the samples that depend on it.
    lost = (~finite).astype(float) @ (instrument.matrix != 0).T.astype(float) > 0
    flux, error = np.where(lost, np.nan, flux), np.where(lost, np.nan, np.sqrt(variance))
    none = {
        name: getattr(chunk, name)[:, :0]
        for name in (
            *("present", "n_relevant_bases", "n_measurements"),
            *("chi_squared", "standard_deviation"),
        )
    }
    fields: dict[str, Any] = {
        "representation": "sampled",
        "coefficients": flux,
        "errors": error,
        "finite": np.isfinite(flux) & np.isfinite(error),
        "n_bp": 0,
        "wavelength": WAVELENGTH,
        "correlations": None,
        "release": "",
    }
    return replace(chunk, **fields, **none)


@cache
def instrument_model(name: str = DEFAULT, models: tuple[str, str] | None = None) -> InstrumentModel:
    """The instrument model of a Gaia release, from GaiaXPy.

    Args:
        name: the release.
        models: GaiaXPy's names of the BP and RP models; by default the release's.

    Returns:
        Its design matrices and the wavelengths of its samples.

    Raises:
        InputError: GaiaXPy is not installed, or has no such models.
    """
    models = models or release(name).models
    if models is None:
        raise InputError(
            f"no model of GaiaXPy is known for {name.upper()}; name those of an installed GaiaXPy "
            f"(`{COMMAND} --models BP RP`)"
        )
    try:
        # GaiaXPy sets matplotlib to LaTeX when it is imported.
        with matplotlib.rc_context():
            from gaiaxpy.core.config import load_xpmerge_from_xml, load_xpsampling_from_xml
            from gaiaxpy.core.satellite import BP_WL, RP_WL
    except ImportError as error:
        raise InputError(
            f"the Gaia instrument model comes with GaiaXPy ({error}): {cure('gaia')}"
        ) from None
    if models == release(DEFAULT).models:
        wavelength, weight = load_xpmerge_from_xml()
        # GaiaXPy keeps them as [coeff, sample].
        design = {band: matrix.T for band, matrix in load_xpsampling_from_xml().items()}
    else:
        wavelength = WAVELENGTH
        design, weight = _other_models(*models)
    weighted = [weight[band][:, None] * design[band] for band in BANDS]
    return InstrumentModel(
        wavelength=wavelength,
        matrix=np.concatenate(weighted, axis=1),
        bp=np.where((wavelength >= BP_WL.high)[:, None], np.nan, design["bp"]),
        rp=np.where((wavelength <= RP_WL.low)[:, None], np.nan, design["rp"]),
    )


def _other_models(bp: str, rp: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Design matrices and weights of models that GaiaXPy has as dispersion and response."""
    with matplotlib.rc_context():
        from gaiaxpy.calibrator import calibrator

    made = getattr(calibrator, "__generate_xp_matrices_and_merge", None)
    try:
        if made is None:
            raise ValueError("this GaiaXPy keeps its models elsewhere")
        bases, weight = made("calibrator", WAVELENGTH, bp, rp)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"GaiaXPy has no models {bp} and {rp} ({error})") from None
    return {band: bases[band].get_design_matrix().T for band in BANDS}, weight


def sample_spectra(
    model: InstrumentModel,
    coefficients: Float[np.ndarray, "star xp"],
    present: Bool[np.ndarray, "star band"],
) -> Float[np.ndarray, "star sample"]:
    """Sampled fluxes, W m^-2 nm^-1, as GaiaXPy's ``calibrate`` gives them.

    Args:
        model: of :func:`instrument_model`.
        coefficients: BP then RP, e-/s, as :class:`XPChunk` has them.
        present: which bands a star has.

    Returns:
        Fluxes in the precision of ``coefficients``, NaN where a star has no band,
        or a NaN among the coefficients of a band.

    Raises:
        InputError: the coefficients are not as many as the model has.
    """
    size = model.matrix.shape[1]
    if coefficients.shape[1] != size:
        raise InputError(
            f"spectra have {coefficients.shape[1]} coefficients, the instrument model of GaiaXPy "
            f"has {size}; use the GaiaXPy of their data release"
        )
    flux = np.full((len(coefficients), len(model.wavelength)), np.nan, coefficients.dtype)
    n_bp = model.bp.shape[1]
    cases = (
        (present.all(axis=1), coefficients, model.matrix),
        (present[:, 0] & ~present[:, 1], coefficients[:, :n_bp], model.bp),
        (present[:, 1] & ~present[:, 0], coefficients[:, n_bp:], model.rp),
    )
    for rows, values, matrix in cases:
        # Fluxes are of order 1e-17: the product is formed in float64.
        flux[rows] = np.einsum("ij,kj->ik", values[rows].astype(np.float64), matrix)
    return flux


def covariance(chunk: XPChunk, band: int) -> Float[np.ndarray, "star coeff coeff"]:
    """Covariance of the coefficients of BP (0) or RP (1), as GaiaXPy forms it.

    It is that of the least-squares solution before its errors were scaled by the
    standard deviation: ``diag(e / s) C diag(e / s)``.

    Args:
        chunk: read with correlations.
        band: 0 or 1.

    Returns:
        In the squared unit of the coefficients.

    Raises:
        InputError: the chunk was read without correlations.
    """
    if chunk.correlations is None:
        raise InputError("a covariance needs the correlations: read_xp(..., correlations=True)")
    scaled = chunk.errors[:, chunk.band(band)] / chunk.standard_deviation[:, band, None]
    size = scaled.shape[1]
    low = np.tril_indices(size, -1)
    correlation = np.broadcast_to(np.eye(size), (len(chunk), size, size)).copy()
    pairs = chunk.correlations[:, band, : len(low[0])]
    correlation[:, low[0], low[1]] = pairs
    correlation[:, low[1], low[0]] = pairs
    return np.asarray(scaled[:, :, None] * correlation * scaled[:, None, :])
