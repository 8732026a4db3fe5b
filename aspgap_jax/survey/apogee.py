"""APOGEE's allStar table, which gives the labels to learn.

Data models: SDSS DR17, ``allStar-dr17-synspec_rev1.fits``; SDSS-V DR19's Astra,
``astraAllStarASPCAP-0.6.0.fits.gz``, whose tables of stars are HDU 1 and 2. Any format and
any case of the names will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as field_of
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from aspgap_jax.errors import InputError
from aspgap_jax.files.label_tables import near_names
from aspgap_jax.labels import LABELS, Label, LabelSet, names
from aspgap_jax.preprocessing.apogee_flags import bits_of_astra, bits_of_text
from aspgap_jax.preprocessing.stars import Cut
from aspgap_jax.survey import gaia
from aspgap_jax.survey.ids import BY_NAME, SOURCE_ID, IdChoice, id_column, mapped
from aspgap_jax.survey.sentinels import kind_of
from aspgap_jax.survey.tables import Remarks, Unfit, Wanted, find_columns, read_whole

__all__ = ["AllStar", "read_allstar"]

# The same information as a number and as text; one of them is enough.
FLAG_NUMBER, FLAG_TEXT = "ASPCAPFLAG", "ASPCAPFLAGS"


class _Schema(NamedTuple):
    """What a release calls its columns.

    Attributes:
        source: the file, for messages.
        names: the release's name of each of our columns; all of these are needed.
        flags: name of the bit mask.
        bits: what makes ``ASPCAPFLAG`` of it.
        gaia: the release's names of Gaia's columns.
    """

    source: str
    names: Mapping[str, str]
    flags: str
    bits: Callable[[np.ndarray], np.ndarray]
    gaia: Mapping[str, str]


def _label_names(error: str, **changed: str) -> dict[str, str]:
    """Names of the labels and, by a pattern, of their errors."""
    own = {row.name: changed.get(row.name, row.apogee) for row in LABELS}
    return own | {f"{name}_error": error.format(label) for name, label in own.items()}


DR17 = _Schema(
    source="allStar of DR17 (allStar-dr17-synspec_rev1.fits)",
    names={"apogee_id": "APOGEE_ID", "snr": "SNR", **_label_names("{}_ERR")},
    flags=FLAG_NUMBER,
    bits=lambda flags: flags,
    # Without this prefix the columns are other surveys': RA is 2MASS's.
    gaia={name: gaia.PREFIX + name for name in gaia.COLUMN_NAMES},
)
ASTRA = _Schema(
    source="Astra's allStar of DR19 (astraAllStarASPCAP-0.6.0.fits)",
    names={
        "apogee_id": "sdss4_apogee_id",
        "snr": "snr",
        **_label_names("e_{}", teff="teff", logg="logg", m_h="m_h_atm", alpha_m="alpha_m_atm"),
    },
    flags="result_flags",
    bits=bits_of_astra,
    gaia={
        "parallax": "plx",
        "parallax_error": "e_plx",
        "pmra": "pmra",
        "pmra_error": "e_pmra",
        "pmdec": "pmde",
        "pmdec_error": "e_pmde",
        gaia.G_MAG: "g_mag",
        "phot_bp_mean_mag": "bp_mag",
        "phot_rp_mean_mag": "rp_mag",
        "radial_velocity": "gaia_v_rad",
        "radial_velocity_error": "gaia_e_v_rad",
    },
)
SCHEMAS = (DR17, ASTRA)


@dataclass(frozen=True)
class AllStar:
    """Stars of allStar, in physical units, one row a Gaia source.

    Attributes:
        source_id: Gaia DR3 source ids, ascending.
        apogee_id: 2MASS-style names, text ``[star]``.
        labels: ``[star, label]`` in the units of the label table; NaN if not measured.
        label_error: their 1-sigma errors.
        others: those of the paper's labels that were not asked for, and their errors
            (``e_teff``), as far as the table has them: cuts read them.
        snr: S/N of the combined APOGEE spectrum, a pixel.
        aspcapflag: bits of :data:`aspgap_jax.preprocessing.apogee_flags.ASPCAPFLAG`.
        telescope: where the star was observed, text; empty where unknown.
        field: name of the field, text; empty where unknown.
        gaia: Gaia's own columns, as far as allStar repeats them.
        cuts: rows of the file, and what became of them.
        remarks: what was left out, replaced or mapped, one line each.
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
    remarks: tuple[str, ...] = ()
    others: Mapping[str, np.ndarray] = field_of(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source_id)

    def where(self, keep: np.ndarray) -> AllStar:
        """The stars selected by a mask or by row numbers."""
        per_star = ("source_id", "apogee_id", "labels", "label_error", "snr", "aspcapflag")
        return replace(
            self,
            **{name: getattr(self, name)[keep] for name in (*per_star, "telescope", "field")},
            gaia={name: values[keep] for name, values in self.gaia.items()},
            others={name: values[keep] for name, values in self.others.items()},
        )


