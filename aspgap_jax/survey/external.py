"""Other catalogues to compare with: which columns they have, which rows are good, whose they are.

A catalogue is a table of any format of :mod:`aspgap_jax.survey.tables`. Its columns are
found by the names that the published files give them, in any case; where a catalogue is
distributed under several names, or will be joined with Gaia by the user, several are
accepted. Its cuts are those of section 4.3 of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int64

from aspgap_jax.errors import InputError
from aspgap_jax.labels import LABELS
from aspgap_jax.preprocessing.stars import Cut
from aspgap_jax.survey.ids import BY_NAME, SOURCE_ID, IdChoice, id_column, mapped, say_share
from aspgap_jax.survey.sentinels import kind_of
from aspgap_jax.survey.tables import Remarks, Unfit, Wanted, Whole, find_columns, read_whole
from aspgap_jax.survey.tables.names import listed

__all__ = [
    "CATALOGUES",
    "EXTERNALS",
    "External",
    "ExternalSpec",
    "Quality",
    "match",
    "read_columns",
    "read_external",
    "text_columns",
]


class Quality(NamedTuple):
    """A cut: rows need ``column relation bound``; a missing value does not pass.

    Attributes:
        columns: names accepted for the column.
        relation: ``=``, ``>`` or ``<``.
        bound: the number on its right side.
        kind: of the column's sentinels: an error of zero is none.
    """

    columns: tuple[str, ...]
    relation: str
    bound: float
    kind: str = "any"

    def passes(self, values: np.ndarray) -> np.ndarray:
        """Mask of the rows that pass."""
        if self.relation == "=":
            return np.asarray(values == self.bound)
        return values > self.bound if self.relation == ">" else values < self.bound


class ExternalSpec(NamedTuple):
    """What is known of a published catalogue.

    Attributes:
        title: for axes.
        source: reference and file.
        ids: names that mean DR3's source ids in this catalogue though they do not tell the
            release; names that tell it are always accepted.
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
        remarks: what was left out, replaced or mapped, one line each.
    """

    path: Path
    source_id: np.ndarray
    values: Mapping[str, np.ndarray]
    cuts: tuple[Cut, ...]
    remarks: tuple[str, ...] = ()


OURS = {label.name: label.catalogue for label in LABELS}
"""Columns of a catalogue of this package, by label."""


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
        ids=(),
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
        # Their Gaia_source_id is that of DR2.
        ids=(),
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
            Quality(("e_feh", "feh_err", "err_feh", "feh_error"), "<", 0.05, "error"),
            Quality(("e_mgfe", "mgfe_err", "err_mgfe", "mgfe_error"), "<", 0.04, "error"),
        ),
        rank=("sn_red",),
    ),
    "galah": ExternalSpec(
        title="GALAH",
        # Its own source_id is that of DR2, where stars have other numbers.
        source="Buder et al. 2021, GALAH_DR3_main_allstar_v2.fits: dr3_source_id, teff, logg, "
        "fe_h, alpha_fe, their errors e_*, flag_sp, flag_fe_h, flag_guess, red_flag",
        ids=(),
        labels={
            "teff": ("teff",),
            "logg": ("logg",),
            "m_h": ("fe_h",),
            "alpha_m": ("alpha_fe",),
        },
        cuts=(
            *_zero("flag_sp", "flag_fe_h", "flag_guess", "red_flag"),
            Quality(("e_teff",), "<", 200.0, "temperature error"),
            Quality(("e_logg",), "<", 0.25, "error"),
            Quality(("e_fe_h",), "<", 0.2, "error"),
            Quality(("e_alpha_fe",), "<", 0.05, "error"),
        ),
        rank=("snr_c3_iraf", "snr_c2_iraf"),
    ),
    "other": ExternalSpec(
        title="other",
        source="any catalogue with Gaia DR3 source ids; no cuts",
        ids=(),
        labels={
            "teff": ("teff", OURS["teff"]),
            "logg": ("logg", OURS["logg"]),
            "m_h": ("m_h", "mh", "moh", OURS["m_h"], "fe_h", "feh"),
            "alpha_m": ("alpha_m", "aom", OURS["alpha_m"], "alpha_fe", "mg_fe"),
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
    "cannon": "a quadratic Cannon of real APOGEE spectra (.npz, aspgap_jax/survey/cannon.py)",
    "kurucz": "kurucz_apogee_network.npz of kareemelbadry/binspec: Kurucz spectra of APOGEE",
}
"""Every name that ``--external`` takes, and the file that goes with it."""


def _wanted(name: str, accepted: tuple[str, ...], *, required: bool = True) -> Wanted:
    return Wanted(name, accepted, required=required, kind=kind_of(name))


class _Table(NamedTuple):
    """A table of stars: ids of DR3, the columns that were asked for, and its rows."""

    source_id: Int64[np.ndarray, " row"]
    columns: Mapping[str, np.ndarray]
    whole: Whole


def _read(
    path: Path,
    ids: tuple[str, ...],
    choice: IdChoice,
    remarks: Remarks,
    choose: Callable[[tuple[str, ...]], list[Wanted]],
) -> _Table:
    releases: set[str] = set()

    def wanted(columns: tuple[str, ...]) -> list[Wanted]:
        found, release = id_column(columns, choice, ids)
        chosen = choose(columns)
        releases.add(release)
        return [found, *chosen]

    whole = read_whole(path, wanted, remarks, what="catalogue")
    columns = dict(whole.columns)
    source_id = columns.pop(SOURCE_ID)
    if len(releases) > 1:
        raise InputError(f"{path}: has ids of {' and '.join(sorted(releases))}; pass them apart")
    return _Table(mapped(source_id, releases.pop(), choice, remarks), columns, whole)


def read_external(path: Path, spec: ExternalSpec, choice: IdChoice = BY_NAME) -> External:
    """Read a catalogue of labels and keep its good rows.

    Args:
        path: the catalogue.
        spec: what is known of it.
        choice: what the user says of its ids.

    Returns:
        Labels under the names of the label table; a label that an optional catalogue
        lacks is absent. Masked values and sentinels are NaN, and do not pass a cut.

    Raises:
        InputError: the file cannot be read, lacks a column, a source id occurs twice and
            nothing says which row is better, or no row is left after a cut.
    """
    remarks = Remarks()
    named = [_wanted(n, a, required=not spec.optional) for n, a in spec.labels.items()]
    cutting = [
        Wanted(f"the cut on {cut.columns[0]}", cut.columns, kind=cut.kind) for cut in spec.cuts
    ]
    rank = [Wanted("rank", spec.rank, required=False)] if spec.rank else []
    titles: list[str] = []

    def choose(columns: tuple[str, ...]) -> list[Wanted]:
        if not any(find_columns(columns, each.accepted) for each in named):
            accepted = " or ".join(name for names in spec.labels.values() for name in names)
            what = "a label" if spec.optional else named[0].name
            raise Unfit(
                f"no column of {what}; accepted is {accepted} in any case, the table has "
                f"{listed(columns)}"
            )
        places = [find_columns(columns, each.accepted) for each in cutting]
        titles[:] = [columns[place[0]] if place else "" for place in places]
        return [*named, *cutting, *rank]

    table = _read(path, spec.ids, choice, remarks, choose)
    ids = table.source_id
    keep = ids > 0
    cuts = [Cut("rows with a Gaia source id", int(keep.sum()))]
    for cut, each, title in zip(spec.cuts, cutting, titles, strict=True):
        keep &= cut.passes(table.columns[each.name])
        cuts.append(Cut(f"{title} {cut.relation} {cut.bound:g}", int(keep.sum())))
    if not keep.any():
        last = next(cut.name for cut in cuts if not cut.left)
        raise InputError(f"{path}: no row is left after the cut '{last}'")
    rows = np.flatnonzero(keep)
    order = table.columns["rank"][rows] if "rank" in table.columns else None
    rows = rows[_unique(ids[rows], rows, order, table.whole)]
    cuts.append(Cut("unique source ids", len(rows)))
    values = {n: table.columns[n][rows] for n in spec.labels if n in table.columns}
    return External(path, ids[rows], values, tuple(cuts), remarks.lines)


def _unique(ids: np.ndarray, rows: np.ndarray, rank: np.ndarray | None, table: Whole) -> np.ndarray:
    """Places of one row a source id: the best ranked, or an error without ranks."""
    order = np.arange(len(ids))
    if rank is not None:
        # Unknown ranks last; equal ones in the order of the file.
        order = np.lexsort((order, -np.nan_to_num(rank, nan=-np.inf)))
    unique, first = np.unique(ids[order], return_index=True)
    if rank is None and len(unique) < len(ids):
        again = np.setdiff1d(np.arange(len(ids)), first)[0]
        raise InputError(
            f"{table.place(int(rows[again]))}: source_id {ids[again]} occurs twice; "
            "remove one of the rows"
        )
    return np.sort(order[first])


def read_columns(
    path: Path,
    wanted: Mapping[str, tuple[str, ...]],
    *,
    optional: tuple[str, ...] = (),
    choice: IdChoice = BY_NAME,
) -> External:
    """Numeric columns of a published table by our names, and its source ids.

    Args:
        path: the table; its ``source_id`` is taken to be DR3's.
        wanted: names accepted for each column.
        optional: those of ``wanted`` that may be absent, and then are NaN.
        choice: what the user says of the ids.

    Returns:
        float64 columns; rows without a source id are left out.

    Raises:
        InputError: the file cannot be read, lacks a column, or has a source id twice.
    """
    remarks = Remarks()
    columns = [_wanted(n, a, required=n not in optional) for n, a in wanted.items()]
    table = _read(path, (SOURCE_ID,), choice, remarks, lambda _: columns)
    rows = np.flatnonzero(table.source_id > 0)
    rows = rows[_unique(table.source_id[rows], rows, None, table.whole)]
    missing = np.full(len(table.source_id), np.nan)
    values = {name: table.columns.get(name, missing)[rows] for name in wanted}
    cut = Cut("rows with a Gaia source id", len(rows))
    return External(path, table.source_id[rows], values, (cut,), remarks.lines)


def text_columns(
    path: Path, text: Mapping[str, tuple[str, ...]], numbers: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Columns of text, stripped, and of numbers, of a table without source ids.

    Args:
        path: the table.
        text: names accepted for each column of text.
        numbers: names accepted for each column of numbers.

    Returns:
        Columns ``[row]`` by our names: text, and float64 with NaN where missing.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    wanted = [Wanted(name, accepted, "text") for name, accepted in text.items()]
    wanted += [_wanted(name, accepted) for name, accepted in numbers.items()]
    found = read_whole(path, wanted, Remarks(), what="catalogue").columns
    return {name: found[name] for name in text}, {name: found[name] for name in numbers}


def match(
    source_id: Int[np.ndarray, " star"], other: External, remarks: Remarks
) -> tuple[Int[np.ndarray, " match"], Int[np.ndarray, " match"]]:
    """Rows of the run and rows of a catalogue that are the same star.

    Args:
        source_id: the run's.
        other: the catalogue.
        remarks: told of the share of stars in common, and what the reader of the catalogue
            left out or replaced.

    Returns:
        Rows of the run, and rows of the catalogue, pair by pair.

    Raises:
        InputError: they have no star in common.
    """
    _, ours, theirs = np.intersect1d(source_id, other.source_id, return_indices=True)
    if not len(ours):
        raise InputError(
            f"{other.path}: none of its {len(other.source_id):,} stars is among the "
            f"{len(source_id):,} of the run: compare with a run that has predicted them"
        )
    say_share(len(ours), len(source_id), len(other.source_id), str(other.path), remarks)
    for line in other.remarks:
        remarks.say(line)
    return ours, theirs
