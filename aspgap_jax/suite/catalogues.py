"""Figures 13, 14, 15 and 19: the labels against other catalogues (sections 4.3 and 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aspgap_jax import labels
from aspgap_jax.catalogue.predictions import Predictions
from aspgap_jax.errors import InputError
from aspgap_jax.plots.catalogues import ComparedRow, cluster_differences, label_comparison
from aspgap_jax.suite.study import Drawn, Inputs, Missing, Result, Study
from aspgap_jax.survey.external import CATALOGUES, read_external, text_columns
from aspgap_jax.survey.sky import galactic
from aspgap_jax.validation.agreement import agreement
from aspgap_jax.validation.clusters import ClusterMean, cluster_means

__all__ = ["STUDIES"]

# "Higher quality": section 4.3.1.
HIGH_QUALITY = {"teff": 50.0, "logg": 0.1, "m_h": 0.1}
MIN_SNR_RP = 1000.0
# Appendix C.
LOW_LATITUDE, HIGH_LATITUDE = 10.0, 30.0  # deg
SIGN = (
    "Scatter and bias are those of XP - other; bias_median is to be read beside the paper's bias, "
    "whose sign it does not define."
)
PAPER: dict[str, tuple[tuple[str, str], ...]] = {
    "a23": (("73", "7"), ("0.2", "0.02"), ("0.1", "0")),
    "lamost_lrs": (("61", "0"), ("0.14", "-0.03"), ("0.08", "0.07"), ("0.04", "-0.03")),
    "lamost_mrs": (("59", "83"), ("0.17", "0.04"), ("0.08", "-0.05"), ("0.05", "0.00")),
    "galah": (("77", "-30"), ("0.18", ""), ("0.13", ""), ("0.07", "")),
}
"""Scatter and bias of each label as sections 4.3 and Fig. 14 print them."""
PAPER_HIGH_QUALITY = ("45", "0.12", "0.07")

Groups = Mapping[str, np.ndarray]


def is_high_quality(p: Predictions) -> np.ndarray:
    """Stars with sigma below 50 K, 0.1 dex in log g and 0.1 dex in [M/H] (section 4.3.1)."""
    precise = [p.sigma[:, labels.index(name)] < bound for name, bound in HIGH_QUALITY.items()]
    return np.asarray(np.all(precise, axis=0))


def by_quality(p: Predictions) -> Groups:
    """All stars, and those of high quality."""
    return {"all stars": np.ones(len(p), bool), "high quality": is_high_quality(p)}


def by_quality_and_snr(p: Predictions) -> Groups:
    """As :func:`by_quality`, and the stars of the lower row of Fig. 13 where S/N is known."""
    groups = dict(by_quality(p))
    if "snr_rp" in p.columns:
        groups[f"RP S/N > {MIN_SNR_RP:g}"] = np.asarray(p.columns["snr_rp"]) > MIN_SNR_RP
    return groups


def by_everything(p: Predictions) -> Groups:
    """By quality and by latitude."""
    return {**by_quality(p), **by_latitude(p)}


def by_latitude(p: Predictions) -> Groups:
    """Stars near the plane and far from it (appendix C)."""
    b = np.abs(galactic(p.source_id, p.columns)[1])
    return {"|b| < 10 deg": b < LOW_LATITUDE, "|b| > 30 deg": b > HIGH_LATITUDE}


def compare(inputs: Inputs, name: str, split: Callable[[Predictions], Groups]) -> Any:
    """Agreement with one catalogue for groups of stars, and the rows of panels.

    Raises:
        Missing: its file was not given.
        InputError: it cannot be read, or has no star of the run.
    """
    spec = CATALOGUES[name]
    other = read_external(inputs.file(name), spec, inputs.id_choice(name))
    ours, theirs = inputs.match(other)
    p = inputs.predictions.where(ours)
    values = {label: column[theirs] for label, column in other.values.items()}
    cuts = {cut.name: cut.left for cut in other.cuts} | {"stars in common": len(ours)}
    numbers: dict[str, Any] = {"cuts": cuts}
    rows = []
    for group, keep in split(p).items():
        numbers[group] = {
            label: agreement(p.prediction[keep, labels.index(label)], column[keep])._asdict()
            for label, column in values.items()
        }
        kept = {label: column[keep] for label, column in values.items()}
        heading = f"{group}: {int(keep.sum()):,}"
        prediction = p.prediction[keep].astype(np.float64)
        rows.append(ComparedRow(spec.title, heading, tuple(values), prediction, kept))
    return numbers, rows


def printed(name: str) -> dict[str, dict[str, str]]:
    """The paper's scatter and bias of a catalogue by label."""
    return {
        label: {"scatter": scatter} | ({"bias_median": bias} if bias else {})
        for label, (scatter, bias) in zip(labels.names(), PAPER[name], strict=False)
    }


