# SPDX-License-Identifier: Apache-2.0
"""The controller's convolutions as matrix products.

The rows of an image lie one behind the other. Unrolled along the height of a kernel, one matrix product for each of its
columns gives a part of the convolution, and the sum of these parts, each shifted by one more pixel, is the convolution.
The last columns of a row then hold values of two rows. The pooling cuts them off, and the last layer has weights of
zero for them. With six channels and kernels of a few pixels this takes half the time of a library's convolution.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.model.prepared.workspace import Workspace
from admn_ros.model.qoi import QOI_POOL, QualityNet

LARGEST_KERNEL = 5
"""Largest kernel in pixels for which sums of shifted products are faster than a library's convolution."""


def looks_square(stem: QualityNet) -> bool:
    """Return whether a net downsamples and pools to squares, as `PreparedLook` does."""
    return len(set(stem.shape.size)) == 1 and set(stem.shape.pool) == {QOI_POOL}


class PreparedLook:
    """`QualityNet` of a modality, with squares.

    Args:
        stem: the net.
        shape: (C, H, W) of its input.
        workspace: memory for intermediate results.
    """

    def __init__(self, stem: QualityNet, shape: tuple[int, int, int], workspace: Workspace) -> None:
        self._size = stem.shape.size[0]
        self._resize = _Resize(shape, self._size)
        self._convolutions = [_Convolution(cast(nn.Conv2d, stem.layers[i]), workspace) for i in (0, 2, 5)]
        last, (_, (b, _), (c, _)) = cast(nn.Linear, stem.layers[8]), stem.shape.maps
        self._pooled, self._valid = b // QOI_POOL, c
        weight = last.weight.detach().view(len(last.weight), -1, c, c)
        self._weight = F.pad(weight, (0, self._pooled - c)).flatten(1).t().contiguous()
        self._bias = last.bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """Map (R, C, H, W) to (R, dim)."""
        count, (first, second, third) = len(x), self._convolutions
        x = self._resize(x).view(count, -1, self._size, self._size).transpose(0, 1)
        x = second.without_bias(first(x).relu_())
        # The largest of what bias and ReLU map in order is what they map the largest to.
        x = third(_pool(x, self._pooled).add_(second.bias[:, :, None, None]).relu_()).relu_()
        seen = x.transpose(0, 1).reshape(count, -1)
        return torch.addmm(self._bias, seen, self._weight)


class _Convolution:
    """Convolution of (C, R, H, W) to (out, R, H - kernel + 1, W), of which the last kernel - 1 columns are not valid.

    The result is in the workspace until the next call, whose input it may be.

    Attributes:
        bias: (out, 1).
    """

    def __init__(self, conv: nn.Conv2d, workspace: Workspace) -> None:
        out, channels, rows, self.columns = conv.weight.shape
        self.kernel, self._workspace = rows, workspace
        weights = conv.weight.detach().permute(3, 0, 1, 2).reshape(self.columns, out, channels * rows)
        self._weights = weights.contiguous().unbind()
        self.bias = cast(Tensor, conv.bias).detach()[:, None]

    def __call__(self, x: Tensor) -> Tensor:
        return self._convolve(x, self.bias)

    def without_bias(self, x: Tensor) -> Tensor:
        """Convolve, and leave the bias to a later step."""
        return self._convolve(x, None)

    def _convolve(self, x: Tensor, bias: Tensor | None) -> Tensor:
        channels, count, height, width = x.shape
        channel, row, line, pixel = x.stride()
        lines, kernel = height - self.kernel + 1, self.kernel
        pixels = count * lines * width
        unrolled = self._workspace.take("unrolled", channels * kernel, pixels)
        unrolled.view(channels, kernel, count, lines, width).copy_(
            x.as_strided((channels, kernel, count, lines, width), (channel, line, row, line, pixel),
                         x.storage_offset()))
        first = self._weights[0]
        total = self._workspace.take("total", len(first), pixels)
        if bias is None:
            torch.mm(first, unrolled, out=total)
        else:
            torch.addmm(bias, first, unrolled, out=total)
        for i in range(1, self.columns):
            total[:, :pixels - i].addmm_(self._weights[i], unrolled[:, i:])
        return total.view(-1, count, lines, width)


class _Resize:
    """Bilinear interpolation with antialiasing as two matrix products."""

    def __init__(self, shape: tuple[int, int, int], size: int) -> None:
        _, height, width = shape
        self._down, self._across = _interpolation(height, size).t().contiguous(), _interpolation(width, size)
        self._keeps_height, self._keeps_width = height == size, width == size
        # The order with fewer operations.
        self._across_first = height * size * (width + size) <= width * size * (height + size)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (R, C, H, W) to (R * C, size, size)."""
        x = x.flatten(0, 1)
        return self._rows(self._columns(x)) if self._across_first else self._columns(self._rows(x))

    def _columns(self, x: Tensor) -> Tensor:
        return x if self._keeps_width else x @ self._across

    def _rows(self, x: Tensor) -> Tensor:
        return x if self._keeps_height else torch.bmm(self._down.expand(len(x), -1, -1), x)


def _interpolation(n: int, size: int) -> Tensor:
    """Return the matrix (n, size) that maps n pixels to `size` ones."""
    return F.interpolate(torch.eye(n)[None, None], (n, size), mode="bilinear", align_corners=False,
                         antialias=True)[0, 0].contiguous()


def _pool(x: Tensor, pooled: int) -> Tensor:
    """Map (C, R, rows, columns) to the largest values (C, R, pooled, pooled) of squares."""
    end, step = pooled * QOI_POOL, QOI_POOL
    lines = torch.maximum(x[:, :, 0:end:step], x[:, :, 1:end:step])
    for i in range(2, step):
        torch.maximum(lines, x[:, :, i:end:step], out=lines)
    found = torch.maximum(lines[..., 0:end:step], lines[..., 1:end:step])
    for i in range(2, step):
        torch.maximum(found, lines[..., i:end:step], out=found)
    return found
