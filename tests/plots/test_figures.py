"""Figures are drawn and asked what they show: limits, lines, numbers, panels."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from aspgap_jax import plots
from aspgap_jax.errors import InputError
from aspgap_jax.labels import LABELS
from support.panels import panels, texts

SYMBOLS = [label.symbol for label in LABELS]


@pytest.fixture(scope="module")
def stars() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, prediction and sigma of red giants that do not exist."""
    rng = np.random.default_rng(8)
    truth = rng.normal([4500, 2, -0.5, 0.1], [300, 0.5, 0.4, 0.1], (600, 4)).astype(np.float32)
    sigma = np.broadcast_to(np.float32([40, 0.1, 0.06, 0.03]), truth.shape).copy()
    prediction = (truth + sigma * rng.normal(size=truth.shape)).astype(np.float32)
    truth[:5, 3] = np.nan
    return truth, prediction, sigma


def test_no_global_state() -> None:
    # In a process of its own: another test may have imported pyplot.
    code = "import sys, aspgap_jax.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_training_set_has_a_reversed_kiel_diagram(stars) -> None:
    truth = stars[0]
    kiel, abundances = panels(plots.training_set(truth))
    left, right = kiel.get_xlim()
    bottom, top = kiel.get_ylim()
    # Hot to the left, giants on top, and the bulk of the stars inside.
    assert left > np.median(truth[:, 0]) > right
    assert bottom > np.median(truth[:, 1]) > top
    assert abundances.get_xlabel() == "[M/H] [dex]"
    assert abundances.get_xlim()[0] < abundances.get_xlim()[1]
    (cells,) = abundances.collections
    # The stars without [alpha/M] and the few beyond the axes are not counted.
    assert 0.97 * 595 < np.sum(cells.get_array()) <= 595
    assert cells.get_rasterized()


def test_one_to_one_prints_the_statistics_of_each_label(stars) -> None:
    truth, prediction, _ = stars
    drawn = panels(plots.one_to_one(prediction, truth))
    assert [axes.get_xlabel().removesuffix("]").split(" APOGEE ")[0] for axes in drawn] == SYMBOLS
    residual = (prediction - truth)[:, 0].astype(float)
    rms = np.sqrt(np.mean(residual**2))
    assert f"rms {rms:.1f}\n" in texts(drawn[0])
    assert f"bias {residual.mean():.1f}".replace("-", "\N{MINUS SIGN}") in texts(drawn[0])
    outliers = np.mean(np.abs((prediction - truth)[5:, 3]) > 0.05)
    assert f"{100 * outliers:.2f} %" in texts(drawn[3])
    for axes in drawn:
        assert axes.get_xlim() == axes.get_ylim()
    identity, above, below = drawn[0].lines
    np.testing.assert_allclose(identity.get_xdata(), identity.get_ydata())
    np.testing.assert_allclose(above.get_ydata() - identity.get_ydata(), rms)
    np.testing.assert_allclose(below.get_ydata() - identity.get_ydata(), -rms)
    assert (identity.get_linestyle(), above.get_linestyle()) == ("-", "--")


def test_one_to_one_shares_one_logarithmic_scale(stars) -> None:
    truth, prediction, _ = stars
    cells = [axes.collections[0] for axes in panels(plots.one_to_one(prediction, truth))]
    assert len({id(each.norm) for each in cells}) == 1
    assert cells[0].norm.vmin == 1
    assert cells[0].norm.vmax == max(each.get_array().max() for each in cells)


def test_one_to_one_by_sigma_colours_by_sigma(stars) -> None:
    truth, prediction, sigma = stars
    sigma = sigma.copy()
    sigma[:300, 1] = 0.2
    drawn = panels(plots.one_to_one_by_sigma(prediction, sigma, truth))
    np.testing.assert_allclose(drawn[0].collections[0].get_array(), 40.0)
    logg = drawn[1].collections[0]
    assert logg.norm.vmin == pytest.approx(0.1)
    assert logg.norm.vmax == pytest.approx(0.2)
    assert len({id(axes.collections[0].norm) for axes in drawn}) == 4


def test_chi_distribution_counts_the_stars_beyond_its_range() -> None:
    rng = np.random.default_rng(9)
    chi = rng.normal(0.3, 1.3, size=(5_000, 4))
    chi[:50, 2] = 30.0
    chi[:10, 3] = np.nan
    drawn = panels(plots.chi_distribution(chi))
    for axes, values in zip(drawn, chi.T, strict=True):
        known = values[np.isfinite(values)]
        core = 1.4826 * np.median(np.abs(known - np.median(known)))
        assert f"median {np.median(known):.2f}" in texts(axes)
        assert f"{core:.2f}" in texts(axes).splitlines()[1]
        assert f"{known.std():.2f}" in texts(axes).splitlines()[2]
        heights, edges, _ = axes.patches[0].get_data()
        inside = np.mean(np.abs(known) <= 5)
        assert np.sum(heights * np.diff(edges)) == pytest.approx(inside, abs=1e-9)
        fit, standard = axes.lines
        assert max(standard.get_ydata()) == pytest.approx(1 / np.sqrt(2 * np.pi))
        assert max(fit.get_ydata()) == pytest.approx(1 / np.sqrt(2 * np.pi) / core, rel=1e-3)


