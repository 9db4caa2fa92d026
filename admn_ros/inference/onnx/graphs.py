# SPDX-License-Identifier: Apache-2.0
"""Graphs into which a network is exported: what a frame runs at once, and nothing that it may leave out.

    look_MODALITY        rows (R, C, H, W) to tokens (R, dim) of the controller
    controller           tokens (1, M, N, dim), present (1, M, N), budget (1,) to scores, corruption and values;
                         N is the number of sensor nodes that it reads
    embedding_MODALITY   rows (R, C, H, W) to tokens (R, T, dim), and feature maps if the stem has them
    block_MODALITY_K     tokens to tokens of layer K
    readout_MODALITY     tokens, and feature maps, to fusion tokens (R, fusion dim)
    fusion               tokens (1, slots, fusion dim), present (1, slots), poses (1, N, 5) to the estimate

The number of rows R, one for each present sensor node, is the only size that varies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.model.calibration import POSE_NUMBERS
from admn_ros.model.fusion import Adapter
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.qoi import QoiEncoder, QualityNet
from admn_ros.model.vit import AdaptiveViT, FineStem
from admn_ros.sample import Modality

ROWS = "rows"
"""Name of the axis that varies."""


@dataclass(frozen=True)
class Graph:
    """One graph.

    Attributes:
        name: name of the graph, and of its file.
        module: what the graph computes.
        inputs: name of each input, with an example.
        outputs: names of the outputs.
        rows: whether the first axis of all inputs and outputs is the number of rows.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    rows: bool = True


def look(modality: Modality) -> str:
    """Name the graph of the controller's convolutions."""
    return f"look_{modality}"


def embedding(modality: Modality) -> str:
    """Name the graph of a backbone's embedding."""
    return f"embedding_{modality}"


def block(modality: Modality, layer: int) -> str:
    """Name the graph of a backbone's layer."""
    return f"block_{modality}_{layer:02d}"


def readout(modality: Modality) -> str:
    """Name the graph of a backbone's readout with its adapter."""
    return f"readout_{modality}"


CONTROLLER, FUSION = "controller", "fusion"


def has_maps(vit: AdaptiveViT) -> bool:
    """Return whether the readout of a backbone reads the feature maps of its stem."""
    return isinstance(vit.patch_embed, FineStem)


def graph_names(network: AdmnNetwork) -> list[str]:
    """Return the names of all graphs of a network."""
    config = network.config
    parts = [name for m, depth in config.depths.items()
             for name in (look(m), embedding(m), readout(m), *(block(m, k) for k in range(depth)))]
    return [CONTROLLER, FUSION, *parts]


def graphs_of(network: AdmnNetwork) -> Iterator[Graph]:
    """Yield all graphs of a network on the CPU, in evaluation mode, in the order of `graph_names`."""
    config, nodes = network.config, network.nodes
    tokens = torch.zeros(1, len(config.modalities), config.observed, config.qoi.dim)
    read = torch.ones(tokens.shape[:-1], dtype=torch.bool)
    budget = {"budget": torch.ones(1)} if network.qoi.budget is not None else {}
    values = ("position", "classes") if network.qoi.value is not None else ()
    yield Graph(CONTROLLER, _Controller(network.qoi), {"tokens": tokens, "present": read, **budget},
                ("logits", "corruption", "e_corr", *values), rows=False)
    poses = {"poses": torch.zeros(1, nodes, POSE_NUMBERS)} if len(network.poses) else {}
    slots = torch.zeros(1, len(config.modalities) * nodes, config.fusion.dim)
    present = torch.ones(slots.shape[:-1], dtype=torch.bool)
    yield Graph(FUSION, _Fusion(network), {"tokens": slots, "present": present, **poses},
                ("mean_m", "scale_tril_m", "class_logits"), rows=False)
    for modality in config.modalities:
        yield from _graphs_of_modality(network, modality)


def _graphs_of_modality(network: AdmnNetwork, modality: Modality) -> Iterator[Graph]:
    vit, stem, adapter = (parts[str(modality)] for parts in (network.backbones, network.qoi.stems, network.adapters))
    assert isinstance(vit, AdaptiveViT) and isinstance(stem, QualityNet) and isinstance(adapter, Adapter)
    rows = {"rows": torch.zeros(2, *vit.shape)}  # two: a size of one would be taken for a constant
    with torch.inference_mode():
        tokens, maps = vit.embed(rows["rows"])
    mapped = {} if maps is None else {"maps": maps}
    yield Graph(look(modality), _Look(stem, *vit.shape[1:]), rows, ("tokens",))
    yield Graph(embedding(modality), _Embedding(vit), rows, ("tokens", *mapped))
    yield Graph(readout(modality), _Readout(vit, adapter), {"tokens": tokens, **mapped}, ("fused",))
    for k, layer in enumerate(vit.blocks):
        yield Graph(block(modality, k), layer, {"tokens": tokens}, ("out",))


class _Look(nn.Module):
    """`QualityNet` of one input size. The resizing is two matrix products, because TensorRT has no antialiasing."""

    down: Tensor
    across: Tensor

    def __init__(self, stem: QualityNet, height: int, width: int) -> None:
        super().__init__()
        self.layers = stem.layers
        rows, columns = stem.shape.size
        self.register_buffer("down", _resizing(height, rows))
        self.register_buffer("across", _resizing(width, columns).T.contiguous())

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.layers(self.down @ rows @ self.across)
        return out


def _resizing(size: int, new: int) -> Tensor:
    """Return the matrix (new, size) of the antialiased bilinear resizing of one axis."""
    eye = torch.eye(size)[None, None]
    return F.interpolate(eye, (new, size), mode="bilinear", align_corners=False, antialias=True)[0, 0]


class _Controller(nn.Module):
    """Transformer and heads of the controller."""

    def __init__(self, qoi: QoiEncoder) -> None:
        super().__init__()
        self.qoi = qoi

    def forward(self, tokens: Tensor, present: Tensor, budget: Tensor | None = None) -> tuple[Tensor, ...]:
        out = self.qoi.score(list(tokens.unbind(1)), list(present.unbind(1)), budget)
        values = () if out.value is None else (out.value.position, out.value.classes)
        return torch.cat(list(out.logits.values()), dim=1), torch.stack(list(out.corruption.values()), dim=1), \
            out.e_corr, *values


class _Embedding(nn.Module):
    """Embedding of a backbone."""

    def __init__(self, vit: AdaptiveViT) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        tokens, maps = self.vit.embed(rows)
        return (tokens,) if maps is None else (tokens, maps)


class _Readout(nn.Module):
    """Readout of a backbone, and adapter."""

    def __init__(self, vit: AdaptiveViT, adapter: Adapter) -> None:
        super().__init__()
        self.vit, self.adapter = vit, adapter

    def forward(self, tokens: Tensor, maps: Tensor | None = None) -> Tensor:
        out: Tensor = self.adapter(self.vit.readout(tokens, maps))
        return out


class _Fusion(nn.Module):
    """Everything behind the adapters."""

    diagonal: Tensor

    def __init__(self, network: AdmnNetwork) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("diagonal", torch.eye(len(network.config.localization.min_m), dtype=torch.bool))
        self.std_floor_m = network.config.localization.std_floor_m

    def forward(self, tokens: Tensor, present: Tensor, poses: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        out, _ = self.network.fuse(tokens, present, poses)
        # The calibration applies the floor in place, which an exporter of traces drops.
        floored = torch.where(self.diagonal, out.scale_tril_m.clamp_min(self.std_floor_m), out.scale_tril_m)
        return out.mean_m, floored, out.class_logits
