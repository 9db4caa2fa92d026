# SPDX-License-Identifier: Apache-2.0
"""Networks with localization from evidence, and random batches for their training."""

from __future__ import annotations

import torch

from admn_ros.config import ModelConfig, NodePose
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import SampleBatch
from admn_ros.training.data import LabeledBatch


def described(model: ModelConfig) -> ModelConfig:
    """Return a model with localization from evidence, and sensor nodes side by side."""
    poses = {name: NodePose(x_m=2.0 * k - 1, y_m=-1.5, yaw_rad=1.5) for k, name in enumerate(model.sensor_nodes)}
    place = model.localization.model_copy(update={"kind": "evidence"})
    return model.model_copy(update={"localization": place, "node_poses": poses})


def network_of(model: ModelConfig) -> AdmnNetwork:
    """Return a network of `described` with random weights."""
    made = AdmnNetwork(described(model))
    initialize(made, 1)
    return made.eval()


def batch_of(network: AdmnNetwork, size: int = 4) -> LabeledBatch:
    """Return a batch of random inputs and positions; the first sample has no position."""
    draws, config = torch.Generator().manual_seed(0), network.config
    nodes = len(config.sensor_nodes)
    inputs = {m: torch.randn(size, nodes, *c.input.shape, generator=draws) for m, c in config.modalities.items()}
    present = {m: torch.ones(size, nodes, dtype=torch.bool) for m in inputs}
    position_m = torch.cat([torch.rand(size, 2, generator=draws) * 2 - 1, torch.zeros(size, 1)], dim=1)
    nothing = {m: torch.full((size,), torch.nan) for m in inputs}
    located = torch.arange(size) > 0
    return LabeledBatch(SampleBatch(inputs, present), position_m, located, torch.zeros(size).long(), nothing)
