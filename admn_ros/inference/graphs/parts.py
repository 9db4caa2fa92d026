# SPDX-License-Identifier: Apache-2.0
"""Parts of a frame of recorded segments, for measuring time."""

from __future__ import annotations

import itertools

from admn_ros.inference.graphs.frame import Run
from admn_ros.inference.graphs.network import GraphNetwork
from admn_ros.model.frame_parts import Work
from admn_ros.sample import Modality


class GraphParts:
    """Parts of a frame, with the methods of `admn_ros.model.frame_parts.FrameParts`, on what the last frame left.

    Args:
        network: the recorded network.
    """

    def __init__(self, network: GraphNetwork) -> None:
        self._network = network

    def controller(self, modality: Modality, nodes: int) -> Work:
        """Return the controller's convolutions on a number of present sensor nodes."""
        look, rows = self._network.qoi.looks[modality], min(nodes, self._network.qoi.observed)
        return lambda: look(rows)

    def embedding(self, modality: Modality, nodes: int) -> Work:
        """Return patch embedding, readout and adapter on a number of present sensor nodes."""
        backbone = self._network.backbone(modality)
        return lambda: backbone(Run(nodes, ()))

    def layer(self, modality: Modality, nodes: int) -> Work:
        """Return one backbone layer on a number of present sensor nodes; each call runs the next layer."""
        blocks = itertools.cycle(self._network.backbone(modality).blocks)
        return lambda: next(blocks)(nodes)

    def fixed(self) -> Work:
        """Return the fixed part: controller transformer, its heads, value of the inputs, fusion, heads."""
        network = self._network
        return lambda: (network.qoi.assess(), network.fuse())
