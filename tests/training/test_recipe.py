from __future__ import annotations

from dataclasses import fields, replace

import jax
import numpy as np

from aspgap_jax.config import PRESETS, LossForm, OptimForm, TrainForm
from aspgap_jax.training.recipe import Hyper, hyper_of, keys, recipe_of


def test_every_setting_of_the_loss_and_of_adam_is_either_compiled_in_or_traced() -> None:
    cfg = PRESETS["released_code"]
    recipe = recipe_of(cfg)
    # What is compiled in has no field for what is traced, whatever it was made from.
    assert [type(part) for part in (recipe.loss, recipe.optim, recipe.train)] == [
        LossForm,
        OptimForm,
        TrainForm,
    ]
    compiled = [f.name for part in (recipe.loss, recipe.optim) for f in fields(part)]
    asked = [f.name for part in (cfg.loss, cfg.optim) for f in fields(part)]
    assert sorted([*compiled, *Hyper._fields]) == sorted(asked)
    for part, given in ((recipe.loss, cfg.loss), (recipe.train, cfg.train)):
        for field in fields(part):
            assert getattr(part, field.name) == getattr(given, field.name)
    np.testing.assert_allclose(hyper_of(cfg), [0.6, 0.4, 0.0, 0.2, 0.0, 1e-3], rtol=1e-6)


def test_configs_that_differ_in_what_is_traced_have_one_recipe() -> None:
    cfg = PRESETS["compact"]
    other = replace(
        cfg,
        loss=replace(cfg.loss, alpha_xp=1.0, alpha_apogee=0.0, l1=1.0, kl=2.0, prior=3.0),
        optim=replace(cfg.optim, learning_rate=0.1),
        train=replace(cfg.train, seed=5),
    )
    assert recipe_of(other) == recipe_of(cfg)
    assert hash(recipe_of(other)) == hash(recipe_of(cfg))
    assert recipe_of(replace(cfg, loss=replace(cfg.loss, kl_over_n=False))) != recipe_of(cfg)


def test_keys_are_all_different_and_the_first_do_not_depend_on_their_number() -> None:
    def drawn(*arguments: int) -> set[tuple[int, ...]]:
        return {tuple(key) for key in np.asarray(jax.random.key_data(keys(*arguments)))}

    every = [drawn(seed, 4, purpose) for seed in (0, 1) for purpose in (0, 1)]
    assert len(set.union(*every)) == 16
    assert drawn(0, 3, 1) < drawn(0, 4, 1)
