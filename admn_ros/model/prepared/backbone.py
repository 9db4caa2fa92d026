# SPDX-License-Identifier: Apache-2.0
"""Backbone and adapter for inference, with other layers for every row where rows belong to different frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.model.fusion import Adapter
from admn_ros.model.prepared.transformer import Affine, PreparedBlock
from admn_ros.model.transformer import Block
from admn_ros.model.vit import FINE_KEYS, AdaptiveViT, FinePoints, FineStem, Points

Layers = tuple[int, ...]


class PreparedBackbone(nn.Module):
    """`AdaptiveViT` with its adapter.

    Where the readout reads the class token alone, the last layer of a frame computes no other token.

    Attributes:
        blocks: its layers.
        reads_class_token: whether the readout reads the class token alone.
    """

    def __init__(self, vit: AdaptiveViT, adapter: Adapter) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PreparedBlock(cast(Block, block)) for block in vit.blocks)
        self._vit = (vit,)  # in a tuple: its modules are no parts of this one
        stem = vit.patch_embed
        self._stem = _FineStem(stem) if type(stem) is FineStem else None
        self._first = (vit.cls_token.detach() + vit.pos_embed.detach()[:, :1])[:, 0]
        self._places = vit.pos_embed.detach()[:, 1:].contiguous()
        points = isinstance(vit.points, FinePoints) and self._stem is not None
        self._readout = _FineReadout(vit, adapter) if points else None
        self._adapter = (adapter,)
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
        """Map (R, C, H, W) to tokens (R, 1 + patches, dim) and the feature maps of a fine stem."""
        maps: Tensor | None = None
        if self._stem is None:
            patches = self._vit[0].patch_embed(x)
        else:
            patches, maps = self._stem(x)
        count, number, dim = patches.shape
        tokens = torch.empty(count, 1 + number, dim)
        tokens[:, 0] = self._first
        torch.add(patches, self._places, out=tokens[:, 1:])
        return tokens, maps

    def readout(self, tokens: Tensor, maps: Tensor | None) -> Tensor:
        """Map the output of the last layer to tokens of the fusion (R, fusion dim)."""
        if self._readout is not None and maps is not None:
            return self._readout(tokens[:, 0], maps)
        out: Tensor = self._adapter[0](self._vit[0].readout(tokens, maps))
        return out

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


class _FineStem:
    """`FineStem` as direct calls."""

    def __init__(self, stem: FineStem) -> None:
        self._steps = [(_Conv.of(stem.layers[i]), cast(nn.GroupNorm, stem.layers[i + 1])) for i in (0, 3)]
        self._proj = _Conv.of(stem.proj)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return patches (R, number, dim) and feature maps (R, width, H / 4, W / 4)."""
        for conv, norm in self._steps:
            x = F.group_norm(conv(x), 1, norm.weight, norm.bias, norm.eps).relu_()
        return self._proj(x).flatten(2).transpose(1, 2), x


class _Conv(NamedTuple):
    """Convolution as a direct call."""

    weight: Tensor
    bias: Tensor
    stride: int
    padding: int

    @classmethod
    def of(cls, layer: nn.Module) -> _Conv:
        conv = cast(nn.Conv2d, layer)
        return cls(conv.weight.detach(), cast(Tensor, conv.bias).detach(), conv.stride[0], cast(int, conv.padding[0]))

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class _FineReadout:
    """Final norm, `FinePoints` and adapter.

    Keys and values of the points are linear in the feature maps, so that queries can be put to the maps themselves, and
    what they read there goes through one linear layer: that of the values, of the points and of the adapter in one. The
    bias of the keys adds the same to all scores of a query, which softmax ignores.
    """

    def __init__(self, vit: AdaptiveViT, adapter: Adapter) -> None:
        points = cast(FinePoints, vit.points)
        norm = vit.norm
        self._norm = ((len(norm.weight),), norm.weight.detach(), norm.bias.detach(), norm.eps)
        self._count, self._places = points.count, points.places.detach()
        held = points.keys_values
        keys_values = held.weight.detach().double().flatten(1)
        keys, values = keys_values[:FINE_KEYS], keys_values[FINE_KEYS:]
        bias = cast(Tensor, held.bias).detach().double()[FINE_KEYS:]
        ask = points.query.weight.detach().double().view(points.count, FINE_KEYS, -1) / FINE_KEYS ** 0.5
        ask_bias = points.query.bias.detach().double().view(points.count, FINE_KEYS) / FINE_KEYS ** 0.5
        self._query = torch.einsum("kw,ckd->dcw", keys, ask).flatten(1).float().contiguous()
        self._query_bias = (ask_bias @ keys).flatten().float()
        proj = points.proj.weight.detach().double().view(-1, points.count, 3 + points.values)
        place, value, focus = proj[:, :, :2], proj[:, :, 2:-1], proj[:, :, -1:]
        first, self._last = cast(nn.Linear, adapter[0]), Affine(adapter[2])
        mix = first.weight.detach().double()
        read = torch.cat([(value @ values).flatten(1), place.flatten(1), focus.flatten(1)], dim=1)
        self._mix = torch.cat([mix, mix @ read], dim=1).t().float().contiguous()
        added = points.proj.bias.detach().double() + (value @ bias).sum(dim=1)
        self._mix_bias = (first.bias.detach().double() + mix @ added).float()
        self._slope = cast(nn.LeakyReLU, adapter[1]).negative_slope

    def __call__(self, class_token: Tensor, maps: Tensor) -> Tensor:
        """Map class tokens (R, dim) and maps (R, width, rows, columns) to tokens of the fusion (R, fusion dim)."""
        token, maps = torch.layer_norm(class_token, *self._norm), maps.flatten(2)
        count = len(maps)
        query = torch.addmm(self._query_bias, token, self._query).view(count, self._count, -1)
        share = torch.bmm(query, maps).softmax(dim=2)
        read = torch.bmm(share, maps.transpose(1, 2))
        flat = share.flatten(0, 1)
        where, focus = flat @ self._places, (flat * flat).sum(dim=1)
        mixed = torch.cat([token, read.view(count, -1), where.view(count, -1), focus.view(count, -1)], dim=1)
        return self._last(F.leaky_relu_(torch.addmm(self._mix_bias, mixed, self._mix), self._slope))
