from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax import basis, model
from aspgap_jax.config import PRESETS
from support.tiny import TINY

SMALL = replace(TINY.model, dropout=0.5)


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
    flux = model.hallucinate(SMALL, params, decoder, model.encode(SMALL, params, xp))
    assert flux.shape == (3, 11)
    np.testing.assert_allclose(
        model.decode_apogee(SMALL, decoder, flux),
        model.apply(SMALL, params, decoder, xp).apogee_mean,
        rtol=1e-5,
    )
    # Untrained, it is a continuum with small features: depth scatters around zero.
    assert abs(float(flux.mean()) - 1.0) < 0.5


@pytest.mark.parametrize(("hidden", "latent"), [((7, 6), 9), ((7, 6), 2), ((), 5)])
def test_absorbed_blocks_give_the_labels_of_those_that_were_trained(
    hidden: tuple[int, ...], latent: int
) -> None:
    """Of wide latents, of narrow ones, and of an encoder without a hidden layer."""
    cfg = replace(SMALL, encoder=hidden, latent=latent)
    params = model.init(jax.random.key(0), cfg, n_xp=9, n_pixels=11)
    decoder = model.init_apogee_decoder(jax.random.key(1), cfg, n_pixels=11)
    params, decoder = jax.tree.map(lambda leaf: leaf + 0.1, (params, decoder))
    xp = jax.random.normal(jax.random.key(2), (6, 9))
    absorbed = model.absorb(params, decoder)
    assert len(absorbed.encoder["params"]) == len(hidden)
    found = model.encode_hidden(cfg, absorbed, xp)
    expected = model.apply(cfg, params, decoder, xp)
    pairs = zip(model.decode_xp(cfg, absorbed, found), expected[:2], strict=True)
    for mean, wanted in (
        *pairs,
        (model.read_hallucinated(cfg, absorbed.second, found), expected.apogee_mean),
    ):
        np.testing.assert_allclose(mean, wanted, rtol=1e-4, atol=1e-5)


def test_the_merged_layer_is_the_two_that_it_replaces() -> None:
    """Labels and gradients, also those of W_h, against the spelled-out second branch."""
    params = model.init(jax.random.key(0), SMALL, n_xp=9, n_pixels=11)
    decoder = model.init_apogee_decoder(jax.random.key(1), SMALL, n_pixels=11)
    # Fresh biases are zero, and would hide a wrong one.
    params, decoder = jax.tree.map(lambda leaf: leaf + 0.1, (params, decoder))
    latents = jax.random.normal(jax.random.key(2), (6, SMALL.latent))
    keys = jax.random.split(jax.random.key(3), 6)

    def spelled_out(params: model.Params, key: jax.Array | None) -> jax.Array:
        flux = model.hallucinate(SMALL, params, decoder, latents, key)
        return model.decode_apogee(SMALL, decoder, flux)

    def merged(params: model.Params, key: jax.Array | None) -> jax.Array:
        return model.read_hallucinated(SMALL, model.merge(params, decoder), latents, key)

    for key in (None, jax.random.key(4), keys):
        expected = spelled_out(params, key)
        np.testing.assert_allclose(merged(params, key), expected, rtol=1e-4, atol=1e-5)
    gradients = [
        jax.grad(lambda p, f=f: jnp.square(f(p, keys)).sum())(params).hallucinator
        for f in (spelled_out, merged)
    ]
    for a, b in zip(*(jax.tree.leaves(g) for g in gradients), strict=True):
        assert float(jnp.abs(a).max()) > 1e-3
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pixels", [11, 900])
def test_both_ways_of_the_second_branch_give_the_same(pixels: int) -> None:
    """``apply`` takes the merged layer for a wide spectrum, and says the same."""
    params = model.init(jax.random.key(0), SMALL, n_xp=9, n_pixels=pixels)
    decoder = model.init_apogee_decoder(jax.random.key(1), SMALL, n_pixels=pixels)
    xp = jax.random.normal(jax.random.key(2), (3, 9))
    flux = model.hallucinate(SMALL, params, decoder, model.encode(SMALL, params, xp))
    np.testing.assert_allclose(
        model.apply(SMALL, params, decoder, xp).apogee_mean,
        model.decode_apogee(SMALL, decoder, flux),
        rtol=1e-4,
        atol=1e-5,
    )


