# SPDX-License-Identifier: Apache-2.0
"""Fusion-level DynMM (Xue and Marculescu 2023, Equation 2) on transformers: a gate chooses the depth of the auxiliary
modalities.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from admn_ros.baselines.gates import GATE_HIDDEN, DepthChoice, make_gate, make_gate_encoder, without_budget_token
from admn_ros.baselines.learned_baseline import (
    FrameBill,
    LearnedBaseline,
    Routed,
    available,
    run_counts,
    without_controller,
)
from admn_ros.budget.costs import LayerCosts
from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.model.flops import task_flops
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.sample import Modality, SampleBatch

STAGES = 4
Weights = dict[Modality, Tensor]
"""Weights of the exits of each modality that has several, (B, exits); rows sum to 1."""


def exits(depth: int) -> tuple[int, ...]:
    """Return the exits of a backbone: after 0, 3, 6, 9 or 12 of 12 layers, after quarters of other depths."""
    return tuple(sorted({-(-depth * i // STAGES) for i in range(STAGES + 1)}))


def main_exits(depth: int) -> tuple[int, ...]:
    """Return the exits of a main modality that need not run whole: it always runs at least the first stage."""
    return exits(depth)[1:]


class FusionDynMM(LearnedBaseline):
    """Network whose main modality always runs; a gate chooses the exit of each auxiliary modality.

    The original has one auxiliary modality (depth beside RGB) and fuses after each stage of a convolutional network.
    Here fusion is at the end, so an exit is the number of layers of the modality; exit 0 leaves the modality out.
    Several auxiliary modalities, each with its own exit, frames without the main modality, which run the auxiliary
    ones only, and a main modality with exits, for budgets below its depth, are our extensions. The gate has the inputs
    of ADMN's controller.

    Args:
        config: model that it is compared with.
        main: modality that always runs.
        whole: whether the main modality runs all its layers, as published; otherwise the gate chooses its exit too,
            but not exit 0.
    """

    def __init__(self, config: ModelConfig, main: Modality = Modality.RGB, *, whole: bool = True) -> None:
        super().__init__()
        if main not in config.modalities or len(config.modalities) < 2:
            raise InputError("main", main, f"one of at least two modalities of the model, which has "
                                           f"{', '.join(map(str, config.modalities))}")
        self.config, self.main = without_budget_token(config), main
        self.network = without_controller(AdmnNetwork(self.config))
        self.exits = {m: exits(d) if m is not main else main_exits(d) for m, d in config.depths.items()
                      if m is not main or not whole}
        self.depths = DepthChoice([self.exits.get(m, (d,)) for m, d in config.depths.items()])
        self.outputs = sum(map(len, self.exits.values()))
        self.encoder = make_gate_encoder(config)
        self.gate = make_gate(config, self.outputs)

    def gate_logits(self, batch: SampleBatch) -> Weights:
        """Return the logits of the exits (B, exits) of each modality; a missing one has its first exit only."""
        logits: Tensor = self.gate(self.encoder.perceive(batch))
        sizes = [len(e) for e in self.exits.values()]
        parts = dict(zip(self.exits, torch.split(logits, sizes, dim=1), strict=True))
        here = self._here(batch)
        # Not -inf: the gradient of a softmax with it can be NaN.
        lowest = torch.finfo(logits.dtype).min / 2
        return {m: x.masked_fill(~here[m][:, None] & (torch.arange(x.shape[1], device=x.device) > 0), lowest)
                for m, x in parts.items()}

    def choose(self, batch: SampleBatch, max_layers: int | None = None) -> Tensor:
        """Choose the layers of each modality (B, M) in the model's order, the main modality included.

        Raises:
            InputError: the limit is below the layers that the main modality runs at least.
        """
        least = self.exits.get(self.main, (self.config.depths[self.main],))[0]
        if max_layers is not None and max_layers < least:
            raise InputError("max_layers", max_layers, f"at least {least}, the layers that {self.main} always runs")
        here = available(batch, self.config)
        logits = self.gate_logits(batch)
        nothing = torch.zeros(len(here), 1)
        return self.depths.best([logits.get(m, nothing) for m in self.config.modalities], here, max_layers)

    def routed(self, batch: SampleBatch, max_layers: int | None = None) -> Routed:
        """See `LearnedBaseline`."""
        counts = self.choose(batch, max_layers)
        bill = FrameBill(self.config, gate=(self.config.qoi.dim, GATE_HIDDEN, self.outputs))
        return Routed(run_counts(self.network, batch, counts), counts, bill(batch, counts, task_flops(self.config)))

    def soft_weights(self, batch: SampleBatch, tau: float) -> Weights:
        """Return the softmax of the gate at a temperature above 0."""
        return {m: (x / tau).softmax(dim=1) for m, x in self.gate_logits(batch).items()}

    def random_weights(self, batch: SampleBatch, draws: torch.Generator) -> Weights:
        """Sample one exit of each modality uniformly for each sample; missing modalities have their first one."""
        weights = {}
        for modality, here in self._here(batch).items():
            count = len(self.exits[modality])
            exit_ = torch.randint(count, (len(here),), generator=draws).to(here.device)
            weights[modality] = nn.functional.one_hot(torch.where(here, exit_, 0), count).float()
        return weights

    def forward_train(self, batch: SampleBatch, weights: Weights) -> NetworkOutput:
        """Run with weighted exits, differentiable: the weight of a stage is the sum over the exits behind it."""
        masks = {}
        for modality, depth in self.config.depths.items():
            if modality not in batch.present:
                continue
            always = batch.present[modality].any(dim=1)[:, None].float()
            if modality not in weights:
                masks[modality] = always.expand(-1, depth)
                continue
            places = self.exits[modality]
            behind = weights[modality].flip(1).cumsum(dim=1).flip(1)[:, 1:]
            steps = torch.tensor(places, device=behind.device).diff()
            masks[modality] = torch.cat([always.expand(-1, places[0]), behind.repeat_interleave(steps, dim=1)], dim=1)
        return self.network.forward_train(batch, masks)

    def run_chosen(self, batch: SampleBatch) -> NetworkOutput:
        """Run as `routed`, with gradients to the network and none to the gate."""
        with torch.no_grad():
            counts = self.choose(batch)
        masks = {m: (torch.arange(d) < counts[:, i:i + 1]).float().to(self.network.poses.device)
                 for i, (m, d) in enumerate(self.config.depths.items())}
        return self.network.forward_train(batch, masks)

    def expected_cost(self, batch: SampleBatch, weights: Mapping[Modality, Tensor], table: LayerCosts) -> Tensor:
        """Return the mean cost (B,) of the backbones with all sensor nodes; missing modalities cost nothing."""
        some = next(iter(weights.values()))
        here = available(batch, self.config).to(some)
        cost = torch.zeros(len(here), dtype=some.dtype, device=some.device)
        for i, (modality, depth) in enumerate(self.config.depths.items()):
            part = table.modalities[modality]
            share = weights.get(modality, torch.ones_like(here[:, :1]))
            prices = [table.amount(part.backbone(k, part.nodes)) for k in self.exits.get(modality, (depth,))]
            cost = cost + here[:, i] * (share @ torch.tensor(prices, dtype=share.dtype, device=share.device))
        return cost

    def _here(self, batch: SampleBatch) -> dict[Modality, Tensor]:
        """Return which samples have each modality with exits, (B,)."""
        some = next(iter(batch.present.values()))
        nothing = torch.zeros(len(some), dtype=torch.bool, device=some.device)
        return {m: batch.present[m].any(dim=1) if m in batch.present else nothing for m in self.exits}
