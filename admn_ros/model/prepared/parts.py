# SPDX-License-Identifier: Apache-2.0
"""Parts of a frame of a prepared network, for measuring time."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from admn_ros.model.frame_parts import Work
from admn_ros.model.prepared.network import PreparedNetwork
from admn_ros.sample import Modality


class PreparedParts:
    """Parts of a frame on inputs of zeros, with the methods of `admn_ros.model.frame_parts.FrameParts`.

    Args:
        network: prepared network.
    """

    def __init__(self, network: PreparedNetwork) -> None:
        self._network, self._config = network, network.config

    def controller(self, modality: Modality, nodes: int) -> Work:
        """Return the controller's convolutions on a number of present sensor nodes."""
        look, x = self._network.qoi.looks[modality], self._inputs(modality, min(nodes, self._config.observed))
        return lambda: look(x)

    def embedding(self, modality: Modality, nodes: int) -> Work:
        """Return patch embedding, final norm and adapter on a number of present sensor nodes."""
        backbone, x = self._network.backbone(modality), self._inputs(modality, nodes)
        return lambda: backbone.readout(*backbone.embed(x))

    def layer(self, modality: Modality, nodes: int) -> Work:
        """Return one backbone layer on a number of present sensor nodes; each call runs the next layer.

        The only layer of a backbone is the last one of every frame, which may take less (`PreparedBackbone`).
        """
        backbone = self._network.backbone(modality)
        tokens, blocks = backbone.embed(self._inputs(modality, nodes))[0], itertools.cycle(backbone.blocks)
        first = backbone.reads_class_token and len(backbone.blocks) == 1
        return lambda: next(blocks)(tokens, first=first)

    def fixed(self) -> Work:
        """Return the fixed part: controller transformer, its heads, value of the inputs, fusion, heads."""
        network, modalities, nodes = self._network, len(self._config.modalities), len(self._config.sensor_nodes)
        seen = torch.zeros(modalities, 1, self._config.observed, self._config.qoi.dim)
        tokens = torch.zeros(modalities * nodes, self._config.fusion.dim)
        here, share = np.ones((1, modalities, nodes), np.bool_), torch.ones(1)

        def work() -> None:
            network.qoi.assess(seen, here[:, :, :self._config.observed], share)
            network.fusion(tokens, here.reshape(1, -1), None)

        return work

    def _inputs(self, modality: Modality, nodes: int) -> torch.Tensor:
        return torch.zeros(nodes, *self._config.modalities[modality].input.shape)
