# SPDX-License-Identifier: Apache-2.0
"""Vision transformer of adaptive depth (paper Section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from admn_ros.config import FINE_STRIDE, BackboneConfig
from admn_ros.errors import InputError
from admn_ros.model.transformer import NORM_EPS, Block

FINE_WIDTHS, FINE_KERNELS = (16, 32), (5, 3)
"""Channels and kernel sizes of the two convolutions of a fine stem."""
FINE_KEYS = 32
"""Width of the keys by which the points of a fine stem are found."""


def stem_widths(patch: int, dim: int) -> tuple[int, ...]:
    """Return the channels of a conv stem's convolutions: doubled by each of them, `dim` at the end."""
    steps = patch.bit_length() - 1
    return tuple(dim >> (steps - 1 - i) for i in range(steps))


class PatchEmbed(nn.Module):
    """Linear embedding (proj) of non-overlapping patches."""

    def __init__(self, channels: int, patch: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, patches, dim), patches row by row."""
        out: Tensor = self.proj(x)
        return out.flatten(2).transpose(1, 2)


class ConvStem(nn.Module):
    """Convolutions of stride 2 down to one token per patch (Xiao et al. 2021, Section 4)."""

    def __init__(self, channels: int, patch: int, dim: int) -> None:
        super().__init__()
        widths = stem_widths(patch, dim)
        steps: list[nn.Module] = []
        for width_in, width in zip((channels, *widths), widths, strict=False):
            # Group norm, because corruption changes the statistics of a batch.
            steps += [nn.Conv2d(width_in, width, 3, stride=2, padding=1), nn.GroupNorm(1, width), nn.ReLU()]
        self.layers = nn.Sequential(*steps)
        self.proj = nn.Conv2d(widths[-1], dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, patches, dim), patches row by row."""
        out: Tensor = self.proj(self.layers(x))
        return out.flatten(2).transpose(1, 2)


