"""Any table of the layout, in any dress: the spectra of the plain one, or one line."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import BANDS
from support.xp_files import star
from support.xp_habits import (
    arrow_table,
    noted,
    sampled,
    table_of,
    write_arrow,
    write_colfits,
    write_tables_fits,
    write_tables_votable,
    write_vaex,
)

# Of one of the unit, W m^-2 nm^-1.
UNITS = {"": 1.0, "W m-2 nm-1": 1.0, "erg / (Angstrom s cm2)": 1e-2, "1e-18 W / (m2 nm)": 1e-18}
NO_UNITS = ("feather", "colfits")


def text(path, rows, units, separator):
    lines = [separator.join(rows[0])]
    for row in rows:
        cells = [f'"{v.tolist()}"' if isinstance(v, np.ndarray) else str(v) for v in row.values()]
        lines.append(separator.join(cells))
    path.write_text("\n".join(lines) + "\n")


def arrow(path, rows, units, kind):
    table = arrow_table(rows)
    for name, unit in units.items():
        field = table.schema.field(name).with_metadata({"unit": unit})
        table = table.set_column(table.column_names.index(name), field, table.column(name))
    write_arrow(path, pa.table(table), kind)


CONTAINERS = {
    "fits": lambda path, rows, units: write_tables_fits(path, [table_of(rows, units)]),
    "votable": lambda path, rows, units: write_tables_votable(path, [table_of(rows, units)]),
    "tabledata": lambda path, rows, units: write_tables_votable(
        path, [table_of(rows, units)], "tabledata"
    ),
    "ecsv": lambda path, rows, units: table_of(rows, units).write(path, format="ascii.ecsv"),
    "hdf5": lambda path, rows, units: table_of(rows, units).write(
        path, format="hdf5", path="t", serialize_meta=True
    ),
    "vaex": write_vaex,
    "parquet": lambda path, rows, units: arrow(path, rows, units, "parquet"),
    "feather": lambda path, rows, units: arrow(path, rows, units, "feather"),
    "colfits": lambda path, rows, units: write_colfits(path, rows),
    **{
        f"text {mark!r}": lambda path, rows, units, mark=mark: text(path, rows, units, mark)
        for mark in (",", "\t", ";", "|")
    },
}
IDS = {
    "int64": np.int64,
    "uint64": np.uint64,
    "text": str,
    # A float has lost the last digits: refused, not rounded.
    "float64": float,
}
# What the writers of the tests cannot write.
CANNOT = {
    "votable": ("uint64",),
    "tabledata": ("uint64",),
    "colfits": ("uint64", "text"),
    "vaex": ("text",),
}
CASES = {"lower": str, "upper": str.upper, "title": str.title}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["sampled", "continuous"]),
    container=st.sampled_from(sorted(CONTAINERS)),
    case=st.sampled_from(sorted(CASES)),
    ids=st.sampled_from(sorted(IDS)),
    unit=st.sampled_from(sorted(UNITS)),
    order=st.randoms(use_true_random=False),
    seed=st.integers(1, 10**6),
)
def test_any_table_reads_as_the_plain_one_or_is_refused(
    tmp_path_factory, kind, container, case, ids, unit, order, seed
):
    big = [5_853_498_713_190_525_697 + 2 * seed + n for n in range(3)]
    made = sampled(*big) if kind == "sampled" else [star(n, sizes=(6, 5)) for n in big]
    made = [{n: v for n, v in row.items() if "correlations" not in n} for row in made]
    stated = kind == "sampled" and container not in NO_UNITS and not container.startswith("text ")
    factor = UNITS[unit] if stated else 1.0
    names = list(made[0])
    order.shuffle(names)
    rows = []
    for row in made:
        dressed = {}
        for name in names:
            value = row[name]
            if name == "source_id":
                value = IDS[ids](value)
            elif isinstance(value, np.ndarray):
                value = value.astype(np.float64) / (factor if name.startswith("flux") else 1.0)
            dressed[CASES[case](name)] = value
        rows.append(dressed)
    units = {CASES[case](n): unit for n in ("flux", "flux_error")} if stated and unit else {}
    path = tmp_path_factory.mktemp("any") / "table"
    CONTAINERS["fits" if ids in CANNOT.get(container, ()) else container](path, rows, units)
    refusal = ""
    try:
        chunk, bad, _ = noted(path)
    except InputError as error:
        refusal = str(error)
    assert refusal == ""
    if ids == "float64":
        # Each row by itself: an id that lost its digits, or text that is no whole number.
        assert chunk is None
        assert [row.what.startswith("source_id is ") for row in bad] == [True] * 3
        return
    assert bad == []
    assert chunk.source_id.tolist() == big
    if kind == "sampled":
        flux, errors = ([row[n] for row in made] for n in ("flux", "flux_error"))
        np.testing.assert_array_equal(chunk.g_mag, [row["phot_g_mean_mag"] for row in made])
    else:
        flux, errors = (
            [np.concatenate([row[f"{band}_{n}"] for band in BANDS]) for row in made]
            for n in ("coefficients", "coefficient_errors")
        )
    np.testing.assert_allclose(chunk.coefficients, flux, rtol=1e-12)
    np.testing.assert_allclose(chunk.errors, errors, rtol=1e-12)
