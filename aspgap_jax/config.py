"""Every setting, in frozen dataclasses that check themselves.

Parts are hashable, so that they can be static arguments of ``jax.jit``. Of the settings of
a training, those of a ``...Form`` are compiled in; its subclass adds the values that travel
as arrays (:mod:`aspgap_jax.training.recipe`). Presets:

- ``best``, the default: deep blocks on partly whitened spectra.
- ``compact``: small blocks on spectra scaled column by column, as in the paper.
- ``paper``: the sizes and settings of Li et al. 2023.
- ``released_code``: as ``paper``, with the differences of the released PyTorch
  code switched on.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from aspgap_jax.errors import InputError
from aspgap_jax.labels import LABELS, LabelSet, names

__all__ = [
    "DEFAULT_PRESET",
    "PRESETS",
    "PRESET_MEANINGS",
    "Config",
    "CrossValidation",
    "Data",
    "Execution",
    "Labelling",
    "Loss",
    "LossForm",
    "Model",
    "Optim",
    "OptimForm",
    "PredictOptions",
    "Pretrain",
    "TrainForm",
    "Training",
    "from_json",
    "to_json",
    "with_labels",
]

Hidden = (tyro.conf.Fixed, tyro.conf.Suppress)
"""Of a setting that has no option of its own."""


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise InputError(message)


def _positive(settings: object, *fields: str) -> None:
    for name in fields:
        value = getattr(settings, name)
        _require(value > 0, f"{name} must be > 0, got {value}")


def _not_negative(settings: object, *fields: str) -> None:
    for name in fields:
        value = getattr(settings, name)
        _require(value >= 0, f"{name} must be >= 0, got {value}")


@dataclass(frozen=True)
class Model:
    """Widths of the four blocks. Inputs and outputs are sized by the data and
    the label table."""

    encoder: tuple[int, ...] = (256, 256)
    """Hidden layers of the XP encoder."""
    latent: int = 256
    """Latents that the encoder hands to the XP decoder and the hallucinator."""
    hallucinator: tuple[int, ...] = (64, 32)
    """Hidden layers of the hallucinator."""
    hallucinator_basis: int | None = None
    """Components of the APOGEE decoder's training spectra of which hallucinated spectra are
    made (:mod:`aspgap_jax.basis`); None: pixel by pixel, as in the paper."""
    xp_decoder: tuple[int, ...] = (128,)
    """Hidden layers of the XP decoder."""
    apogee_decoder: tuple[int, ...] = (32, 64)
    """Hidden layers of the APOGEE decoder."""
    dropout: float = 0.05
    """Probability that a hidden unit is dropped in training."""
    activation: Literal["leaky_relu", "silu"] = "leaky_relu"
    """Nonlinearity of all hidden layers. The paper's is LeakyReLU."""
    init_weights: Literal["lecun", "he"] = "lecun"
    """Initial weights of variance 1/n or 2/n, n the inputs of a layer."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Type in which the blocks multiply. Parameters, the encoder's first layer, the
    layers that give labels, the loss and its moments are float32 always."""
    n_labels: Annotated[int, *Hidden] = len(LABELS)
    """Labels that the decoders give: as many as :attr:`Config.labels` has."""

    def __post_init__(self) -> None:
        for name in ("encoder", "hallucinator", "xp_decoder", "apogee_decoder"):
            widths = getattr(self, name)
            _require(all(w > 0 for w in widths), f"{name} needs widths > 0, got {widths}")
        _positive(self, "latent", "n_labels")
        k = self.hallucinator_basis
        _require(k is None or k > 0, f"hallucinator_basis must be > 0 or None, got {k}")
        _require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")


@dataclass(frozen=True)
class LossForm:
    """The form of the objective, eq. 2-4: all but its weights."""

    variance_floor: float = 1e-6
    """Floor epsilon of the variance s^2, in scaled label units (eq. 2)."""
    apogee_branch: Literal["nll", "mse"] = "nll"
    """The hallucinator's residuals over s^2 (eq. 3), or plain squares (released code)."""
    std_as_variance: bool = False
    """Put sqrt(sigma^2 + s_model^2) where the variance belongs (released code)."""
    kl_over_n: bool = True
    """Divide the KL term by the number of training stars (eq. 3); not so in the
    released code."""

    def __post_init__(self) -> None:
        _positive(self, "variance_floor")


