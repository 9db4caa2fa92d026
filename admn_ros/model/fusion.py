# SPDX-License-Identifier: Apache-2.0
"""Embedding-level fusion: one token per modality and sensor node, a transformer, their mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from admn_ros.config import FusionConfig
from admn_ros.model.transformer import Encoder


class Adapter(nn.Sequential):
    """Backbone embedding (..., dim) to fusion token (..., fusion dim); shared over sensor nodes."""

    def __init__(self, dim: int, hidden: int, fusion_dim: int) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.LeakyReLU(), nn.Linear(hidden, fusion_dim))


class Fusion(nn.Module):
    """Fusion transformer (Sections 3.1 and A.6). An absent token has no influence at all.

    Args:
        slots: modalities times sensor nodes; a fixed sinusoidal code tells them apart.
        config: width, depth and heads.
    """

    def __init__(self, slots: int, config: FusionConfig) -> None:
        super().__init__()
        self.encoder = Encoder(slots, config.dim, config.depth, config.heads, config.mlp_ratio)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Fuse tokens (B, slots, dim), of which present (B, slots) bool count: `pool` of `encode`."""
        return self.pool(self.encode(tokens, present), present)

    def encode(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Let the present tokens look at each other: (B, slots, dim); rows of absent ones mean nothing."""
        # Zeroed, because a weight of zero does not silence a NaN.
        tokens = torch.where(present[..., None], tokens, torch.zeros_like(tokens))
        # Attention over nothing is NaN: a sample without tokens attends to its zeros instead.
        keep = present | ~present.any(dim=1, keepdim=True)
        encoded: Tensor = self.encoder(tokens, keep)
        return encoded

    @staticmethod
    def pool(encoded: Tensor, present: Tensor) -> Tensor:
        """Mean over the present tokens (B, dim); zeros for a sample without any."""
        weight = present[..., None].to(encoded.dtype)
        fused: Tensor = (encoded * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)
        return fused
