"""Made-up APOGEE and Gaia files with the structure of the real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from aspgap_jax import labels
from aspgap_jax.apstar import LOG10_START, LOG10_STEP, N_PIXELS, in_chips
from aspgap_jax.survey.prepare import Prepared, prepare

# A giant that passes every cut of section 2.2.
GIANT = {"TEFF": 4800.0, "LOGG": 2.5, "M_H": -0.1, "ALPHA_M": 0.05}
ERRORS = {"TEFF": 10.0, "LOGG": 0.03, "M_H": 0.01, "ALPHA_M": 0.01}
BASES = 55
# 19 digits, as real ids have, out of order.
IDS = [4_000_000_000_000_000_000 + 7 * i for i in (5, 3, 1, 4, 2, 0)]


def star_name(number: int) -> str:
    """A made-up APOGEE_ID in the 2MASS style."""
    return f"2M{number:08d}-{number:07d}"


def allstar_columns(source_ids: Sequence[int], **changed: Any) -> dict[str, np.ndarray]:
    """Columns of allStar for giants with these Gaia ids; ``changed`` replaces some."""
    n = len(source_ids)
    columns: dict[str, np.ndarray] = {
        "FILE": np.array([f"apStar-dr17-{star_name(i)}.fits" for i in range(n)]),
        "APOGEE_ID": np.array([star_name(i) for i in range(n)]),
        "TELESCOPE": np.full(n, "apo25m"),
        "FIELD": np.full(n, "000+02"),
        "RA": np.linspace(10.0, 20.0, n),
        "SNR": np.full(n, 250.0, np.float32),
        "ASPCAPFLAG": np.zeros(n, np.int64),
        "ASPCAPFLAGS": np.full(n, "", "U40"),
        "GAIAEDR3_SOURCE_ID": np.array(source_ids, np.int64),
        "GAIAEDR3_PARALLAX": np.full(n, 1.5),
        "GAIAEDR3_PHOT_G_MEAN_MAG": np.full(n, 12.5, np.float32),
        "GAIAEDR3_PHOT_BP_MEAN_MAG": np.full(n, 13.1, np.float32),
        "GAIAEDR3_PHOT_RP_MEAN_MAG": np.full(n, 11.8, np.float32),
    }
    for label in labels.LABELS:
        columns[label.apogee] = np.full(n, GIANT[label.apogee], np.float32)
        columns[f"{label.apogee}_ERR"] = np.full(n, ERRORS[label.apogee], np.float32)
    return columns | {name: np.asarray(values) for name, values in changed.items()}


def write_allstar(path: Path, columns: Mapping[str, np.ndarray | None]) -> Path:
    """Write allStar as DR17 does: stars in HDU 1, the tags of columns in HDU 2."""
    table = Table({name: v for name, v in columns.items() if v is not None})
    tags = Table({"PARAM_SYMBOL": np.array([["TEFF", "LOGG"]])})
    hdus = [fits.PrimaryHDU(), *(fits.BinTableHDU(t.as_array()) for t in (table, tags))]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def normalised_spectrum(seed: int = 0, noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """A made-up spectrum near 1 with some lines, and its errors; zero in the gaps."""
    rng = np.random.default_rng(seed)
    pixels = np.arange(N_PIXELS)
    flux = np.ones(N_PIXELS)
    for centre in rng.choice(np.flatnonzero(in_chips), 120):
        flux -= 0.3 * np.exp(-0.5 * ((pixels - centre) / 3.0) ** 2)
    flux += rng.normal(0.0, noise, N_PIXELS)
    return np.where(in_chips, flux, 0.0), np.where(in_chips, noise, 0.0)


def write_aspcapstar(path: Path, flux: np.ndarray, error: np.ndarray, **header: float) -> Path:
    """Write an aspcapStar file: spectrum, error, best fit, table of ASPCAP's results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [fits.ImageHDU(np.asarray(a, np.float32)) for a in (flux, error, flux)]
    for image in images:
        image.header.update({"CRVAL1": LOG10_START, "CDELT1": LOG10_STEP, **header})
    results = fits.BinTableHDU(Table({"TEFF": [4800.0]}).as_array())
    fits.HDUList([fits.PrimaryHDU(), *images, results]).writeto(path, overwrite=True)
    return path


