"""Untrained networks, for tests that depend on nothing that has been learnt."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import model
from aspgap_jax.prediction.predict import Bundle
from aspgap_jax.preprocessing.scaling import RobustScaler, Scalers
from support.tiny import TINY

CFG = TINY
N_XP, PIXELS = 9, 40
REFERENCE = np.array([4500.0, 2.0, -0.3, 0.1])


def random_bundle() -> Bundle:
    """Two members of untrained networks; nothing here depends on what they have learnt."""

    rng = np.random.default_rng(3)

    def shapes(key: jax.Array) -> tuple:
        return (
            model.init(key, CFG.model, n_xp=N_XP, n_pixels=PIXELS),
            model.init_apogee_decoder(key, CFG.model, n_pixels=PIXELS),
        )

    # Drawn by NumPy: compiling the initialisation takes longer than all else here.
    params, decoder = jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.normal(size=(2, *leaf.shape)), jnp.float32),
        jax.eval_shape(shapes, jax.random.key(0)),
    )
    scale = jnp.array([[900.0, 2.5, 1.2, 0.3]] * 2)
    scalers = Scalers(
        RobustScaler(jnp.full((2, N_XP), 2e-17), jnp.full((2, N_XP), 1e-17)),
        RobustScaler(jnp.asarray(np.tile(REFERENCE, (2, 1)), jnp.float32), scale),
    )
    return Bundle(params, decoder, scalers)
