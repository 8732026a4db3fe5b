"""The smallest config that trains: one place for the sizes of networks in tests.

A test that needs another size or setting replaces that alone.
"""

from __future__ import annotations

from aspgap_jax.config import Config, Data, Model, Pretrain, Training

TINY = Config(
    # No two widths are equal, so that axes which are mixed up do not fit.
    model=Model(
        encoder=(16,),
        latent=8,
        hallucinator=(6,),
        xp_decoder=(12,),
        apogee_decoder=(5,),
        dropout=0.1,
    ),
    data=Data(magnitude_exponent=0.4),
    train=Training(epochs=6, batch_size=64, patience=6),
    pretrain=Pretrain(n_spectra=24, epochs=2, batch_size=8),
)
