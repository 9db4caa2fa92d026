# SPDX-License-Identifier: Apache-2.0
"""Tensors at fixed addresses through which the segments of a frame hand on their results.

A frame has two copies to the device and two back: inputs and budget go up, scores come down; the allocation goes up,
estimates come down. Each is one block, page-locked on the side of the CPU.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

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
    """All tensors of some frames of a network, of N sensor nodes of which the controller reads O.

    Inputs of a modality are numbered frame by frame: sensor node n of frame f is input f * N + n. If there are several
    frames, recorded segments have more rows than inputs: the others work on a spare last row.

    Args:
        network: network on its device.
        frames: number of frames F.

    Attributes:
        frames: number of frames.
        counts: numbers of rows for which segments are recorded, ascending.
        inputs: `share` (F,) of the budgets; `poses` (F, N, 5), if the model has poses; `here` (M, F, O), which inputs
            are present; `looks` (M, F * N), rows of the inputs that the controller reads, and `seen` (M, F * N), their
            places in (F * O); `rows` (F * N, inputs of one sensor node), where the k-th row has the k-th present input
            of each modality.
        choice: `rows` (M, F * N) of the inputs that run and their `numbers` (M, F * N); `present` (F, M * N), which
            run; of several frames also `layers` (M, depth, F * N), the tokens that run each layer.
        scores: `logits` (F, layers), `corruption` (F, M), `e_corr` (F, dim); `position` and `classes` (F, M, N) if the
            model predicts values.
        result: `mean_m` (F, D), `scale_tril_m` (F, D, D), `class_logits` (F, K).
        seen: (M, F * O, dim), the controller's tokens.
        tokens: (F * N, T, dim) of each modality's backbone.
        maps: feature maps (F * N, width, rows, columns) of fine stems.
        slots: (M, F * N, dim), tokens of the fusion.
    """

    def __init__(self, network: AdmnNetwork, frames: int = 1) -> None:
        config, device = network.config, network.qoi.cls_token.device
        count, nodes, observed = len(config.modalities), len(config.sensor_nodes), network.qoi.observed
        self.frames, whole, self._spare = frames, frames * nodes, int(frames > 1)
        self.counts = _counts(frames, whole)
        self._places, start = {}, 0
        for m, c in config.modalities.items():
            self._places[m] = (start, c.input.shape)
            start += math.prod(c.input.shape)
        numbers = Field((count, whole), torch.int64)
        poses = {"poses": Field((frames, *network.poses.shape))} if len(network.poses) else {}
        self.inputs = Both.of({
            "share": Field((frames,)), **poses,
            "here": Field((count, frames, observed), torch.bool), "looks": numbers, "seen": numbers,
            "rows": Field((whole, start))}, device)
        layers = {"layers": Field((count, max(config.depths.values()), whole), torch.int64)} if frames > 1 else {}
        self.choice = Both.of({"rows": numbers, "numbers": numbers,
                               "present": Field((frames, count * nodes), torch.bool), **layers}, device)
        self.scores, self.result = Both.of(_scores(network, frames), device), Both.of(_result(network, frames), device)
        self.seen = self._zeros(network, count, frames * observed + self._spare, config.qoi.dim)
        self.slots = self._zeros(network, count, whole + self._spare, config.fusion.dim)
        self.tokens: dict[Modality, Tensor] = {}
        self.maps: dict[Modality, Tensor] = {}
        for m, c in config.modalities.items():
            tokens, maps = network.backbone(m).embed(self._zeros(network, 1, *c.input.shape))
            self.tokens[m] = self._zeros(network, whole + self._spare, *tokens.shape[1:])
            if maps is not None:
                self.maps[m] = self._zeros(network, whole, *maps.shape[1:])

    def rows(self, side: Packed, modality: Modality) -> Tensor:
        """Return the present inputs (F * N, C, H, W) of a modality on one side of `inputs`."""
        start, shape = self._places[modality]
        whole = side["rows"]
        return whole[:, start:start + math.prod(shape)].view(len(whole), *shape)

    def count(self, rows: int) -> int:
        """Return the smallest recorded number of rows that is large enough."""
        return next(count for count in self.counts if count >= rows)

    @staticmethod
    def _zeros(network: AdmnNetwork, *shape: int) -> Tensor:
        return torch.zeros(shape, device=network.qoi.cls_token.device)


def _counts(frames: int, whole: int) -> tuple[int, ...]:
    """Return every number of rows for one frame, powers of two for several."""
    if frames == 1:
        return tuple(range(1, whole + 1))
    return (*(2**k for k in range(whole.bit_length()) if 2**k < whole), whole)


def _scores(network: AdmnNetwork, frames: int) -> dict[str, Field]:
    config = network.config
    count, nodes = len(config.modalities), len(config.sensor_nodes)
    fields = {"logits": Field((frames, config.layers_total)), "corruption": Field((frames, count)),
              "e_corr": Field((frames, config.qoi.dim))}
    if network.qoi.value is not None:
        fields |= {name: Field((frames, count, nodes)) for name in ("position", "classes")}
    return fields


def _result(network: AdmnNetwork, frames: int) -> dict[str, Field]:
    axes = len(network.config.localization.min_m)
    return {"mean_m": Field((frames, axes)), "scale_tril_m": Field((frames, axes, axes)),
            "class_logits": Field((frames, len(network.config.classes)))}