def write_apstar(
    path: Path, flux: np.ndarray, error: np.ndarray, bits: np.ndarray, visits: int = 2
) -> Path:
    """Write an apStar file: two combinations and the visits in the rows of each HDU."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = 2 + visits
    images = [
        # Other rows are made to differ, so that reading a wrong one is noticed.
        fits.ImageHDU(np.stack([array, *([array * 3] * (rows - 1))]))
        for array in (flux, error, bits.astype(np.int64))
    ]
    for image in images:
        image.header.update({"CRVAL1": LOG10_START, "CDELT1": LOG10_STEP})
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(path, overwrite=True)
    return path


def xp_columns(
    source_ids: Sequence[int], *, seed: int = 0, snr_low: float = 1000.0, snr_high: float = 5.0
) -> dict[str, np.ndarray]:
    """XP coefficients with a given S/N of the coefficients 1-10 and 11-55 of each band."""
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {"source_id": np.array(source_ids, np.int64)}
    for band in ("bp", "rp"):
        values = rng.normal(size=(len(source_ids), BASES))
        errors = np.ones_like(values)
        for part, wanted in ((slice(0, 10), snr_low), (slice(10, None), snr_high)):
            norm = np.linalg.norm(values[:, part], axis=1, keepdims=True)
            values[:, part] *= wanted * np.sqrt(values[:, part].shape[1]) / norm
        columns[f"{band}_coefficients"] = values
        columns[f"{band}_coefficient_errors"] = errors
        columns[f"{band}_n_parameters"] = np.full(len(source_ids), BASES, np.int16)
    return columns


def write_xp(path: Path, columns: Mapping[str, np.ndarray]) -> Path:
    """Write XP spectra as DataLink's FITS files have them."""
    Table(dict(columns)).write(path, format="fits", overwrite=True)
    return path


def gaia_table(source_ids: Sequence[int]) -> Table:
    """Rows of gaia_source; G differs from star to star."""
    n = len(source_ids)
    return Table(
        {
            "source_id": np.array(source_ids, np.int64),
            "phot_g_mean_mag": 11.0 + 0.01 * np.arange(n, dtype=np.float32),
            "phot_bp_mean_mag": np.full(n, 12.0, np.float32),
            "phot_rp_mean_mag": np.full(n, 10.5, np.float32),
            "parallax": np.full(n, 2.0),
        }
    )


def write_gaia(kind: str, table: Table, folder: Path) -> Path:
    """Write a table of Gaia sources as ``csv``, ``ecsv``, ``xml`` (VOTable) or ``fits``."""
    path = folder / f"table.{kind}"
    formats = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "xml": "votable", "fits": "fits"}
    table.write(path, format=formats[kind], overwrite=True)
    return path


class Inputs:
    """Small files that fit together; tests spoil one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "store.h5"
        self.allstar = write_allstar(folder / "allStar.fits", allstar_columns(IDS))
        self.xp = write_xp(folder / "xp.fits", xp_columns(IDS))
        self.gaia = folder / "gaia.fits"
        gaia_table(IDS).write(self.gaia)

    def prepare(self, **options: Any) -> Prepared:
        xp = options.pop("xp", [self.xp])
        gaia = options.pop("gaia", [self.gaia])
        return prepare(xp, gaia, self.allstar, self.out, **options)


def astra_columns(source_ids: Sequence[int], **changed: Any) -> dict[str, np.ndarray]:
    """Columns of Astra's allStar (SDSS-V DR19) for giants with these Gaia ids."""
    n = len(source_ids)
    columns: dict[str, np.ndarray] = {
        "sdss4_apogee_id": np.array([star_name(i) for i in range(n)]),
        "gaia_dr2_source_id": np.arange(n) + 1,
        "gaia_dr3_source_id": np.array(source_ids, np.int64),
        "telescope": np.full(n, "lco25m"),
        "field": np.full(n, "000+02"),
        "snr": np.full(n, 250.0, np.float32),
        "result_flags": np.zeros(n, np.int64),
        "plx": np.full(n, 1.5),
        "g_mag": np.full(n, 12.5, np.float32),
        "bp_mag": np.full(n, 13.1, np.float32),
        "rp_mag": np.full(n, 11.8, np.float32),
    }
    names = {"TEFF": "teff", "LOGG": "logg", "M_H": "m_h_atm", "ALPHA_M": "alpha_m_atm"}
    for label in labels.LABELS:
        name = names[label.apogee]
        columns[name] = np.full(n, GIANT[label.apogee], np.float32)
        columns[f"e_{name}"] = np.full(n, ERRORS[label.apogee], np.float32)
        columns[f"raw_{name}"] = columns[name] + 1
    return columns | {name: np.asarray(values) for name, values in changed.items()}
