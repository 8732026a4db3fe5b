"""Gradient spectra: directions, derivatives through the networks, comparison."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from aspgap_jax import labels
from aspgap_jax.apstar import N_PIXELS, WAVELENGTH, in_chips
from aspgap_jax.errors import InputError
from aspgap_jax.synthesis import load_lines
from aspgap_jax.validation import gradients
from aspgap_jax.validation.kurucz import kurucz_spectra, load_kurucz
from support.bundles import CFG, N_XP, REFERENCE, networks_at_reference, perceptron


def made_up_directions() -> gradients.Directions:
    rng = np.random.default_rng(5)
    per_label = rng.normal(size=(4, N_XP)) * 1e-17 / np.array([[900.0], [2.5], [1.2], [0.3]])
    return gradients.Directions(rng.uniform(1e-17, 4e-17, N_XP), per_label, 1000.0)


def test_directions_are_the_derivatives_of_spectra_at_fixed_nuisance() -> None:
    """Spectra that bend with the labels; extinction that goes with [alpha/M]."""
    rng = np.random.default_rng(0)
    scatter = np.array([300.0, 0.8, 0.4, 0.12])
    offset = rng.normal(size=(20_000, 4))
    extinction = 0.4 * offset[:, 3] + rng.normal(size=20_000)
    slope, bend, reddening = rng.normal(size=(4, 6)), rng.normal(size=6), rng.normal(size=6)
    spectra = 5.0 + offset @ slope + np.outer(offset[:, 0] * offset[:, 1], bend)
    spectra += np.outer(extinction, reddening) + 0.05 * rng.normal(size=spectra.shape)
    found = gradients.label_directions(
        1e-17 * spectra, REFERENCE + offset * scatter, REFERENCE, nuisance=extinction[:, None]
    )
    np.testing.assert_allclose(
        1e17 * found.per_label * scatter[:, None], slope, atol=0.02, rtol=0.02
    )
    assert found.n_stars > 300
    without = gradients.label_directions(1e-17 * spectra, REFERENCE + offset * scatter, REFERENCE)
    np.testing.assert_allclose(
        1e17 * without.per_label[3] * scatter[3], slope[3] + 0.4 * reddening, atol=0.2
    )


def test_a_reference_star_outside_of_the_sample_is_refused() -> None:
    truth = REFERENCE + np.random.default_rng(1).normal(size=(500, 4))
    with pytest.raises(InputError, match=r"near the reference star \[9000.0"):
        gradients.label_directions(np.ones((500, 3)), truth, REFERENCE * [2, 1, 1, 1])


def test_hallucinated_gradients_against_finite_differences() -> None:
    networks, directions = networks_at_reference(), made_up_directions()
    found = gradients.hallucinated_gradients(networks, CFG, directions)
    scale = np.array([900.0, 2.5, 1.2, 0.3])

    def outputs(member: int, step: np.ndarray) -> tuple[np.ndarray, ...]:
        xp = (directions.spectrum + step @ directions.per_label - 2e-17) / 1e-17
        latents = perceptron(networks.params.encoder, member, xp)
        depth = perceptron(networks.params.hallucinator, member, latents)
        direct = perceptron(networks.params.xp_decoder, member, latents)[:4]
        return 1.0 - depth, scale * direct, scale * perceptron(networks.decoder, member, depth)

    for member in range(2):
        np.testing.assert_allclose(found.flux[member], outputs(member, np.zeros(4))[0], rtol=1e-4)
        for i in range(4):
            step = np.zeros(4)
            step[i] = 1e-5 * scale[i]
            ends = zip(outputs(member, step), outputs(member, -step), strict=True)
            flux, direct, read = ((a - b) / (2 * step[i]) for a, b in ends)
            for got, wanted in (
                (found.gradient[member, i], flux),
                (found.direct[member, :, i], direct),
                (found.read[member, :, i], read),
            ):
                np.testing.assert_allclose(got, wanted, atol=1e-3 * np.abs(wanted).max())


def test_the_visible_part_is_all_that_the_decoder_sees() -> None:
    networks = networks_at_reference()
    found = gradients.hallucinated_gradients(networks, CFG, made_up_directions())
    first = np.asarray(networks.decoder["params"]["Dense_0"]["kernel"])
    size = np.abs(found.gradient @ first).max()
    np.testing.assert_allclose(found.visible @ first, found.gradient @ first, atol=1e-5 * size)
    # No more than the decoder's first units see.
    seen = np.concatenate([found.visible[0], first[0].T])
    assert np.linalg.matrix_rank(seen, tol=1e-5) == first.shape[-1]
    lost = np.square(found.visible).sum(axis=-1) / np.square(found.gradient).sum(axis=-1)
    assert (lost < 0.6).all()


def test_spectra_change_with_the_labels_that_the_networks_give() -> None:
    """Of hallucinated spectra that are, by hand, a function of the networks' own labels."""
    networks, rng = networks_at_reference(), np.random.default_rng(3)
    xp = 2e-17 + 1e-17 * rng.normal(size=(4000, N_XP))
    flux, gradient = gradients.gradients_by_labels(networks, CFG, xp, REFERENCE)
    assert flux.shape == (2, 40)
    assert gradient.shape == (2, 4, 40)
    spectra, own = [], []
    for m in range(2):
        latents = perceptron(networks.params.encoder, m, (xp - 2e-17) / 1e-17)
        spectra.append(1.0 - perceptron(networks.params.hallucinator, m, latents))
        mean = perceptron(networks.params.xp_decoder, m, latents)[:, :4]
        own.append(mean * [900.0, 2.5, 1.2, 0.3] + REFERENCE)
    found = gradients.hallucinated_spectra(networks, CFG, xp[:5])
    np.testing.assert_allclose(found, np.mean(spectra, axis=0)[:5], rtol=1e-4, atol=1e-5)
    given = np.mean(own, axis=0)
    offset = (given - REFERENCE) / gradients.BANDWIDTH
    near = np.argsort((offset**2).sum(axis=1))[: gradients.NEAREST]
    for m in range(2):
        expected = gradients.label_directions(spectra[m][near], given[near], REFERENCE)
        size = np.abs(expected.per_label).max(axis=1, keepdims=True)
        np.testing.assert_allclose(gradient[m] / size, expected.per_label / size, atol=2e-3)
        np.testing.assert_allclose(flux[m], expected.spectrum, atol=1e-4)


