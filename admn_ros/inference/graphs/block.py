# SPDX-License-Identifier: Apache-2.0
"""Transformer layer that works in place, with matrix products in a chosen precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.model.transformer import Block


class InPlaceBlock:
    """`Block` for inference.

    Weights, matrix products and attention have the chosen precision. Tokens and norms stay in float32, because rounding
    the tokens after every layer would cost more accuracy than it saves time.

    Args:
        block: the layer.
        dtype: float32 shares the weights of the layer; others hold a copy.
    """

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        self._dtype, self._heads = dtype, block.attn.heads
        self._qkv, self._proj = _cast(block.attn.qkv, dtype), _cast(block.attn.proj, dtype)
        self._fc1, self._fc2 = _cast(block.mlp.fc1, dtype), _cast(block.mlp.fc2, dtype)
        self._norm1, self._norm2 = (
            ((len(n.weight),), n.weight.detach(), n.bias.detach(), n.eps) for n in (block.norm1, block.norm2))

    def __call__(self, x: Tensor) -> None:
        """Replace tokens (B, T, dim) of float32 by the output of the layer."""
        rows, tokens, _ = x.shape
        normed = F.layer_norm(x, *self._norm1).to(self._dtype)
        q, k, v = F.linear(normed, *self._qkv).view(rows, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, tokens, -1)
        x.add_(F.linear(seen, *self._proj))
        normed = F.layer_norm(x, *self._norm2).to(self._dtype)
        x.add_(F.linear(F.gelu(F.linear(normed, *self._fc1)), *self._fc2))


def _cast(layer: nn.Linear, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return layer.weight.detach().to(dtype), layer.bias.detach().to(dtype)
