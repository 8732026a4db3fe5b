"""The page is parsed as HTML: what it shows, embeds, links and escapes."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.labels import LABELS
from aspgap_jax.suite.report import Entry, Picture, study_section, write_report, write_validation
from aspgap_jax.suite.verdict import Claim, Verdict
from support.pages import Page

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def metrics(n: int = 24_900) -> dict[str, dict[str, dict[str, Any]]]:
    row = {
        "n": n,
        "rms": 48.04,
        "scatter_mad": 40.0,
        "mae": 33.26,
        "bias": -1.25,
        "outlier_rate": 0.00051,
        "chi_sigma": 1.302,
    }
    rows = {label.name: row for label in LABELS}
    nothing = {"n": 0} | dict.fromkeys(set(row) - {"n"})
    return {"all": rows, "g_lt_14": dict.fromkeys(rows, nothing)}


def write(path: Path, **changes: Any) -> Page:
    arguments: dict[str, Any] = {
        "title": "Cross-validation",
        "summary": {"stars": "24,900", "APOGEE spectra": "emulated"},
        "cuts": [("rows", 40_226), ("unique Gaia ids", 39_851), ("giants", 24_900)],
        "metrics": metrics(),
        "paper": False,
        "figures": [],
        "files": [],
    }
    write_report(path, **(arguments | changes))
    return Page(path)


def test_tables(tmp_path: Path) -> None:
    page = write(tmp_path / "report.html")
    assert ["APOGEE spectra", "emulated"] in page.rows
    assert ["teff", "K", "24,900", "48.0", "40.0", "33.3", "-1.2", "0.05 %", "1.30"] in page.rows
    assert ["m_h", "dex", "0", *["-"] * 6] in page.rows
    assert ["rows", "40,226", ""] in page.rows
    assert ["giants", "24,900", "14,951"] in page.rows
    assert not any("142,130" in text for text in page.text)


def test_the_papers_numbers_carry_their_source(tmp_path: Path) -> None:
    page = write(tmp_path / "report.html", paper=True)
    everywhere, bright = (row for row in page.rows if row[0] == "label")
    assert everywhere[3:6] == ["rms", "paper", "scatter (MAD)"]
    assert everywhere[8:] == ["outliers", "paper", "sigma(chi)", "paper"]
    assert bright.count("paper") == 1
    first, second = (row for row in page.rows if row[0] == "logg")
    assert (first[3:5], first[8:]) == (
        ["48.040", "0.12"],
        ["0.05 %", "6.67 %", "1.30", "~1.3"],
    )
    assert second[3:5] == ["-", "0.10"]
    (moh, _) = (row for row in page.rows if row[0] == "m_h")
    assert moh[8:] == ["0.05 %", "", "1.30", "~1.3"]
    text = "".join(page.text)
    assert "142,130 stars" in text
    assert "not directly comparable" in text


def test_a_label_unknown_to_the_paper_has_no_paper_number(tmp_path: Path) -> None:
    own = (*LABELS, replace(LABELS[-1], name="c_fe"))
    table = metrics()
    for group in table.values():
        group["c_fe"] = group["m_h"]
    page = write(tmp_path / "report.html", metrics=table, paper=True, labels=own)
    assert [row[3:5] for row in page.rows if row[0] == "c_fe"] == [["48.040", ""], ["-", ""]]


def test_figures_are_embedded_and_nothing_is_fetched(tmp_path: Path) -> None:
    figure = tmp_path / "elsewhere" / "chi.png"
    figure.parent.mkdir()
    figure.write_bytes(PIXEL)
    page = write(tmp_path / "report.html", figures=[Picture(figure, "Distribution of χ")])
    (source,) = page.attributes["src"]
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == PIXEL
    assert page.attributes["alt"] == ["Distribution of χ"]
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not any(word in raw for word in ("http", "<script", "<link", "@import", "url("))


def test_files_are_linked_relative_to_the_page(tmp_path: Path) -> None:
    page = write(
        tmp_path / "run" / "report.html",
        files=[
            (tmp_path / "run" / "metrics.json", "the tables above"),
            (tmp_path / "run" / "a b#1" / "p.h5", "predictions"),
        ],
    )
    assert page.attributes["href"] == ["metrics.json", "a%20b%231/p.h5"]
    assert ["a b#1/p.h5", "predictions"] in page.rows
    assert str(tmp_path) not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_every_text_is_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("&1")</script>'
    figure = tmp_path / "f.png"
    figure.write_bytes(PIXEL)
    page = write(
        tmp_path / "report.html",
        title=evil,
        summary={evil: evil},
        cuts=[(evil, 3)],
        figures=[Picture(figure, evil)],
        files=[(tmp_path / "x.h5", evil)],
    )
    assert "<script" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    # title, heading, fact (twice), cut, caption, file: read back as they were.
    assert sum(text == evil for text in page.text) == 7
    assert page.attributes["alt"] == [evil]


def test_a_section_without_content_is_left_out(tmp_path: Path) -> None:
    page = write(tmp_path / "report.html", summary={}, cuts=[])
    assert {"Run", "Selection", "Figures", "Files"}.isdisjoint(page.text)
    assert "Accuracy" in page.text


def test_an_unusable_figure_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.png: the figure cannot be read"):
        write(tmp_path / "report.html", figures=[Picture(tmp_path / "absent.png", "")])
    with pytest.raises(InputError, match=r"chi\.pdf: a page shows \.png"):
        write(tmp_path / "report.html", figures=[Picture(tmp_path / "chi.pdf", "")])
    assert not (tmp_path / "report.html").exists()


def write_study(path: Path, numbers: dict[str, Any], paper: dict[str, Any]) -> Page:
    words = {name: "shown & not <counted>" for name in ("line",) if name in numbers}
    entry = Entry("Figure 99", numbers, paper, (), ("a <note>",), words)
    write_validation(
        path,
        title="Validation",
        verdict=None,
        facts={"stars": "5"},
        studies=[study_section(entry)],
        missing={"Figure 13": "needs a file"},
        failed={"Figure 1": "no & no"},
        files=[],
    )
    return Page(path)


def test_nested_numbers_become_tables(tmp_path: Path) -> None:
    numbers = {
        "stars": 12_345,
        "label": None,
        "classes": {"low": {"precision": 0.91764, "n": 3}, "high": {"precision": 0.85, "n": 1_000}},
        "line": {"slope": -0.08},
        "deep": {"all": {"teff": {"rms": 48.04123, "outlier_rate": 0.00051}}},
        "curves": {"BP": {"rms": [1.0, 2.0]}},
    }
    page = write_study(tmp_path / "validation.html", numbers, {})
    assert ["stars", "12,345"] in page.rows
    assert ["label", "-"] in page.rows
    assert ["", "precision", "stars"] in page.rows
    assert ["low", "0.9176", "3"] in page.rows
    assert ["high", "0.85", "1,000"] in page.rows
    assert ["", "slope"] in page.rows
    assert ["Teff [K]", "48.04", "0.05 %"] in page.rows
    assert "deep: all stars" in page.text
    # Lists are left to the JSON file.
    assert not any("1.0" in cell or "2.0" in cell for row in page.rows for cell in row)
    assert ["Figure 13", "needs a file"] in page.rows
    assert ["Figure 1", "no & no"] in page.rows
    assert "a <note>" in page.text
    assert "Paper, line: shown & not <counted>." in page.text


def test_the_papers_numbers_stand_beside_those_they_belong_to(tmp_path: Path) -> None:
    numbers = {
        "stars": 7,
        "all": {"teff": {"rms": 50.0, "mae": 40.0}, "logg": {"rms": 0.2, "mae": 0.1}},
        "classes": {"low": {"precision": 0.9}},
    }
    paper = {
        "stars": "142,130",
        "all": {"teff": {"rms": "48"}},
        "classes": {"low": {"precision": "0.97"}, "absent": {"precision": "1"}},
    }
    page = write_study(tmp_path / "v.html", numbers, paper)
    assert ["stars", "7", "142,130"] in page.rows
    assert ["", "rms", "paper", "MAE"] in page.rows
    assert ["Teff [K]", "50", "48", "40"] in page.rows
    assert ["log g [dex]", "0.2", "", "0.1"] in page.rows
    assert ["low", "0.9", "0.97"] in page.rows


def test_groups_with_the_same_columns_share_a_table(tmp_path: Path) -> None:
    rows = {"teff": {"rms": 50.0}, "logg": {"rms": 0.2}}
    numbers = {"all": rows, "g_lt_14": {"teff": {"rms": 40.0}}}
    entry = Entry("Figure 99", numbers, {"g_lt_14": {"teff": {"rms": "46"}}}, (), ())
    write_page(tmp_path / "v.html", entry)
    page = Page(tmp_path / "v.html")
    assert page.rows.count(["", "rms", "paper"]) == 1
    assert page.rows[1:] == [
        ["all stars"],
        ["Teff [K]", "50", ""],
        ["log g [dex]", "0.2", ""],
        ["G < 14"],
        ["Teff [K]", "40", "46"],
    ]


def test_another_run_stands_beside(tmp_path: Path) -> None:
    numbers = {"stars": 7, "all": {"teff": {"rms": 50.0}}}
    other = {"stars": 9, "all": {"teff": {"rms": 45.25}}}
    paper = {"all": {"teff": {"rms": "48"}}}
    write_page(tmp_path / "v.html", Entry("Figure 99", numbers, paper, (), (), other=other))
    page = Page(tmp_path / "v.html")
    assert ["", "value", "other"] in page.rows
    assert ["stars", "7", "9"] in page.rows
    assert ["", "rms", "paper", "other"] in page.rows
    assert ["Teff [K]", "50", "48", "45.25"] in page.rows


def write_page(path: Path, entry: Entry, verdict: Verdict | None = None) -> None:
    write_validation(
        path,
        title="Validation",
        verdict=verdict,
        facts={},
        studies=[study_section(entry)],
        missing={},
        failed={},
        files=[],
    )


def test_the_verdict_stands_above_the_contents_which_lead_to_the_studies(tmp_path: Path) -> None:
    claims = (Claim("rms", "40.1", "48", True), Claim("recall", "0.78", "0.94", False))
    entry = Entry("Fig. 99: a <study>", {"stars": 7}, {}, (), ())
    write_page(tmp_path / "v.html", entry, Verdict(claims, "1 of the 2 hold.", "a note"))
    page = Page(tmp_path / "v.html")
    assert ["rms", "40.1", "48", "held"] in page.rows
    assert ["recall", "0.78", "0.94", "not held"] in page.rows
    assert page.text.index("1 of the 2 hold.") < page.text.index("Contents")
    assert "#fig-99-a-study" in page.attributes["href"]
    assert "fig-99-a-study" in page.attributes["id"]


def test_a_narrow_screen_gets_the_narrow_figure(tmp_path: Path) -> None:
    wide, narrow = tmp_path / "wide.png", tmp_path / "narrow.png"
    wide.write_bytes(PIXEL)
    narrow.write_bytes(PIXEL[:-4])
    entry = Entry("Figure 99", {}, {}, (Picture(wide, "panels", narrow),), ())
    write_page(tmp_path / "v.html", entry)
    page = Page(tmp_path / "v.html")
    (source,) = page.attributes["srcset"]
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == PIXEL[:-4]
    assert page.attributes["media"] == ["(max-width: 40rem)"]
