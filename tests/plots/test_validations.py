"""Figures of the validation are asked what they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from aspgap_jax.plots.catalogues import ComparedRow, cluster_differences, label_comparison
from aspgap_jax.plots.plausibility import label_planes, red_clump
from aspgap_jax.plots.populations import disk_groups, halo_populations, orbit_trends
from aspgap_jax.plots.precision import precision_curves, signal_to_noise, uncertainty_map
from aspgap_jax.validation.agreement import precision
from aspgap_jax.validation.disks import DIVIDING_LINE, confusion
from aspgap_jax.validation.dynamics import OrbitTrend
from support.external_files import made_up_predictions
from support.panels import panels, texts

P = made_up_predictions(300)
TRUTH, OURS = P.truth.astype(np.float64), P.prediction.astype(np.float64)


def test_figure01_has_a_line_a_kind_and_its_threshold() -> None:
    snr = np.geomspace(1, 1000, 300)
    figure = signal_to_noise(
        {"BP": {"all": snr, "low": snr}, "RP": {"all": snr}}, {"low": 100.0}, "S/N"
    )
    blue, red = panels(figure)
    assert (len(blue.patches), len(red.patches)) == (2, 1)
    assert blue.lines[0].get_xdata()[0] == 100
    assert not red.lines
    counts = blue.patches[0].get_data().values
    assert counts.sum() == 300
    assert blue.get_xscale() == "log"


def test_figure07_has_the_papers_order() -> None:
    snr = np.linspace(50, 1000, 300)
    edges = np.array([0.0, 300.0, 2000.0])
    curves = [precision(snr, OURS[:, j], P.sigma[:, j], TRUTH[:, j], edges) for j in range(4)]
    drawn = panels(precision_curves({"S/N (BP)": curves, "S/N (RP)": curves}))
    assert len(drawn) == 8
    assert [axes.get_xlabel() for axes in drawn[::4]] == ["S/N (BP)", "S/N (RP)"]
    assert "[K]" in drawn[0].get_ylabel()
    lines = {line.get_label(): line for line in drawn[6].lines}
    np.testing.assert_allclose(lines["rms"].get_ydata(), curves[2].rms)
    np.testing.assert_allclose(lines["formal error"].get_ydata(), curves[2].formal)
    naive = lines["1/(S/N)"]
    np.testing.assert_allclose(
        naive.get_ydata() * naive.get_xdata(), curves[2].rms[0] * curves[2].snr[0]
    )


def test_figure09_is_the_mean_of_each_cell() -> None:
    sigma = np.full((300, 4), 0.05, np.float32)
    g_mag = np.repeat(np.linspace(9, 15, 30), 10).astype(np.float32)
    snr = np.repeat(np.geomspace(100, 1000, 30), 10)
    left, right = panels(uncertainty_map(g_mag, snr, sigma, "S/N"))
    np.testing.assert_allclose(left.collections[0].get_array(), 0.05, rtol=1e-6)
    assert left.get_ylabel() == r"$\log_{10}$ S/N"
    assert right.get_xlabel() == "$G$ [mag]"


def test_comparison_panels() -> None:
    theirs = {"teff": TRUTH[:, 0] + 30, "m_h": TRUTH[:, 2]}
    rows = [
        ComparedRow("A23", "all stars: 300", ("teff", "m_h"), OURS, theirs),
        ComparedRow("other", "one label", ("m_h",), OURS, {"m_h": TRUTH[:, 2]}),
    ]
    figure = label_comparison(rows)
    drawn = panels(figure)
    # Two columns; the panel that the second row lacks is empty.
    assert [axes.get_ylabel() for axes in drawn] == [
        r"$T_{\rm eff}$ A23 [K]",
        "[M/H] A23 [dex]",
        "[M/H] other [dex]",
    ]
    difference = OURS[:, 0] - theirs["teff"]
    assert f"scatter {difference.std():.1f}" in texts(drawn[0])
    assert f"bias {np.median(difference):.1f}".replace("-", "\N{MINUS SIGN}") in texts(drawn[0])
    identity, above, _ = drawn[0].lines
    np.testing.assert_allclose(identity.get_xdata(), identity.get_ydata())
    np.testing.assert_allclose(above.get_ydata() - identity.get_ydata(), difference.std())
    assert drawn[0].get_title(loc="left") == "all stars: 300"


def test_clusters_are_drawn_with_errors() -> None:
    rows = np.array([[0.0, 0.05, 0.01, 9.0], [0.3, -0.1, np.nan, 1.0]])
    (axes, many) = panels(
        cluster_differences(
            {"all": {"XP": rows, "APOGEE": rows}, "many": {"XP": rows[:1], "APOGEE": rows[:0]}}
        )
    )
    points = axes.collections[1].get_offsets()
    np.testing.assert_allclose(points, rows[:, :2])
    assert len(many.collections[1].get_offsets()) == 1
    assert axes.get_legend() is not None


def test_figure18_prints_the_matrix() -> None:
    high = DIVIDING_LINE.above(TRUTH[:, 2], TRUTH[:, 3])
    found = confusion(high, DIVIDING_LINE.above(OURS[:, 2], OURS[:, 3]))
    plane, matrix = panels(disk_groups(TRUTH[:, 2], TRUTH[:, 3], high, DIVIDING_LINE, found))
    assert [len(line.get_xdata()) for line in plane.lines[:2]] == [(~high).sum(), high.sum()]
    cells = [text.get_text() for text in matrix.texts]
    assert [cell.split("\n")[0] for cell in cells] == [str(count) for count in found[:4]]
    x, y = plane.lines[2].get_data()
    np.testing.assert_allclose(y, 0.12 - 0.08 * x)


def test_figure16_has_xp_and_apogee() -> None:
    trend = OrbitTrend(
        np.array([0.0, 0.1]), np.array([5, 5]), np.array([1000.0, 800.0]), np.array([10.0, 9.0])
    )
    vertical, rotation = panels(orbit_trends({"bin": (trend, trend)}, {"bin": (trend, trend)}))
    labels = [text.get_text() for text in vertical.get_legend().get_texts()]
    assert labels == ["XP: bin", "APOGEE: bin"]
    np.testing.assert_allclose(rotation.lines[0].get_ydata(), [1.0, 0.8])


@pytest.mark.parametrize("heart", [True, False])
def test_figure17(heart: bool) -> None:
    edges = np.linspace(0, 20, 5), np.linspace(0, 1, 5)
    shares = np.full((4, 4), np.nan)
    shares[0, 0] = 0.7
    columns = (OURS[:, 2], OURS[:, 3], TRUTH[:, 2], TRUTH[:, 3])
    nothing = tuple(each[:0] for each in columns)
    figure = halo_populations(
        (*edges, shares) if heart else None, {"GES": columns, "LMC": nothing}, DIVIDING_LINE
    )
    drawn = panels(figure)
    assert [axes.get_title() for axes in drawn] == ["Poor Old Heart"] * heart + ["GES", "LMC"]
    assert texts(drawn[-1]) == "no stars"
    assert len(drawn[-2].lines[0].get_xdata()) == 300


def test_planes_share_their_axes_and_the_clump_its_peaks(tmp_path: Path) -> None:
    drawn = panels(label_planes(OURS, TRUTH, DIVIDING_LINE))
    assert len(drawn) == 4
    assert drawn[0].get_xlim() == drawn[1].get_xlim()
    assert drawn[0].get_xlim()[0] > drawn[0].get_xlim()[1]
    assert drawn[0].get_ylim()[0] > drawn[0].get_ylim()[1]
    assert drawn[2].get_ylim() == drawn[3].get_ylim()
    grid = np.linspace(2, 3, 11)
    bands = np.stack([np.stack([0.9 * each, 1.2 * each]) for each in (grid, 2 * grid)])
    (axes,) = panels(red_clump(grid, grid, 2 * grid, bands, (2.5, 2.4)))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "XP: peak at 2.500",
        "APOGEE: peak at 2.400",
    ]
    for band, (low, high) in zip(axes.collections, bands, strict=True):
        vertices = band.get_paths()[0].vertices
        assert (vertices[:, 1].min(), vertices[:, 1].max()) == (low.min(), high.max())


def test_no_star_at_all_is_no_error(tmp_path: Path) -> None:
    none = np.zeros((0, 4))
    empty = precision(none[:, 0], none[:, 0], none[:, 0], none[:, 0], np.array([0.0, 1.0]))
    figures: list[Figure] = [
        signal_to_noise({"BP": {"all": none[:, 0]}}, {}, "S/N"),
        precision_curves({"S/N": [empty] * 4}),
        uncertainty_map(none[:, 0], none[:, 0], none, "S/N"),
        label_comparison([ComparedRow("A23", "none", ("teff",), none, {"teff": none[:, 0]})]),
        label_planes(none, none, DIVIDING_LINE),
    ]
    for number, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{number}.png", dpi=40)
