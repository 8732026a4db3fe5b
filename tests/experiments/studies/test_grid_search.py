"""The grid search: one compilation, paired points, and a choice that looks at no test star."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax import model, plots
from aspgap_jax.config import PRESETS, Config
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.scaling import RobustScaler, Scalers
from aspgap_jax.training import step as training_step
from aspgap_jax.training.spectra_batches import ArraySpectra
from support.experiments import load_experiment
from support.made_up import made_up_stars
from support.tiny import TINY

N_PIXELS = 30
NETWORKS = replace(TINY.model, dropout=0.0)


@pytest.fixture(scope="module")
def grid() -> ModuleType:
    return load_experiment("studies/grid_search")


def tiny_study(grid: ModuleType, out: Path, **options: object) -> object:
    """A study of networks small enough for a test."""

    @dataclass(frozen=True)
    class Tiny(grid.Study):
        def config(self) -> Config:
            return replace(
                super().config(),
                model=NETWORKS,
                data=TINY.data,
                train=replace(TINY.train, epochs=self.epochs),
                pretrain=TINY.pretrain,
            )

    return Tiny(out=out, **options)


def test_a_study_has_the_paper_s_point_and_the_presets_settings(
    grid: ModuleType, tmp_path: Path
) -> None:
    study = grid.Study(out=tmp_path, epochs=7, seeds=3)
    assert study.config().train == replace(PRESETS["compact"].train, epochs=7)
    assert study.config().cv.seeds == 3
    with pytest.raises(InputError, match=r"0\.4"):
        grid.Study(out=tmp_path, alpha_apogee=(0.1, 0.5))
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        grid.Study(out=tmp_path, alpha_apogee=(0.4, 1.0))


def test_points_become_hyperparameters(grid: ModuleType, tmp_path: Path) -> None:
    study = grid.Study(
        out=tmp_path, alpha_apogee=(0.4, 0.5), l1=(0.0,), kl=(0.1, 0.2), learning_rate=(1e-3,)
    )
    got = np.array(grid.hypers(study, 1000.0))
    # alpha_1, alpha_2, Lambda_1, Lambda_2, prior, rate; the last dimension runs fastest.
    prior = study.config().loss.prior
    expected = [
        [0.6, 0.4, 0.0, 100.0, prior, 1e-3],
        [0.6, 0.4, 0.0, 200.0, prior, 1e-3],
        [0.5, 0.5, 0.0, 100.0, prior, 1e-3],
        [0.5, 0.5, 0.0, 200.0, prior, 1e-3],
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_scores_are_paired(grid: ModuleType) -> None:
    """Splits that differ by 10 say nothing; the difference within them does."""
    best = np.array([[0.0, 1.0], [10.0, 11.0]])
    other = best + np.array([[1.0, 2.0], [3.0, 2.0]])
    found = grid.score(np.stack([other, best]))
    np.testing.assert_allclose(found.excess, [2.0, 0.0])
    # The differences 1, 2, 3, 2 have a variance of 2/3; the mean of four, a quarter of it.
    np.testing.assert_allclose(found.error, [np.sqrt(2 / 3) / 2, 0.0])


def test_every_split_chooses_for_itself(grid: ModuleType) -> None:
    loss = np.array([[[0.0, 2.0], [5.0, 5.0]], [[3.0, 0.0], [1.0, 9.5]], [[9.0, 9.0], [0.0, 9.0]]])
    np.testing.assert_array_equal(grid.choose(loss), [0, 2])


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ((1.0, 0.0, 1.0), "recovered"),
        ((0.0, 1.0, 0.0), "refuted"),
        ((0.0, 0.01, 1.0), "not told apart"),
        ((0.01, 0.0, 1.0), "not told apart"),
    ],
)
def test_verdict(grid: ModuleType, offsets: tuple[float, ...], expected: str) -> None:
    noise = 0.1 * np.random.default_rng(2).standard_normal((3, 2, 2, 8))
    loss = noise + np.array(offsets)[:, None, None, None]
    loss[:, 0] += 5.0  # never the best of the other dimensions
    assert grid.verdict((0.2, 0.4, 0.6), loss).startswith(expected)


def test_what_is_reported_is_the_test_fold_of_what_was_chosen(
    grid: ModuleType, tmp_path: Path
) -> None:
    study = grid.Study(
        out=tmp_path, alpha_apogee=(0.2, 0.4), l1=(0.0,), kl=(0.0,), learning_rate=(1e-3, 3e-3)
    )
    # alpha_2 0.2, 0.4; rates 1e-3, 3e-3; splits; seeds.
    loss = np.array([[[0.0, 9.0], [5.0, 5.0]], [[1.0, 2.0], [6.0, 1.0]]])[:, None, None]
    loss = np.repeat(np.moveaxis(loss, 3, 3)[..., None], 2, axis=-1)
    rms = np.arange(2 * 2 * 2 * 2 * 4, dtype=float).reshape(2, 1, 1, 2, 2, 2, 4)
    summary = grid.summarise(study, grid.Found(loss, rms))
    json.dumps(summary)
    free, paper = summary["reported_on_test_folds"].values()
    points = [(p["alpha_apogee"], p["learning_rate"]) for p in free["points"]]
    assert points == [(0.2, 1e-3), (0.4, 3e-3)]
    expected = [rms[0, 0, 0, 0, 0], rms[1, 0, 0, 1, 1]]
    np.testing.assert_allclose(free["test_rms"], np.mean(expected, axis=(0, 1)))
    points = [(p["alpha_apogee"], p["learning_rate"]) for p in paper["points"]]
    assert points == [(0.4, 1e-3), (0.4, 3e-3)]
    grid.print_table(summary)


def test_predictions_of_all_members(grid: ModuleType) -> None:
    """Against the layers written out in NumPy."""
    cfg = replace(PRESETS["compact"], model=NETWORKS)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), NETWORKS, n_xp=5, n_pixels=6))
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=(2, *leaf.shape)), jnp.float32), shapes
    )
    xp = rng.normal(size=(3, 5)).astype(np.float32)
    scalers = Scalers(
        *(
            RobustScaler(*jnp.asarray(rng.uniform(0.5, 2.0, (2, 2, width)), jnp.float32))
            for width in (5, 4)
        )
    )
    got = grid.predicted(params, scalers, jnp.asarray(xp), cfg)
    for m in range(2):
        x = (xp - np.array(scalers.xp.centre[m])) / np.array(scalers.xp.scale[m])
        for block, depth in ((params.encoder, 2), (params.xp_decoder, 2)):
            for n in range(depth):
                dense = block["params"][f"Dense_{n}"]
                x = x @ np.array(dense["kernel"][m]) + np.array(dense["bias"][m])
                if n < depth - 1:
                    x = np.where(x > 0, x, 0.01 * x)
        expected = x[:, :4] * np.array(scalers.labels.scale[m]) + np.array(scalers.labels.centre[m])
        np.testing.assert_allclose(got[m], expected, rtol=1e-4, atol=1e-5)


def test_one_compilation_trains_the_whole_grid(
    grid: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = []
    step = training_step.train_step

    def counted(*args: object, **options: object) -> object:
        traced.append(1)
        return step(*args, **options)

    def made_up_spectra(path: Path, at: np.ndarray) -> ArraySpectra:
        depth = np.random.default_rng(7).uniform(0.0, 0.5, (*at.shape[:2], N_PIXELS))
        return ArraySpectra(1.0 - depth)

    monkeypatch.setattr(training_step, "train_step", counted)
    monkeypatch.setattr(grid, "emulated_spectra", made_up_spectra)
    study = tiny_study(
        grid,
        tmp_path,
        alpha_apogee=(0.0, 0.4),
        l1=(0.0, 1e-2),
        kl=(0.2,),
        learning_rate=(1e-9, 3e-2),
        epochs=2,
    )
    found = grid.train(study, made_up_stars(800))
    # JAX runs Python once for each trace; a compilation has no more than a few.
    assert 0 < len(traced) < len(study.points())
    assert found.loss.shape == (2, 2, 1, 2, 2, 2)
    assert found.rms.shape == (2, 2, 1, 2, 2, 2, 4)
    # A rate of 1e-9 leaves the networks as they started: the same in every point, since
    # points are paired, and others in every fold and seed.
    still, moved = found.loss[:, :, 0, 0], found.loss[:, :, 0, 1]
    np.testing.assert_allclose(still, np.broadcast_to(still[:1, :1], still.shape), rtol=1e-4)
    assert len(np.unique(still[0, 0].round(3))) == 4
    assert (moved < still - 0.1).all()
    for dimension in (0, 1):
        assert np.abs(np.diff(moved, axis=dimension)).min() > 1e-5


def test_heat_maps_show_the_least_excess(tmp_path: Path) -> None:
    excess = np.array([[[0.5, 0.3], [0.2, 0.9]], [[0.0, 0.7], [0.6, 0.4]]])
    axes = {"a": (0.0, 0.8), "b": (1.0, 2.0), "c": (3.0, 4.0)}
    figure = plots.grid_search(axes, excess, excess / 10, {"paper": 0.4})
    panels = [panel for panel in figure.axes if panel.get_label() != "<colorbar>"]
    assert [(panel.get_xlabel(), panel.get_ylabel()) for panel in panels] == [
        ("a", "b"),
        ("a", "c"),
    ]
    for panel, least in zip(panels, (excess.min(axis=2), excess.min(axis=1)), strict=True):
        np.testing.assert_allclose(panel.images[0].get_array(), least.T)
        texts = {text.get_position(): text.get_text() for text in panel.texts}
        assert texts[0, 0].startswith(f"{least[0, 0]:.2f}\n\N{PLUS-MINUS SIGN}0.0")
        assert texts[1, 0] == "0"
        # The frame stands around the best cell; the mark halfway between 0 and 0.8.
        assert panel.patches[0].get_xy() == (0.5, -0.5)
        mark = next(text for text in panel.texts if text.get_text() == "paper")
        assert mark.xy[0] == pytest.approx(0.5)
    plots.save(figure, tmp_path / "grid.png")
    with pytest.raises(ValueError, match="axes of"):
        plots.grid_search({"a": (0.0, 0.8)}, excess, excess, {})
