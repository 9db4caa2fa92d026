# SPDX-License-Identifier: Apache-2.0
"""Fusion-level DynMM for RGB-D segmentation (Xue and Marculescu 2023, Equation 2 and Figure 8).

RGB runs whole. A convolutional gate chooses how many blocks of the depth encoder run; the features of each of them are
added to the RGB features behind the same block. Depth blocks beyond are neither run nor fused, and choice 0 runs no
depth at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.baselines.gates import straight_through
from admn_ros.baselines.segmentation.config import SegmentationConfig
from admn_ros.baselines.segmentation.layers import Block, Fuse, convolution
from admn_ros.errors import InputError
from admn_ros.sample import Modality, SampleBatch

BLOCKS = 4
CHOICES = BLOCKS + 1
"""Choices of the gate: 0 to 4 depth blocks."""
GATE_SHRINK = 2


class RgbdSegmentation(nn.Module):
    """Two encoders, a decoder and a gate.

    Args:
        config: sizes.
    """

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        self.config = config
        inputs = (config.stem, *config.widths[:-1])
        self.rgb_stem = convolution(config.rgb_channels, config.stem, 2)
        self.depth_stem = convolution(config.depth_channels, config.stem, 2)
        self.rgb_blocks, self.depth_blocks = (
            nn.ModuleList(Block(a, b) for a, b in zip(inputs, config.widths, strict=True)) for _ in range(2))
        self.fusions = nn.ModuleList(Fuse(width) for width in config.widths)
        self.laterals = nn.ModuleList(nn.Conv2d(width, config.decoder, 1) for width in (config.stem, *config.widths))
        # At the size of the stem a 3x3 convolution would cost as much as all depth blocks.
        self.refine = nn.ModuleList(convolution(config.decoder, config.decoder, kernel=3 if i else 1)
                                    for i in range(BLOCKS))
        self.head = nn.Conv2d(config.decoder, len(config.classes), 1)
        self.gate = nn.Sequential(
            nn.AvgPool2d(GATE_SHRINK), convolution(config.rgb_channels + config.depth_channels, config.gate, 2),
            convolution(config.gate, 2 * config.gate, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(2 * config.gate, CHOICES))

    def inputs(self, batch: SampleBatch) -> tuple[Tensor, Tensor]:
        """Return RGB and depth (B, C, H, W) of the only sensor node.

        Raises:
            InputError: an input is missing, or has another shape.
        """
        config, found = self.config, []
        for modality, channels in ((Modality.RGB, config.rgb_channels), (Modality.DEPTH, config.depth_channels)):
            shape = tuple(batch.inputs[modality].shape[1:]) if modality in batch.inputs else None
            if shape != (1, channels, config.height, config.width):
                raise InputError(str(modality), shape or "nothing", f"{(1, channels, config.height, config.width)}")
            found.append(batch.inputs[modality][:, 0])
        return found[0], found[1]

    def gate_logits(self, rgb: Tensor, depth: Tensor) -> Tensor:
        """Return the logits (B, `CHOICES`) of the numbers of depth blocks."""
        logits: Tensor = self.gate(torch.cat([rgb, depth], dim=1))
        return logits

    def forward_train(self, rgb: Tensor, depth: Tensor, weights: Tensor) -> Tensor:
        """Run all blocks and return class logits (B, K, H, W), differentiable in the weights (B, `CHOICES`).

        The fusion behind a block has the summed weight of the choices that run it.
        """
        behind = weights.flip(1).cumsum(dim=1).flip(1)
        x, features = self.rgb_stem(rgb), []
        d = self.depth_stem(depth)
        features.append(x)
        for i in range(BLOCKS):
            d = self.depth_blocks[i](d)
            x = self.rgb_blocks[i](x) + behind[:, i + 1, None, None, None] * self.fusions[i](d)
            features.append(x)
        return self._decode(features)

    def run(self, rgb: Tensor, depth: Tensor, choice: Tensor) -> Tensor:
        """Run each sample with its own number of depth blocks, (B,) of 0 to 4, and nothing else.

        Returns:
            Class logits (B, K, H, W).
        """
        parts, rows = [], []
        for count in sorted(set(choice.tolist())):
            row = (choice == count).nonzero().squeeze(1)
            parts.append(self._run(rgb[row], depth[row], int(count)))
            rows.append(row)
        return torch.cat(parts)[torch.cat(rows).argsort()]

    def choose(self, rgb: Tensor, depth: Tensor) -> Tensor:
        """Return the number of depth blocks of each sample (B,)."""
        return self.gate_logits(rgb, depth).argmax(dim=1)

    def soft_weights(self, rgb: Tensor, depth: Tensor, tau: float) -> Tensor:
        """Return the softmax of the gate (B, `CHOICES`) at a temperature above 0."""
        return (self.gate_logits(rgb, depth) / tau).softmax(dim=1)

    def hard_weights(self, rgb: Tensor, depth: Tensor) -> Tensor:
        """Return the one-hot choice of the gate (B, `CHOICES`), with the gradient of the softmax."""
        return straight_through(self.gate_logits(rgb, depth))

    def parts(self) -> list[nn.Module]:
        """Return everything but the gate."""
        return [part for name, part in self.named_children() if name != "gate"]

    def _run(self, rgb: Tensor, depth: Tensor, count: int) -> Tensor:
        x = self.rgb_stem(rgb)
        features = [x]
        d = self.depth_stem(depth) if count else depth
        for i in range(BLOCKS):
            x = self.rgb_blocks[i](x)
            if i < count:
                d = self.depth_blocks[i](d)
                x = x + self.fusions[i](d)
            features.append(x)
        return self._decode(features)

    def _decode(self, features: Sequence[Tensor]) -> Tensor:
        """Map stem and block features to class logits at the size of the input."""
        x: Tensor = self.laterals[-1](features[-1])
        for i in reversed(range(BLOCKS)):
            x = self.refine[i](F.interpolate(x, scale_factor=2.0, mode="nearest") + self.laterals[i](features[i]))
        logits: Tensor = F.interpolate(self.head(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return logits
