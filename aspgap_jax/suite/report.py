"""Reports of a run and of its validation: HTML pages that need nothing beside them."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text
from aspgap_jax.labels import LABELS, LabelSet
from aspgap_jax.suite.number_tables import Cell, NumberTable, RowGroup, as_words, number_tables
from aspgap_jax.suite.verdict import Verdict
from aspgap_jax.validation.metrics import GROUPS, STATISTICS, MetricsTable, format_rows
from aspgap_jax.validation.paper import PAPER, SOURCE

__all__ = ["Entry", "Picture", "Section", "study_section", "write_report", "write_validation"]

IMAGE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}

PAGES = Environment(
    loader=PackageLoader("aspgap_jax.suite"),
    # Every value that a template shows is escaped, of whatever suffix the template is.
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Picture(NamedTuple):
    """A figure of a page.

    Attributes:
        file: the image.
        caption: what it shows.
        narrow: the same for narrow screens, its panels below each other, where it has many.
    """

    file: Path
    caption: str
    narrow: Path | None = None


class Entry(NamedTuple):
    """One study on the page of a validation.

    Attributes:
        title: heading.
        numbers: what was found, nested at will; lists are left to the JSON file.
        paper: the paper's numbers as text, under the same keys.
        figures: images with their captions.
        notes: sentences to be read with the numbers.
        words: what the paper says without a number, by a key of ``numbers``.
        other: the numbers of another run, under the same keys.
    """

    title: str
    numbers: Mapping[str, Any]
    paper: Mapping[str, Any]
    figures: Sequence[Picture]
    notes: Sequence[str]
    words: Mapping[str, str] = {}
    other: Mapping[str, Any] = {}


class Section(NamedTuple):
    """The section of a study, written: its heading, where a link finds it, and its HTML."""

    title: str
    anchor: str
    html: str


def write_report(
    path: Path,
    *,
    title: str,
    summary: Mapping[str, str],
    cuts: Sequence[tuple[str, int]],
    metrics: MetricsTable,
    paper: bool,
    labels: LabelSet = LABELS,
    figures: Sequence[Picture],
    files: Sequence[tuple[Path, str]],
) -> None:
    """Write the page, atomically; figures are embedded and every text is escaped.

    Args:
        path: the HTML file.
        title: heading of the page.
        summary: facts of the run in order: stars, folds, preset, wall time.
        cuts: each selection and the number of stars it left.
        metrics: as :func:`aspgap_jax.validation.metrics.metrics_table` makes it.
        paper: whether to print the paper's own numbers beside, with their source.
        labels: those of ``metrics``.
        figures: images with their captions.
        files: other products with what they hold, linked relative to ``path``.

    Raises:
        InputError: a figure is absent or of a type that browsers do not show.
    """
    page = PAGES.get_template("report.html").render(
        title=title,
        summary=summary,
        accuracy=[_accuracy(metrics, group, paper, labels) for group in GROUPS],
        definitions=_definitions(labels),
        source=SOURCE if paper else "",
        figures=[_shown(picture) for picture in figures],
        selection=_selection(cuts) if cuts else None,
        files=_links(Path(path).parent, files),
    )
    write_text(path, page)


def study_section(entry: Entry) -> Section:
    """The section of a study: figures, numbers with others' beside them, notes.

    Args:
        entry: a study and what came out of it.

    Returns:
        Its heading, its anchor and its HTML.

    Raises:
        InputError: a figure is absent or of a type that browsers do not show.
    """
    anchor = re.sub(r"[^a-z0-9]+", "-", entry.title.lower()).strip("-")
    words = [f"Paper, {as_words(name)}: {text}." for name, text in entry.words.items()]
    html = PAGES.get_template("study.html").render(
        anchor=anchor,
        title=entry.title,
        figures=[_shown(picture) for picture in entry.figures],
        tables=number_tables(entry.numbers, {"paper": entry.paper, "other": entry.other}),
        notes=[*words, *entry.notes],
    )
    return Section(entry.title, anchor, html)


def write_validation(
    path: Path,
    *,
    title: str,
    verdict: Verdict | None,
    facts: Mapping[str, str],
    studies: Sequence[Section],
    missing: Mapping[str, str],
    failed: Mapping[str, str],
    files: Sequence[tuple[Path, str]],
) -> None:
    """Write the page of a validation, atomically.

    Args:
        path: the HTML file.
        title: heading of the page.
        verdict: what stands on top; ``None`` where no claim could be tested.
        facts: of the run, and where the numbers are from.
        studies: what :func:`study_section` made of those that ran, in the order of the page.
        missing: headings of those that could not, and what they need.
        failed: headings of those that failed, and why.
        files: other products with what they hold.
    """
    page = PAGES.get_template("validation.html").render(
        title=title,
        verdict=None if verdict is None else _verdict(verdict),
        facts=facts,
        studies=studies,
        missing=missing,
        failed=failed,
        files=_links(Path(path).parent, files),
    )
    write_text(path, page)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    rows = []
    for claim in verdict.claims:
        held = Cell("held", "held") if claim.held else Cell("not held", "not-held")
        rows.append(
            [Cell(claim.words, "words"), Cell(claim.ours), Cell(claim.paper, "paper"), held]
        )
    head = [Cell(name) for name in ("The paper's claim", "this run", "paper", "")]
    return {
        "summary": verdict.summary,
        "note": verdict.note,
        "table": NumberTable("", head, [RowGroup("", rows)]),
    }


def _accuracy(metrics: MetricsTable, group: str, paper: bool, labels: LabelSet) -> NumberTable:
    head = [Cell(name) for name in ("label", "unit", *STATISTICS.values())]
    rows = [[Cell(text) for text in row] for row in format_rows(metrics, group, labels)]
    # From the right: what is inserted must not move what comes later.
    for name in reversed(STATISTICS) if paper else ():
        printed = [PAPER[group].get(row[0].text, {}).get(name, "") for row in rows]
        if any(printed):
            place = 3 + list(STATISTICS).index(name)
            head.insert(place, Cell("paper", "paper"))
            for row, number in zip(rows, printed, strict=True):
                row.insert(place, Cell(number, "paper"))
    return NumberTable(GROUPS[group][1], head, [RowGroup("", rows)])


def _definitions(labels: LabelSet) -> str:
    bounds = ", ".join(
        f"{100 * label.outlier.bound:g} % of {label.name}"
        if label.outlier.relative
        else f"{label.outlier.bound:g} {label.unit} in {label.name}"
        for label in labels
    )
    return (
        "Residuals are prediction minus truth. Scatter (MAD) is 1.4826 times the median absolute "
        f"deviation. Outliers are residuals beyond {bounds}. Sigma(chi) is the standard "
        "deviation, outliers included, of the residual over its expected error: the predicted "
        "uncertainty and the error of the truth in quadrature; 1 is right."
    )


def _selection(cuts: Sequence[tuple[str, int]]) -> NumberTable:
    rows, before = [], None
    for name, left in cuts:
        removed = "" if before is None else f"{before - left:,}"
        rows.append([Cell(name), Cell(f"{left:,}"), Cell(removed)])
        before = left
    head = [Cell(name) for name in ("cut", "stars left", "removed")]
    return NumberTable("", head, [RowGroup("", rows)])


def _shown(picture: Picture) -> dict[str, str]:
    return {
        "source": _embedded(Path(picture.file)),
        "narrow": "" if picture.narrow is None else _embedded(Path(picture.narrow)),
        "caption": picture.caption,
    }


def _embedded(file: Path) -> str:
    """An image as a data URL."""
    if (kind := IMAGE_TYPES.get(file.suffix.lower())) is None:
        raise InputError(f"{file}: a page shows {', '.join(IMAGE_TYPES)} only")
    try:
        data = base64.b64encode(file.read_bytes()).decode("ascii")
    except OSError as error:
        raise InputError(f"{file}: the figure cannot be read ({error.strerror})") from error
    return f"data:{kind};base64,{data}"


def _links(folder: Path, files: Sequence[tuple[Path, str]]) -> list[dict[str, str]]:
    names = [Path(os.path.relpath(file, folder)).as_posix() for file, _ in files]
    return [
        {"name": name, "link": quote(name), "words": words}
        for name, (_, words) in zip(names, files, strict=True)
    ]
