# SPDX-License-Identifier: Apache-2.0
"""A network with fixed layers: what a frame would take if the layers had never been optional."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.vit import AdaptiveViT
from admn_ros.sample import Modality, SampleBatch


class StaticNetwork(nn.Module):
    """The chosen layers of a network as plain sequences, for fixed present sensor nodes.

    Args:
        network: network that it is made from.
        layers: layers of each modality; modalities that are not named are left out.
        nodes: number of first sensor nodes that are present.
        dtype: precision of backbones and adapters; fusion and heads keep that of the network.
    """

    def __init__(self, network: AdmnNetwork, layers: Mapping[Modality, Sequence[int]], nodes: int,
                 dtype: torch.dtype) -> None:
        super().__init__()
        self.nodes, self.dtype = nodes, dtype
        self.network = network
        self.slots = {m: k for k, m in enumerate(network.config.modalities)}
        self.layers = {m: tuple(chosen) for m, chosen in layers.items() if chosen}
        self.ends, self.blocks, self.adapters = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for m, chosen in self.layers.items():
            vit = copy.deepcopy(network.backbone(m)).to(dtype)
            self.blocks[str(m)] = nn.Sequential(*(vit.blocks[i] for i in chosen))
            vit.blocks = nn.ModuleList()
            self.ends[str(m)] = vit
            self.adapters[str(m)] = copy.deepcopy(network.adapters[str(m)]).to(dtype)
        present = torch.zeros(1, len(self.slots), network.nodes, dtype=torch.bool)
        for m in self.layers:
            present[0, self.slots[m], :nodes] = True
        self.register_buffer("present", present.flatten(1).to(network.poses.device), persistent=False)

    def forward(self, batch: SampleBatch) -> NetworkOutput:
        """Return the estimates of a batch, with the sensor nodes present that were named."""
        size, dim = len(next(iter(batch.inputs.values()))), self.network.config.fusion.dim
        device = self.network.poses.device
        tokens = torch.zeros(size, len(self.slots), self.network.nodes, dim, device=device)
        for m in self.layers:
            x = batch.inputs[m][:, :self.nodes].flatten(0, 1).to(self.dtype)
            tokens[:, self.slots[m], :self.nodes] = self._embedding(m, x).view(size, self.nodes, dim).to(tokens.dtype)
        present = cast(Tensor, self.present).expand(size, -1)
        return self.network.fuse(tokens.flatten(1, 2), present, batch.poses)[0]

    def _embedding(self, modality: Modality, x: Tensor) -> Tensor:
        vit = cast(AdaptiveViT, self.ends[str(modality)])
        tokens, maps = vit.embed(x)
        found: Tensor = self.adapters[str(modality)](vit.readout(self.blocks[str(modality)](tokens), maps))
        return found
