# SPDX-License-Identifier: Apache-2.0
"""Tensors at fixed addresses through which the segments of a frame hand on their results, and the copies of a frame.

A frame has two copies to the device and two back: inputs and budget go up, scores come down; the allocation goes up,
estimates come down. Each is one block, page-locked on the side of the CPU.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from admn_ros.config import ModelConfig
from admn_ros.inference.graphs.packed import Field, Packed
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality


class Both(NamedTuple):
    """The same fields on both sides of a copy."""

    host: Packed
    device: Packed

    @classmethod
    def of(cls, fields: dict[str, Field], device: torch.device) -> Both:
        """Allocate both sides."""
        return cls(Packed(fields, torch.device("cpu"), pinned=device.type == "cuda"), Packed(fields, device))


class FrameTensors:
    """All tensors of one frame of a network.

    Args:
        network: network on its device.

    Attributes:
        inputs: `share` (1,) of the budget; `poses` (1, N, 5), if the model has poses; `here` (M, 1, O), which inputs
            are present at the O sensor nodes that the controller reads; `nodes` (M, N), sensor node of each present
            input; `rows` (N, inputs of one sensor node), where the k-th row has the k-th present input of each
            modality.
        choice: `rows` (M, N) of the inputs that run and their `nodes` (M, N); `present` (1, M * N), which slots run.
        scores: `logits` (1, layers), `corruption` (1, M), `e_corr` (1, dim); `position` and `classes` (1, M, N) if the
            model predicts values.
        result: `mean_m` (1, D), `scale_tril_m` (1, D, D), `class_logits` (1, K).
        seen: (M, O, dim), the controller's tokens.
        tokens: (N, T, dim) of each modality's backbone.
        maps: feature maps (N, width, rows, columns) of fine stems.
        slots: (M, N, dim), tokens of the fusion.
    """

    def __init__(self, network: AdmnNetwork) -> None:
        config, device = network.config, network.qoi.cls_token.device
        count, nodes, observed = len(config.modalities), len(config.sensor_nodes), network.qoi.observed
        self._places, start = {}, 0
        for m, c in config.modalities.items():
            self._places[m] = (start, c.input.shape)
            start += math.prod(c.input.shape)
        self.inputs = Both.of({
            "share": Field((1,)), **({"poses": Field((1, *network.poses.shape))} if len(network.poses) else {}),
            "here": Field((count, 1, observed), torch.bool), "nodes": Field((count, nodes), torch.int64),
            "rows": Field((nodes, start))}, device)
        self.choice = Both.of({
            "rows": Field((count, nodes), torch.int64), "nodes": Field((count, nodes), torch.int64),
            "present": Field((1, count * nodes), torch.bool)}, device)
        self.scores, self.result = Both.of(_scores(network), device), Both.of(_result(config), device)
        self.seen = torch.zeros(count, observed, config.qoi.dim, device=device)
        self.slots = torch.zeros(count, nodes, config.fusion.dim, device=device)
        self.tokens: dict[Modality, Tensor] = {}
        self.maps: dict[Modality, Tensor] = {}
        for m, c in config.modalities.items():
            tokens, maps = network.backbone(m).embed(torch.zeros(1, *c.input.shape, device=device))
            self.tokens[m] = tokens.new_zeros(nodes, *tokens.shape[1:])
            if maps is not None:
                self.maps[m] = maps.new_zeros(nodes, *maps.shape[1:])

    def rows(self, side: Packed, modality: Modality) -> Tensor:
        """Return the present inputs (N, C, H, W) of a modality on one side of `inputs`."""
        start, shape = self._places[modality]
        whole = side["rows"]
        return whole[:, start:start + math.prod(shape)].view(len(whole), *shape)


def _scores(network: AdmnNetwork) -> dict[str, Field]:
    config = network.config
    count, nodes = len(config.modalities), len(config.sensor_nodes)
    fields = {"logits": Field((1, config.layers_total)), "corruption": Field((1, count)),
              "e_corr": Field((1, config.qoi.dim))}
    if network.qoi.value is not None:
        fields |= {name: Field((1, count, nodes)) for name in ("position", "classes")}
    return fields


def _result(config: ModelConfig) -> dict[str, Field]:
    axes = len(config.localization.min_m)
    return {"mean_m": Field((1, axes)), "scale_tril_m": Field((1, axes, axes)),
            "class_logits": Field((1, len(config.classes)))}