class FineStem(nn.Module):
    """Two convolutions of stride 2, and a linear embedding of patches of their feature maps."""

    def __init__(self, channels: int, patch: tuple[int, int], dim: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for width_in, width, kernel in zip((channels, *FINE_WIDTHS), FINE_WIDTHS, FINE_KERNELS, strict=False):
            conv = nn.Conv2d(width_in, width, kernel, stride=2, padding=kernel // 2)
            steps += [conv, nn.GroupNorm(1, width), nn.ReLU()]
        self.layers = nn.Sequential(*steps)
        small = (patch[0] // FINE_STRIDE, patch[1] // FINE_STRIDE)
        self.proj = nn.Conv2d(FINE_WIDTHS[-1], dim, kernel_size=small, stride=small)

    def maps(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to feature maps (B, width, H / 4, W / 4)."""
        out: Tensor = self.layers(x)
        return out

    def tokens(self, maps: Tensor) -> Tensor:
        """Map feature maps to (B, patches, dim), patches row by row."""
        out: Tensor = self.proj(maps)
        return out.flatten(2).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, patches, dim), patches row by row."""
        return self.tokens(self.maps(x))


class FinePoints(nn.Module):
    """Spatial soft-argmax over the feature maps of a fine stem, with queries from the class token.

    Unlike `Points`, it works at stride 4: it can locate targets that are smaller than a patch, and the layers of the
    backbone need not carry their position.

    Args:
        grid: rows and columns of the feature maps.
        dim: width of the class token.
        count: number of queries.
        values: number of features that each query reads at its position.
    """

    places: Tensor

    def __init__(self, grid: tuple[int, int], dim: int, count: int, values: int) -> None:
        super().__init__()
        self.count, self.values = count, values
        self.query = nn.Linear(dim, count * FINE_KEYS)
        self.keys_values = nn.Conv2d(FINE_WIDTHS[-1], FINE_KEYS + values, 1)
        self.proj = nn.Linear((3 + values) * count, dim)
        down, across = (((torch.arange(n) + 0.5) * 2 / n - 1) for n in grid)
        self.register_buffer("places", torch.cartesian_prod(down, across), persistent=False)

    def forward(self, class_token: Tensor, maps: Tensor) -> Tensor:
        """Map class tokens (B, dim) and feature maps (B, width, rows, columns) to (B, dim)."""
        keys, values = self.keys_values(maps).flatten(2).split((FINE_KEYS, self.values), dim=1)
        query = self.query(class_token).view(class_token.shape[0], self.count, FINE_KEYS)
        share = (query @ keys / FINE_KEYS ** 0.5).softmax(dim=2)
        read = [share @ self.places, share @ values.transpose(1, 2), share.square().sum(dim=2, keepdim=True)]
        out: Tensor = self.proj(torch.cat(read, dim=2).flatten(1))
        return out


class Points(nn.Module):
    """Spatial soft-argmax (Levine et al. 2016) over the patch tokens, with learned queries.

    Each token adds an offset to its position, because patches are coarse; features are read with the same weights.

    Args:
        grid: rows and columns of patches.
        dim: width of the tokens.
        count: number of queries.
        values: number of features that each query reads at its position.
    """

    places: Tensor

    def __init__(self, grid: tuple[int, int], dim: int, count: int, values: int) -> None:
        super().__init__()
        self.count = count
        self.query = nn.Linear(dim, 3 * count)
        self.value = nn.Linear(dim, values * count) if values else None
        self.proj = nn.Linear((3 + values) * count, dim)
        down, across = (((torch.arange(n) + 0.5) * 2 / n - 1) for n in grid)
        self.register_buffer("places", torch.cartesian_prod(down, across), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map patch tokens (B, patches, dim) to (B, dim)."""
        scores = self.query(tokens).view(tokens.shape[0], -1, 3, self.count)
        share = scores[:, :, 0].softmax(dim=1)
        # In units of the whole image; the scale makes half a patch a typical offset.
        at = self.places[:, :, None] + scores[:, :, 1:] / len(self.places) ** 0.5
        read = [(share[:, :, None] * at).sum(dim=1).flatten(1), share.square().sum(dim=1)]
        if self.value is not None:
            values = self.value(tokens).view(*share.shape, -1)
            read.append((share[..., None] * values).sum(dim=1).flatten(1))
        out: Tensor = self.proj(torch.cat(read, dim=1))
        return out


class AdaptiveViT(nn.Module):
    """ViT that can run any subset of its layers, with the weight names of timm and MAE.

    Args:
        shape: (C, H, W) of the input; H and W are multiples of the patch.
        config: width, depth, heads, patch and stem.
    """

    def __init__(self, shape: tuple[int, int, int], config: BackboneConfig) -> None:
        super().__init__()
        self.shape, self.depth, self.dim = shape, config.depth, config.dim
        channels, height, width = shape
        rows, columns = height // config.patch[0], width // config.patch[1]
        patches = rows * columns
        self.patch_embed = _stem(channels, config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + 1, config.dim))
        self.blocks = nn.ModuleList(Block(config.dim, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.points: Points | FinePoints | None = None
        if config.stem == "fine":
            grid = height // FINE_STRIDE, width // FINE_STRIDE
            self.points = FinePoints(grid, config.dim, config.points, config.point_values)
        elif config.points:
            self.points = Points((rows, columns), config.dim, config.points, config.point_values)

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (B, C, H, W) to tokens (B, 1 + patches, dim), class token first, and the feature maps of a fine stem.

        Raises:
            InputError: the input does not have the shape of the model.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise InputError("backbone input", tuple(x.shape[1:]), self.shape)
        maps: Tensor | None = None
        if isinstance(self.patch_embed, FineStem):
            maps = self.patch_embed.maps(x)
            tokens = self.patch_embed.tokens(maps)
        else:
            tokens = self.patch_embed(x)
        return torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1) + self.pos_embed, maps

    def readout(self, tokens: Tensor, maps: Tensor | None) -> Tensor:
        """Return the normalized class token (B, dim) plus the output of the points."""
        if isinstance(self.points, Points):
            tokens = self.norm(tokens)
            found: Tensor = tokens[:, 0] + self.points(tokens[:, 1:])
            return found
        # The norm works token by token: selecting the class token first gives the same output at a lower cost.
        class_token: Tensor = self.norm(tokens[:, 0])
        return class_token if self.points is None else class_token + self.points(class_token, maps)

    def forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        """Run only the listed layers, in ascending order.

        Args:
            x: (B, C, H, W).
            active: layer indices in [0, depth); order and repetition do not matter.

        Returns:
            Embedding (B, dim).

        Raises:
            InputError: the input has another shape, or a layer does not exist.
        """
        layers = sorted(set(active))
        if layers and not 0 <= layers[0] <= layers[-1] < self.depth:
            raise InputError("active layers", layers, f"[0, {self.depth})")
        tokens, maps = self.embed(x)
        for i in layers:
            tokens = self.blocks[i](tokens)
        return self.readout(tokens, maps)

    def forward_masked(self, x: Tensor, mask: Tensor) -> Tensor:
        """Run a different choice of layers for each row, differentiable in the choice.

        The output of a layer is mask * layer(x) + (1 - mask) * x (paper Section 3.4.3). A layer that no row uses, and
        whose mask needs no gradient, is not executed.

        Args:
            x: (B, C, H, W).
            mask: (B, depth), 1 for active and 0 for dropped layers.

        Returns:
            Embedding (B, dim); for masks of 0 and 1 the output of `forward` for each row.
        """
        if tuple(mask.shape) != (len(x), self.depth):
            raise InputError("mask", tuple(mask.shape), (len(x), self.depth))
        used = (mask.detach() != 0).any(dim=0).tolist()
        tokens, maps = self.embed(x)
        for i, block in enumerate(self.blocks):
            if used[i] or mask.requires_grad:
                m = mask[:, i, None, None].to(tokens.dtype)
                tokens = m * block(tokens) + (1 - m) * tokens
        return self.readout(tokens, maps)


def _stem(channels: int, config: BackboneConfig) -> PatchEmbed | ConvStem | FineStem:
    if config.stem == "fine":
        return FineStem(channels, config.patch, config.dim)
    if config.stem == "conv":
        return ConvStem(channels, config.patch[0], config.dim)
    return PatchEmbed(channels, config.patch, config.dim)
