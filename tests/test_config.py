from __future__ import annotations

import pytest

from aspgap_jax.config import PRESETS, Config, Data, Loss, Training, from_json, to_json
from aspgap_jax.errors import InputError


@pytest.mark.parametrize("preset", PRESETS)
def test_json_round_trip(preset: str) -> None:
    config = PRESETS[preset]
    assert from_json(to_json(config)) == config
    assert hash(from_json(to_json(config))) == hash(config)


def test_fields_left_out_keep_their_default() -> None:
    assert from_json('{"train": {"epochs": 7}}') == Config(train=Training(epochs=7))
    assert from_json('{"loss": {"l1": 1}}').loss.l1 == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "settings.json: no valid JSON"),
        ("[]", "settings.json: expected an object"),
        ('{"trian": {}}', "settings.json: unknown field trian; known: model, loss"),
        ('{"train": {"epoch": 3}}', "settings.json.train: unknown field epoch"),
        ('{"train": {"epochs": "x"}}', r'settings.json.train.epochs: expected int, got "x"'),
        ('{"train": {"epochs": true}}', "expected int, got true"),
        ('{"train": {"epochs": 0}}', "settings.json.train: epochs must be > 0, got 0"),
        ('{"model": {"encoder": 3}}', "model.encoder: expected a list"),
        ('{"loss": {"apogee_branch": "l2"}}', "'l2' is not one of nll, mse"),
        ('{"optim": {"clip_norm": 0}}', "clip_norm must be > 0 or None"),
        ('{"optim": {"plateau_factor": 1.0}}', r"plateau_factor must be in \(0, 1\), got 1.0"),
        ('{"model": {"compute": "float16"}}', "'float16' is not one of float32, bfloat16"),
        ('{"cv": {"folds": 1}}', "folds must be >= 2"),
    ],
)
def test_errors_name_the_field(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_json(text, source="settings.json")


def test_released_code_switches_on_every_difference() -> None:
    paper, released = PRESETS["paper"], PRESETS["released_code"]
    assert released.model == paper.model
    assert released.loss == Loss(
        kl=0.2,
        kl_over_n=False,
        variance_floor=1e-4,
        apogee_branch="mse",
        std_as_variance=True,
    )
    assert released.data == Data(magnitude_exponent=0.4, balance=False)
    assert (paper.data.magnitude_exponent, paper.data.balance) == (0.5, True)
    assert (released.optim.weight_decay, released.pretrain.learning_rate) == (1e-5, 1e-5)
    assert (released.cv.folds, paper.cv.folds) == (5, 2)
    assert (released.train.batch_size, released.pretrain.batch_size) == (2**14, 2**11)
    # No early stopping: the patience is the number of epochs.
    assert released.train.patience == released.train.epochs == 1000