def test_a_fifth_label_gets_a_panel(stars) -> None:
    fifth = dataclasses.replace(LABELS[-1], name="c_fe", symbol="[C/Fe]")
    table = (*LABELS, fifth)
    truth, prediction, sigma = (np.concatenate([each, each[:, 3:]], axis=1) for each in stars)
    for figure in (
        plots.one_to_one(prediction, truth, table=table),
        plots.one_to_one_by_sigma(prediction, sigma, truth, table=table),
        plots.chi_distribution((truth - prediction) / sigma, table=table),
    ):
        assert len(panels(figure)) == 5
        assert "[C/Fe]" in panels(figure)[4].get_xlabel()
    assert len(panels(plots.training_set(truth))) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_star_is_no_error(stars, count: int, tmp_path: Path) -> None:
    truth, prediction, sigma = (each[10 : 10 + count] for each in stars)
    truth = truth.copy()
    truth[:, 0] = np.nan
    drawn = plots.one_to_one(prediction, truth)
    assert texts(panels(drawn)[0]) == "no stars"
    for number, figure in enumerate(
        (
            drawn,
            plots.training_set(truth),
            plots.one_to_one_by_sigma(prediction, sigma, truth),
            plots.chi_distribution((truth - prediction) / sigma),
        )
    ):
        figure.savefig(tmp_path / f"{number}.png", dpi=40)


def test_a_narrow_figure_is_half_as_wide_and_has_its_panels_below_each_other(stars) -> None:
    wide, narrow = (plots.training_set(stars[0], narrow=each) for each in (False, True))
    assert narrow.get_size_inches()[0] == wide.get_size_inches()[0] / 2
    assert narrow.get_size_inches()[1] == 2 * wide.get_size_inches()[1]
    rows = [axes.get_subplotspec().rowspan.start for axes in panels(narrow)]
    assert rows == [0, 1]
    assert [axes.get_subplotspec().rowspan.start for axes in panels(wide)] == [0, 0]


def test_learning_curves_have_a_panel_a_term_and_a_line_a_member() -> None:
    history = [
        {
            "epoch": epoch,
            "member": member,
            "train_nll": 1 / epoch,
            "train_l1": 5.0,
            "train_prior": 0.0,
        }
        | ({"valid_nll": 2 / epoch} if epoch % 2 == 0 else {})
        for member in (0, 1)
        for epoch in range(1, 7)
    ]
    figure = plots.learning_curves(history)
    nll, l1 = panels(figure)
    assert nll.get_ylabel() == "negative log-likelihood"
    assert (len(nll.lines), len(l1.lines)) == (4, 2)
    assert [line.get_linestyle() for line in nll.lines] == ["-", "-", "--", "--"]
    assert nll.lines[0].get_color() == nll.lines[2].get_color() != nll.lines[1].get_color()
    # What is known of the training alone says so.
    assert (texts(nll), texts(l1)) == ("", "training alone")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["train", "valid", "best epoch", "member 0", "member 1"]
    folds = [row | {"fold": row["member"], "seed": 0} for row in history]
    names = [text.get_text() for text in plots.learning_curves(folds).legends[0].get_texts()]
    assert names[3:] == ["fold 0", "fold 1"]
    narrow = plots.learning_curves(history, narrow=True)
    assert narrow.get_size_inches()[0] < figure.get_size_inches()[0]
    valid = nll.lines[2]
    assert list(valid.get_xdata()) == [2, 4, 6]
    np.testing.assert_allclose(valid.get_ydata(), [1, 1 / 2, 1 / 3])
    with pytest.raises(ValueError, match="no train_ or valid_ term"):
        plots.learning_curves([])


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF-")])
def test_save(stars, tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / "new" / f"chi{suffix}"
    plots.save(plots.chi_distribution((stars[0] - stars[1]) / stars[2]), path)
    assert path.read_bytes().startswith(magic)
    assert list(path.parent.iterdir()) == [path]


def test_save_refuses_other_formats(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'\.gif'; use one of \.png, \.pdf"):
        plots.save(Figure(), tmp_path / "chi.gif")
    assert list(tmp_path.iterdir()) == []
