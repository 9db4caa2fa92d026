# SPDX-License-Identifier: Apache-2.0
"""Readouts for inference: the output of the last layer to a token of the fusion.

What points read is linear in the tokens or maps, so that it goes through one linear layer: that of the points and that
of the adapter in one. Biases of scores add the same to all scores of a query, which softmax ignores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.model.fusion import Adapter
from admn_ros.model.prepared.transformer import Affine
from admn_ros.model.vit import FINE_KEYS, AdaptiveViT, FinePoints, Points

LEAST_SHARE = 1e-18
"""Shares of attention below are zero. Their squares would be denormal, with which processors compute slowly."""


class Readout:
    """Final norm and adapter: the readout of a backbone without points."""

    def __init__(self, vit: AdaptiveViT, adapter: Adapter) -> None:
        norm, first = vit.norm, cast(nn.Linear, adapter[0])
        self._norm = ((len(norm.weight),), norm.weight.detach(), norm.bias.detach(), norm.eps)
        self._slope, self._last = cast(nn.LeakyReLU, adapter[1]).negative_slope, Affine(adapter[2])
        self._first, self._first_bias = first.weight.detach().double(), first.bias.detach().double()
        self._add([], torch.zeros(first.in_features))

    def __call__(self, tokens: Tensor, maps: Tensor | None) -> Tensor:
        """Map tokens (R, T, dim) and maps (R, pixels, width) to tokens of the fusion (R, fusion dim)."""
        return self._adapt(torch.layer_norm(tokens[:, 0], *self._norm))

    def _add(self, read: Sequence[Tensor], bias: Tensor) -> None:
        """Fold in what is added to the class token: (dim, K) times what is read, and (dim,)."""
        self._mix = torch.cat([self._first, *(self._first @ part for part in read)], dim=1).t().float().contiguous()
        self._mix_bias = (self._first_bias + self._first @ bias.double()).float()

    def _adapt(self, read: Tensor) -> Tensor:
        """Map class tokens, and what was read beside them, to tokens of the fusion."""
        hidden = torch.addmm(self._mix_bias, read, self._mix)
        return self._last(F.leaky_relu_(hidden, self._slope))


class FineReadout(Readout):
    """`FinePoints`. Queries are put to the feature maps themselves, not to keys made of them."""

    def __init__(self, vit: AdaptiveViT, adapter: Adapter) -> None:
        super().__init__(vit, adapter)
        points = cast(FinePoints, vit.points)
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
        self._add([(value @ values).flatten(1), place.flatten(1), focus.flatten(1)],
                  points.proj.bias.detach().double() + (value @ bias).sum(dim=1))

    def __call__(self, tokens: Tensor, maps: Tensor | None) -> Tensor:
        """Map tokens and maps; see `Readout`."""
        token, maps = torch.layer_norm(tokens[:, 0], *self._norm), cast(Tensor, maps)
        count = len(maps)
        query = torch.addmm(self._query_bias, token, self._query).view(count, self._count, -1)
        share = _shares(torch.bmm(query, maps.transpose(1, 2)))
        read = torch.bmm(share, maps)
        flat = share.flatten(0, 1)
        where, focus = flat @ self._places, torch.linalg.vecdot(flat, flat)
        return self._adapt(torch.cat([token, read.view(count, -1), where.view(count, -1),
                                      focus.view(count, -1)], dim=1))


class PointsReadout(Readout):
    """`Points`. Features and offsets are made of what each query reads, not of every token."""

    def __init__(self, vit: AdaptiveViT, adapter: Adapter) -> None:
        super().__init__(vit, adapter)
        points = cast(Points, vit.points)
        count, places = points.count, points.places.detach()
        asked = points.query.weight.detach().double().view(3, count, -1)
        asked_bias = points.query.bias.detach().double().view(3, count)[1:]
        scale = len(places) ** -0.5
        self._query, self._places = asked[0].float().contiguous(), places
        of_query, of_query_bias = [asked[1:].permute(1, 2, 0) * scale], [asked_bias.t() * scale]
        proj = points.proj.weight.detach().double()
        place, focus, value = proj[:, :2 * count], proj[:, 2 * count:3 * count], proj[:, 3 * count:]
        place = place.view(len(proj), 2, count).transpose(1, 2)
        columns = place
        if points.value is not None:
            of_query.append(points.value.weight.detach().double().view(count, -1, vit.dim).transpose(1, 2))
            of_query_bias.append(points.value.bias.detach().double().view(count, -1))
            columns = torch.cat([place, value.view(len(proj), count, -1)], dim=2)
        self._features = torch.cat(of_query, dim=2).float().contiguous()
        self._add([columns.flatten(1), place.flatten(1), focus],
                  points.proj.bias.detach().double() + columns.flatten(1) @ torch.cat(of_query_bias, dim=1).flatten())

    def __call__(self, tokens: Tensor, maps: Tensor | None) -> Tensor:
        """Map tokens and maps; see `Readout`."""
        normed = torch.layer_norm(tokens, *self._norm)
        patches, count = normed[:, 1:], len(normed)
        share = _shares(torch.matmul(self._query, patches.transpose(1, 2)))
        read = torch.bmm(torch.bmm(share, patches).transpose(0, 1), self._features).transpose(0, 1)
        flat = share.flatten(0, 1)
        where, focus = flat @ self._places, torch.linalg.vecdot(flat, flat)
        return self._adapt(torch.cat([normed[:, 0], read.reshape(count, -1), where.view(count, -1),
                                      focus.view(count, -1)], dim=1))


def prepare_readout(vit: AdaptiveViT, adapter: Adapter) -> Readout:
    """Return the readout of a backbone."""
    if isinstance(vit.points, FinePoints):
        return FineReadout(vit, adapter)
    return PointsReadout(vit, adapter) if isinstance(vit.points, Points) else Readout(vit, adapter)


def _shares(scores: Tensor) -> Tensor:
    """Return the attention of each query from its scores (R, count, places)."""
    return torch.threshold_(scores.softmax(dim=2), LEAST_SHARE, 0.0)
