# SPDX-License-Identifier: Apache-2.0
"""Parts of the gates of learned baselines: input encoder, choice of depths, mixture with straight-through gradients."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from admn_ros.config import ModelConfig
from admn_ros.model.network import NetworkOutput
from admn_ros.model.qoi import QoiEncoder

GATE_HIDDEN = 128
"""Width of the hidden layer of a gate."""


def make_gate_encoder(config: ModelConfig) -> QoiEncoder:
    """Return the encoder of the controller without heads and budget token; `perceive` gives (B, qoi.dim)."""
    encoder = QoiEncoder(without_budget_token(config))
    del encoder.mlp_layers, encoder.mlp_corruption
    return encoder


def make_gate(config: ModelConfig, outputs: int) -> nn.Sequential:
    """Return the head of a gate: embedding (B, qoi.dim) to logits (B, outputs)."""
    return nn.Sequential(nn.Linear(config.qoi.dim, GATE_HIDDEN), nn.ReLU(), nn.Linear(GATE_HIDDEN, outputs))


def without_budget_token(config: ModelConfig) -> ModelConfig:
    """Return the model without budget token: the baselines have no budget as input."""
    return config.model_copy(update={"qoi": config.qoi.model_copy(update={"budget_token": False})})


class DepthChoice:
    """All combinations of one listed depth per modality.

    Args:
        depths: depths of each modality, in the model's order; 0 leaves the modality out.
    """

    def __init__(self, depths: Sequence[Sequence[int]]) -> None:
        self.choices = torch.tensor(list(itertools.product(*(range(len(d)) for d in depths))))
        self.counts = torch.tensor(list(itertools.product(*depths)))

    def best(self, scores: Sequence[Tensor], available: Tensor, max_layers: int | None) -> Tensor:
        """Return the depths (B, M) of the feasible combination with the largest total score.

        A missing modality has no layers and costs nothing. A sample runs no layers only if no other combination is
        feasible.

        Args:
            scores: scores of the depths of each modality, (B, number of depths).
            available: availability (B, M) bool.
            max_layers: most layers of a sample; None for no limit.
        """
        total = torch.stack([s.detach().cpu().float()[:, self.choices[:, i]] for i, s in enumerate(scores)]).sum(dim=0)
        layers = (self.counts * available[:, None]).sum(dim=2)
        fits = layers <= (layers.max() if max_layers is None else max_layers)
        runs = fits & (layers > 0)
        possible = torch.where(runs.any(dim=1, keepdim=True), runs, layers == 0)
        # Combinations that differ only in a missing modality run the same layers, so either may win.
        index = total.masked_fill(~possible, -torch.inf).argmax(dim=1)
        return self.counts[index] * available


def straight_through(logits: Tensor) -> Tensor:
    """Return the one-hot vector of the largest logit (B, E), with the gradient of the softmax."""
    soft = logits.softmax(dim=1)
    hard = torch.zeros_like(soft).scatter(1, soft.argmax(dim=1, keepdim=True), 1.0)
    # In this order the difference is exactly zero.
    return hard + (soft - soft.detach())


def mixture(weights: Tensor, outputs: Sequence[NetworkOutput]) -> NetworkOutput:
    """Return the weighted sum of means, covariances and class logits.

    Args:
        weights: weights (B, E).
        outputs: outputs of E networks.
    """
    mean_m, class_logits = (_weighted(weights, [o[part] for o in outputs]) for part in (0, 2))
    covariance = _weighted(weights.float(), [_covariance(o.scale_tril_m) for o in outputs])
    return NetworkOutput(mean_m, torch.linalg.cholesky(covariance), class_logits)


def _weighted(weights: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Return the sum of E values (B, ...) with weights (B, E)."""
    stacked = torch.stack(list(values), dim=1)
    return (weights.view(*weights.shape, *(1,) * (stacked.ndim - 2)) * stacked).sum(dim=1)


def _covariance(scale_tril_m: Tensor) -> Tensor:
    # Not a matrix product: mixed precision would round it, and the result may then have no Cholesky factor.
    tril = scale_tril_m.float()
    return (tril[:, :, None, :] * tril[:, None, :, :]).sum(dim=-1)
