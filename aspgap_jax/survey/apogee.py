"""APOGEE's allStar table, which gives the labels to learn.

Data model: SDSS DR17, ``allStar-dr17-synspec_rev1.fits``; its table of stars is
the first extension that has the columns named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from jaxtyping import Float32, Int64

from aspgap_jax import labels
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.apogee_flags import bits_of_text
from aspgap_jax.preprocessing.stars import Cut
from aspgap_jax.survey import gaia
from aspgap_jax.survey.fits_files import open_fits

__all__ = ["AllStar", "read_allstar"]

APOGEE_ID = "APOGEE_ID"
# EDR3 and DR3 share their source ids. DR16's GAIA_SOURCE_ID is of Gaia DR2, whose
# ids may be other stars': it is not accepted.
SOURCE_ID = "GAIAEDR3_SOURCE_ID"
SNR = "SNR"
ERROR_SUFFIX = "_ERR"
# The same information as a number and as text; one of them is enough.
FLAG_NUMBER, FLAG_TEXT = "ASPCAPFLAG", "ASPCAPFLAGS"
# Where the spectrum of a row lies; needed only where a star was observed twice.
TELESCOPE, FIELD = "TELESCOPE", "FIELD"
REQUIRED = (
    *(APOGEE_ID, SOURCE_ID, SNR),
    *(label.apogee for label in labels.LABELS),
    *(label.apogee + ERROR_SUFFIX for label in labels.LABELS),
)
# Before DR17, -9999 stood for values that were not measured.
MISSING_BELOW = -9000.0


@dataclass(frozen=True)
class AllStar:
    """Stars of allStar, in physical units, one row a Gaia source.

    Attributes:
        source_id: Gaia DR3 source ids, ascending.
        apogee_id: 2MASS-style names, text ``[star]``.
        labels: ``[star, label]`` in the units of the label table; NaN if not measured.
        label_error: their 1-sigma errors.
        snr: S/N of the combined APOGEE spectrum, a pixel.
        aspcapflag: bits of :data:`aspgap_jax.preprocessing.apogee_flags.ASPCAPFLAG`.
        telescope: where the star was observed, text; empty where unknown.
        field: name of the field, text; empty where unknown.
        gaia: Gaia's own columns, as far as allStar repeats them.
        cuts: rows of the file, and what became of them.
    """

    source_id: Int64[np.ndarray, " star"]
    apogee_id: np.ndarray
    labels: Float32[np.ndarray, "star label"]
    label_error: Float32[np.ndarray, "star label"]
    snr: Float32[np.ndarray, " star"]
    aspcapflag: Int64[np.ndarray, " star"]
    telescope: np.ndarray
    field: np.ndarray
    gaia: Mapping[str, np.ndarray]
    cuts: tuple[Cut, ...]

    def __len__(self) -> int:
        return len(self.source_id)

    def where(self, keep: np.ndarray) -> AllStar:
        """The stars selected by a mask or by row numbers."""
        per_star = ("source_id", "apogee_id", "labels", "label_error", "snr", "aspcapflag")
        return replace(
            self,
            **{name: getattr(self, name)[keep] for name in (*per_star, "telescope", "field")},
            gaia={name: values[keep] for name, values in self.gaia.items()},
        )


def read_allstar(path: Path) -> AllStar:
    """Read allStar, and keep one row a Gaia source: the one with the highest S/N.

    Flags do not decide which row is kept: a star whose best spectrum is flagged
    is not saved by a worse one.

    Args:
        path: the FITS file, plain or gzipped.

    Raises:
        InputError: no FITS file, cut short, no table with the columns needed, text
            or arrays where numbers belong, an unknown flag, or no Gaia id at all.
    """
    path = Path(path)
    table = _star_table(path)
    source_id = gaia.integer_column(table, SOURCE_ID, path)
    values, errors = (
        np.stack([_measured(table, row.apogee + suffix, path) for row in labels.LABELS], axis=1)
        for suffix in ("", ERROR_SUFFIX)
    )
    snr = _measured(table, SNR, path)
    matched = np.flatnonzero(source_id > 0)
    if not len(matched):
        raise InputError(f"{path}: no row has a {SOURCE_ID}; pass the allStar of DR17")
    # Rows without S/N sort last.
    order = np.lexsort((matched, -np.nan_to_num(snr[matched], nan=-1.0), source_id[matched]))
    best_first = matched[order]
    kept = best_first[np.unique(source_id[best_first], return_index=True)[1]]
    stars = AllStar(
        source_id=source_id,
        apogee_id=_text(table, APOGEE_ID),
        labels=values,
        label_error=errors,
        snr=snr,
        aspcapflag=_flags(table, path),
        telescope=_text(table, TELESCOPE),
        field=_text(table, FIELD),
        gaia={
            name: np.where(column < MISSING_BELOW, np.nan, column)
            for name, column in gaia.gaia_columns(table, path, prefixed_only=True).items()
        },
        cuts=(
            Cut("rows of allStar", len(source_id)),
            Cut("with a Gaia source id", len(matched)),
            Cut("one row a Gaia source (highest S/N)", len(kept)),
        ),
    )
    return stars.where(kept)


def _star_table(path: Path) -> fits.FITS_rec:
    best: list[str] | None = None
    with open_fits(path, "allStar file") as hdus:
        for hdu in hdus:
            if not isinstance(hdu, fits.BinTableHDU):
                continue
            missing = [name for name in REQUIRED if name not in hdu.columns.names]
            if not {FLAG_NUMBER, FLAG_TEXT} & set(hdu.columns.names):
                missing.append(f"{FLAG_NUMBER} (or {FLAG_TEXT})")
            if not missing:
                # The data outlive the file: astropy keeps the memory map open.
                return hdu.data
            # The table that comes closest is the one the user meant.
            if best is None or len(missing) < len(best):
                best = missing
    if best is None:
        raise InputError(f"{path}: a FITS file without a table; pass APOGEE's allStar")
    raise InputError(
        f"{path}: no table with the columns {', '.join(best)}; "
        f"pass APOGEE's allStar of DR17 (allStar-dr17-synspec_rev1.fits)"
    )


def _measured(table: fits.FITS_rec, column: str, path: Path) -> np.ndarray:
    values = gaia.numeric_column(table, column, path)
    return np.where(values < MISSING_BELOW, np.nan, values).astype(np.float32)


def _text(table: fits.FITS_rec, column: str) -> np.ndarray:
    if column not in table.columns.names:
        return np.full(len(table), "")
    return np.char.strip(np.asarray(table[column]).astype(str))


def _flags(table: fits.FITS_rec, path: Path) -> np.ndarray:
    if FLAG_NUMBER in table.columns.names:
        return gaia.integer_column(table, FLAG_NUMBER, path)
    # Few texts occur, in many rows.
    texts, row_text = np.unique(_text(table, FLAG_TEXT), return_inverse=True)
    try:
        bits = [bits_of_text(str(text)) for text in texts]
    except KeyError as error:
        raise InputError(f"{path}: column {FLAG_TEXT} has {error.args[0]}") from None
    return np.array(bits, np.int64)[row_text]
