from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import model
from aspgap_jax.config import Config, Data, Model
from aspgap_jax.prediction.predict import Bundle, Estimate, combine, predict, predict_in_batches
from aspgap_jax.preprocessing.scaling import RobustScaler, Scalers

CFG = Config(
    model=Model(
        encoder=(6,), latent=5, hallucinator=(4,), xp_decoder=(4,), apogee_decoder=(3,), dropout=0.9
    ),
    data=Data(magnitude_exponent=0.5),
)


def make_bundle(n_members: int = 3, n_xp: int = 7) -> Bundle:
    def one(key: jax.Array) -> Bundle:
        a, b = jax.random.split(key)
        return Bundle(
            model.init(a, CFG.model, n_xp=n_xp, n_pixels=9),
            model.init_apogee_decoder(b, CFG.model, n_pixels=9),
            Scalers(
                RobustScaler(jnp.ones(n_xp), jnp.full(n_xp, 2.0)),
                RobustScaler(jnp.array([4500.0, 2.0, 0.0, 0.1]), jnp.array([1500.0, 3, 2, 0.4])),
            ),
        )

    return jax.vmap(one)(jax.random.split(jax.random.key(0), n_members))


def test_prediction_is_physical_and_has_no_dropout() -> None:
    bundle, rng = make_bundle(), np.random.default_rng(0)
    g_mag = rng.uniform(9, 15, 11)
    xp = rng.normal(1.0, 0.5, (11, 7)) * 10 ** (0.5 * (15 - g_mag))[:, None]
    found = predict(bundle, jnp.asarray(xp, jnp.float32), jnp.asarray(g_mag, jnp.float32), CFG)
    assert found.mean.shape == (3, 11, 4)
    # The same by hand for one member: normalise, scale, two blocks, unscale.
    member = jax.tree.map(lambda leaf: leaf[1], bundle)
    scaled = (xp / 10 ** (0.5 * (15 - g_mag))[:, None] - 1.0) / 2.0
    latents = model.encode(CFG.model, member.params, jnp.asarray(scaled, jnp.float32))
    mean, log_sigma = model.decode_xp(CFG.model, member.params, latents)
    np.testing.assert_allclose(
        found.mean[1], np.asarray(mean) * [1500, 3, 2, 0.4] + [4500, 2, 0, 0.1], rtol=1e-4
    )
    np.testing.assert_allclose(
        found.sigma[1], np.exp(np.asarray(log_sigma)) * [1500, 3, 2, 0.4], rtol=1e-4
    )


def test_batches_do_not_change_the_result() -> None:
    bundle, rng = make_bundle(), np.random.default_rng(0)
    xp, g_mag = rng.normal(size=(23, 7)), rng.uniform(14, 15, 23)
    whole = predict_in_batches(bundle, xp, g_mag, CFG, batch_size=64)
    parts = predict_in_batches(bundle, xp, g_mag, CFG, batch_size=5)
    assert whole.mean.shape == (3, 23, 4)
    np.testing.assert_allclose(whole.mean, parts.mean, rtol=1e-5)
    np.testing.assert_allclose(whole.sigma, parts.sigma, rtol=1e-5)


def test_combine_follows_the_law_of_total_variance() -> None:
    mean = np.float32([[[1.0]], [[3.0]], [[50.0]]])
    sigma = np.float32([[[0.5]], [[1.0]], [[9.0]]])
    use = np.array([[True], [True], [False]])
    both = combine(Estimate(mean, sigma), use)
    np.testing.assert_allclose(both.mean, [[2.0]])
    # Mean variance (0.25 + 1) / 2, variance of the means 1.
    np.testing.assert_allclose(both.sigma, [[np.sqrt(1.625)]], rtol=1e-6)
    alone = combine(Estimate(mean, sigma), ~use)
    np.testing.assert_allclose([alone.mean[0, 0], alone.sigma[0, 0]], [50.0, 9.0])