@dataclass(frozen=True)
class Loss(LossForm):
    """The objective, eq. 2-4."""

    alpha_xp: float = 0.6
    """Weight of the XP decoder's residuals (alpha_1)."""
    alpha_apogee: float = 0.4
    """Weight of the hallucinator's residuals (alpha_2)."""
    l1: float = 0.0
    """Lambda_1, the factor of the sum of absolute parameters."""
    kl: float = 0.0
    """Lambda_2, the factor of the Kullback-Leibler term. The paper states no value."""
    prior: float = 0.0
    """Factor of 1/2 |z|^2, z the components of a hallucinated spectrum, where the model has
    a hallucinator_basis."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _not_negative(self, "alpha_xp", "alpha_apogee", "l1", "kl", "prior")
        _require(self.alpha_xp > 0, "alpha_xp must be > 0: predictions come from the XP decoder")


@dataclass(frozen=True)
class OptimForm:
    """What surrounds Adam: all but its learning rate."""

    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    """Keep the learning rate, anneal it to zero over the epochs, or lower it
    whenever the validation loss stands still."""
    plateau_factor: float = 0.5
    """What ``plateau`` multiplies the learning rate by."""
    plateau_patience: int = 5
    """Epochs without a lower validation loss before it does."""
    weight_decay: float = 0.0
    """L2 penalty of the parameters (released code: 1e-5)."""
    decoupled: bool = False
    """Shrink the parameters beside the update, by the learning rate times the weight decay
    (AdamW), instead of adding the penalty to the gradient, as PyTorch's Adam does."""
    clip_norm: float | None = None
    """Clip the gradient's global norm, before the update."""

    def __post_init__(self) -> None:
        _not_negative(self, "weight_decay")
        _require(
            0 < self.plateau_factor < 1,
            f"plateau_factor must be in (0, 1), got {self.plateau_factor}",
        )
        _positive(self, "plateau_patience")
        _require(
            self.clip_norm is None or self.clip_norm > 0,
            f"clip_norm must be > 0 or None, got {self.clip_norm}",
        )


@dataclass(frozen=True)
class Optim(OptimForm):
    """Adam and what surrounds it."""

    learning_rate: float = 1e-3
    """Initial learning rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "learning_rate")


@dataclass(frozen=True)
class Data:
    """Preprocessing (section 2.3) and the training rows of a fold (section 2.2)."""

    magnitude_exponent: float = 0.5
    """x / 10^(exponent (15 - G)): 0.5 as printed, 0.4 as in the released code."""
    representation: Literal["robust", "whitened"] = "robust"
    """What the encoder sees: columns scaled one by one (eq. 1), or principal components
    of spectra in units of their noise (:mod:`aspgap_jax.preprocessing.representation`)."""
    components: int = 110
    """Principal components that ``whitened`` keeps."""
    whitening: float = 0.4
    """``whitened`` divides a component by its standard deviation to this power."""
    balance: bool = False
    """Resample the training rows evenly in ([M/H], [alpha/M]), with replacement."""
    draws_per_bin: int = 1000
    """Stars drawn from every bin that has any, when ``balance`` is on."""
    validation_fraction: float = 0.1
    """Share of a fold's training stars held out for early stopping."""
    missing_labels: Literal["drop", "keep"] = "drop"
    """Stars that lack a label: leave them out, or keep those that have one at least. What a
    star lacks takes no part in the objective, and a cut on it lets the star pass."""

    def __post_init__(self) -> None:
        _not_negative(self, "magnitude_exponent")
        _positive(self, "draws_per_bin", "components")
        whitening = self.whitening
        _require(0 <= whitening <= 1, f"whitening must be in [0, 1], got {whitening}")
        share = self.validation_fraction
        _require(0 < share < 1, f"validation_fraction must be in (0, 1), got {share}")


@dataclass(frozen=True)
class TrainForm:
    """Joint training of the three blocks: all but its seed."""

    epochs: int = 100
    """Passes over the training rows, at most."""
    batch_size: int = 512
    """Stars a step."""
    patience: int = 30
    """Stop after so many epochs without a lower validation loss."""
    noise: float = 0.0
    """Add Gaussian noise of so many times the spectrum's own errors in training."""

    def __post_init__(self) -> None:
        _positive(self, "epochs", "batch_size", "patience")
        _not_negative(self, "noise")


