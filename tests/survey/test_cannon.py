"""A quadratic Cannon: read, evaluated, differentiated, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aspgap_jax.apstar import N_CHIP_PIXELS, N_PIXELS, in_chips
from aspgap_jax.errors import InputError
from aspgap_jax.survey.cannon import cannon_gradients, cannon_spectra, clip_labels, load_cannon
from support.cannon_files import made_up_cannon

INSIDE = np.array([[4400.0, 1.9, -0.4, 0.1], [4700.0, 2.4, -0.1, 0.05]])


def test_the_quadratic_term_by_term(tmp_path: Path) -> None:
    cannon = load_cannon(made_up_cannon(tmp_path / "cannon.npz"))
    flux = cannon_spectra(cannon, INSIDE)
    assert flux.shape == (2, N_PIXELS)
    assert np.isnan(flux[:, ~in_chips]).all()
    pixel = 1234
    for star, found in zip(INSIDE, flux[:, in_chips][:, pixel], strict=True):
        theta = iter(cannon.theta[:, pixel])
        away = star - cannon.reference
        expected = next(theta) + sum(next(theta) * x for x in away)
        expected += sum(next(theta) * away[i] * away[j] for i in range(4) for j in range(i, 4))
        assert found == pytest.approx(expected, rel=1e-12)


def test_gradients_are_those_of_finite_differences(tmp_path: Path) -> None:
    cannon = load_cannon(made_up_cannon(tmp_path / "cannon.npz"))
    gradient = cannon_gradients(cannon, INSIDE)
    for label, step in enumerate((1.0, 1e-2, 1e-2, 1e-3)):
        shift = np.eye(4)[label] * step
        up, down = cannon_spectra(cannon, INSIDE + shift), cannon_spectra(cannon, INSIDE - shift)
        # Central differences of a quadratic are exact.
        expected = (up - down)[:, in_chips] / (2 * step)
        np.testing.assert_allclose(gradient[:, label][:, in_chips], expected, rtol=1e-6, atol=1e-9)


def test_labels_outside_of_the_box_are_refused_or_clipped(tmp_path: Path) -> None:
    cannon = load_cannon(made_up_cannon(tmp_path / "cannon.npz"))
    far = np.vstack([INSIDE, [6000.0, 2.0, -0.3, 0.1]])
    with pytest.raises(InputError, match=r"star 2, 1 such\) are outside of the Cannon's box"):
        cannon_spectra(cannon, far)
    with pytest.raises(InputError, match="outside of the Cannon's box"):
        cannon_gradients(cannon, np.full((1, 4), np.nan))
    clipped, moved = clip_labels(cannon, far)
    assert moved == 1
    np.testing.assert_array_equal(clipped[:2], INSIDE)
    assert clipped[2, 0] == cannon.high[0]
    assert np.isfinite(cannon_spectra(cannon, clipped)[:, in_chips]).all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"pixel": np.arange(N_CHIP_PIXELS)}, "other pixels"),
        ({"label_names": np.array(["teff", "logg", "fe_h", "c_fe"])}, "a Cannon of teff.* c_fe"),
        ({"scatter": np.full(3, 0.1)}, r"scatter has the shape \(3,\)"),
        ({"theta": np.full((15, N_CHIP_PIXELS), np.nan)}, "theta has values that are not finite"),
        ({"training_labels": np.zeros((0, 4))}, "training_labels has the shape"),
    ],
)
def test_another_model_is_one_line(
    tmp_path: Path, changed: dict[str, np.ndarray], words: str
) -> None:
    path = made_up_cannon(tmp_path / "cannon.npz", **changed)
    with pytest.raises(InputError, match=words) as caught:
        load_cannon(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04cut"])
def test_no_model_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cannon.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no Cannon model"):
        load_cannon(path)


def test_the_cannon_of_real_giants(shared: Path) -> None:
    """Its spectra are flux over continuum, and calcium and iron deepen with metallicity."""
    path = shared / "data" / "apogee_cannon" / "cannon_apokasc_gc.npz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    cannon = load_cannon(path)
    flux = cannon_spectra(cannon, INSIDE)[:, in_chips]
    assert 0.85 < np.median(flux) < 1.0
    assert flux.min() > 0.2
    assert flux.max() < 1.2
    gradient = cannon_gradients(cannon, INSIDE)[:, 2][:, in_chips]
    assert (gradient.mean(axis=1) < 0).all()
