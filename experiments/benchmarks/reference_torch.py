"""A yardstick in PyTorch: the four blocks of AspGap and its training step.

Written anew for this package, with the sizes of the original release and the loss
of the paper (eq. 2-4), so that speeds can be compared on the same work: LeakyReLU,
dropout after every hidden layer of the trainable blocks, a frozen APOGEE decoder,
Adam. tests/experiments/benchmarks/test_reference_torch.py shows that,
given the same parameters and stars, its loss terms and gradients are those of this package.

It is used by experiments/benchmarks/training.py and needs PyTorch, whose CPU wheel
is enough: pip install ".[benchmarks]"
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from aspgap_jax import labels
from aspgap_jax.config import Loss, Model, Optim

__all__ = ["AspGap", "Batch", "Objective", "Terms", "make_optimizer", "train_step"]

N_LABELS = len(labels.LABELS)


class Batch(NamedTuple):
    """Stars of a step, scaled: spectra ``[star, xp]``, labels and errors ``[star, label]``."""

    xp: Tensor
    labels: Tensor
    label_error: Tensor


class Terms(NamedTuple):
    """The terms of eq. 3, each already divided by N, before Lambda_1 and Lambda_2."""

    nll: Tensor
    branch: Tensor
    l1: Tensor
    kl: Tensor


def block(widths: tuple[int, ...], dropout: float) -> nn.Sequential:
    """A multilayer perceptron: input, hidden and output widths."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths[:-1]):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class AspGap(nn.Module):
    """The four blocks (paper Fig. 3); the APOGEE decoder is frozen.

    Hallucinator and APOGEE decoder speak of line depths, 1 - flux, as in
    :mod:`aspgap_jax.model`, so that nothing stands between them.
    """

    def __init__(self, cfg: Model, *, n_xp: int, n_pixels: int) -> None:
        super().__init__()
        self.encoder = block((n_xp, *cfg.encoder, cfg.latent), cfg.dropout)
        self.hallucinator = block((cfg.latent, *cfg.hallucinator, n_pixels), cfg.dropout)
        self.xp_decoder = block((cfg.latent, *cfg.xp_decoder, 2 * N_LABELS), cfg.dropout)
        # An instrument here, not a learner: neither dropout nor gradients.
        self.apogee_decoder = block((n_pixels, *cfg.apogee_decoder, N_LABELS), 0.0)
        self.apogee_decoder.requires_grad_(False)

    def forward(self, xp: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled labels, ln of their sigmas, and labels of the second branch."""
        latents = self.encoder(xp)
        mean, log_sigma = self.xp_decoder(latents).chunk(2, dim=-1)
        return mean, log_sigma, self.apogee_decoder(self.hallucinator(latents))

    def trainable(self) -> list[nn.Parameter]:
        """What the optimiser and the L1 term see."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def load_flax(self, **blocks: Any) -> None:
        """Take over the parameters of Flax blocks, given by the names of the blocks.

        Args:
            **blocks: ``encoder``, ``hallucinator``, ``xp_decoder`` or
                ``apogee_decoder``, each ``{"params": {"Dense_0": ...}}``.
        """
        with torch.no_grad():
            for name, variables in blocks.items():
                linear = [m for m in getattr(self, name) if isinstance(m, nn.Linear)]
                for n, module in enumerate(linear):
                    dense = variables["params"][f"Dense_{n}"]
                    # Copies: Flax's arrays are read-only, and its kernels transposed.
                    module.weight.copy_(torch.tensor(np.array(dense["kernel"]).T))
                    module.bias.copy_(torch.tensor(np.array(dense["bias"])))


class Objective:
    """The loss of eq. 2-4 for a batch.

    Args:
        cfg: branch weights, Lambda_1, Lambda_2 and the variance floor; the options of
            the released code are not built.
        n_stars: N, the size of the training set.

    Raises:
        ValueError: an option of the released code is on.
    """

    def __init__(self, cfg: Loss, n_stars: float) -> None:
        if cfg.apogee_branch != "nll" or cfg.std_as_variance or not cfg.kl_over_n:
            raise ValueError("the reference has the loss of the paper, not that of the release")
        self.cfg, self.n_stars = cfg, n_stars

    def terms(self, network: AspGap, batch: Batch) -> Terms:
        """The terms of eq. 3. A Lambda_1 of 0 costs nothing: its term is left at 0."""
        cfg = self.cfg
        mean, log_sigma, apogee_mean = network(batch.xp)
        variance = batch.label_error.square() + torch.exp(2.0 * log_sigma)
        variance = variance.clamp_min(cfg.variance_floor)
        residual = batch.labels - mean
        chi = residual / variance.sqrt()
        nll = 0.5 * cfg.alpha_xp * chi.square() + 0.5 * variance.log()
        branch = 0.5 * cfg.alpha_apogee * (batch.labels - apogee_mean).square() / variance
        moment = chi.var(dim=0, correction=0)
        kl = 0.5 * (moment + chi.mean(dim=0).square() - 1.0 - moment.log())
        l1 = torch.zeros(())
        if cfg.l1 > 0:
            l1 = torch.stack([p.abs().sum() for p in network.trainable()]).sum()
        return Terms(
            nll=nll.sum(dim=-1).mean(),
            branch=branch.sum(dim=-1).mean(),
            l1=l1 / self.n_stars,
            kl=kl.sum() / self.n_stars,
        )

    def __call__(self, network: AspGap, batch: Batch) -> Tensor:
        """Eq. 3."""
        terms = self.terms(network, batch)
        return terms.nll + terms.branch + self.cfg.l1 * terms.l1 + self.cfg.kl * terms.kl


def make_optimizer(network: AspGap, cfg: Optim) -> torch.optim.Adam:
    """Adam over the trainable blocks, in PyTorch's fused form, its fastest."""
    return torch.optim.Adam(
        network.trainable(), lr=cfg.learning_rate, weight_decay=cfg.weight_decay, fused=True
    )


def train_step(
    network: AspGap,
    optimizer: torch.optim.Optimizer,
    objective: Callable[[AspGap, Batch], Tensor],
    batch: Batch,
) -> Tensor:
    """One update; returns the loss before it. ``objective`` may be compiled."""
    optimizer.zero_grad(set_to_none=True)
    value = objective(network, batch)
    value.backward()
    optimizer.step()
    return value.detach()
