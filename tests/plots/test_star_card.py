"""A star's card, drawn from numbers made up here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from aspgap_jax import plots
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.survey.xp import WAVELENGTH
from aspgap_jax.validation.attribution import Shares
from aspgap_jax.validation.star import Neighbours, Raised, StarCard

MEAN = np.array([4500.0, 2.0, -0.5, 0.2])
SIGMA = np.array([50.0, 0.2, 0.1, 0.04])


def made_up(*, whole: bool = True) -> StarCard:
    """A giant with everything, or a star of which little is known."""
    rng = np.random.default_rng(0)
    flux = 2e-17 * (1.0 + 0.1 * np.sin(WAVELENGTH / 50.0))
    correlation = np.eye(4) + 0.6 * (np.eye(4, k=1) + np.eye(4, k=-1))
    unknown = np.full(4, np.nan)
    raised = (
        Raised("SPECTRUM_OUTLIER", "the spectrum is not one of the training stars' kind", 7.16),
        Raised("NO_G", "the file has no G magnitude", np.nan),
    )
    return StarCard(
        source_id=5853498713190525696,
        g_mag=12.345 if whole else np.nan,
        colour=1.2 if whole else np.nan,
        snr=np.array([300.0, 600.0]) if whole else np.array([np.nan, 600.0]),
        wavelength=WAVELENGTH,
        flux=flux if whole else np.where(WAVELENGTH < 640, np.nan, flux),
        flux_error=0.01 * flux,
        mean=MEAN if whole else unknown,
        sigma=SIGMA if whole else unknown,
        covariance=correlation * np.outer(SIGMA, SIGMA) * (1.0 if whole else np.nan),
        aleatoric=SIGMA,
        epistemic=SIGMA,
        truth=MEAN + SIGMA if whole else unknown,
        truth_error=SIGMA / 5 if whole else unknown,
        flags=0 if whole else 1,
        raised=() if whole else raised,
        unusual={"range": 0.2, "latents": 0.5 if whole else 7.16},
        reference=MEAN,
        shares=Shares(np.zeros(4), rng.normal(size=(4, len(WAVELENGTH))) * whole),
        training=MEAN + 5.0 * SIGMA * rng.normal(size=(500, 4)) if whole else np.empty((0, 4)),
        neighbours=Neighbours(
            np.arange(3), np.ones(3), flux * rng.normal(1.0, 0.02, (3, 1)), MEAN + np.eye(4)[:3]
        )
        if whole
        else None,
        hallucinated=rng.normal(1.0, 0.02, N_PIXELS) if whole else None,
        notes=("training stars are those of the run", "another remark"),
    )


def words(figure: Figure) -> str:
    """Every text on the page."""
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return "\n".join(text.get_text() for text in texts)


def test_the_page_of_a_star(tmp_path: Path) -> None:
    figure = plots.star_card(made_up())
    for suffix in (".png", ".pdf"):
        plots.save(figure, tmp_path / f"card{suffix}")
        assert (tmp_path / f"card{suffix}").stat().st_size > 20_000
    text = words(figure).replace("\n", " ")
    for part in (
        "Gaia 5853498713190525696",
        "G = 12.35 mag",
        "no flag",
        "4500 ± 50",
        "−0.50 ± 0.10",
        "4550 ± 10",
        "Training stars are those of the run. Another remark",
    ):
        assert part in text


def test_ellipses_have_the_axes_of_the_covariance() -> None:
    figure = plots.star_card(made_up())
    ellipses = [p for axes in figure.axes for p in axes.patches if isinstance(p, Ellipse)]
    # One and two sigma in two planes.
    assert len(ellipses) == 4
    small, large = ellipses[:2]
    assert small.center == (4500.0, 2.0)
    assert large.width == pytest.approx(2 * small.width)
    # The points of an ellipse are one sigma from its centre, whatever the direction.
    corners = small.get_patch_transform().transform(
        np.array([[1.0, 0.0], [0.0, 1.0], [np.sqrt(0.5), np.sqrt(0.5)]])
    )
    apart = corners - MEAN[:2]
    covariance = np.array([[2500.0, 6.0], [6.0, 0.04]])
    squared = np.einsum("ij,jk,ik->i", apart, np.linalg.inv(covariance), apart)
    np.testing.assert_allclose(squared, 1.0, rtol=1e-6)


def test_a_star_of_which_little_is_known(tmp_path: Path) -> None:
    figure = plots.star_card(made_up(whole=False))
    plots.save(figure, tmp_path / "card.png")
    text = words(figure).replace("\n", " ")
    for part in (
        "2 flags",
        "G from the spectrum",
        "none (BP), 600 (RP)",
        "SPECTRUM_OUTLIER",
        "(7.16 times the limit)",
        "no labels, so nothing decided",
    ):
        assert part in text
    # Lower than the page with a hallucinated spectrum.
    assert figure.get_size_inches()[1] < plots.star_card(made_up()).get_size_inches()[1]
