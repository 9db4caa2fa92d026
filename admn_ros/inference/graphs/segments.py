# SPDX-License-Identifier: Apache-2.0
"""Segments of a frame: each is a function of tensors at fixed addresses, and can be captured in a CUDA graph.

No segment reads a number of the device, selects by a mask, or makes a tensor of Python numbers: each of these waits for
the device, which a capture does not allow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch

from admn_ros.inference.graphs.block import InPlaceBlock
from admn_ros.inference.graphs.tensors import FrameTensors
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.transformer import Block
from admn_ros.sample import Modality

Segment = Callable[[], None]


class Segments:
    """Segments of a network's frames, for 1, 2, ... present inputs of a modality.

    Args:
        network: network in evaluation mode.
        tensors: tensors of a frame.
        dtype: precision of the backbones' layers.
    """

    def __init__(self, network: AdmnNetwork, tensors: FrameTensors, dtype: torch.dtype) -> None:
        self._network, self._tensors = network, tensors
        self._place = {m: i for i, m in enumerate(network.config.modalities)}
        self._blocks = {m: [InPlaceBlock(cast(Block, block), dtype) for block in network.backbone(m).blocks]
                        for m in self._place}

    def look(self, modality: Modality, rows: int) -> Segment:
        """Return the controller's convolutions."""
        stem, tensors, place = self._network.qoi.stems[str(modality)], self._tensors, self._place[modality]
        x, nodes = tensors.rows(tensors.inputs.device, modality), tensors.inputs.device["nodes"]

        def work() -> None:
            tensors.seen[place].index_copy_(0, nodes[place, :rows], stem(x[:rows]))

        return work

    def assess(self) -> Segment:
        """Return the controller behind its convolutions."""
        qoi, seen, scores = self._network.qoi, self._tensors.seen, self._tensors.scores.device
        here, share = self._tensors.inputs.device["here"], self._tensors.inputs.device["share"]

        def work() -> None:
            # What an absent input left behind there in an earlier frame may be NaN, which no weight of zero removes.
            tokens = torch.where(here[..., None], seen[:, None], torch.zeros_like(seen[:, None]))
            found = qoi.score(list(tokens), list(here), share)
            scores["logits"].copy_(torch.cat(list(found.logits.values()), dim=1))
            scores["corruption"].copy_(torch.stack(list(found.corruption.values()), dim=1))
            scores["e_corr"].copy_(found.e_corr)
            if found.value is not None:
                scores["position"].copy_(found.value.position)
                scores["classes"].copy_(found.value.classes)

        return work

    def embed(self, modality: Modality, rows: int) -> Segment:
        """Return the embedding of the chosen inputs."""
        vit, tensors, place = self._network.backbone(modality), self._tensors, self._place[modality]
        x, chosen = tensors.rows(tensors.inputs.device, modality), tensors.choice.device["rows"]

        def work() -> None:
            tokens, maps = vit.embed(x.index_select(0, chosen[place, :rows]))
            tensors.tokens[modality][:rows].copy_(tokens)
            if maps is not None:
                tensors.maps[modality][:rows].copy_(maps)

        return work

    def layer(self, modality: Modality, number: int, rows: int) -> Segment:
        """Return a layer of the backbone."""
        block, tokens = self._blocks[modality][number], self._tensors.tokens[modality][:rows]
        return lambda: block(tokens)

    def readout(self, modality: Modality, rows: int) -> Segment:
        """Return readout and adapter."""
        vit, adapter, place = (self._network.backbone(modality), self._network.adapters[str(modality)],
                               self._place[modality])
        tokens, nodes = self._tensors.tokens[modality][:rows], self._tensors.choice.device["nodes"]
        maps = self._tensors.maps[modality][:rows] if modality in self._tensors.maps else None
        slots = self._tensors.slots[place]

        def work() -> None:
            slots.index_copy_(0, nodes[place, :rows], adapter(vit.readout(tokens, maps)))

        return work

    def fuse(self) -> Segment:
        """Return everything behind the adapters."""
        network, tensors = self._network, self._tensors
        slots, present = tensors.slots.flatten(0, 1)[None], tensors.choice.device["present"]
        poses = tensors.inputs.device.get("poses")

        def work() -> None:
            output, _ = network.fuse(slots, present, poses)
            for name, value in output._asdict().items():
                tensors.result.device[name].copy_(value)

        return work
