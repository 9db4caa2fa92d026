# SPDX-License-Identifier: Apache-2.0
"""Common parts of the baselines with weights of their own: estimates and costs per sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from admn_ros.budget.budget import MICRO
from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.model.costs import flop_costs
from admn_ros.model.flops import judge_flops, task_flops
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.sample import Modality, SampleBatch


class Routed(NamedTuple):
    """Estimates of a batch, and the cost of each sample.

    Attributes:
        estimate: estimates (B, ...).
        counts: backbone layers that ran (B, M), modalities in the model's order.
        gflops: operations (B,), float64: gate, backbones of present sensor nodes, fusion, heads.
    """

    estimate: NetworkOutput
    counts: Tensor
    gflops: Tensor

    @property
    def layers(self) -> Tensor:
        """Backbone layers that ran (B,), the paper's unit."""
        return self.counts.sum(dim=1)


class LearnedBaseline(nn.Module, ABC):
    """A baseline with networks of its own.

    Attributes:
        config: model that it is compared with.
    """

    config: ModelConfig

    @abstractmethod
    def routed(self, batch: SampleBatch, max_layers: int | None = None) -> Routed:
        """Choose the layers of each sample, and run only those.

        Args:
            batch: inputs (B, N, C, H, W) per modality; samples may be routed differently.
            max_layers: most layers of each sample. None is the method as published, without a limit per sample.

        Raises:
            InputError: the limit is below the smallest choice of the method.
        """


class WholeNetwork(LearnedBaseline):
    """One network that always runs all its layers: the paper's Naive Scratch, or one modality alone."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.network = without_controller(AdmnNetwork(config))

    def routed(self, batch: SampleBatch, max_layers: int | None = None) -> Routed:
        """See `LearnedBaseline`."""
        if max_layers is not None and max_layers < self.config.layers_total:
            raise InputError("max_layers", max_layers, f"at least {self.config.layers_total}, all layers")
        counts = available(batch, self.config) * torch.tensor([*self.config.depths.values()])
        bill = FrameBill(self.config, gate=None)
        return Routed(run_whole(self.network, batch), counts, bill(batch, counts, task_flops(self.config)))


class FrameBill:
    """Exact operation count of the samples of a batch.

    Args:
        config: model; backbones of other depths cost the same per layer.
        gate: widths of the gate's head, input first; None for a method without gate. A gate encodes every present
            input.
    """

    def __init__(self, config: ModelConfig, gate: Sequence[int] | None) -> None:
        self.table = flop_costs(config)
        self.gate = 0 if gate is None else judge_flops(config) + 2 * sum(a * b for a, b in pairwise(gate))
        if gate is None:
            self.table = replace(self.table, modalities={
                m: replace(costs, controller=(0,) * costs.nodes) for m, costs in self.table.modalities.items()})
        self.modalities = list(config.modalities)

    def __call__(self, batch: SampleBatch, counts: Tensor, fixed: int | Tensor) -> Tensor:
        """Return the GFLOPs (B,) of each sample.

        Args:
            batch: batch, for its present sensor nodes.
            counts: layers of each modality (B, M), in the model's order.
            fixed: operations of fusion and heads, one number or (B,).
        """
        nodes, counts = present_nodes(batch, self.modalities).cpu(), counts.cpu()
        flops = self.gate + torch.from_numpy(self.table.modality_prices(counts.numpy(), nodes.numpy())) + fixed
        return flops.double() / MICRO["gflops"]


def present_nodes(batch: SampleBatch, modalities: Sequence[Modality]) -> Tensor:
    """Return the number of present sensor nodes of each sample and modality, (B, M)."""
    some = next(iter(batch.present.values()))
    nothing = torch.zeros(len(some), dtype=torch.int64, device=some.device)
    return torch.stack([batch.present[m].sum(dim=1) if m in batch.present else nothing for m in modalities], dim=1)


def available(batch: SampleBatch, config: ModelConfig) -> Tensor:
    """Return whether any sensor node has the modality, (B, M) bool on the CPU."""
    return present_nodes(batch, list(config.modalities)).cpu() > 0


def run_whole(network: AdmnNetwork, batch: SampleBatch, rows: Tensor | None = None) -> NetworkOutput:
    """Run a network with all its layers on the rows (R,) of a batch, or on all; inputs that it lacks are left out."""
    names = [m for m in network.config.modalities if m in batch.inputs]
    return network.estimate(batch.part(names, rows), {m: range(k) for m, k in network.config.depths.items()})


def run_counts(network: AdmnNetwork, batch: SampleBatch, counts: Tensor) -> NetworkOutput:
    """Run the first layers of each modality, as many as `counts` (B, M) has for each sample, and no others."""
    modalities, names = list(network.config.modalities), list(batch.inputs)
    routes: dict[tuple[int, ...], list[int]] = {}
    for number, depths in enumerate(counts.tolist()):
        routes.setdefault(tuple(depths), []).append(number)
    rows = [torch.tensor(numbers, device=next(iter(batch.present.values())).device) for numbers in routes.values()]
    active = [{m: range(k) for m, k in zip(modalities, depths, strict=True) if k} for depths in routes]
    return gather([network.estimate(batch.part(names, row), layers)
                   for row, layers in zip(rows, active, strict=True)], rows)


def gather(parts: Sequence[NetworkOutput], rows: Sequence[Tensor]) -> NetworkOutput:
    """Concatenate outputs of disjoint groups of rows in the order of the batch."""
    back = torch.cat(list(rows)).argsort()
    return NetworkOutput(*(torch.cat(values)[back] for values in zip(*parts, strict=True)))


class _NoController(nn.Module):
    """Placeholder for the controller in the networks of baselines."""

    cls_token: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cls_token", torch.zeros(1, 1, 1), persistent=False)


def without_controller(network: AdmnNetwork) -> AdmnNetwork:
    """Remove the controller in place; `estimate` and `forward_train` still work."""
    # As long as it is not called, the network only reads the device and type of its controller.
    network._modules["qoi"] = _NoController()
    return network
