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

Segment = Callable[[], object]
Blocks = dict[Modality, list[InPlaceBlock]]


def blocks_of(network: AdmnNetwork, dtype: torch.dtype) -> Blocks:
    """Return the layers of all backbones, in a precision."""
    return {m: [InPlaceBlock(cast(Block, block), dtype) for block in network.backbone(m).blocks]
            for m in network.config.modalities}


class Segments:
    """Segments of a network's frames, for numbers of rows: inputs of a modality.

    Args:
        network: network in evaluation mode.
        tensors: tensors of the frames.
        blocks: layers of the backbones.
    """

    def __init__(self, network: AdmnNetwork, tensors: FrameTensors, blocks: Blocks) -> None:
        self._network, self._tensors, self._blocks = network, tensors, blocks
        self._place = {m: i for i, m in enumerate(network.config.modalities)}

    def look(self, modality: Modality, rows: int) -> Segment:
        """Return the controller's convolutions."""
        stem, place, inputs = self._network.qoi.stems[str(modality)], self._place[modality], self._tensors.inputs.device
        x, seen = self._tensors.rows(inputs, modality), self._tensors.seen[place]
        looks, places = inputs["looks"][place, :rows], inputs["seen"][place, :rows]
        return lambda: seen.index_copy_(0, places, stem(x.index_select(0, looks)))

    def assess(self) -> Segment:
        """Return the controller behind its convolutions."""
        qoi, tensors, scores = self._network.qoi, self._tensors, self._tensors.scores.device
        here, share = tensors.inputs.device["here"], tensors.inputs.device["share"]
        seen = tensors.seen[:, :here[0].numel()].view(*here.shape, -1)

        def work() -> None:
            # What an absent input left behind there in an earlier frame may be NaN, which no weight of zero removes.
            tokens = torch.where(here[..., None], seen, torch.zeros_like(seen))
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
        x, chosen = tensors.rows(tensors.inputs.device, modality), tensors.choice.device["rows"][place, :rows]

        def work() -> None:
            tokens, maps = vit.embed(x.index_select(0, chosen))
            tensors.tokens[modality][:rows].copy_(tokens)
            if maps is not None:
                tensors.maps[modality][:rows].copy_(maps)

        return work

    def layer(self, modality: Modality, number: int, rows: int) -> Segment:
        """Return a layer of the backbone: on the first tokens of one frame, on listed ones of several."""
        block, tokens = self._blocks[modality][number], self._tensors.tokens[modality]
        if self._tensors.frames == 1:
            return lambda: block(tokens[:rows])
        listed = self._tensors.choice.device["layers"][self._place[modality], number, :rows]

        def work() -> None:
            part = tokens.index_select(0, listed)
            block(part)
            tokens.index_copy_(0, listed, part)

        return work

    def readout(self, modality: Modality, rows: int) -> Segment:
        """Return readout and adapter."""
        vit, adapter = self._network.backbone(modality), self._network.adapters[str(modality)]
        tensors, place = self._tensors, self._place[modality]
        tokens, numbers = tensors.tokens[modality][:rows], tensors.choice.device["numbers"][place, :rows]
        maps, slots = tensors.maps[modality][:rows] if modality in tensors.maps else None, tensors.slots[place]
        return lambda: slots.index_copy_(0, numbers, adapter(vit.readout(tokens, maps)))

    def fuse(self) -> Segment:
        """Return everything behind the adapters."""
        network, tensors, result = self._network, self._tensors, self._tensors.result.device
        present, poses = tensors.choice.device["present"], tensors.inputs.device.get("poses")
        frames, nodes = tensors.frames, len(network.config.sensor_nodes)
        slots = tensors.slots[:, :frames * nodes].view(-1, frames, nodes, tensors.slots.shape[2]).transpose(0, 1)

        def work() -> None:
            output, _ = network.fuse(slots.flatten(1, 2), present, poses)
            for name, value in output._asdict().items():
                result[name].copy_(value)

        return work
