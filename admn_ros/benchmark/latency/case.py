# SPDX-License-Identifier: Apache-2.0
"""Inputs and layers of one case, the same for all contenders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from admn_ros.benchmark.latency.plan import Precision
from admn_ros.budget.budget import Budget
from admn_ros.inference.engine import Engine
from admn_ros.model.allocation import allocate
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality, MultimodalSample, SampleBatch

Layers = Mapping[Modality, tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """Frames to process within a budget.

    Attributes:
        network: network on the device.
        samples: frames on the CPU, with the first sensor nodes present.
        nodes: number of present sensor nodes.
        layers: budget of each frame.
        chosen: layers of each frame, as the allocator chooses them.
        precision: floating-point precision.
    """

    network: AdmnNetwork
    samples: tuple[MultimodalSample, ...]
    nodes: int
    layers: int
    chosen: tuple[Layers, ...]
    precision: Precision

    @classmethod
    def of(cls, network: AdmnNetwork, *, layers: int, batch: int, nodes: int, precision: Precision,
           seed: int) -> Case:
        """Draw frames, and allocate the layers of each of them."""
        samples = random_samples(network, batch, nodes, seed)
        engine, budget = Engine.of(network), Budget(layers, "layers")
        chosen = tuple(engine.infer(s, budget, decide=allocate).allocation.active for s in samples)
        return cls(network, samples, nodes, layers, chosen, precision)

    @property
    def budget(self) -> Budget:
        """Budget of each frame."""
        return Budget(self.layers, "layers")

    @property
    def batch(self) -> SampleBatch:
        """All frames as one batch on the CPU."""
        return SampleBatch.stack(self.samples)

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.network.poses.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision as PyTorch's type."""
        found: torch.dtype = getattr(torch, self.precision)
        return found

    def autocast(self) -> torch.autocast:
        """Return a context in which PyTorch computes in the precision of the case."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.precision != "float32")


def random_samples(network: AdmnNetwork, count: int, nodes: int, seed: int) -> tuple[MultimodalSample, ...]:
    """Draw frames of normally distributed inputs, of which only the first sensor nodes are present."""
    draws, config = torch.Generator().manual_seed(seed), network.config
    total = len(config.sensor_nodes)
    present = torch.arange(total) < nodes
    return tuple(MultimodalSample(
        {m: torch.randn(total, *c.input.shape, generator=draws) * present[:, None, None, None]
         for m, c in config.modalities.items()}, {m: present.clone() for m in config.modalities})
        for _ in range(count))
