# SPDX-License-Identifier: Apache-2.0
"""Layers of the segmentation network. Normalization is by group: no layer behaves differently in training."""

from __future__ import annotations

from torch import Tensor, nn

GROUPS = 4


def convolution(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Return convolution, group normalization and ReLU."""
    groups = GROUPS if outputs % GROUPS == 0 else 1
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
                         nn.GroupNorm(groups, outputs), nn.ReLU())


class Block(nn.Module):
    """Two convolutions with a residual connection; the first one has stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = convolution(inputs, outputs, 2), convolution(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/2, W/2)."""
        half: Tensor = self.first(x)
        out: Tensor = half + self.second(half)
        return out


class Fuse(nn.Module):
    """Depth features to be added to RGB features, weighted by channel (squeeze and excitation, as in ESANet)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.excite = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid())

    def forward(self, depth: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        out: Tensor = depth * self.excite(depth)
        return out