def test_merging_pays_for_large_batches() -> None:
    """Multiplications counted layer by layer: (inputs, outputs, rows) of every product."""
    cfg = PRESETS["paper"].model
    for batch in (512, 600, 700, 2**14):
        spelled_out = 2 * (4096 * 8575 + 8575 * 1024) * batch + 4096 * 8575 * batch
        merged = 2 * 4096 * 8575 * 1024 + 3 * 4096 * 1024 * batch
        assert model.merging_pays(cfg, n_pixels=8575, batch=batch) == (merged < spelled_out)
    assert not model.merging_pays(cfg, n_pixels=8575, batch=512)
    assert model.merging_pays(cfg, n_pixels=8575, batch=2**14)
    assert model.merging_pays(PRESETS["compact"].model, n_pixels=8575, batch=256)


def test_a_star_has_the_same_dropout_in_any_batch() -> None:
    params = model.init(jax.random.key(0), SMALL, n_xp=9, n_pixels=11)
    decoder = model.init_apogee_decoder(jax.random.key(1), SMALL, n_pixels=11)
    xp = jax.random.normal(jax.random.key(2), (8, 9))
    keys = jax.random.split(jax.random.key(3), 8)
    whole = model.apply(SMALL, params, decoder, xp, keys)
    part = model.apply(SMALL, params, decoder, xp[2:5], keys[2:5])
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_allclose(a[2:5], b, rtol=1e-5, atol=1e-6)
    # Stars differ in theirs.
    same = model.apply(SMALL, params, decoder, jnp.ones((8, 9)), keys)
    assert float(same.mean.std(axis=0).min()) > 0


@pytest.mark.parametrize("per_star", [True, False])
def test_dropout_drops_its_share_and_keeps_the_mean(per_star: bool) -> None:
    block = model.MLP((50, 1), dropout=0.3)
    ones = {"kernel": jnp.ones((1, 50)), "bias": jnp.zeros(50)}
    last = {"kernel": jnp.ones((50, 1)), "bias": jnp.zeros(1)}
    key = jax.random.key(0)
    kept = model._run(
        block,
        {"params": {"Dense_0": ones, "Dense_1": last}},
        jnp.ones((400, 1)),
        jax.random.split(key, 400) if per_star else key,
    )
    units = np.asarray(kept)[:, 0] * 0.7
    np.testing.assert_allclose(units, np.round(units), atol=1e-3)
    # Binomial: 20,000 units, each kept with probability 0.7.
    assert abs(units.sum() - 14_000) < 5 * np.sqrt(20_000 * 0.3 * 0.7)
    np.testing.assert_allclose(units.std(), np.sqrt(50 * 0.3 * 0.7), rtol=0.15)


