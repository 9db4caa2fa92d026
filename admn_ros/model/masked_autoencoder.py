# SPDX-License-Identifier: Apache-2.0
"""Masked autoencoding of a backbone (He et al. 2022; for spectrograms Huang et al. 2022; paper Section 3.3.2).

A share of the patches is hidden, the backbone sees the others, and a light decoder guesses what is hidden.
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
    """Which patches of each input are seen.

    visible: (B, V) numbers of the patches that are seen, ascending. hidden: (B, T) bool, all the others.
    """

    visible: Tensor
    hidden: Tensor


def draw_mask(inputs: int, patches: int, share: float, generator: torch.Generator) -> Mask:
    """Hide patches of each input at random, every choice equally likely; on the generator's device.

    Args:
        inputs: B. patches: T of each.
        share: hidden of each input, rounded to whole patches; at least one is hidden and one is seen.
        generator: of the draw.

    Raises:
        InputError: fewer than 2 patches, or a share outside (0, 1).
    """
    if patches < 2 or not 0 < share < 1:
        raise InputError("mask", f"{share} of {patches} patches", "a share between 0 and 1 of 2 or more patches")
    seen = patches - min(max(round(patches * share), 1), patches - 1)
    noise = torch.rand(inputs, patches, generator=generator, device=generator.device)
    visible = noise.argsort(dim=1)[:, :seen].sort(dim=1).values
    hidden = torch.ones_like(noise, dtype=torch.bool).scatter_(1, visible, value=False)
    return Mask(visible, hidden)


def patchify(x: Tensor, patch: Grid) -> Tensor:
    """(B, C, H, W) to (B, T, rows * columns * C): the pixels of each patch, patches row by row."""
    batch, channels, height, width = x.shape
    rows, columns = patch
    cells = x.reshape(batch, channels, height // rows, rows, width // columns, columns)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, rows * columns * channels)


def normalize_patches(patches: Tensor, variance_floor: float = 1e-6) -> Tensor:
    """Each patch (..., values) to mean 0 and variance 1: the target that gives the better features.

    `variance_floor` is added to the variance, so that a patch with less than that becomes nearly zeros, not noise.
    """
    mean = patches.mean(dim=-1, keepdim=True)
    variance = patches.var(dim=-1, keepdim=True, correction=0)
    return (patches - mean) / (variance + variance_floor).sqrt()


def hide_pixels(x: Tensor, hidden: Tensor, patch: Grid) -> Tensor:
    """(B, C, H, W) with zeros, which is near the mean of a normalized input, in the hidden (B, T) patches."""
    rows, columns = patch
    cells = hidden.view(len(x), 1, x.shape[2] // rows, x.shape[3] // columns)
    return x.masked_fill(cells.repeat_interleave(rows, dim=2).repeat_interleave(columns, dim=3), 0.0)


def encode_visible(vit: AdaptiveViT, x: Tensor, mask: Mask, layers: Sequence[int], patch: Grid) -> Tensor:
    """Run a backbone on the patches that are seen, and on nothing else.

    Patches that the stem embeds one by one are picked after it. Convolutions look beyond a patch, so their
    input gets zeros where it is hidden: picking their tokens alone would let hidden pixels through.

    Args:
        vit: the backbone.
        x: (B, C, H, W).
        mask: of its patches.
        layers: that run, ascending.
        patch: size of a patch.

    Returns:
        (B, 1 + V, dim), normalized, the class token first.
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
    """Light transformer from the tokens that were seen to the pixels of all patches; thrown away afterwards.

    Args:
        grid: rows and columns of the patches.
        encoded: width of the backbone.
        values: numbers in a patch.
        dim, depth, heads: of the decoder.
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
    """Mean squared error of guess and target (B, T, values) over the hidden patches; those seen do not count."""
    return (guess.float() - target.float()).square().mean(dim=-1)[mask.hidden].mean()


def grid_code(grid: Grid, dim: int) -> Tensor:
    """Fixed positions (1, 1 + rows * columns, dim) as in public MAE files: zeros for the class token, then for
    each patch sines and cosines of its column in the first half and of its row in the second.

    Raises:
        ConfigError: a width that is no multiple of 4.
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
