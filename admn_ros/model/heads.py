# SPDX-License-Identifier: Apache-2.0
"""Heads on the fused embedding: position with covariance, and class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.config import LocalizationConfig


class LocalizationHead(nn.Module):
    """Gaussian of the target's position over the configured axes, in metres."""

    centre_m: Tensor
    half_range_m: Tensor
    order: Tensor

    def __init__(self, dim: int, config: LocalizationConfig) -> None:
        super().__init__()
        low, high = torch.tensor(config.min_m), torch.tensor(config.max_m)
        self.axes, self.std_floor_m = len(config.min_m), config.std_floor_m
        self.register_buffer("centre_m", (low + high) / 2, persistent=False)
        self.register_buffer("half_range_m", (high - low) / 2, persistent=False)
        # Which output is at each place of the factor: first the diagonal, then what is below, last a zero.
        order = torch.full((self.axes, self.axes), self.axes * (self.axes + 1) // 2)
        order.diagonal().copy_(torch.arange(self.axes))
        row, column = torch.tril_indices(self.axes, self.axes, offset=-1)
        order[row, column] = torch.arange(self.axes, self.axes + len(row))
        self.register_buffer("order", order.flatten(), persistent=False)
        self.hidden = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim), nn.GELU())
        self.mean = nn.Linear(dim, self.axes)
        self.factor = nn.Linear(dim, self.axes * (self.axes + 1) // 2)

    def forward(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Convert the fused embedding (B, dim) to a Gaussian.

        Returns:
            mean_m (B, D) inside [min_m, max_m], and scale_tril_m (B, D, D), lower triangular, with a diagonal of at
            least std_floor_m. The covariance is scale_tril_m @ scale_tril_m.T.
        """
        hidden = self.hidden(fused)
        mean_m = self.centre_m + self.half_range_m * torch.tanh(self.mean(hidden))
        raw = self.factor(hidden).float()  # under autocast softplus gives float32 on CUDA, and the layer bfloat16
        diagonal = F.softplus(raw[:, :self.axes]) + self.std_floor_m
        entries = torch.cat([diagonal, raw[:, self.axes:], torch.zeros_like(raw[:, :1])], dim=1)
        scale_tril_m = entries[:, self.order].view(-1, self.axes, self.axes)
        return mean_m, scale_tril_m


class ClassificationHead(nn.Sequential):
    """Fused embedding (B, dim) to logits (B, classes)."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, classes))
