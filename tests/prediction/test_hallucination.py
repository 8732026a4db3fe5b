"""Hallucinated spectra and their gradients, from networks and from what a bundle keeps of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax import basis, model
from aspgap_jax.config import Config
from aspgap_jax.errors import InputError
from aspgap_jax.prediction.assess import assess
from aspgap_jax.prediction.bundle import Networks, hallucinator_of, save_bundle
from aspgap_jax.prediction.hallucination import Hallucinations, gradient_spectra, hallucinate
from aspgap_jax.preprocessing.scaling import normalise
from support.bundles import CFG, N_MEMBERS, N_PIXELS, bundle_of, made_up_set, networks_of

STARS = made_up_set()
COMPONENTS = 3


@cache
def with_basis() -> Networks:
    """Made-up networks whose hallucinators have a basis."""
    plain = networks_of(STARS)
    rng = np.random.default_rng(5)
    mean = rng.normal(size=(N_MEMBERS, N_PIXELS)) * 0.1
    vectors = rng.normal(size=(N_MEMBERS, COMPONENTS, N_PIXELS)) * 0.1
    decoder = basis.with_basis(plain.decoder, *map(jnp.float32, (mean, vectors)))
    last = plain.params.hallucinator["params"]["Dense_1"]
    narrow = jax.tree.map(lambda leaf: leaf[..., :COMPONENTS], last)
    hidden = plain.params.hallucinator["params"] | {"Dense_1": narrow}
    return plain._replace(
        params=plain.params._replace(hallucinator={"params": hidden}), decoder=decoder
    )


def saved(folder: Path, networks: Networks, *, small: bool, cfg: Config = CFG) -> Path:
    """A bundle with its networks, or with the small hallucinators alone."""
    unseen = np.ones((N_MEMBERS, len(STARS)), bool)
    _, info = bundle_of(STARS)
    bundle = assess(networks, STARS, unseen, cfg)
    kept = hallucinator_of(networks) if small else None
    save_bundle(folder, bundle, info, None if small else networks, kept)
    return folder


def spelled_out(networks: Networks, xp: np.ndarray, g_mag: np.ndarray) -> np.ndarray:
    """Through latents and the whole hallucinator, the mean over the members."""
    normalised = normalise(xp, g_mag, CFG.data.magnitude_exponent)
    flux = []
    for m in range(N_MEMBERS):
        params, decoder, scalers = jax.tree.map(lambda leaf, m=m: leaf[m], networks)
        latents = model.encode(CFG.model, params, scalers.xp.transform(jnp.asarray(normalised)))
        flux.append(model.hallucinate(CFG.model, params, decoder, latents))
    return np.mean(flux, axis=0)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("networks", [networks_of(STARS), with_basis()], ids=["pixels", "basis"])
def test_spectra_are_those_of_the_networks(networks: Networks, small: bool, tmp_path: Path) -> None:
    """Also from the small bundle, whose last layers are in half precision."""
    folder = saved(tmp_path / "bundle", networks, small=small)
    xp, g_mag = STARS.xp[:70], STARS.g_mag[:70]
    flux = hallucinate(folder, xp, g_mag)
    assert flux.shape == (70, N_PIXELS)
    np.testing.assert_allclose(flux, spelled_out(networks, xp, g_mag), atol=3e-3)
    assert flux.std(axis=0).min() > 0.005


def test_gradients_change_one_label_by_one_and_go_with_the_spectra(tmp_path: Path) -> None:
    """Along C J^T (J C J^T)^-1, computed from the networks as trained."""
    networks = with_basis()
    folder = saved(tmp_path / "bundle", networks, small=False)
    star = slice(3, 4)
    gradient = gradient_spectra(folder, STARS.xp[star], STARS.g_mag[star])[0]
    assert gradient.shape == (4, N_PIXELS)
    domain = Hallucinations(folder)._bundle.domain
    root = np.asarray(domain.scaler.scale)[:, None] * np.asarray(domain.basis)
    root = root * np.sqrt(np.asarray(domain.intrinsic).clip(0))[None]
    normalised = normalise(STARS.xp[star], STARS.g_mag[star], CFG.data.magnitude_exponent)

    def both(step: jax.Array) -> tuple[jax.Array, jax.Array]:
        labels, flux = [], []
        for m in range(N_MEMBERS):
            params, decoder, scalers = jax.tree.map(lambda leaf, m=m: leaf[m], networks)
            xp = scalers.xp.transform(jnp.asarray(normalised) + (jnp.asarray(root) @ step)[None])
            latents = model.encode(CFG.model, params, xp)
            mean, _ = model.decode_xp(CFG.model, params, latents)
            labels.append(scalers.labels.inverse(mean)[0])
            flux.append(model.hallucinate(CFG.model, params, decoder, latents)[0])
        return sum(labels) / N_MEMBERS, sum(flux) / N_MEMBERS

    slopes, change = (
        np.asarray(part, np.float64) for part in jax.jacfwd(both)(jnp.zeros(root.shape[1]))
    )
    unit = slopes.std(axis=1)[:, None]
    square = (slopes / unit) @ (slopes / unit).T
    steps = (slopes / unit).T @ np.linalg.inv(square) / unit.T
    np.testing.assert_allclose(slopes @ steps, np.eye(4) * np.ones((4, 1)), atol=1e-8)
    expected = (change @ steps).T
    np.testing.assert_allclose(gradient, expected, rtol=0.02, atol=0.01 * np.abs(expected).max())


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    networks = with_basis()
    folder = saved(tmp_path / "bundle", networks, small=True)
    loaded = Hallucinations(folder)
    with pytest.raises(InputError, match=r"xp has the shape \(2, 5\); the bundle takes .* 24"):
        hallucinate(loaded, np.ones((2, 5)))
    with pytest.raises(InputError, match=r"g_mag has the shape \(3,\)"):
        gradient_spectra(loaded, STARS.xp[:2], np.ones(3))
    bundle, info = bundle_of(STARS)
    save_bundle(tmp_path / "slim", bundle, info)
    with pytest.raises(InputError, match="its hallucinator was left out"):
        hallucinate(tmp_path / "slim", STARS.xp[:2])


def test_a_star_without_g_takes_it_from_its_spectrum(tmp_path: Path) -> None:
    loaded = Hallucinations(saved(tmp_path / "bundle", with_basis(), small=False))
    given = hallucinate(loaded, STARS.xp[:5], STARS.g_mag[:5])
    taken = hallucinate(loaded, STARS.xp[:5])
    assert np.isfinite(taken).all()
    np.testing.assert_allclose(given, taken, atol=0.05)