def figure13(inputs: Inputs) -> Result:
    """Against Andrae et al. 2023, all stars and high quality."""
    numbers, rows = compare(inputs, "a23", by_quality_and_snr)
    best = dict(zip(HIGH_QUALITY, PAPER_HIGH_QUALITY, strict=True))
    paper = {
        "all stars": printed("a23"),
        "high quality": {label: {"scatter": text} for label, text in best.items()},
        "cuts": {"stars in common": "13,300,628"},
    }
    drawn = Drawn(
        "figure13_a23",
        label_comparison(rows),
        "Fig. 13: against A23; all stars, those with sigma below 50 K, 0.1 and 0.1 dex, and, where "
        "the S/N of RP coefficients is known, those above 1,000.",
    )
    return Result(numbers, (drawn,), paper, (SIGN,))


def figure14(inputs: Inputs) -> Result:
    """Against LAMOST LRS, LAMOST MRS and GALAH, those of them that are given."""
    names = ("lamost_lrs", "lamost_mrs", "galah")
    given = [name for name in names if name in inputs.external]
    if not given:
        raise Missing(f"needs --external {'=FILE, '.join(names[:-1])}=FILE or {names[-1]}=FILE")
    numbers, paper, rows = {}, {}, []
    for name in given:
        found, (everyone, *_) = compare(inputs, name, by_everything)
        for group, values in found.items():
            numbers[f"{CATALOGUES[name].title}, {group}"] = values
        paper[f"{CATALOGUES[name].title}, all stars"] = printed(name)
        title = CATALOGUES[name].title
        rows.append(everyone._replace(title=f"{title}, {everyone.title}"))
    absent = [CATALOGUES[name].title for name in names if name not in given]
    notes = (SIGN, *([f"Not given: {', '.join(absent)}."] if absent else []))
    caption = f"Fig. 14: against {', '.join(CATALOGUES[name].title for name in given)}."
    if "lamost_mrs" in given:
        caption += " For [alpha/M], LAMOST MRS has [Mg/Fe]."
    drawn = Drawn("figure14_surveys", label_comparison(rows), caption)
    return Result(numbers, (drawn,), paper, notes)


def figure19(inputs: Inputs) -> Result:
    """Against Andrae et al. 2023, near the Galactic plane and far from it."""
    numbers, rows = compare(inputs, "a23", by_latitude)
    drawn = Drawn(
        "figure19_latitude",
        label_comparison(rows),
        "Fig. 19: against A23; top |b| < 10 deg, bottom |b| > 30 deg.",
    )
    return Result(numbers, (drawn,), notes=(SIGN,))


def other(inputs: Inputs) -> Result:
    """Against any catalogue: all stars, high quality, and by latitude."""
    numbers, rows = compare(inputs, "other", by_everything)
    drawn = Drawn(
        "comparison_other",
        label_comparison(rows),
        "Against the given catalogue: all stars, high quality, and by Galactic latitude.",
    )
    return Result(numbers, (drawn,), notes=(SIGN,))


# Donor et al. 2020 call a star a member within 3 sigma of the cluster in each of these.
MEMBERSHIP = {"rv": ("rv_prob",), "feh": ("feh_prob",), "pm": ("pm_prob",)}
LEAST_PROBABILITY = 0.01
MANY = 5
"""Members of the clusters in the right panel."""


def plain(names: np.ndarray) -> np.ndarray:
    """Names of clusters without case, blanks and underscores."""
    return np.char.replace(np.char.replace(np.char.lower(names.astype(str)), " ", ""), "_", "")


