# SPDX-License-Identifier: Apache-2.0
"""Stems for inference: inputs to patches and feature maps.

Feature maps lie pixel by pixel (channels last). PyTorch's convolutions are faster so, a group norm over all channels is
a layer norm, and the rows of a patch are contiguous.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.model.prepared.transformer import LARGEST_COPY
from admn_ros.model.vit import AdaptiveViT, FineStem, PatchEmbed

Stem = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""Maps inputs (R, C, H, W) to patches (R, number, dim), and to feature maps (R, pixels, width) if the stem is fine."""


def prepare_stem(vit: AdaptiveViT) -> Stem:
    """Return the stem of a backbone."""
    stem = vit.patch_embed
    if type(stem) is FineStem:
        return PreparedFineStem(stem, vit.shape)
    return PreparedPatches(stem) if type(stem) is PatchEmbed else lambda x: (vit.patch_embed(x), None)


class PreparedPatches:
    """`PatchEmbed` as one matrix product."""

    def __init__(self, stem: PatchEmbed) -> None:
        proj = stem.proj
        self._height, self._width = proj.stride
        weight = proj.weight.detach().flatten(1).t()
        self._weight = weight.contiguous() if weight.numel() <= LARGEST_COPY else weight
        self._bias = cast(Tensor, proj.bias).detach()

    def __call__(self, x: Tensor) -> tuple[Tensor, None]:
        """Map inputs to patches; see `Stem`."""
        count, channels, height, width = x.shape
        rows, columns = height // self._height, width // self._width
        pixels = x.reshape(count, channels, rows, self._height, columns, self._width).permute(0, 2, 4, 1, 3, 5)
        patches = torch.addmm(self._bias, pixels.reshape(count * rows * columns, -1), self._weight)
        return patches.view(count, rows * columns, -1), None


class PreparedFineStem:
    """`FineStem`.

    Args:
        stem: the stem.
        shape: (C, H, W) of the input.
    """

    def __init__(self, stem: FineStem, shape: tuple[int, int, int]) -> None:
        _, height, width = shape
        self._steps = []
        for k, i in enumerate((0, 3), start=1):
            conv, norm = _Conv.of(stem.layers[i]), _FlatNorm.of(stem.layers[i + 1], (height >> k) * (width >> k))
            self._steps.append((conv, norm))
        proj = stem.proj
        self._rows, self._columns = height // 4 // proj.stride[0], width // 4 // proj.stride[1]
        self._weight = proj.weight.detach().permute(2, 3, 1, 0).flatten(0, 2).contiguous()
        self._bias, self._height = cast(Tensor, proj.bias).detach(), proj.stride[0]

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs to patches and feature maps; see `Stem`."""
        count, x = len(x), _channels_last(x)
        for conv, norm in self._steps:
            x = norm(conv(x))
        maps = x.permute(0, 2, 3, 1)
        lines = maps.view(count * self._rows, self._height, self._columns, -1)
        patches = torch.addmm(self._bias, lines.transpose(1, 2).reshape(-1, len(self._weight)), self._weight)
        return patches.view(count, self._rows * self._columns, -1), maps.flatten(1, 2)


class _Conv(NamedTuple):
    """Convolution as a direct call."""

    weight: Tensor
    bias: Tensor
    stride: int
    padding: int

    @classmethod
    def of(cls, layer: nn.Module) -> _Conv:
        conv = cast(nn.Conv2d, layer)
        weight = conv.weight.detach().contiguous(memory_format=torch.channels_last)
        return cls(weight, cast(Tensor, conv.bias).detach(), conv.stride[0], cast(int, conv.padding[0]))

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class _FlatNorm(NamedTuple):
    """Group norm of one group, and ReLU, as a layer norm over pixels and channels."""

    shape: tuple[int]
    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, layer: nn.Module, pixels: int) -> _FlatNorm:
        norm = cast(nn.GroupNorm, layer)
        weight, bias = norm.weight.detach().repeat(pixels), norm.bias.detach().repeat(pixels)
        return cls((len(weight),), weight, bias, norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (R, C, H, W) to the same shape, channels last."""
        count, channels, height, width = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(count, -1)
        normed = torch.layer_norm(flat, *self).relu_()
        return normed.view(count, height, width, channels).permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    """Copy (R, C, H, W) to channels last, in NumPy: with few channels three times as fast as in PyTorch."""
    count, channels, height, width = x.shape
    if channels == 1 and x.is_contiguous():  # the same bytes; from these strides PyTorch knows it
        return x.as_strided(x.shape, (height * width, 1, width, 1))
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    out = torch.empty(count, height, width, channels)
    to, of = out.numpy(), x.numpy()
    for channel in range(channels):
        to[..., channel] = of[:, channel]
    return out.permute(0, 3, 1, 2)
