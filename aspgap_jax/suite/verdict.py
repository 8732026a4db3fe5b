"""Is the run good? Each claim of the paper against the numbers of a validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aspgap_jax import labels
from aspgap_jax.validation.paper import PAPER

__all__ = ["Claim", "Verdict", "judge"]

CHI_OFF = 0.3
"""The paper calls its sigma of chi of about 1.3 meaningful: as far off may ours be."""
LOW_HIGH = {
    ("low", "precision"): "0.97",
    ("low", "recall"): "0.96",
    ("high", "precision"): "0.93",
    ("high", "recall"): "0.94",
}
"""Table 3."""
NOTE = (
    "Held: as good as the number that the paper prints, to its digits. The paper's are of its own "
    "142,130 stars, cut to S/N > 200 and small errors (Table 1): a run on fainter stars can be "
    "worse and right. A claim that was not tested here, for want of data, is not listed."
)


class Claim(NamedTuple):
    """A claim of the paper.

    Attributes:
        words: the claim.
        ours: the number of this run, as text.
        paper: what the paper prints.
        held: whether the run is as good.
    """

    words: str
    ours: str
    paper: str
    held: bool


class Verdict(NamedTuple):
    """All claims that could be tested, and one sentence about them."""

    claims: tuple[Claim, ...]
    summary: str
    note: str


def judge(numbers: Mapping[str, Any]) -> Verdict | None:
    """Hold the numbers of ``validation.json`` against the paper's claims.

    Args:
        numbers: of every study under its name, as they are written.

    Returns:
        ``None`` where no claim can be tested.
    """
    claims = (
        *_accuracy(numbers.get("figure05", {})),
        *_uncertainty(numbers.get("figure08", {})),
        *_disks(numbers.get("table03", {}).get("classes", {})),
        *_gradients(numbers.get("figure04", {}).get("agreement", {})),
        *_information(numbers.get("alpha_information", {})),
    )
    if not claims:
        return None
    held = sum(claim.held for claim in claims)
    words = f"{held} of the {len(claims)} claims that could be tested hold for this run."
    return Verdict(claims, words, NOTE)


def _accuracy(found: Mapping[str, Any]) -> list[Claim]:
    claims = []
    for group, words in (("all", "all stars"), ("g_lt_14", "G < 14")):
        for label in labels.LABELS:
            printed = PAPER[group].get(label.name, {}).get("rms")
            ours = found.get(group, {}).get(label.name, {}).get("rms")
            if printed is None or ours is None:
                continue
            claims.append(_at_most(f"rms of {label.plain} [{label.unit}], {words}", ours, printed))
    return claims


def _uncertainty(found: Mapping[str, Any]) -> list[Claim]:
    return [
        Claim(
            f"the uncertainty of {label.plain} is meaningful: sigma of chi",
            f"{sigma:.2f}",
            PAPER["all"].get(label.name, {}).get("chi_sigma", "~1.3"),
            abs(sigma - 1.0) <= CHI_OFF,
        )
        for label in labels.LABELS
        if (sigma := found.get(label.name, {}).get("sigma")) is not None
    ]


def _disks(found: Mapping[str, Any]) -> list[Claim]:
    return [
        Claim(
            f"{side} alpha disk: {what}", f"{ours:.2f}", printed, round(ours, 2) >= float(printed)
        )
        for (side, what), printed in LOW_HIGH.items()
        if (ours := found.get(side, {}).get(what)) is not None
    ]


def _gradients(found: Mapping[str, Any]) -> list[Claim]:
    """Whole hallucinated gradient spectra against the best physical ones at hand."""
    for yardstick in ("Cannon", "Kurucz", "synthesis"):
        key = f"hallucinated \N{MULTIPLICATION SIGN} {yardstick}"
        if key not in found:
            continue
        return [
            Claim(
                f"hallucinated spectra change with {label.plain} where physical ones do "
                f"({yardstick}): correlation",
                _with_chance(row),
                "one example",
                row["correlation"] > row["chance"],
            )
            for label in labels.LABELS
            if (row := found[key].get(label.name)) and row["correlation"] is not None
        ]
    return []


def _information(found: Mapping[str, Any]) -> list[Claim]:
    """[alpha/M] beyond what the other labels, APOGEE's and our own, say of it."""
    key = "other labels, also AspGap's"
    row = found.get("conditional_permutation", {}).get(key, {}).get("AspGap")
    if row is None or row.get("correlation") is None:
        return []
    return [
        Claim(
            "[\N{GREEK SMALL LETTER ALPHA}/M] is measured, not inferred from the other labels: "
            "partial correlation",
            _with_chance(row),
            "no number",
            row["correlation"] > row["chance"],
        )
    ]


def _at_most(words: str, ours: float, printed: str) -> Claim:
    """A number that should be as small as the printed one, to its digits."""
    digits = len(printed.partition(".")[2])
    return Claim(words, f"{ours:.{digits + 1}f}", printed, round(ours, digits) <= float(printed))


def _with_chance(row: Mapping[str, float]) -> str:
    return f"{row['correlation']:z.2f} ({row['chance']:.2f} by chance)"