@dataclass(frozen=True)
class Training(TrainForm):
    """Joint training of encoder, hallucinator and XP decoder."""

    seed: int = 0
    """Seed of everything random: parameters, batches, dropout, noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _not_negative(self, "seed")


@dataclass(frozen=True)
class Pretrain:
    """Pre-training of the APOGEE decoder, which is frozen afterwards."""

    n_spectra: int = 1024
    """Emulated spectra a fold, at labels of its training stars."""
    label_jitter: float = 0.1
    """Gaussian scatter of those labels, as a share of each label's range, so that
    labels that go together in stars come apart."""
    snr: float = 100.0
    """Signal-to-noise ratio a pixel of the noise added in training."""
    epochs: int = 100
    """Passes over the spectra."""
    batch_size: int = 128
    """Spectra a step."""
    learning_rate: float = 1e-3
    """Initial learning rate of Adam, annealed to zero."""

    def __post_init__(self) -> None:
        _positive(self, "n_spectra", "snr", "epochs", "batch_size", "learning_rate")
        _not_negative(self, "label_jitter")


@dataclass(frozen=True)
class CrossValidation:
    """How often, and on which stars, the model is trained."""

    folds: int = 2
    """Disjoint sets of stars; each is predicted by the model of the others."""
    repeats: int = 1
    """New splits into folds."""
    seeds: int = 1
    """Trainings of each fold from other parameters; predictions are averaged."""

    def __post_init__(self) -> None:
        _require(self.folds >= 2, f"folds must be >= 2, got {self.folds}")
        _positive(self, "repeats", "seeds")


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    optim: Optim = field(default_factory=Optim)
    data: Data = field(default_factory=Data)
    train: Training = field(default_factory=Training)
    pretrain: Pretrain = field(default_factory=Pretrain)
    cv: CrossValidation = field(default_factory=CrossValidation)
    labels: Annotated[LabelSet, *Hidden] = LABELS
    """What is inferred (``--labels``, ``--label-table``)."""
    taught: Annotated[tuple[str, ...] | None, *Hidden] = None
    """Labels that the APOGEE decoder could be taught; ``None`` for all. A run sets it
    (:func:`aspgap_jax.training.decoder_spectra.teachable`); the others have no part in
    the hallucinator's branch."""

    def __post_init__(self) -> None:
        count = len(set(names(self.labels)))
        _require(count == len(self.labels) > 0, "labels must be some, each once")
        _require(
            self.model.n_labels == count,
            f"model.n_labels is {self.model.n_labels} and there are {count} labels",
        )
        unknown = sorted(set(self.taught or ()) - set(names(self.labels)))
        _require(not unknown, f"taught has {', '.join(unknown)}, which are no labels")


def with_labels(config: Config, labels: LabelSet) -> Config:
    """A config for other labels.

    Args:
        config: every other setting.
        labels: what is to be inferred.

    Returns:
        The config, its networks as wide as these labels need.
    """
    model = dataclasses.replace(config.model, n_labels=len(labels))
    return dataclasses.replace(config, labels=labels, model=model, taught=None)


@dataclass(frozen=True)
class Execution:
    """How a run is carried out, not what it computes: devices, memory, checkpoints. It may
    resume with others."""

    devices: int | None = None
    """Share every batch among so many of this machine's devices. Default: all of them."""
    coordinator: str | None = None
    """HOST:PORT of process 0, where several processes train one model together. Those of a
    Slurm job step find each other without this and the next two options."""
    processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which of them this is, from 0. Process 0 writes."""
    checkpoint_seconds: float = 20.0
    """A run that is killed repeats no more than this and one epoch."""
    device_bytes: int = 2**31
    """APOGEE spectra that take more than this are streamed from their file in pre-training."""

    def __post_init__(self) -> None:
        if self.devices is not None and self.devices < 1:
            raise InputError(f"devices must be >= 1, got {self.devices}")
        if self.checkpoint_seconds < 0:
            raise InputError(f"checkpoint_seconds must be >= 0, got {self.checkpoint_seconds}")


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """How labels are computed from spectra."""

    compute: Literal["float32", "bfloat16"] = "float32"
    """Type in which the networks multiply on the device."""
    propagate: Literal["none", "diagonal", "full"] = "none"
    """The errors of the spectrum through the network: not, as independent ones, or with
    the correlations of the coefficients."""
    second_path: bool = True
    """Also read the labels off the hallucinated APOGEE spectrum, for the flag that says when
    the two disagree; it costs about as much again."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions(Labelling):
    """How spectra are predicted, and how many at a time."""

    batch_size: int | None = None
    """Stars a batch. Default: 2,048 a CPU device, 65,536 a GPU."""

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {self.batch_size}")


KL_OVER_N = 0.2
"""Lambda_2 / N of the presets: what the released code uses; the paper states no value."""

PAPER_MODEL = Model(
    encoder=(256, 512, 1024),
    latent=1024,
    hallucinator=(1024, 2048, 4096),
    xp_decoder=(1024, 512, 256, 128),
    apogee_decoder=(1024, 512, 256, 128),
    dropout=0.2,
)

PAPER = Config(
    model=PAPER_MODEL,
    loss=Loss(kl=KL_OVER_N * 111_000),
    data=Data(balance=True),
    train=Training(epochs=1000, batch_size=2**14, patience=50),
    pretrain=Pretrain(batch_size=2**11),
)