def read_allstar(path: Path, choice: IdChoice = BY_NAME, table: LabelSet = LABELS) -> AllStar:
    """Read allStar, and keep one row a Gaia source: the one with the highest S/N.

    Flags do not decide which row is kept: a star whose best spectrum is flagged
    is not saved by a worse one.

    Args:
        path: the table of DR17, or Astra's, in any format of
            :mod:`aspgap_jax.survey.tables`.
        choice: what the user says of its Gaia ids.
        table: the labels that are asked for.

    Returns:
        One row a Gaia source, in the order of the ids.

    Raises:
        InputError: not readable, cut short, no table with the columns needed, text
            or arrays where numbers belong, an unknown flag, or no Gaia id at all.
    """
    path, remarks = Path(path), Remarks()
    used: dict[str, _Schema] = {}
    releases: dict[str, str] = {}

    def choose(columns: tuple[str, ...]) -> list[Wanted]:
        schema, wanted = _schema(columns, table)
        ids, release = id_column(columns, choice)
        used[schema.source], releases[release] = schema, ids.accepted[0]
        return [ids, *wanted]

    found = read_whole(path, choose, remarks, what="allStar file").columns
    if len(used) > 1 or len(releases) > 1:
        raise InputError(f"{path}: tables of {' and of '.join([*used, *releases])}; pass one")
    (schema,), (release, column) = used.values(), *releases.items()
    source_id = mapped(found[SOURCE_ID], release, choice, remarks)
    matched = np.flatnonzero(source_id > 0)
    if not len(matched):
        raise InputError(f"{path}: no row has a {column.upper()}; pass {schema.source}")
    # Rows without S/N sort last.
    order = np.lexsort(
        (matched, -np.nan_to_num(found["snr"][matched], nan=-1.0), source_id[matched])
    )
    best_first = matched[order]
    kept = best_first[np.unique(source_id[best_first], return_index=True)[1]]
    nothing = np.full(len(source_id), "")
    rows = len(source_id)
    given = found | {
        f"{label.name}_error": np.full(rows, label.error)
        for label in table
        if label.error is not None and f"{label.name}_error" not in found
    }
    values, errors = (
        np.stack([given[row.name + end] for row in table], axis=1).astype(np.float32)
        for end in ("", "_error")
    )
    others = {
        prefix + name: found[name + end].astype(np.float32)
        for name in names()
        if name not in names(table)
        for prefix, end in (("", ""), ("e_", "_error"))
        if name + end in found
    }
    stars = AllStar(
        source_id=source_id,
        apogee_id=found["apogee_id"],
        labels=values,
        label_error=errors,
        snr=found["snr"].astype(np.float32),
        aspcapflag=_flags(found, schema, path),
        telescope=found.get("telescope", nothing),
        field=found.get("field", nothing),
        gaia={
            name: found[f"gaia {name}"].astype(gaia.gaia_dtype(name))
            for name in schema.gaia
            if f"gaia {name}" in found
        },
        cuts=(
            Cut("rows of allStar", len(source_id)),
            Cut("with a Gaia source id", len(matched)),
            Cut("one row a Gaia source (highest S/N)", len(kept)),
        ),
        remarks=remarks.lines,
        others=others,
    )
    return stars.where(kept)


