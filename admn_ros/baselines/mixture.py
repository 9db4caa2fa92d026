# SPDX-License-Identifier: Apache-2.0
"""Outputs of several networks weighed by a gate: in value the chosen one's, in gradient all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from admn_ros.model.network import NetworkOutput


def straight_through(logits: Tensor) -> Tensor:
    """One-hot of the largest logit (B, E), with the gradient of the softmax."""
    soft = logits.softmax(dim=1)
    hard = torch.zeros_like(soft).scatter(1, soft.argmax(dim=1, keepdim=True), 1.0)
    # In this order the difference is exactly zero.
    return hard + (soft - soft.detach())


def mixture(weights: Tensor, outputs: Sequence[NetworkOutput]) -> NetworkOutput:
    """Means, covariances and class logits of E outputs, weighed by (B, E)."""
    mean_m, class_logits = (_weighed(weights, [o[part] for o in outputs]) for part in (0, 2))
    covariance = _weighed(weights.float(), [_covariance(o.scale_tril_m) for o in outputs])
    return NetworkOutput(mean_m, torch.linalg.cholesky(covariance), class_logits)


def _weighed(weights: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Sum of values (E times (B, ...)) by weights (B, E)."""
    stacked = torch.stack(list(values), dim=1)
    return (weights.view(*weights.shape, *(1,) * (stacked.ndim - 2)) * stacked).sum(dim=1)


def _covariance(scale_tril_m: Tensor) -> Tensor:
    # Not a matrix product: mixed precision would round it, and then it may have no Cholesky factor.
    tril = scale_tril_m.float()
    return (tril[:, :, None, :] * tril[:, None, :, :]).sum(dim=-1)