# Lambda_1 is not stated either. It is 0: a small one changes nothing that can be
# measured on the sample (experiments/studies/choices_study.py).
# Hallucinated spectra are made of 14 components: a quadratic function of four labels has no
# more. The priors are as large as leaves the labels of the second branch what they are.
COMPACT = Config(
    model=Model(hallucinator_basis=14),
    # N: a training fold of the sample's giants
    loss=Loss(kl=KL_OVER_N * 8_860, prior=0.2),
    optim=Optim(schedule="cosine", clip_norm=1.0),
    data=Data(magnitude_exponent=0.4),
    train=Training(epochs=100, batch_size=256, patience=30),
    pretrain=Pretrain(n_spectra=2048, snr=300.0),
    cv=CrossValidation(seeds=2),
)

# Deep, and on partly whitened spectra. The hallucinator has a small say; the penalties of the
# weights and of chi have none.
BEST = Config(
    model=Model(
        encoder=(512,) * 5,
        latent=512,
        hallucinator_basis=14,
        xp_decoder=(512,),
        dropout=0.15,
        activation="silu",
        init_weights="he",
    ),
    loss=Loss(alpha_xp=0.95, alpha_apogee=0.05, prior=0.02),
    optim=Optim(schedule="cosine", clip_norm=1.0, weight_decay=1e-2, decoupled=True),
    data=Data(magnitude_exponent=0.4, representation="whitened"),
    train=Training(epochs=100, batch_size=256, patience=100),
    pretrain=Pretrain(n_spectra=2048, snr=300.0),
)

DEFAULT_PRESET = "best"
"""What a training uses unless it is told otherwise."""

PRESETS: dict[str, Config] = {
    "best": BEST,
    "compact": COMPACT,
    "paper": PAPER,
    "released_code": dataclasses.replace(
        PAPER,
        loss=Loss(
            kl=KL_OVER_N,
            kl_over_n=False,
            variance_floor=1e-4,
            apogee_branch="mse",
            std_as_variance=True,
        ),
        optim=Optim(weight_decay=1e-5),
        data=Data(magnitude_exponent=0.4, balance=False),
        train=dataclasses.replace(PAPER.train, patience=1000),
        pretrain=dataclasses.replace(PAPER.pretrain, learning_rate=1e-5),
        cv=CrossValidation(folds=5),
    ),
}

PRESET_MEANINGS: dict[str, str] = {
    "best": "the default: deep, on partly whitened spectra; two CPU cores, minutes",
    "compact": "small, on spectra scaled as in the paper",
    "paper": "Li et al. 2023",
    "released_code": "the differences of the released PyTorch code",
}
"""What each preset is, for those who choose."""


def to_json(config: Config) -> str:
    """A config as JSON.

    Args:
        config: every setting.

    Returns:
        Indented text that :func:`from_json` turns back into an equal config.

    Examples:
        >>> from_json(to_json(PRESETS["paper"])) == PRESETS["paper"]
        True
    """
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str, *, source: str = "config") -> Config:
    """Read a config.

    Args:
        text: JSON as :func:`to_json` writes it; fields left out keep their default.
        source: how errors call the text, usually its path.

    Returns:
        The config; it has checked its values.

    Raises:
        InputError: no JSON object, an unknown field, or a value of another type.

    Examples:
        >>> from_json('{"train": {"epochs": 3}}').train.epochs
        3
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{source}: no valid JSON ({error})") from error
    return from_values(values, source=source)


def from_values(values: Any, *, source: str = "config") -> Config:
    """A config of what JSON holds, parsed already.

    Args:
        values: as :func:`dataclasses.asdict` makes them; fields left out keep their default.
        source: how errors call them.

    Raises:
        InputError: no mapping, an unknown field, or a value of another type.
    """
    config: Config = _build(Config, values, source)
    return config


def _build(cls: type, values: Any, where: str) -> Any:
    _require(isinstance(values, dict), f"{where}: expected an object, got {values!r}")
    types = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(types))
    _require(not unknown, f"{where}: unknown field {', '.join(unknown)}; known: {', '.join(types)}")
    built = {name: _value(types[name], v, f"{where}.{name}") for name, v in values.items()}
    try:
        return cls(**built)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _value(wanted: Any, value: Any, where: str) -> Any:
    """``value`` as the annotation ``wanted``, which is one of those used above."""
    if dataclasses.is_dataclass(wanted):
        return _build(typing.cast(type, wanted), value, where)
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is Literal:
        _require(value in arguments, f"{where}: {value!r} is not one of {', '.join(arguments)}")
        return value
    if origin is tuple:
        _require(isinstance(value, list), f"{where}: expected a list, got {value!r}")
        return tuple(_value(arguments[0], item, where) for item in value)
    if type(None) in arguments:
        return None if value is None else _value(arguments[0], value, where)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is an int to isinstance, and must not pass for one.
    _require(type(value) is wanted, f"{where}: expected {wanted.__name__}, got {json.dumps(value)}")
    return value