def figure15(inputs: Inputs) -> Result:
    """[M/H] of open clusters against the literature."""
    p = inputs.predictions
    words, odds = text_columns(
        inputs.file("cluster_members"),
        {"cluster": ("cluster",), "star": ("apogee_id",)},
        MEMBERSHIP,
    )
    names, literature = text_columns(
        inputs.file("clusters"), {"name": ("name", "cluster")}, {"fe_h": ("fe_h", "feh", "[fe/h]")}
    )
    if "apogee_id" not in p.columns:
        raise Missing("needs the column apogee_id in the run")
    member = np.all([values > LEAST_PROBABILITY for values in odds.values()], axis=0)
    ids = np.char.strip(np.asarray(p.columns["apogee_id"]).astype(str))
    _, ours, theirs = np.intersect1d(ids, words["star"][member], return_indices=True)
    if not len(ours):
        raise InputError(
            f"{inputs.file('cluster_members')}: none of its {int(member.sum()):,} members is among "
            f"the {len(p):,} stars of the run: compare with a run that has predicted them"
        )
    cluster = plain(words["cluster"][member][theirs])
    known = dict(zip(plain(names["name"]), literature["fe_h"], strict=True))
    moh = labels.index("m_h")
    found = {
        source: {
            mean.name: mean
            for mean in cluster_means(cluster, values[ours, moh].astype(np.float64))
            if np.isfinite(known.get(mean.name, np.nan))
        }
        for source, values in (("XP", p.prediction), ("APOGEE", p.truth))
    }
    if not found["XP"]:
        raise InputError(
            f"{inputs.file('clusters')}: has none of the clusters with members in the run: "
            f"{', '.join(np.unique(cluster)[:6])}"
        )
    return _clusters(found, known)


def _clusters(found: Mapping[str, Mapping[str, ClusterMean]], known: Mapping[str, float]) -> Result:
    numbers: dict[str, Any] = {}
    panels: dict[str, dict[str, np.ndarray]] = {"all clusters": {}, f"{MANY} members or more": {}}
    for source, clusters in found.items():
        rows = np.array(
            [[known[m.name], m.mean - known[m.name], m.error, m.n] for m in clusters.values()]
        ).reshape(-1, 4)
        many = rows[:, 3] >= MANY
        for title, kept in zip(panels, (rows, rows[many]), strict=True):
            panels[title][source] = kept
            difference = kept[:, 1]
            numbers.setdefault(title, {})[source] = {
                "clusters": len(kept),
                "within_0.2_dex": int(np.sum(np.abs(difference) < 0.2)),
                "largest_difference": float(np.abs(difference).max()) if len(kept) else None,
                "mean_difference": float(difference.mean()) if len(kept) else None,
                "scatter_of_differences": float(difference.std()) if len(kept) else None,
            }
        scatters = [m.scatter for m in clusters.values() if m.n >= MANY]
        numbers[f"{MANY} members or more"][source]["median_scatter_inside"] = (
            float(np.median(scatters)) if scatters else None
        )
        numbers[f"each cluster, {source}"] = {
            m.name: {"literature": known[m.name]} | m._asdict() for m in clusters.values()
        }
    paper = {
        "all clusters": {"XP": {"clusters": "67", "within_0.2_dex": "66"}},
        f"{MANY} members or more": {"XP": {"clusters": "12", "largest_difference": "0.07"}},
    }
    drawn = Drawn(
        "figure15_clusters",
        cluster_differences(panels),
        "Fig. 15: [M/H] of open clusters minus [Fe/H] of the literature; bars are errors of means.",
        cluster_differences(panels, narrow=True),
    )
    note = "Members have probabilities above 0.01 in radial velocity, [Fe/H] and proper motion."
    return Result(numbers, (drawn,), paper, (note,))


STUDIES = (
    Study("figure13", "Figure 13: against A23", "--external a23=FILE", figure13),
    Study(
        "figure14",
        "Figure 14: against LAMOST and GALAH",
        "--external lamost_lrs=FILE, lamost_mrs=FILE or galah=FILE",
        figure14,
    ),
    Study(
        "figure15",
        "Figure 15: open clusters",
        "--external cluster_members=FILE and clusters=FILE; the column apogee_id",
        figure15,
    ),
    Study("figure19", "Figure 19: against A23 by latitude", "--external a23=FILE", figure19),
    Study("comparison_other", "Another catalogue", "--external other=FILE", other),
)