def test_bfloat16_multiplies_in_bfloat16_and_answers_in_float32() -> None:
    cfg = replace(SMALL, encoder=(64,), latent=32, dropout=0.0)
    half = replace(cfg, compute="bfloat16")
    params = model.init(jax.random.key(0), half, n_xp=9, n_pixels=11)
    decoder = model.init_apogee_decoder(jax.random.key(1), half, n_pixels=11)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, decoder))} == {jnp.dtype("float32")}
    xp = jax.random.normal(jax.random.key(2), (16, 9))
    exact = model.apply(cfg, params, decoder, xp)
    rounded = model.apply(half, params, decoder, xp)
    for a, b in zip(exact[:3], rounded[:3], strict=True):
        assert b.dtype == jnp.float32
        error = float(jnp.abs(a - b).max() / jnp.abs(a).max())
        # bfloat16 has 8 bits: errors of a per cent, and not of 1e-7.
        assert 1e-5 < error < 0.03
    gradient = jax.grad(lambda p: model.apply(half, p, decoder, xp).mean.sum())(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    # The first layer, which reads the spectrum, is exact; the next is not.
    text = str(jax.make_jaxpr(lambda x: model.encode(half, params, x))(xp))
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert ["bf16" in line for line in products] == [False, True]


@pytest.mark.parametrize(
    ("activation", "init_weights", "variance"), [("silu", "he", 2.0), ("leaky_relu", "lecun", 1.0)]
)
def test_activation_and_initial_weights_are_settings(
    activation: Literal["silu", "leaky_relu"], init_weights: Literal["he", "lecun"], variance: float
) -> None:
    cfg = replace(SMALL, encoder=(400,), activation=activation, init_weights=init_weights)
    params = model.init(jax.random.key(0), cfg, n_xp=200, n_pixels=11)
    first, last = (params.encoder["params"][f"Dense_{i}"] for i in range(2))
    np.testing.assert_allclose(np.var(first["kernel"]), variance / 200, rtol=0.03)
    x = np.random.default_rng(0).normal(size=(3, 200)).astype(np.float32)
    hidden = x @ np.asarray(first["kernel"])
    if activation == "silu":
        hidden = hidden / (1.0 + np.exp(-hidden))
    else:
        hidden = np.maximum(hidden, 0.01 * hidden)
    np.testing.assert_allclose(
        model.encode(cfg, params, jnp.asarray(x)), hidden @ np.asarray(last["kernel"]), atol=2e-5
    )
    # What predicts keeps the nonlinearity before the absorbed latents.
    decoder = model.init_apogee_decoder(jax.random.key(1), cfg, n_pixels=11)
    absorbed = model.absorb(params, decoder)
    np.testing.assert_allclose(
        model.encode_hidden(cfg, absorbed, jnp.asarray(x)), hidden, atol=2e-5
    )


def with_made_up_basis(decoder: model.Variables, components: int, pixels: int) -> model.Variables:
    """A decoder with a basis of random spectra beside it."""
    rng = np.random.default_rng(5)
    mean = jnp.asarray(rng.normal(size=pixels), jnp.float32)
    vectors = jnp.asarray(rng.normal(size=(components, pixels)), jnp.float32)
    return basis.with_basis(decoder, mean, vectors)


def test_with_a_basis_the_spectrum_is_a_mean_and_components() -> None:
    """The spectrum by hand, its labels, its penalty; and what predicts gives the same labels."""
    decoder = model.init_apogee_decoder(jax.random.key(1), SMALL, n_pixels=11)
    assert basis.width(decoder) == 11
    decoder = jax.tree.map(lambda leaf: leaf + 0.1, decoder)
    decoder = with_made_up_basis(decoder, 3, 11)
    assert basis.width(decoder) == 3
    params = model.init(jax.random.key(0), SMALL, n_xp=9, n_pixels=basis.width(decoder))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    assert model.output_width(params.hallucinator) == 3
    xp = jax.random.normal(jax.random.key(2), (6, 9))
    latents = model.encode(SMALL, params, xp)
    z = np.asarray(model.hallucinator(SMALL, 3).apply(params.hallucinator, latents), np.float64)
    depth = np.asarray(decoder["basis"]["mean"]) + z @ np.asarray(decoder["basis"]["vectors"])
    flux = model.hallucinate(SMALL, params, decoder, latents)
    np.testing.assert_allclose(flux, 1.0 - depth, rtol=1e-4, atol=1e-5)
    outputs = model.apply(SMALL, params, decoder, xp)
    expected = model.decode_apogee(SMALL, decoder, flux)
    np.testing.assert_allclose(outputs.apogee_mean, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.penalty, 0.5 * (z**2).sum(axis=1), rtol=1e-4)
    absorbed = model.absorb(params, decoder)
    hidden = model.encode_hidden(SMALL, absorbed, xp)
    read = model.read_hallucinated(SMALL, absorbed.second, hidden)
    np.testing.assert_allclose(read, expected, rtol=1e-4, atol=1e-4)


def test_without_a_basis_nothing_is_penalised() -> None:
    params = model.init(jax.random.key(0), SMALL, n_xp=9, n_pixels=11)
    decoder = model.init_apogee_decoder(jax.random.key(1), SMALL, n_pixels=11)
    assert not model.apply(SMALL, params, decoder, jnp.ones((3, 9))).penalty.any()


def test_with_a_basis_every_spectrum_begins_as_the_mean() -> None:
    cfg = replace(SMALL, hallucinator_basis=3)
    decoder = model.init_apogee_decoder(jax.random.key(1), cfg, n_pixels=11)
    decoder = with_made_up_basis(decoder, 3, 11)
    params = model.init(jax.random.key(0), cfg, n_xp=9, n_pixels=basis.width(decoder))
    latents = model.encode(cfg, params, jax.random.normal(jax.random.key(2), (5, 9)))
    flux = model.hallucinate(cfg, params, decoder, latents)
    mean = 1.0 - np.asarray(decoder["basis"]["mean"])
    np.testing.assert_allclose(flux, np.tile(mean, (5, 1)), rtol=1e-6)