def test_directions_of_another_width_are_refused() -> None:
    directions = made_up_directions()
    short = directions._replace(
        spectrum=directions.spectrum[1:], per_label=directions.per_label[:, 1:]
    )
    with pytest.raises(InputError, match="takes spectra of 9 values, the directions have 8"):
        gradients.hallucinated_gradients(networks_at_reference(), CFG, short)


def test_physical_gradients_of_a_known_spectrum() -> None:
    pixels = np.linspace(0.0, 1.0, N_PIXELS)

    def spectra(at: np.ndarray) -> np.ndarray:
        return np.exp(at[:, :1] / 5000.0) * pixels + at[:, 3:] ** 2

    flux, found = gradients.physical_gradients(spectra, REFERENCE)
    np.testing.assert_allclose(flux, np.exp(0.9) * pixels + 0.01)
    np.testing.assert_allclose(found[0], np.exp(0.9) * pixels / 5000.0, rtol=1e-5)
    np.testing.assert_allclose(found[1:3], 0.0, atol=1e-12)
    np.testing.assert_allclose(found[3], 0.2, rtol=1e-9)


def test_the_continuum_does_not_count() -> None:
    """Flux c(y) (1 - d(y) line): over the continuum, only the depth is left."""
    line = np.exp(-0.5 * np.square((np.arange(N_PIXELS) % 100 - 50) / 3.0))
    flux = 4.0 * (1.0 - 0.3 * line)
    gradient = np.stack([0.01 * flux, -0.2 * line, 0.5 * flux - 0.4 * line, 0.0 * line])
    found = gradients.over_continuum(flux, gradient)
    assert np.isnan(found[:, ~in_chips]).all()
    np.testing.assert_allclose(found[0, in_chips], 0.0, atol=1e-9)
    expected = -line[in_chips] / 4.0
    np.testing.assert_allclose(found[1, in_chips], 0.2 * expected, atol=2e-3)
    np.testing.assert_allclose(found[2, in_chips], 0.4 * expected, atol=4e-3)


def test_correlations_by_hand_and_by_chance() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, N_PIXELS))
    b = a + b
    a[10] = np.nan
    keep = np.isfinite(a)
    expected = np.corrcoef(a[keep], b[keep])[0, 1]
    assert gradients.correlation(a, b) == pytest.approx(expected)
    few = np.zeros(N_PIXELS, bool)
    few[20:400] = True
    assert gradients.correlation(a, b, few) == pytest.approx(
        np.corrcoef(a[20:400], b[20:400])[0, 1]
    )
    assert np.isnan(gradients.correlation(a, np.zeros(N_PIXELS)))
    # White noise of n pixels: 95% of |r| below 1.96 / sqrt(n).
    chance = gradients.shifted_correlation(np.nan_to_num(a), b, draws=400, seed=0)
    assert chance == pytest.approx(1.96 / np.sqrt(in_chips.sum()), rel=0.25)


def test_line_pixels_are_those_of_the_strongest_lines() -> None:
    import aspgap_jax

    path = Path(aspgap_jax.__path__[0]) / "data" / "hband_lines.csv"
    text = path.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in text if not line.startswith("#")))
    magnesium = [
        (
            float(r["log_gf"]) - 5040.0 / 4500.0 * float(r["excitation_potential_ev"]),
            float(r["wavelength_vacuum_angstrom"]),
        )
        for r in rows
        if r["species"] == "Mg"
    ]
    seen = [w for s, w in sorted(magnesium)[::-1] if in_chips[np.abs(WAVELENGTH - w).argmin()]]
    found = gradients.line_pixels(load_lines(), "Mg", 4500.0, strongest=3, half_width=1)
    expected = {np.abs(WAVELENGTH - w).argmin() + o for w in seen[:3] for o in (-1, 0, 1)}
    assert set(np.flatnonzero(found)) == expected
    assert gradients.line_pixels(load_lines(), "CO", 4500.0).sum() > 20


def test_kurucz_network(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/apogee_emulator/kurucz_apogee_network.npz"
    network = load_kurucz(path)
    at = np.array([[4500.0, 2.0, -0.3, 0.1]])
    flux = kurucz_spectra(network, at)[0]
    assert np.isnan(flux[~in_chips]).all()
    # One pixel, spelled out.
    with np.load(path) as file:
        x = (at[0] - file["x_min"]) / (file["x_max"] - file["x_min"]) - 0.5
        units = [
            file["w_array_1"][100, h]
            / (1 + np.exp(-(file["w_array_0"][100, h] @ x + file["b_array_0"][100, h])))
            for h in range(5)
        ]
        expected = sum(units) + file["b_array_1"][100]
    assert flux[in_chips][100] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match=r"labels \[9000.0, 2.0"):
        kurucz_spectra(network, at * [2, 1, 1, 1])
    (tmp_path / "no.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no network of Kurucz spectra"):
        load_kurucz(tmp_path / "no.npz")


def test_labels_have_a_bandwidth_and_a_step_each() -> None:
    assert len(gradients.BANDWIDTH) == len(gradients.STEP) == len(labels.LABELS)
