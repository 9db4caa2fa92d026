# SPDX-License-Identifier: Apache-2.0
"""Transformer block of backbones, fusion and controller, and the fixed position code."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-6


def hidden_width(dim: int, mlp_ratio: float) -> int:
    """Return the width of the hidden layer of a block's MLP."""
    return int(dim * mlp_ratio)


class Attention(nn.Module):
    """Multi-head self-attention with timm's weight names (qkv, proj)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Attend from every token of x (B, T, dim) to the tokens where keep (B, T) is true."""
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mask = None if keep is None else keep[:, None, None, :]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.proj(y.transpose(1, 2).reshape(batch, tokens, dim))
        return out


class Mlp(nn.Module):
    """Two linear layers (fc1, fc2) with GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Pre-norm transformer layer with timm's weight names (norm1, attn, norm2, mlp)."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, hidden_width(dim, mlp_ratio))

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Map (B, T, dim) to (B, T, dim); tokens where keep (B, T) is false are not attended to."""
        x = x + self.attn(self.norm1(x), keep)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Encoder(nn.Module):
    """Transformer encoder over token slots: fixed position code, blocks, final norm."""

    code: Tensor

    def __init__(self, slots: int, dim: int, depth: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.register_buffer("code", position_code(slots, dim), persistent=False)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """Map (B, slots, dim) to the same shape; each row of keep (B, slots) has at least one true value."""
        x = tokens + self.code.to(tokens.dtype)
        for block in self.blocks:
            x = block(x, keep)
        out: Tensor = self.norm(x)
        return out


def position_code(slots: int, dim: int) -> Tensor:
    """Return the sinusoidal code (slots, dim) of Vaswani et al. 2017, Section 3.5."""
    position = torch.arange(slots, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim))
    return torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=-1).flatten(1)[:, :dim]
