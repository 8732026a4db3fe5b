"""Small made-up catalogues with the columns of published ones, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.table import Table

from aspgap_jax.apstar import N_CHIP_PIXELS
from aspgap_jax.catalogue.predictions import Predictions

SPREAD = np.array([60.0, 0.15, 0.08, 0.04])
OFFSET = np.array([20.0, -0.02, 0.03, 0.01])


def made_up_predictions(n_stars: int = 400, seed: int = 0, **columns: np.ndarray) -> Predictions:
    """Red giants that do not exist, with two sequences of [alpha/M]."""
    rng = np.random.default_rng(seed)
    moh = rng.uniform(-1.3, 0.3, n_stars)
    high = rng.random(n_stars) < 0.4
    aom = np.where(high, 0.27, 0.06) - 0.08 * moh - 0.03 + 0.01 * rng.normal(size=n_stars)
    logg = rng.normal(2.4, 0.4, n_stars)
    teff = 4300.0 + 250.0 * logg + rng.normal(0, 50, n_stars)
    truth = np.column_stack([teff, logg, moh, aom])
    sigma = np.array([45.0, 0.09, 0.07, 0.03]) * rng.uniform(0.5, 1.5, (n_stars, 1))
    return Predictions(
        source_id=rng.choice(2**61, n_stars, replace=False) + 1,
        fold=np.zeros(n_stars, np.int16),
        prediction=(truth + sigma * rng.normal(size=truth.shape)).astype(np.float32),
        sigma=sigma.astype(np.float32) * np.ones((1, 4), np.float32),
        aleatoric=(0.8 * sigma).astype(np.float32) * np.ones((1, 4), np.float32),
        epistemic=(0.6 * sigma).astype(np.float32) * np.ones((1, 4), np.float32),
        flags=np.zeros(n_stars, np.int32),
        truth=truth.astype(np.float32),
        truth_error=np.full((n_stars, 4), [10, 0.02, 0.01, 0.01], np.float32),
        g_mag=rng.uniform(9, 15, n_stars).astype(np.float32),
        columns=columns,
    )


def other_labels(p: Predictions, seed: int = 1) -> np.ndarray:
    """What another survey says of the stars: the truth, offset and noisy."""
    noise = np.random.default_rng(seed).normal(size=p.truth.shape)
    return p.truth.astype(np.float64) + OFFSET + SPREAD * noise


def write(path: Path, columns: Mapping[str, np.ndarray]) -> Path:
    """A table as FITS or CSV, as the suffix says."""
    table = Table(dict(columns))
    table.write(path, format="ascii.csv" if path.suffix == ".csv" else "fits", overwrite=True)
    return path


def a23(path: Path, p: Predictions, **changes: np.ndarray) -> Path:
    """Andrae et al. 2023."""
    teff, logg, moh, _ = other_labels(p).T
    columns = {
        "source_id": p.source_id,
        "mh_xgboost": moh,
        "teff_xgboost": teff,
        "logg_xgboost": logg,
        "in_training_sample": np.zeros(len(p), bool),
    }
    return write(path, columns | changes)


def lamost_lrs(path: Path, p: Predictions) -> Path:
    """SLAM joined with Gaia: as many rows again that fail the cuts."""
    labels = other_labels(p, 2)
    good = np.arange(2 * len(p)) < len(p)
    both = np.concatenate([labels, labels + 1000.0])
    columns = dict(zip(("TEFF", "LOGG", "M_H", "ALPHA_M"), both.T, strict=True))
    columns |= {
        "dr3_source_id": np.tile(p.source_id, 2),
        "snrg": np.where(good, 150.0, 40.0),
        "kgiant": np.ones(len(good), np.int16),
    }
    return write(path, columns)


def lamost_mrs(path: Path, p: Predictions) -> Path:
    """Wang et al. 2023; the last ten stars carry a flag."""
    teff, logg, feh, mgfe = other_labels(p, 3).T
    n = len(p)
    flags = {name: np.zeros(n, np.int16) for name in ("Flag_Teff", "Flag_logg", "Flag_FeH")}
    columns = {
        # DR2's ids, which must not be taken.
        "Gaia_source_id": np.arange(n) + 1,
        "GaiaEDR3_source_id": p.source_id,
        "Teff": teff,
        "logg": logg,
        "FeH": feh,
        "MgFe": mgfe,
        **flags,
        "Flag_MgFe": (np.arange(n) >= n - 10).astype(np.int16),
        "SN_blue": np.full(n, 120.0),
        "SN_red": np.full(n, 180.0),
        "FeH_err": np.full(n, 0.03),
        "MgFe_err": np.full(n, 0.02),
    }
    return write(path, columns)


def galah(path: Path, p: Predictions, **changes: np.ndarray) -> Path:
    """Buder et al. 2021; two rows a star, of which the second has the better S/N."""
    labels = other_labels(p, 4)
    n = len(p)
    both = np.concatenate([labels + 500.0, labels])
    columns = {
        "sobject_id": np.arange(2 * n),
        # DR2's ids, which must not be taken.
        "source_id": np.arange(2 * n) + 1,
        "dr3_source_id": np.tile(p.source_id, 2),
        **dict(zip(("teff", "logg", "fe_h", "alpha_fe"), both.T, strict=True)),
        **{name: np.full(2 * n, 0.04) for name in ("e_teff", "e_logg", "e_fe_h", "e_alpha_fe")},
        **{
            name: np.zeros(2 * n, np.int32)
            for name in ("flag_sp", "flag_fe_h", "flag_guess", "red_flag")
        },
        "snr_c3_iraf": np.repeat([30.0, 60.0], n),
    }
    return write(path, columns | changes)


def orbit_catalogue(path: Path, p: Predictions, seed: int = 5) -> Path:
    """Kordopatis et al. 2023: high-alpha stars are hotter and rotate slower."""
    rng = np.random.default_rng(seed)
    n = len(p)
    aom = p.truth[:, 3].astype(np.float64)
    halo = np.arange(n) % 4 == 0
    columns = {
        "GaiaDR3": p.source_id,
        "Lz": np.where(halo, rng.normal(0, 300, n), 1900.0 - 2500.0 * aom + rng.normal(0, 200, n)),
        "Jz": 5.0 + 150.0 * aom.clip(0) + rng.exponential(5, n),
        "ecc": np.where(halo, rng.uniform(0.6, 1, n), rng.uniform(0, 0.5, n)),
        "Rapo": np.where(halo, rng.uniform(8, 19, n), rng.uniform(3, 10, n)),
        "Energy": np.where(halo, -1.0e5, -1.6e5) + rng.normal(0, 1e3, n),
    }
    return write(path, columns)


def lmc_members(path: Path, p: Predictions) -> Path:
    """Jimenez-Arranz et al. 2023: every third star a likely member."""
    return write(
        path,
        {"source_id": p.source_id, "P": np.where(np.arange(len(p)) % 3 == 0, 0.95, 0.2)},
    )


def occam_members(path: Path, ids: np.ndarray, clusters: np.ndarray) -> Path:
    """Donor et al. 2020, occam_member-DR16.fits; the last star is no member."""
    n = len(ids)
    odds = np.where(np.arange(n) < n - 1, 0.8, 0.001)
    columns = {"CLUSTER": clusters, "APOGEE_ID": ids}
    columns |= dict.fromkeys(("RV_PROB", "FEH_PROB", "PM_PROB"), odds)
    return write(path, columns)


def kurucz_network(path: Path) -> Path:
    """A network as kurucz_apogee_network.npz: other spectra, valid for all labels."""
    rng = np.random.default_rng(6)
    units = 3
    np.savez(
        path,
        w_array_0=rng.normal(size=(N_CHIP_PIXELS, units, 4)),
        b_array_0=rng.normal(size=(N_CHIP_PIXELS, units)),
        w_array_1=0.1 * rng.normal(size=(N_CHIP_PIXELS, units)),
        b_array_1=np.ones(N_CHIP_PIXELS),
        x_min=np.array([2000.0, -2.0, -5.0, -2.0]),
        x_max=np.array([9000.0, 7.0, 2.0, 2.0]),
    )
    return path
