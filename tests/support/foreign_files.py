"""Files that lie beside spectra in the folders of users, readable and without any spectra."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np
from astropy.io import fits
from astropy.table import Table

__all__ = ["write_foreign"]


def write_foreign(folder: Path) -> list[str]:
    """Write one file a kind into a folder.

    Args:
        folder: it is made.

    Returns:
        Their names, sorted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources = Table(
        {
            "source_id": np.arange(1, 4),
            "phot_g_mean_mag": [10.0, 11.0, 12.0],
            # Of the archive's xp_summary: about spectra, and none.
            "bp_n_parameters": [55, 55, 55],
            "bp_standard_deviation": [1.0, 1.1, 1.2],
        }
    )
    sources.write(folder / "gaia_source.csv")
    sources.write(folder / "gaia_source.parquet")
    sources.write(folder / "xp_summary.xml", format="votable")
    sources.write(folder / "joined.fits")
    with zipfile.ZipFile(folder / "tables.zip", "w") as archive:
        archive.write(folder / "gaia_source.csv", "gaia_source.csv")
    fits.PrimaryHDU(np.zeros((3, 8), np.float32)).writeto(folder / "apStar-dr17.fits")
    with h5py.File(folder / "network.h5", "w") as file:
        file["weights/layer"] = np.zeros((3, 4))
    (folder / "README.txt").write_text("The spectra of my targets.\n\nFrom the archive, May.\n")
    return sorted(path.name for path in folder.iterdir())
