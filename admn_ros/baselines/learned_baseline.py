# SPDX-License-Identifier: Apache-2.0
"""What all rivals with weights of their own have in common: an estimate and what it cost, sample by sample."""

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
from admn_ros.model.qoi import QoiEncoder
from admn_ros.sample import Modality, SampleBatch


class Routed(NamedTuple):
    """Estimates of a batch and what each sample cost.

    layers: (B,) backbone layers that ran for the sample, the paper's unit.
    gflops: (B,) float64, all that ran for it: gate, backbones of present sensor nodes, fusion, heads.
    """

    estimate: NetworkOutput
    layers: Tensor
    gflops: Tensor


class Rival(nn.Module, ABC):
    """A rival of the controller with networks of its own.

    config: the model it is compared with.
    """

    config: ModelConfig

    @abstractmethod
    def routed(self, batch: SampleBatch, max_layers: int | None = None) -> Routed:
        """Choose what runs for each sample, and run that and nothing else.

        Args:
            batch: inputs (B, N, C, H, W) per modality; the samples may be routed differently.
            max_layers: bound for each sample. None is the method as published, which bounds no sample.

        Raises:
            InputError: the bound does not hold the least that the method runs.
        """


class WholeNetwork(Rival):
    """One network that always runs all its layers: the paper's Naive Scratch, or a modality alone from scratch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.network = without_controller(AdmnNetwork(config))

    def routed(self, batch: SampleBatch, max_layers: int | None = None) -> Routed:
        """See `Rival`."""
        if max_layers is not None and max_layers < self.config.layers_total:
            raise InputError("max_layers", max_layers, f"at least {self.config.layers_total}, all layers")
        counts = available(batch, self.config) * torch.tensor([*self.config.depths.values()])
        bill = FrameBill(self.config, gate=None)
        return Routed(run_whole(self.network, batch), *bill(batch, counts, task_flops(self.config)))


class FrameBill:
    """Costs of a batch of which each sample runs so many layers of each modality, exact in operations.

    Args:
        config: the model; backbones of other depths cost the same per layer.
        gate: layers of the gate's head by width, input first, which sees every present input; None: there is no gate.
    """

    def __init__(self, config: ModelConfig, gate: Sequence[int] | None) -> None:
        self.table = flop_costs(config)
        self.gate = 0 if gate is None else judge_flops(config) + 2 * sum(a * b for a, b in pairwise(gate))
        if gate is None:
            self.table = replace(self.table, modalities={
                m: replace(costs, controller=(0,) * costs.nodes) for m, costs in self.table.modalities.items()})
        self.modalities = list(config.modalities)

    def __call__(self, batch: SampleBatch, counts: Tensor, fixed: int | Tensor) -> tuple[Tensor, Tensor]:
        """Layers (B,) and GFLOPs (B,).

        Args:
            batch: whose present sensor nodes count.
            counts: (B, M) layers of each modality in the model's order.
            fixed: operations of fusion and heads, for all or (B,).
        """
        nodes, counts = present_nodes(batch, self.modalities).cpu(), counts.cpu()
        flops = self.gate + torch.from_numpy(self.table.modality_prices(counts.numpy(), nodes.numpy())) + fixed
        return torch.where(nodes > 0, counts, 0).sum(dim=1), flops.double() / MICRO["gflops"]


def present_nodes(batch: SampleBatch, modalities: Sequence[Modality]) -> Tensor:
    """Present sensor nodes of each sample and modality, (B, M)."""
    some = next(iter(batch.present.values()))
    nothing = torch.zeros(len(some), dtype=torch.int64, device=some.device)
    return torch.stack([batch.present[m].sum(dim=1) if m in batch.present else nothing for m in modalities], dim=1)


def available(batch: SampleBatch, config: ModelConfig) -> Tensor:
    """Whether any sensor node has the modality, (B, M) bool on the CPU."""
    return present_nodes(batch, list(config.modalities)).cpu() > 0


def run_whole(network: AdmnNetwork, batch: SampleBatch, rows: Tensor | None = None) -> NetworkOutput:
    """A network with all its layers, on some samples (R,) or all; inputs it does not have are left out."""
    names = [m for m in network.config.modalities if m in batch.inputs]
    return network.estimate(batch.part(names, rows), {m: range(k) for m, k in network.config.depths.items()})


def run_counts(network: AdmnNetwork, batch: SampleBatch, counts: Tensor) -> NetworkOutput:
    """Run the first so many layers of each modality, for each sample its own number (B, M), and no others."""
    modalities, names = list(network.config.modalities), list(batch.inputs)
    routes: dict[tuple[int, ...], list[int]] = {}
    for number, depths in enumerate(counts.tolist()):
        routes.setdefault(tuple(depths), []).append(number)
    rows = [torch.tensor(numbers, device=next(iter(batch.present.values())).device) for numbers in routes.values()]
    active = [{m: range(k) for m, k in zip(modalities, depths, strict=True) if k} for depths in routes]
    return gather([network.estimate(batch.part(names, row), layers)
                   for row, layers in zip(rows, active, strict=True)], rows)


def gather(parts: Sequence[NetworkOutput], rows: Sequence[Tensor]) -> NetworkOutput:
    """Outputs of disjoint groups of samples, back in the order of the batch."""
    back = torch.cat(list(rows)).argsort()
    return NetworkOutput(*(torch.cat(values)[back] for values in zip(*parts, strict=True)))


def make_eyes(config: ModelConfig) -> QoiEncoder:
    """What ADMN's controller sees with, for a rival's gate: `perceive` gives (B, qoi.dim). No heads, no budget."""
    eyes = QoiEncoder(blind_to_budget(config))
    del eyes.mlp_layers, eyes.mlp_corruption
    return eyes


def blind_to_budget(config: ModelConfig) -> ModelConfig:
    """The model without budget token: rivals do not know the budget."""
    return config.model_copy(update={"qoi": config.qoi.model_copy(update={"budget_token": False})})


class _NoController(nn.Module):
    """Stands where a rival's network would have ADMN's controller."""

    cls_token: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cls_token", torch.zeros(1, 1, 1), persistent=False)


def without_controller(network: AdmnNetwork) -> AdmnNetwork:
    """Take the controller out, in place; `estimate` and `forward_train` stay."""
    # The network asks its controller only for a device and a type, as long as nobody calls it.
    network._modules["qoi"] = _NoController()
    return network
