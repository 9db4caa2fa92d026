# SPDX-License-Identifier: Apache-2.0
"""Inputs and layers of one case, the same for all contenders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from admn_ros.benchmark.latency.plan import Precision
from admn_ros.budget.budget import Budget
from admn_ros.inference.engine import Engine
from admn_ros.model.allocation import allocate
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality, MultimodalSample, SampleBatch

Layers = Mapping[Modality, tuple[int, ...]]


def engine_name(runtime: str, precision: Precision) -> str:
    """Return the name of an engine: that of its runtime, and a precision other than float32."""
    return runtime if precision == "float32" else f"{runtime} {precision}"


@dataclass(frozen=True)
class Case:
    """Frames to process, each within its budget.

    Attributes:
        engines: engines of one model by `engine_name`; that of `torch` among them.
        samples: frames on the CPU, with the first sensor nodes present.
        nodes: number of present sensor nodes.
        layers: budget of each frame.
        chosen: layers of each frame, as the allocator chooses them.
        precision: floating-point precision.
    """

    engines: Mapping[str, Engine]
    samples: tuple[MultimodalSample, ...]
    nodes: int
    layers: tuple[int, ...]
    chosen: tuple[Layers, ...]
    precision: Precision

    @classmethod
    def of(cls, engines: Mapping[str, Engine], layers: Sequence[int], *, nodes: int, precision: Precision,
           seed: int) -> Case:
        """Draw a frame for each budget, and allocate its layers."""
        engine = engines["torch"]
        samples = random_samples(engine.network, len(layers), nodes, seed)
        chosen = tuple(engine.infer(sample, Budget(count, "layers"), decide=allocate).allocation.active
                       for sample, count in zip(samples, layers, strict=True))
        return cls(engines, samples, nodes, tuple(layers), chosen, precision)

    def engine(self, runtime: str) -> Engine | None:
        """Return the engine of a runtime in the precision of the case; None if there is none."""
        return self.engines.get(engine_name(runtime, self.precision))

    @property
    def network(self) -> AdmnNetwork:
        """Network in PyTorch, on the device."""
        return self.engines["torch"].network

    @property
    def budgets(self) -> list[Budget]:
        """Budget of each frame."""
        return [Budget(count, "layers") for count in self.layers]

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
