# SPDX-License-Identifier: Apache-2.0
"""Backbone and adapter for inference, with other layers for every row where rows belong to different frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from admn_ros.model.fusion import Adapter
from admn_ros.model.prepared.readouts import prepare_readout
from admn_ros.model.prepared.stems import prepare_stem
from admn_ros.model.prepared.transformer import PreparedBlock
from admn_ros.model.transformer import Block
from admn_ros.model.vit import AdaptiveViT, Points

Layers = tuple[int, ...]


class PreparedBackbone(nn.Module):
    """`AdaptiveViT` with its adapter.

    Where the readout reads the class token alone, the last layer of a frame computes no other token.

    Attributes:
        blocks: its layers.
        readout: maps the output of the last layer, and feature maps, to tokens of the fusion (R, fusion dim).
        reads_class_token: whether the readout reads the class token alone.
    """

    def __init__(self, vit: AdaptiveViT, adapter: Adapter, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PreparedBlock(cast(Block, block), dtype) for block in vit.blocks)
        self._stem, self.readout = prepare_stem(vit), prepare_readout(vit, adapter)
        self._first = (vit.cls_token.detach() + vit.pos_embed.detach()[:, :1])[:, 0]
        self._places = vit.pos_embed.detach()[:, 1:].contiguous()
        self.reads_class_token = not isinstance(vit.points, Points)

    def forward(self, x: Tensor, layers: Sequence[Layers]) -> Tensor:
        """Map inputs (R, C, H, W) to tokens of the fusion (R, fusion dim).

        Args:
            x: inputs.
            layers: layers of each row, ascending; or one entry for all rows.
        """
        tokens, maps = self.embed(x)
        if len(set(layers)) == 1:
            *others, last = layers[0]
            for i in others:
                tokens = self.blocks[i](tokens)
            tokens = self.blocks[last](tokens, first=self.reads_class_token)
        else:
            tokens = self._run_each(tokens, layers)
        return self.readout(tokens, maps)

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (R, C, H, W) to tokens (R, 1 + patches, dim) and the feature maps of a fine stem (R, pixels, width)."""
        patches, maps = self._stem(x)
        count, number, dim = patches.shape
        tokens = torch.empty(count, 1 + number, dim)
        tokens[:, 0] = self._first
        torch.add(patches, self._places, out=tokens[:, 1:])
        return tokens, maps

    def _run_each(self, tokens: Tensor, layers: Sequence[Layers]) -> Tensor:
        """Run on each row its own layers."""
        for i in sorted(set().union(*layers)):
            rows = [row for row, those in enumerate(layers) if i in those and not self._ends(i, those)]
            if len(rows) == len(tokens):
                tokens = self.blocks[i](tokens)
            elif rows:
                index = torch.tensor(rows)
                tokens[index] = self.blocks[i](tokens[index])
            ends = [row for row, those in enumerate(layers) if self._ends(i, those)]
            if ends:
                tokens[ends, :1] = self.blocks[i](tokens[ends], first=True)
        return tokens

    def _ends(self, layer: int, layers: Layers) -> bool:
        """Return whether nothing but the class token of a layer's output is read."""
        return self.reads_class_token and layers[-1] == layer
