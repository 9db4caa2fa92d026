# SPDX-License-Identifier: Apache-2.0
"""Embedding-level fusion: a transformer over one token per modality and sensor node."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from admn_ros.config import FusionConfig
from admn_ros.model.transformer import Encoder


class Adapter(nn.Sequential):
    """Backbone embedding (..., dim) to fusion token (..., fusion dim), shared by all sensor nodes."""

    def __init__(self, dim: int, hidden: int, fusion_dim: int) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.LeakyReLU(), nn.Linear(hidden, fusion_dim))


class Fusion(nn.Module):
    """Fusion transformer (paper Sections 3.1 and A.6). Absent tokens have no influence.

    Args:
        slots: number of modalities times number of sensor nodes; a fixed sinusoidal code distinguishes the slots.
        config: width, depth and heads.
    """

    def __init__(self, slots: int, config: FusionConfig) -> None:
        super().__init__()
        self.encoder = Encoder(slots, config.dim, config.depth, config.heads, config.mlp_ratio)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Fuse tokens (B, slots, dim) with present (B, slots) bool to (B, dim): `pool` of `encode`."""
        return self.pool(self.encode(tokens, present), present)

    def encode(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Apply the transformer to the present tokens; rows (B, slots, dim) of absent ones are undefined."""
        # Zeroed, because an attention weight of zero does not remove a NaN.
        tokens = torch.where(present[..., None], tokens, torch.zeros_like(tokens))
        # Attention over no tokens is NaN: a sample without present tokens attends to its zeros.
        keep = present | ~present.any(dim=1, keepdim=True)
        encoded: Tensor = self.encoder(tokens, keep)
        return encoded

    @staticmethod
    def pool(encoded: Tensor, present: Tensor) -> Tensor:
        """Return the mean (B, dim) of the present tokens; zeros for a sample without present tokens."""
        weight = present[..., None].to(encoded.dtype)
        fused: Tensor = (encoded * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)
        return fused