def _schema(columns: tuple[str, ...], table: LabelSet) -> tuple[_Schema, list[Wanted]]:
    """The release whose names the columns have, and what is wanted of them.

    Raises:
        Unfit: they are none's, or lack a label that is asked for.
    """
    # The paper's labels have a name in every release; those not asked for may be absent.
    idle = {name + end for name in names() if name not in names(table) for end in ("", "_error")}
    lacking = {schema.source: _lacking(schema, columns, idle) for schema in SCHEMAS}
    schema = min(SCHEMAS, key=lambda each: len(lacking[each.source]))
    if missing := lacking[schema.source]:
        raise Unfit(
            f"no table with the columns {', '.join(missing)}; pass APOGEE's {schema.source}",
            len(missing),
        )
    wanted = [
        Wanted(
            name,
            (column.lower(),),
            "text" if name == "apogee_id" else "number",
            name not in idle,
            kind_of(name),
        )
        for name, column in schema.names.items()
    ]
    wanted += [w for label in table if label.name not in names() for w in _own(label, columns)]
    wanted += [Wanted(name, (name,), "text", required=False) for name in ("telescope", "field")]
    wanted += [
        Wanted("flags", (schema.flags.lower(),), "integer", required=False),
        Wanted("flags as text", (FLAG_TEXT.lower(),), "text", required=False),
    ]
    wanted += [
        Wanted(f"gaia {name}", (column,), required=False, kind=kind_of(name))
        for name, column in schema.gaia.items()
    ]
    return schema, wanted


def _own(label: Label, columns: tuple[str, ...]) -> list[Wanted]:
    """A label that is not the paper's, and its error.

    Raises:
        Unfit: there is no such column; near names are told.
    """
    column = label.apogee.lower()
    value = Wanted(label.name, (column,), kind="abundance" if label.unit == "dex" else "any")
    error = Wanted(
        f"{label.name}_error",
        (f"{column}_err", f"e_{column}"),
        "number",
        label.error is None,
        "error",
    )
    for each in (value, error):
        if each.required and not find_columns(columns, each.accepted):
            near = near_names(label.apogee, [name.lower() for name in columns])
            what = label.apogee if each is value else f"{label.apogee}_ERR or e_{label.apogee}"
            raise Unfit(
                f"no column {what} for the label {label.name}{near}: name its column in the label "
                "table" + ("" if each is value else ", or one error for all stars")
            )
    return [value, error]


def _lacking(schema: _Schema, columns: tuple[str, ...], idle: set[str]) -> list[str]:
    lacking = [
        column
        for name, column in schema.names.items()
        if name not in idle and not find_columns(columns, (column.lower(),))
    ]
    if schema is DR17 and not find_columns(columns, (FLAG_NUMBER.lower(), FLAG_TEXT.lower())):
        lacking.append(f"{FLAG_NUMBER} (or {FLAG_TEXT})")
    elif schema is ASTRA and not find_columns(columns, (schema.flags,)):
        lacking.append(schema.flags)
    return lacking


def _flags(found: Mapping[str, np.ndarray], schema: _Schema, path: Path) -> np.ndarray:
    if "flags" in found:
        return schema.bits(found["flags"])
    # Few texts occur, in many rows.
    texts, row_text = np.unique(found["flags as text"], return_inverse=True)
    try:
        bits = [bits_of_text(str(text)) for text in texts]
    except KeyError as error:
        raise InputError(f"{path}: column {FLAG_TEXT} has {error.args[0]}") from None
    return np.array(bits, np.int64)[row_text]
