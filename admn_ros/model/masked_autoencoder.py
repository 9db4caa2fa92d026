# SPDX-License-Identifier: Apache-2.0
"""Masked autoencoding of a backbone (He et al. 2022; for spectrograms Huang et al. 2022; paper Section 3.3.2).

A share of the patches is masked, the backbone encodes the visible ones, and a light decoder reconstructs the masked
ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from admn_ros.errors import ConfigError, InputError
from admn_ros.model.transformer import NORM_EPS, Block
from admn_ros.model.vit import AdaptiveViT, PatchEmbed

Grid = tuple[int, int]


class Mask(NamedTuple):
    """Visible and hidden patches of each input.

    Attributes:
        visible: (B, V) indices of the visible patches, ascending.
        hidden: (B, T) bool, true for all other patches.
    """

    visible: Tensor
    hidden: Tensor


def draw_mask(inputs: int, patches: int, share: float, generator: torch.Generator) -> Mask:
    """Mask random patches of each input, on the generator's device.

    Args:
        inputs: number of inputs B.
        patches: number of patches T of each input.
        share: share of hidden patches, rounded to whole patches; at least one is hidden and one is visible.
        generator: random generator.

    Raises:
        InputError: there are fewer than 2 patches, or the share is outside (0, 1).
    """
    if patches < 2 or not 0 < share < 1:
        raise InputError("mask", f"{share} of {patches} patches", "a share between 0 and 1 of 2 or more patches")
    seen = patches - min(max(round(patches * share), 1), patches - 1)
    noise = torch.rand(inputs, patches, generator=generator, device=generator.device)
    visible = noise.argsort(dim=1)[:, :seen].sort(dim=1).values
    hidden = torch.ones_like(noise, dtype=torch.bool).scatter_(1, visible, value=False)
    return Mask(visible, hidden)


def patchify(x: Tensor, patch: Grid) -> Tensor:
    """Map (B, C, H, W) to the pixels of each patch (B, T, rows * columns * C), patches row by row."""
    batch, channels, height, width = x.shape
    rows, columns = patch
    cells = x.reshape(batch, channels, height // rows, rows, width // columns, columns)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, rows * columns * channels)


def normalize_patches(patches: Tensor, variance_floor: float = 1e-6) -> Tensor:
    """Normalize each patch (..., values) to mean 0 and variance 1: a target that gives better features (He et al.).

    Args:
        patches: pixels of the patches.
        variance_floor: constant added to the variance, so that uniform patches become zeros and not noise.
    """
    mean = patches.mean(dim=-1, keepdim=True)
    variance = patches.var(dim=-1, keepdim=True, correction=0)
    return (patches - mean) / (variance + variance_floor).sqrt()


def hide_pixels(x: Tensor, hidden: Tensor, patch: Grid) -> Tensor:
    """Set the hidden (B, T) patches of (B, C, H, W) to zero, about the mean of a normalized input."""
    rows, columns = patch
    cells = hidden.view(len(x), 1, x.shape[2] // rows, x.shape[3] // columns)
    return x.masked_fill(cells.repeat_interleave(rows, dim=2).repeat_interleave(columns, dim=3), 0.0)


def encode_visible(vit: AdaptiveViT, x: Tensor, mask: Mask, layers: Sequence[int], patch: Grid) -> Tensor:
    """Run a backbone on the visible patches only.

    A linear stem embeds each patch alone, so the visible tokens are selected after it. Convolutions extend beyond a
    patch, so that their input is zeroed where it is hidden: otherwise, hidden pixels would reach visible tokens.

    Args:
        vit: backbone.
        x: (B, C, H, W).
        mask: mask of the patches.
        layers: indices of the layers to run, ascending.
        patch: rows and columns of a patch.

    Returns:
        Normalized tokens (B, 1 + V, dim), class token first.
    """
    if not isinstance(vit.patch_embed, PatchEmbed):
        x = hide_pixels(x, mask.hidden, patch)
    tokens = vit.patch_embed(x) + vit.pos_embed[:, 1:]
    seen = tokens.gather(1, mask.visible[:, :, None].expand(-1, -1, tokens.shape[2]))
    cls_token = vit.cls_token + vit.pos_embed[:, :1]
    tokens = torch.cat([cls_token.expand(len(x), -1, -1).to(seen.dtype), seen], dim=1)
    for i in layers:
        tokens = vit.blocks[i](tokens)
    out: Tensor = vit.norm(tokens)
    return out


class MaskedDecoder(nn.Module):
    """Light transformer from the visible tokens to the pixels of all patches, used in pretraining only.

    Args:
        grid: rows and columns of patches.
        encoded: width of the backbone.
        values: number of values in a patch.
        dim: width of the decoder.
        depth: number of layers of the decoder.
        heads: number of attention heads of the decoder.
    """

    code: Tensor

    def __init__(self, grid: Grid, encoded: int, values: int, *, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(encoded, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("code", grid_code(grid, dim), persistent=False)
        self.blocks = nn.ModuleList(Block(dim, heads, 4.0) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.pred = nn.Linear(dim, values)
        nn.init.normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, encoded: Tensor, mask: Mask) -> Tensor:
        """(B, 1 + V, encoded) to (B, T, values), for the patches that were seen too."""
        seen = self.embed(encoded)
        index = mask.visible[:, :, None].expand(-1, -1, seen.shape[2])
        patches = self.mask_token.to(seen.dtype).expand(*mask.hidden.shape, -1).scatter(1, index, seen[:, 1:])
        tokens = torch.cat([seen[:, :1], patches], dim=1) + self.code.to(seen.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.pred(self.norm(tokens[:, 1:]))
        return out


def hidden_error(guess: Tensor, target: Tensor, mask: Mask) -> Tensor:
    """Return the mean squared error of guess and target (B, T, values) over the hidden patches."""
    return (guess.float() - target.float()).square().mean(dim=-1)[mask.hidden].mean()


def grid_code(grid: Grid, dim: int) -> Tensor:
    """Return the fixed position code (1, 1 + rows * columns, dim) of the public MAE files.

    The class token has zeros. Each patch has sines and cosines of its column in the first half, and of its row in the
    second.

    Raises:
        ConfigError: the width is not a multiple of 4.
    """
    if dim % 4:
        raise ConfigError("dim", dim, "a multiple of 4, for positions in two axes of sines and cosines")
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in grid)
    rate = torch.exp(torch.arange(dim // 4, dtype=torch.float64) * (-math.log(10000.0) * 4 / dim))

    def waves(position: Tensor) -> Tensor:
        return torch.cat([torch.sin(position[:, None] * rate), torch.cos(position[:, None] * rate)], dim=1)

    across = waves(columns)[None].expand(len(rows), -1, -1)
    down = waves(rows)[:, None].expand(-1, len(columns), -1)
    patches = torch.cat([across, down], dim=2).reshape(-1, dim).float()
    return torch.cat([patches.new_zeros(1, dim), patches])[None]
