"""Reports of a run and of its validation: HTML pages that need nothing beside them."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from aspgap_jax import labels
from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text
from aspgap_jax.suite.study import is_scalar
from aspgap_jax.validation.metrics import GROUPS, STATISTICS, MetricsTable, format_rows
from aspgap_jax.validation.paper import PAPER, SOURCE

__all__ = ["Entry", "study_section", "write_report", "write_validation"]

IMAGE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}

STYLE = """
:root { color-scheme: light dark; --text: #1c2330; --soft: #5c6675; --line: #d9dee6;
  --page: #ffffff; --band: #f4f6f9; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e7ee; --soft: #9aa5b5;
  --line: #343c49; --page: #14181f; --band: #1c222c; --accent: #6bb8e8; } }
body { margin: 2.5rem auto; max-width: 66rem; padding: 0 1.25rem; color: var(--text);
  background: var(--page); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1.5rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .95rem; margin-bottom: 1rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .5rem 0; }
th, td { padding: .3rem .65rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child, td.words, th.words { text-align: left; }
td.words { white-space: normal; }
thead th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); }
tbody tr:nth-child(even) { background: var(--band); }
.paper { color: var(--soft); font-style: italic; }
.note, figcaption { color: var(--soft); font-size: .9rem; }
figure { margin: 1.5rem 0 2rem; }
figure img { display: block; width: 100%; box-sizing: border-box; padding: .6rem;
  background: #ffffff; border: 1px solid var(--line); border-radius: 6px; }
figcaption { margin-top: .5rem; }
a { color: var(--accent); }
@media print { body { margin: 0; } figure, table { break-inside: avoid; } }
""".strip()


def write_report(
    path: Path,
    *,
    title: str,
    summary: Mapping[str, str],
    cuts: Sequence[tuple[str, int]],
    metrics: MetricsTable,
    paper: bool,
    figures: Sequence[tuple[Path, str]],
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
        figures: image files with their captions.
        files: other products with what they hold, linked relative to ``path``.

    Raises:
        InputError: a figure is absent or of a type that browsers do not show.
    """
    sections = [
        _section("Run", _facts(summary)),
        _section("Accuracy", _accuracy(metrics, paper)),
        _section("Figures", "\n".join(_figure(Path(file), words) for file, words in figures)),
        _section("Selection", _selection(cuts)),
        _section("Files", _links(Path(path).parent, files)),
    ]
    _write_page(path, title, sections)


class Entry(NamedTuple):
    """One study on the page of a validation.

    Attributes:
        title: heading.
        numbers: what was found, nested at will; lists are left to the JSON file.
        paper: the paper's numbers as text, under the same keys.
        figures: image files with their captions.
        notes: sentences to be read with the numbers.
        words: what the paper says without a number, by a key of ``numbers``.
    """

    title: str
    numbers: Mapping[str, Any]
    paper: Mapping[str, Any]
    figures: Sequence[tuple[Path, str]]
    notes: Sequence[str]
    words: Mapping[str, str] = {}


def study_section(entry: Entry) -> str:
    """The section of a study: figures, numbers, the paper's beside them, notes.

    Raises:
        InputError: a figure is absent or of a type that browsers do not show.
    """
    body = [_figure(Path(file), words) for file, words in entry.figures]
    body += _number_tables(entry.numbers, entry.paper)
    notes = [f"Paper, {_words(name)}: {text}." for name, text in entry.words.items()]
    body += [f'<p class="note">{escape(note)}</p>' for note in (*notes, *entry.notes)]
    return _section(escape(entry.title), "\n".join(body))


def write_validation(
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    studies: Sequence[str],
    missing: Mapping[str, str],
    failed: Mapping[str, str],
    files: Sequence[tuple[Path, str]],
) -> None:
    """Write the page of a validation, atomically.

    Args:
        path: the HTML file.
        title: heading of the page.
        facts: of the run.
        studies: what :func:`study_section` made of those that ran, in the order of the page.
        missing: headings of those that could not, and what they need.
        failed: headings of those that failed, and why.
        files: other products with what they hold.
    """
    sections = [
        _section("Run", _facts(facts)),
        *studies,
        _section("Failed", _facts(failed)),
        _section("Not run: what it needs", _facts(missing)),
        _section("Files", _links(Path(path).parent, files)),
    ]
    _write_page(path, title, sections)


def _write_page(path: Path, title: str, sections: Sequence[str]) -> None:
    write_text(
        path,
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{''.join(sections)}</body>\n</html>\n",
    )


def _section(heading: str, body: str) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{body}\n</section>\n" if body else ""


def _row(cells: Iterable[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _table(head: Sequence[str], rows: Sequence[str], caption: str = "") -> str:
    """A table of rows already in HTML."""
    title = f"<caption>{caption}</caption>\n" if caption else ""
    top = f"<thead>{_row(head, 'th')}</thead>\n" if head else ""
    body = "\n".join(rows)
    return f'<div class="wide"><table>\n{title}{top}<tbody>\n{body}\n</tbody>\n</table></div>'


def _facts(summary: Mapping[str, str]) -> str:
    if not summary:
        return ""
    return _table(
        [],
        [
            f'<tr><th scope="row">{escape(name)}</th><td class="words">{escape(value)}</td></tr>'
            for name, value in summary.items()
        ],
    )


def _accuracy(metrics: MetricsTable, paper: bool) -> str:
    tables = []
    for group, (_, title) in GROUPS.items():
        head = ["label", "unit", *STATISTICS.values()]
        rows = format_rows(metrics, group)
        # From the right: what is inserted must not move what comes later.
        for name in reversed(STATISTICS) if paper else ():
            printed = [PAPER[group].get(row[0], {}).get(name, "") for row in rows]
            if any(printed):
                place = 3 + list(STATISTICS).index(name)
                head.insert(place, "paper")
                for row, number in zip(rows, printed, strict=True):
                    row.insert(place, number)
        marks = [' class="paper"' if name == "paper" else "" for name in head]
        tables.append(
            _table(
                [escape(name) for name in head],
                [
                    "<tr>"
                    + "".join(
                        f"<td{mark}>{escape(cell)}</td>"
                        for mark, cell in zip(marks, row, strict=True)
                    )
                    + "</tr>"
                    for row in rows
                ],
                escape(title),
            )
        )
    bounds = ", ".join(
        f"{100 * label.outlier.bound:g} % of {label.name}"
        if label.outlier.relative
        else f"{label.outlier.bound:g} {label.unit} in {label.name}"
        for label in labels.LABELS
    )
    tables.append(
        '<p class="note">Residuals are prediction minus truth. Scatter (MAD) is 1.4826 times the '
        "median absolute deviation. Outliers are residuals beyond "
        f"{escape(bounds)}. Sigma(chi) is the standard deviation, outliers included, of the "
        "residual over its expected error: the predicted uncertainty and the error of the truth in "
        "quadrature; 1 is right.</p>"
    )
    if paper:
        tables.append(
            f'<p class="note">In the columns <span class="paper">paper</span>: '
            f"{escape(SOURCE)}.</p>"
        )
    return "\n".join(tables)


def _number_tables(
    numbers: Mapping[str, Any], paper: Mapping[str, Any], caption: str = ""
) -> list[str]:
    """Nested numbers as tables: scalars in one, rows with the same columns in one each."""
    scalars = {name: value for name, value in numbers.items() if is_scalar(value)}
    tables = []
    if scalars:
        printed = {name: str(paper.get(name, "")) for name in scalars}
        head = ["", "value", "paper"] if any(printed.values()) else []
        rows = [
            _row(
                [escape(_words(name)), escape(_value(name, value))]
                + ([_paper(printed[name])] if head else [])
            )
            for name, value in scalars.items()
        ]
        tables.append(_table(head, rows, escape(caption)))
    groups: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
    for name, value in numbers.items():
        if not isinstance(value, Mapping):
            continue
        printed_here = paper.get(name, {})
        if any(isinstance(inner, Mapping) for inner in value.values()):
            inner_caption = f"{caption}: {_words(name)}" if caption else _words(name)
            tables += _number_tables(value, printed_here, inner_caption)
        elif columns := tuple(key for key, inner in value.items() if is_scalar(inner)):
            groups.setdefault(columns, {})[name] = value
    tables += [_matrix(columns, rows, paper, caption) for columns, rows in groups.items()]
    return tables


def _matrix(
    columns: Sequence[str],
    rows: Mapping[str, Mapping[str, Any]],
    paper: Mapping[str, Any],
    caption: str,
) -> str:
    """A row a mapping; a column of the paper's numbers after each that has any."""
    head, cells = [""], [[escape(_words(name))] for name in rows]
    for column in columns:
        head.append(escape(_words(column)))
        printed = [str(paper.get(name, {}).get(column, "")) for name in rows]
        for line, values in zip(cells, rows.values(), strict=True):
            line.append(escape(_value(column, values[column])))
        if any(printed):
            head.append(_paper("paper"))
            for line, text in zip(cells, printed, strict=True):
                line.append(_paper(text))
    return _table(head, [_row(line) for line in cells], escape(caption))


def _paper(text: str) -> str:
    return f'<span class="paper">{escape(text)}</span>'


def _words(name: str) -> str:
    """A key as words; a label with its unit."""
    if name in labels.names():
        return f"{name} [{labels.LABELS[labels.index(name)].unit}]"
    return name.replace("_", " ")


def _value(name: str, value: Any) -> str:
    """A number with four digits, or as many as it takes; rates as the paper prints them."""
    if value is None:
        return "-"
    if isinstance(value, float):
        if name.endswith("_rate"):
            return f"{100 * value:.2f} %"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _figure(file: Path, words: str) -> str:
    if (kind := IMAGE_TYPES.get(file.suffix.lower())) is None:
        raise InputError(f"{file}: a page shows {', '.join(IMAGE_TYPES)} only")
    try:
        data = base64.b64encode(file.read_bytes()).decode("ascii")
    except OSError as error:
        raise InputError(f"{file}: the figure cannot be read ({error.strerror})") from error
    return (
        f'<figure>\n<img src="data:{kind};base64,{data}" alt="{escape(words)}">\n'
        f"<figcaption>{escape(words)}</figcaption>\n</figure>"
    )


def _selection(cuts: Sequence[tuple[str, int]]) -> str:
    if not cuts:
        return ""
    rows, before = [], None
    for name, left in cuts:
        removed = "" if before is None else f"{before - left:,}"
        rows.append(_row([escape(name), f"{left:,}", removed]))
        before = left
    return _table(["cut", "stars left", "removed"], rows)


def _links(folder: Path, files: Sequence[tuple[Path, str]]) -> str:
    if not files:
        return ""
    rows = []
    for file, words in files:
        relative = Path(os.path.relpath(file, folder)).as_posix()
        link = f'<a href="{escape(quote(relative))}">{escape(relative)}</a>'
        rows.append(f'<tr><td>{link}</td><td class="words">{escape(words)}</td></tr>')
    return _table([], rows)
