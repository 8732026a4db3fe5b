from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax import model
from aspgap_jax.config import PRESETS, Model

SMALL = Model(
    encoder=(7,), latent=5, hallucinator=(6,), xp_decoder=(4,), apogee_decoder=(3,), dropout=0.5
)


def dense_parameters(*widths: int) -> int:
    """Weights and biases of dense layers between these widths."""
    return sum(a * b + b for a, b in itertools.pairwise(widths))


def count(variables: object) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize("n_xp", [110, 343])
def test_paper_preset_has_the_published_sizes(n_xp: int) -> None:
    cfg = PRESETS["paper"].model
    shapes = jax.eval_shape(
        lambda key: (
            model.init(key, cfg, n_xp=n_xp, n_pixels=8575),
            model.init_apogee_decoder(key, cfg, n_pixels=8575),
        ),
        jax.random.key(0),
    )
    params, decoder = shapes
    assert count(params.encoder) == dense_parameters(n_xp, 256, 512, 1024, 1024)
    assert count(params.hallucinator) == dense_parameters(1024, 1024, 2048, 4096, 8575)
    assert count(params.xp_decoder) == dense_parameters(1024, 1024, 512, 256, 128, 8)
    assert count(decoder) == dense_parameters(8575, 1024, 512, 256, 128, 4)
    if n_xp == 110:
        # By hand: 110 x 256 + 256, 256 x 512 + 512, 512 x 1024 + 1024, 1024 x 1024 + 1024.
        assert count(params.encoder) == 28_416 + 131_584 + 525_312 + 1_049_600


def test_compact_preset_is_small() -> None:
    cfg = PRESETS["compact"].model
    params = model.init(jax.random.key(0), cfg, n_xp=343, n_pixels=8575)
    assert count(params) < 1_000_000


def test_mlp_is_dense_layers_with_leaky_relu() -> None:
    block = model.MLP((4, 2))
    x = np.random.default_rng(0).normal(size=(6, 3))
    variables = block.init(jax.random.key(0), jnp.asarray(x, jnp.float32))
    first, second = (variables["params"][f"Dense_{i}"] for i in (0, 1))
    hidden = x @ np.asarray(first["kernel"], np.float64) + first["bias"][None]
    hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
    assert (hidden < 0).any()
    expected = hidden @ np.asarray(second["kernel"], np.float64) + second["bias"][None]
    np.testing.assert_allclose(
        block.apply(variables, jnp.asarray(x, jnp.float32)), expected, rtol=1e-4, atol=1e-6
    )


def test_dropout_acts_only_with_a_key() -> None:
    params = model.init(jax.random.key(0), SMALL, n_xp=9, n_pixels=11)
    decoder = model.init_apogee_decoder(jax.random.key(1), SMALL, n_pixels=11)
    xp = jnp.ones((3, 9))
    quiet = [model.apply(SMALL, params, decoder, xp) for _ in range(2)]
    assert all((a == b).all() for a, b in zip(*quiet, strict=True))
    noisy = model.apply(SMALL, params, decoder, xp, jax.random.key(2))
    assert not np.allclose(noisy.mean, quiet[0].mean)
    assert noisy.mean.shape == noisy.log_sigma.shape == noisy.apogee_mean.shape == (3, 4)


def test_the_hallucinated_spectrum_is_what_the_apogee_decoder_reads() -> None:
    params = model.init(jax.random.key(0), SMALL, n_xp=9, n_pixels=11)
    decoder = model.init_apogee_decoder(jax.random.key(1), SMALL, n_pixels=11)
    xp = jax.random.normal(jax.random.key(2), (3, 9))
    flux = model.hallucinate(SMALL, params, model.encode(SMALL, params, xp))
    assert flux.shape == (3, 11)
    np.testing.assert_allclose(
        model.decode_apogee(SMALL, decoder, flux),
        model.apply(SMALL, params, decoder, xp).apogee_mean,
        rtol=1e-5,
    )
    # Untrained, it is a continuum with small features: depth scatters around zero.
    assert abs(float(flux.mean()) - 1.0) < 0.5
