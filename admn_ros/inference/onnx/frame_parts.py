# SPDX-License-Identifier: Apache-2.0
"""Parts of a frame's cost on ONNX Runtime, as `admn_ros.model.frame_parts.FrameParts` has them for PyTorch."""

from __future__ import annotations

import itertools

import numpy as np

from admn_ros.inference.onnx.network import OnnxNetwork
from admn_ros.model.calibration import POSE_NUMBERS
from admn_ros.model.frame_parts import Work
from admn_ros.sample import Modality


class OnnxFrameParts:
    """Parts of a frame on inputs of zeros, named as in `admn_ros.budget.costs.LayerCosts`."""

    def __init__(self, network: OnnxNetwork) -> None:
        self._network, self._config = network, network.config

    def controller(self, modality: Modality, nodes: int) -> Work:
        """Return the controller's convolutions on a number of present sensor nodes."""
        rows = self._rows(modality, min(nodes, self._config.observed))
        look = self._network.qoi.looks[modality]
        return lambda: look(rows=rows)

    def embedding(self, modality: Modality, nodes: int) -> Work:
        """Return embedding, readout and adapter on a number of present sensor nodes."""
        backbone, rows = self._network.backbone(modality), self._rows(modality, nodes)
        return lambda: backbone(rows, ())

    def layer(self, modality: Modality, nodes: int) -> Work:
        """Return one backbone layer on a number of present sensor nodes, the next one with each call."""
        backbone = self._network.backbone(modality)
        tokens, *_ = backbone.embed(rows=self._rows(modality, nodes))
        blocks = itertools.cycle(backbone.blocks)
        return lambda: next(blocks)(tokens)

    def fixed(self) -> Work:
        """Return the fixed part: controller behind its convolutions, fusion, heads."""
        network, config, nodes = self._network, self._config, len(self._config.sensor_nodes)
        seen = np.zeros((1, len(config.modalities), config.observed, config.qoi.dim), np.float32)
        tokens = np.zeros((1, len(config.modalities) * nodes, config.fusion.dim), np.float32)
        read, share = np.ones(seen.shape[:-1], bool), np.ones(1, np.float32)
        present = np.ones(tokens.shape[:-1], bool)
        poses = np.zeros((1, nodes, POSE_NUMBERS), np.float32)
        return lambda: (network.qoi.judge(seen, read, share), network.fuse(tokens, present, poses))

    def _rows(self, modality: Modality, nodes: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.zeros((nodes, *self._config.modalities[modality].input.shape), np.float32)
