"""APOGEE spectra: aspcapStar and apStar files of a directory tree, normalised and masked.

Data models: SDSS DR17. ``aspcapStar``: HDU 1 pseudo-continuum normalised flux,
HDU 2 its error, HDU 3 the best fit. ``apStar``: HDU 1 flux, HDU 2 its error,
HDU 3 the bits of ``APOGEE_PIXMASK``; rows 0 and 1 are the combined spectra, with
weights pixel by pixel and with one weight a visit, the visits follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from jaxtyping import Float32
from tqdm import tqdm

from aspgap_jax.apstar import (
    LOG10_START,
    LOG10_STEP,
    N_PIXELS,
    in_chips,
    running_continuum,
)
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.apogee_flags import BAD_PIXEL, PIXMASK, bits_of
from aspgap_jax.survey.fits_files import open_fits
from aspgap_jax.survey.folders import find_files

__all__ = [
    "MAX_ERROR",
    "FoundSpectra",
    "Spectrum",
    "SpectrumFile",
    "StarSpectra",
    "choose_file",
    "find_spectra",
    "read_spectrum",
]

ASPCAPSTAR, APSTAR = "aspcapStar", "apStar"
# aspcapStar-dr17-2M00000002+7417074.fits. LCO's apStar files are called asStar.
# Versions start with a small letter, names of stars never do.
FILE_NAME = re.compile(
    r"(?P<kind>aspcapStar|a[ps]Star)-(?:[a-z][\w.]*-)*(?P<star>[^a-z].*?)\.fits(?:\.gz)?"
)
MAX_ERROR = 0.1
"""A pixel with a larger relative error is masked. ASPCAP marks bad pixels by errors
100 times too large, or 1e10: more than this in any spectrum with S/N < 1,000, while
good pixels of a spectrum with S/N > 10 lie below."""
BLOCK = 64


class SpectrumFile(NamedTuple):
    """A file with the spectrum of a star.

    Attributes:
        path: where it lies.
        kind: ``aspcapStar`` (normalised by ASPCAP) or ``apStar`` (fluxes).
    """

    path: Path
    kind: str


class Spectrum(NamedTuple):
    """One spectrum on the apStar grid.

    Attributes:
        flux: over the pseudo-continuum, NaN in the chip gaps and in bad pixels.
        error: its 1-sigma error, NaN in the same pixels.
    """

    flux: Float32[np.ndarray, " pixel"]
    error: Float32[np.ndarray, " pixel"]


class FoundSpectra(NamedTuple):
    """What a folder holds.

    Attributes:
        files: aspcapStar and apStar files, by the star's APOGEE_ID.
        remarks: what else was found, one line each.
    """

    files: dict[str, tuple[SpectrumFile, ...]]
    remarks: tuple[str, ...]


def find_spectra(folder: Path) -> FoundSpectra:
    """All aspcapStar and apStar files under ``folder``, in any depth.

    Args:
        folder: the root of the tree.

    Returns:
        Files by the star's APOGEE id, and what was passed over.

    Raises:
        InputError: no such folder, or no such file in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; pass the tree with the spectra")
    found: dict[str, list[SpectrumFile]] = {}
    inside = find_files([folder], wanted=_is_spectrum, what="spectra of APOGEE")
    for path in inside.files:
        if name := FILE_NAME.fullmatch(path.name):
            kind = ASPCAPSTAR if name["kind"] == ASPCAPSTAR else APSTAR
            found.setdefault(name["star"], []).append(SpectrumFile(path, kind))
    if not found:
        raise InputError(
            f"{folder}: no file aspcapStar-*.fits or apStar-*.fits in it or below; "
            f"pass the folder with the spectra, or leave it out"
        )
    return FoundSpectra({star: tuple(files) for star, files in found.items()}, inside.remarks)


def _is_spectrum(path: Path) -> bool:
    return FILE_NAME.fullmatch(path.name) is not None


def choose_file(files: Sequence[SpectrumFile], telescope: str, field: str) -> SpectrumFile:
    """Of a star's files, the one of the observation that allStar's row describes.

    The survey keeps files under ``TELESCOPE/FIELD/``. Where that does not decide,
    normalised spectra come first, then the alphabet.

    Args:
        files: of one star.
        telescope: of allStar's row; may be empty.
        field: likewise.

    Returns:
        One of them.
    """

    def preference(file: SpectrumFile) -> tuple[bool, bool, str]:
        folders = file.path.parts[-3:-1]
        return folders != (telescope, field), file.kind != ASPCAPSTAR, str(file.path)

    return min(files, key=preference)


