# SPDX-License-Identifier: Apache-2.0
"""Transformer blocks without the overhead of modules in modules."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.model.transformer import Attention, Block, Encoder

LARGEST_COPY = 2**17
"""Numbers of a weight that is copied at most. Small matrix products are faster with a transposed copy."""


class Affine:
    """Linear layer.

    Args:
        layer: layer in float32.
        dtype: precision of weights and output.
    """

    def __init__(self, layer: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        linear = cast(nn.Linear, layer)
        weight = linear.weight.detach().to(dtype).t()
        self.weight = weight.contiguous() if weight.numel() <= LARGEST_COPY else weight
        self.bias = linear.bias.detach().to(dtype)
        self._low = dtype is not torch.float32

    def __call__(self, x: Tensor) -> Tensor:
        """Map (R, in) to (R, out)."""
        return torch.addmm(self.bias, x.to(self.bias.dtype) if self._low else x, self.weight)


def gelu(x: Tensor) -> Tensor:
    """Return the GELU of rows (R, dim).

    For contiguous tensors PyTorch calls oneDNN, which on small ones takes four times as long as PyTorch's own kernel.
    """
    if x.shape[0] == 1:
        return F.gelu(x.expand(2, -1))[:1]
    return F.gelu(x.t()).t()


class PreparedBlock(nn.Module):
    """`Block` for inference. It is a module for the sake of forward hooks, which count the layers that run.

    Args:
        block: block in float32.
        dtype: precision of matrix products and attention; tokens and norms have float32, and so has the attention from
            the first token alone.
    """

    def __init__(self, block: Block, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self._heads = block.attn.heads
        self._qkv, self._proj = Affine(block.attn.qkv, dtype), Affine(block.attn.proj, dtype)
        self._fc1, self._fc2 = Affine(block.mlp.fc1, dtype), Affine(block.mlp.fc2, dtype)
        self._norm1, self._norm2 = (
            ((len(n.weight),), n.weight.detach(), n.bias.detach(), n.eps) for n in (block.norm1, block.norm2))
        self._one = _OneQuery(block.attn)

    def forward(self, x: Tensor, keep: Tensor | None = None, first: bool = False) -> Tensor:
        """Map tokens (B, T, dim) to the same shape, or to (B, 1, dim) if only the first ones are needed.

        Args:
            x: tokens.
            keep: (B, T), tokens that are attended to; None for all.
            first: whether only the first token of each row is needed.
        """
        batch, tokens, dim = x.shape
        normed = torch.layer_norm(x, *self._norm1)
        if first:
            x, tokens, seen = x[:, :1], 1, self._one(normed, keep)
        else:
            q, k, v = self._qkv(normed.view(-1, dim)).view(batch, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            mask = None if keep is None else keep[:, None, None, :]
            seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(-1, dim)
        x = x + self._proj(seen).view(batch, tokens, dim)
        normed = torch.layer_norm(x, *self._norm2)
        return x.add_(self._fc2(gelu(self._fc1(normed.view(-1, dim)))).view(batch, tokens, dim))


class _OneQuery:
    """Attention from the first token of each row.

    With a single query q per head, q (W x) = (q W) x: keys and values of the tokens need not be computed. The bias of
    the keys adds the same to all scores, which softmax ignores.
    """

    def __init__(self, attention: Attention) -> None:
        weight, bias = attention.qkv.weight.detach(), attention.qkv.bias.detach()
        dim = len(bias) // 3
        scale = (dim // attention.heads) ** -0.5
        self._query, self._query_bias = (weight[:dim] * scale).t().contiguous(), bias[:dim] * scale
        by_head = weight[dim:].view(2, attention.heads, -1, dim)
        self._keys, self._values = by_head[0], by_head[1].transpose(1, 2)
        self._value_bias = bias[2 * dim:]
        self._heads = attention.heads

    def __call__(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Map normalized tokens (B, T, dim) to the output of the attention (B, dim). Arguments as `PreparedBlock`."""
        batch, _, dim = x.shape
        query = torch.addmm(self._query_bias, x[:, 0], self._query).view(batch, self._heads, -1).transpose(0, 1)
        scores = torch.bmm(torch.bmm(query, self._keys).transpose(0, 1), x.transpose(1, 2))
        if keep is not None:
            scores = scores.masked_fill_(~keep[:, None], -torch.inf)
        seen = torch.bmm(scores.softmax(dim=2), x).transpose(0, 1)
        return torch.bmm(seen, self._values).transpose(0, 1).reshape(batch, dim).add_(self._value_bias)


class PreparedEncoder:
    """`Encoder` for inference, over some of its slots."""

    def __init__(self, encoder: Encoder) -> None:
        self.code = encoder.code.detach()
        self._blocks = [PreparedBlock(cast(Block, block)) for block in encoder.blocks]
        norm = encoder.norm
        self._norm = ((len(norm.weight),), norm.weight.detach(), norm.bias.detach(), norm.eps)

    def __call__(self, tokens: Tensor, keep: Tensor | None = None, first: bool = False) -> Tensor:
        """Map tokens (B, T, dim), with the code of their slots added, to the same shape or to (B, 1, dim).

        Arguments as `PreparedBlock.forward`.
        """
        for block in self._blocks[:-1]:
            tokens = block(tokens, keep)
        return torch.layer_norm(self._blocks[-1](tokens, keep, first), *self._norm)
