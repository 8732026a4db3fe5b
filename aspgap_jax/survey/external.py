"""Other catalogues to compare with: which columns they have, which rows are good, whose they are.

A catalogue is a file of any format of :func:`aspgap_jax.survey.gaia.read_table`. Its
columns are found by the names that the published files give them, in any case; where a
catalogue is distributed under several names, or will be joined with Gaia by the user,
several are accepted. Its cuts are those of section 4.3 of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.stars import Cut
from aspgap_jax.survey.fits_files import UNREADABLE
from aspgap_jax.survey.gaia import column_names, integer_column, numeric_column, read_table

__all__ = [
    "CATALOGUES",
    "EXTERNALS",
    "GAIA_IDS",
    "External",
    "ExternalSpec",
    "Quality",
    "match",
    "read_columns",
    "read_external",
    "text_columns",
]

GAIA_IDS = (
    "source_id",
    "gaia_source_id",
    "gaiaedr3_source_id",
    "gaia_dr3_source_id",
    "gaiadr3",
    "dr3_source_id",
)
"""Names accepted for the source ids of Gaia EDR3 or DR3, which are the same."""


class Quality(NamedTuple):
    """A cut: rows need ``column relation bound``; a missing value does not pass."""

    columns: tuple[str, ...]
    relation: str
    bound: float

    def passes(self, values: np.ndarray) -> np.ndarray:
        """Mask of the rows that pass."""
        if self.relation == "=":
            return values == self.bound
        return values > self.bound if self.relation == ">" else values < self.bound


class ExternalSpec(NamedTuple):
    """What is known of a published catalogue.

    Attributes:
        title: for axes.
        source: reference and file.
        ids: names accepted for Gaia (E)DR3 source ids.
        labels: names accepted for each label of the label table it has.
        cuts: the paper's quality cuts, in its order.
        rank: names accepted for a S/N; of rows with one source id the one with the
            highest is kept. Empty: such rows are an error.
        optional: whether labels may be lacking, as long as there is one.
    """

    title: str
    source: str
    ids: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    cuts: tuple[Quality, ...] = ()
    rank: tuple[str, ...] = ()
    optional: bool = False


class External(NamedTuple):
    """A catalogue that was read.

    Attributes:
        path: of the file.
        source_id: int64 ``[row]``, unique.
        values: columns ``[row]`` by our names, float64, NaN where missing.
        cuts: rows left after each cut.
    """

    path: Path
    source_id: np.ndarray
    values: Mapping[str, np.ndarray]
    cuts: tuple[Cut, ...]


def _zero(*columns: str) -> tuple[Quality, ...]:
    return tuple(Quality((column,), "=", 0.0) for column in columns)


CATALOGUES: dict[str, ExternalSpec] = {
    "a23": ExternalSpec(
        title="A23",
        source="Andrae et al. 2023, doi 10.5281/zenodo.7945154: source_id, teff_xgboost, "
        "logg_xgboost, mh_xgboost",
        ids=("source_id",),
        labels={
            "teff": ("teff_xgboost",),
            "logg": ("logg_xgboost",),
            "m_h": ("mh_xgboost",),
        },
    ),
    "lamost_lrs": ExternalSpec(
        title="LAMOST LRS",
        source="Zhang et al. 2020 (SLAM), catalog_slam_v10_short.fits joined with Gaia DR3",
        ids=GAIA_IDS,
        labels={
            "teff": ("teff_slam", "teff"),
            "logg": ("logg_slam", "logg"),
            "m_h": ("mh_slam", "m_h_slam", "m_h", "mh"),
            "alpha_m": ("am_slam", "alpham_slam", "alpha_m_slam", "alpha_m", "am"),
        },
        cuts=(
            Quality(("snrg", "snr_g", "sn_g"), ">", 100.0),
            Quality(("kgiant", "k_giant", "is_kgiant", "flag_kgiant"), "=", 1.0),
        ),
        rank=("snrg", "snr_g", "sn_g"),
    ),
    "lamost_mrs": ExternalSpec(
        title="LAMOST MRS",
        source="Wang et al. 2023 (Cycle-StarNet), nadc.china-vo.org/res/r101242: Teff, logg, FeH, "
        "MgFe, their errors, Flag_Teff, Flag_logg, Flag_FeH, Flag_MgFe, SN_blue, SN_red",
        ids=GAIA_IDS,
        labels={
            "teff": ("teff",),
            "logg": ("logg",),
            "m_h": ("feh", "fe_h"),
            "alpha_m": ("mgfe", "mg_fe"),
        },
        cuts=(
            *_zero("flag_teff", "flag_logg", "flag_feh", "flag_mgfe"),
            Quality(("sn_blue",), ">", 100.0),
            Quality(("sn_red",), ">", 100.0),
            Quality(("e_feh", "feh_err", "err_feh", "feh_error"), "<", 0.05),
            Quality(("e_mgfe", "mgfe_err", "err_mgfe", "mgfe_error"), "<", 0.04),
        ),
        rank=("sn_red",),
    ),
    "galah": ExternalSpec(
        title="GALAH",
        # Its own source_id is that of DR2, where stars have other numbers.
        source="Buder et al. 2021, GALAH_DR3_main_allstar_v2.fits: dr3_source_id, teff, logg, "
        "fe_h, alpha_fe, their errors e_*, flag_sp, flag_fe_h, flag_guess, red_flag",
        ids=("dr3_source_id", "gaiaedr3_source_id", "gaia_dr3_source_id"),
        labels={
            "teff": ("teff",),
            "logg": ("logg",),
            "m_h": ("fe_h",),
            "alpha_m": ("alpha_fe",),
        },
        cuts=(
            *_zero("flag_sp", "flag_fe_h", "flag_guess", "red_flag"),
            Quality(("e_teff",), "<", 200.0),
            Quality(("e_logg",), "<", 0.25),
            Quality(("e_fe_h",), "<", 0.2),
            Quality(("e_alpha_fe",), "<", 0.05),
        ),
        rank=("snr_c3_iraf", "snr_c2_iraf"),
    ),
    "other": ExternalSpec(
        title="other",
        source="any catalogue with Gaia DR3 source ids; no cuts",
        ids=GAIA_IDS,
        labels={
            "teff": ("teff", "teff_xp"),
            "logg": ("logg", "logg_xp"),
            "m_h": ("m_h", "mh", "moh", "moh_xp", "fe_h", "feh"),
            "alpha_m": ("alpha_m", "aom", "aom_xp", "alpha_fe", "mg_fe"),
        },
        optional=True,
    ),
}
"""Catalogues of labels, by the name that ``--external NAME=FILE`` gives them."""

EXTERNALS: dict[str, str] = {name: spec.source for name, spec in CATALOGUES.items()} | {
    "gaia": "gaia_source columns: source_id, ra, dec, parallax, parallax_error, pmra, pmdec, "
    "radial_velocity",
    "orbits": "an orbit catalogue, such as Kordopatis et al. 2023 (J/A+A/669/A104): Lz, Jz "
    "[kpc km/s], ecc, Rapo [kpc], energy [km^2/s^2]",
    "poor_old_heart": "Rix et al. 2022: source_id",
    "lmc": "Jimenez-Arranz et al. 2023 (J/A+A/669/A91): source_id, probability of membership",
    "cluster_members": "Donor et al. 2020, occam_member-DR16.fits: CLUSTER, APOGEE_ID, "
    "RV_PROB, FEH_PROB, PM_PROB",
    "clusters": "literature [Fe/H] of clusters: NAME, FE_H",
    "kurucz": "kurucz_apogee_network.npz of kareemelbadry/binspec: Kurucz spectra of APOGEE",
}
"""Every name that ``--external`` takes, and the file that goes with it."""


def find(table: object, accepted: tuple[str, ...]) -> str | None:
    """The column of a table with one of these names, in any case, the first of them first."""
    names = {name.lower(): name for name in column_names(table)}
    return next((names[each] for each in accepted if each in names), None)


def _required(table: object, accepted: tuple[str, ...], what: str, path: Path) -> str:
    column = find(table, accepted)
    if column is None:
        shown = column_names(table)
        found = ", ".join(shown[:6]) + (", ..." if len(shown) > 6 else "")
        raise InputError(
            f"{path}: no column of {what}; accepted is {' or '.join(accepted)} in any case, "
            f"the table has {found}"
        )
    return column


def read_external(path: Path, spec: ExternalSpec) -> External:
    """Read a catalogue of labels and keep its good rows.

    Returns:
        Labels under the names of the label table; a label that an optional catalogue
        lacks is absent. Masked values are NaN, and do not pass a cut.

    Raises:
        InputError: the file cannot be read, lacks a column, a source id occurs twice and
            nothing says which row is better, or no row is left after a cut.
    """
    table = read_table(path)
    ids = integer_column(table, _required(table, spec.ids, "Gaia DR3 source ids", path), path)
    values = {}
    for name, accepted in spec.labels.items():
        if spec.optional and find(table, accepted) is None:
            continue
        values[name] = numeric_column(table, _required(table, accepted, name, path), path)
    if not values:
        accepted = tuple(each for names in spec.labels.values() for each in names)
        _required(table, accepted, "a label", path)
    keep = ids > 0
    cuts = [Cut("rows with a Gaia source id", int(keep.sum()))]
    for cut in spec.cuts:
        column = _required(table, cut.columns, "a quality cut", path)
        keep &= cut.passes(numeric_column(table, column, path))
        cuts.append(Cut(f"{column} {cut.relation} {cut.bound:g}", int(keep.sum())))
    if not keep.any():
        last = next(cut.name for cut in cuts if not cut.left)
        raise InputError(f"{path}: no row is left after the cut '{last}'")
    rows = np.flatnonzero(keep)
    rank = find(table, spec.rank)
    order = None if rank is None else numeric_column(table, rank, path)[rows]
    rows = rows[_unique(ids[rows], rows, order, path)]
    cuts.append(Cut("unique source ids", len(rows)))
    return External(
        path, ids[rows], {name: column[rows] for name, column in values.items()}, tuple(cuts)
    )


def _unique(ids: np.ndarray, rows: np.ndarray, rank: np.ndarray | None, path: Path) -> np.ndarray:
    """Places of one row a source id: the best ranked, or an error without ranks."""
    order = np.arange(len(ids))
    if rank is not None:
        # Unknown ranks last; equal ones in the order of the file.
        order = np.lexsort((order, -np.nan_to_num(rank, nan=-np.inf)))
    unique, first = np.unique(ids[order], return_index=True)
    if rank is None and len(unique) < len(ids):
        again = np.setdiff1d(np.arange(len(ids)), first)[0]
        raise InputError(
            f"{path}, row {rows[again] + 1}: source_id {ids[again]} occurs twice; "
            "remove one of the rows"
        )
    return np.sort(order[first])


def read_columns(
    path: Path,
    wanted: Mapping[str, tuple[str, ...]],
    *,
    ids: tuple[str, ...] = GAIA_IDS,
    optional: tuple[str, ...] = (),
) -> External:
    """Numeric columns of a table by our names, and its source ids.

    Args:
        path: the table.
        wanted: names accepted for each column.
        ids: names accepted for the source ids.
        optional: those of ``wanted`` that may be absent, and then are NaN.

    Raises:
        InputError: the file cannot be read, lacks a column, or has a source id twice.
    """
    table = read_table(path)
    source = integer_column(table, _required(table, ids, "Gaia DR3 source ids", path), path)
    rows = np.flatnonzero(source > 0)
    rows = rows[_unique(source[rows], rows, None, path)]
    values = {}
    for name, accepted in wanted.items():
        if name in optional and find(table, accepted) is None:
            values[name] = np.full(len(rows), np.nan)
        else:
            column = _required(table, accepted, name, path)
            values[name] = numeric_column(table, column, path)[rows]
    cut = Cut("rows with a Gaia source id", len(rows))
    return External(path, source[rows], values, (cut,))


def text_columns(
    path: Path, text: Mapping[str, tuple[str, ...]], numbers: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Columns of text, stripped, and of numbers, of a table without source ids.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    table = read_table(path)
    words = {}
    for name, accepted in text.items():
        column = _required(table, accepted, name, path)
        try:
            cells = np.ma.filled(np.ma.asarray(table[column]).astype(str), "")
        except UNREADABLE as error:
            raise InputError(f"{path}: column {column} cannot be read ({error})") from error
        words[name] = np.char.strip(np.asarray(cells, dtype=str))
    found = {
        name: numeric_column(table, _required(table, accepted, name, path), path)
        for name, accepted in numbers.items()
    }
    return words, found


def match(
    source_id: Int[np.ndarray, " star"], other: External
) -> tuple[Int[np.ndarray, " match"], Int[np.ndarray, " match"]]:
    """Rows of the run and rows of a catalogue that are the same star.

    Raises:
        InputError: they have no star in common.
    """
    _, ours, theirs = np.intersect1d(source_id, other.source_id, return_indices=True)
    if not len(ours):
        raise InputError(
            f"{other.path}: none of its {len(other.source_id):,} stars is among the "
            f"{len(source_id):,} of the run: compare with a run that has predicted them"
        )
    return ours, theirs