def read_spectrum(file: SpectrumFile) -> Spectrum:
    """Read, normalise and mask a spectrum.

    Fluxes of apStar files are divided by a running 90% quantile, chip by chip
    (:func:`aspgap_jax.apstar.running_continuum`; the method of The Cannon's
    continuum normalisation, Ness et al. 2015 and Ho et al. 2017). Of their rows,
    the first is used: the combination with weights pixel by pixel.

    Args:
        file: its path and kind.

    Returns:
        Flux, error and mask on the 8,575 pixels of the apStar grid.

    Raises:
        InputError: no readable file of that kind, another number of pixels,
            another wavelength grid, or no usable pixel.
    """
    path = file.path
    with open_fits(path, f"{file.kind} file", memmap=False) as hdus:
        flux, error = (_first_row(hdus, number, path) for number in (1, 2))
        _check_grid(hdus, path)
        mask = _first_row(hdus, 3, path) if file.kind == APSTAR else np.zeros(N_PIXELS)
    flux, error = np.asarray(flux, np.float64), np.asarray(error, np.float64)
    bits = np.asarray(mask, np.int64)
    good = in_chips & ((bits & bits_of(BAD_PIXEL, PIXMASK)) == 0)
    # Where a chip has no data, files hold zeros.
    good &= np.isfinite(flux) & np.isfinite(error) & (error > 0) & (flux != 0)
    if file.kind == APSTAR:
        continuum = running_continuum(np.where(good, flux, np.nan))
        good &= continuum > 0
        scale = np.where(good, continuum, 1.0)
        flux, error = flux / scale, error / scale
    good &= error < MAX_ERROR
    if not good.any():
        raise InputError(f"{path}: no pixel is usable; leave the file out")
    return Spectrum(*(np.where(good, array, np.nan).astype(np.float32) for array in (flux, error)))


def _first_row(hdus: fits.HDUList, number: int, path: Path) -> np.ndarray:
    data = hdus[number].data if len(hdus) > number else None
    if data is None or data.dtype.kind not in "fiu" or data.ndim not in (1, 2):
        raise InputError(f"{path}: HDU {number} holds no spectrum; pass files of APOGEE")
    row = data if data.ndim == 1 else data[0]
    if len(row) != N_PIXELS:
        raise InputError(
            f"{path}: HDU {number} has {len(row)} pixels, spectra on the apStar grid have "
            f"{N_PIXELS}; pass aspcapStar or apStar files"
        )
    return np.asarray(row)


def _check_grid(hdus: fits.HDUList, path: Path) -> None:
    """Where a header states the wavelengths, they must be the grid's."""
    for name, expected in (("CRVAL1", LOG10_START), ("CDELT1", LOG10_STEP)):
        stated = hdus[1].header.get(name)
        if stated is not None and not np.isclose(float(stated), expected, rtol=1e-6, atol=0):
            raise InputError(
                f"{path}: {name} is {stated}, the apStar grid has {expected}; "
                f"pass spectra that are not resampled"
            )


class StarSpectra:
    """The spectra of a list of stars, read one after the other.

    A star without a file, or with an unreadable one, has NaN in all pixels; both
    are counted in :meth:`record`.
    """

    def __init__(
        self, folder: Path, apogee_id: np.ndarray, telescope: np.ndarray, field: np.ndarray
    ) -> None:
        """Find the files.

        Raises:
            InputError: ``folder`` has no spectra, or none of these stars.
        """
        self.folder = Path(folder)
        files, self.remarks = find_spectra(self.folder)
        self.files = [
            choose_file(files[star], where, which) if star in files else None
            for star, where, which in zip(
                apogee_id.tolist(), telescope.tolist(), field.tolist(), strict=True
            )
        ]
        if not any(self.files):
            raise InputError(
                f"{folder}: has spectra of {len(files):,} stars, but of none of the "
                f"{len(self.files):,} selected ones; pass the spectra of the same survey"
            )
        self.unreadable: list[str] = []
        self.used = {ASPCAPSTAR: 0, APSTAR: 0}

    def __len__(self) -> int:
        return len(self.files)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Fluxes and errors, float32 ``[block, pixel]``, in the order of the stars."""
        progress = tqdm(total=len(self), desc="APOGEE spectra", unit="star", disable=None)
        with progress:
            for start in range(0, len(self), BLOCK):
                files = self.files[start : start + BLOCK]
                block = np.full((2, len(files), N_PIXELS), np.nan, np.float32)
                for row, file in enumerate(files):
                    if file is None:
                        continue
                    try:
                        block[0, row], block[1, row] = read_spectrum(file)
                    except InputError as error:
                        self.unreadable.append(str(error))
                    else:
                        self.used[file.kind] += 1
                progress.update(len(files))
                yield block[0], block[1]

    def record(self) -> Mapping[str, Any]:
        """Where the spectra are from and how many there are; complete after the last block."""
        return {
            "folder": str(self.folder),
            "normalised by ASPCAP (aspcapStar)": self.used[ASPCAPSTAR],
            "normalised by a running 90% quantile (apStar)": self.used[APSTAR],
            "without a file": self.files.count(None),
            "unreadable": self.unreadable,
            "masked pixels": list(BAD_PIXEL),
            "max_error": MAX_ERROR,
        }
