# SPDX-License-Identifier: Apache-2.0
"""Baselines that choose one whole network per sample: MNS (paper Section 4.1.2) and modality-level DynMM.

Both train several experts and a gate. Unlike in their released code, only the chosen expert runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from admn_ros.baselines.gates import (
    GATE_HIDDEN,
    make_gate,
    make_gate_encoder,
    mixture,
    straight_through,
    without_budget_token,
)
from admn_ros.baselines.learned_baseline import (
    FrameBill,
    LearnedBaseline,
    Routed,
    available,
    gather,
    run_whole,
    without_controller,
)
from admn_ros.budget.costs import Counts
from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.model.costs import flop_costs
from admn_ros.model.flops import task_flops
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.sample import SampleBatch

MNS_TAU = 5.0
"""Temperature of the Gumbel softmax of MNS."""


def mns_experts(config: ModelConfig, layers: int) -> list[Counts]:
    """Return the experts of MNS: each modality alone with all layers, and all modalities with equal shares.

    Args:
        config: model that they are compared with; experts may be deeper.
        layers: budget of one frame; the remainder of the division goes to the first modalities.

    Raises:
        InputError: fewer layers than modalities.
    """
    modalities = list(config.modalities)
    if layers < len(modalities):
        raise InputError("layers", layers, f"at least {len(modalities)}, one for each modality")
    alone: list[Counts] = [{m: layers} for m in modalities]
    return [*alone, equal_shares(config, layers)] if len(modalities) > 1 else alone


def equal_shares(config: ModelConfig, layers: int) -> Counts:
    """Divide layers equally among the modalities; the remainder goes to the first ones."""
    share, rest = divmod(layers, len(config.modalities))
    return {m: share + (i < rest) for i, m in enumerate(config.modalities)}


def scratch_config(config: ModelConfig, layers: int) -> ModelConfig:
    """Return the paper's Naive Scratch: a model with `layers` backbone layers in all, to be trained from scratch.

    Raises:
        InputError: fewer layers than modalities.
    """
    if layers < len(config.modalities):
        raise InputError("layers", layers, f"at least {len(config.modalities)}, one for each modality")
    return expert_config(config, equal_shares(config, layers))


def expert_config(config: ModelConfig, layers: Counts) -> ModelConfig:
    """Return a model of some of the modalities, with backbones of other depths.

    Raises:
        InputError: the model lacks a modality, or there is no layer.
    """
    used = {m: k for m, k in layers.items() if k}
    if not used or min(used.values()) < 0 or not set(used) <= set(config.modalities):
        raise InputError("expert", {str(m): k for m, k in layers.items()},
                         f"layers of {', '.join(map(str, config.modalities))}")
    modalities = {m: c.model_copy(update={"backbone": c.backbone.model_copy(update={"depth": used[m]})})
                  for m, c in config.modalities.items() if m in used}
    return config.model_copy(update={"modalities": modalities, "trained": False})


class ExpertSelection(LearnedBaseline):
    """Experts, and a gate that selects one of them for each sample.

    The gate has the inputs of ADMN's controller (down-sampled inputs, small convolutions, transformer). An expert
    without a present modality is selected only if no other expert has one.

    Args:
        config: model that they are compared with: inputs, widths, fusion, heads, gate.
        experts: layers of each modality of each expert.
    """

    def __init__(self, config: ModelConfig, experts: Sequence[Counts]) -> None:
        super().__init__()
        if not experts:
            raise InputError("experts", "none", "at least one")
        self.config = without_budget_token(config)
        configs = [expert_config(self.config, layers) for layers in experts]
        self.experts = nn.ModuleList(without_controller(AdmnNetwork(c)) for c in configs)
        self.costs = tuple(_backbone_gflops(c) for c in configs)
        self.layers = tuple(c.layers_total for c in configs)
        self.encoder = make_gate_encoder(config)
        self.gate = make_gate(config, len(experts))

    def expert(self, index: int) -> AdmnNetwork:
        """Return one expert. Train it alone before the gate."""
        return cast(AdmnNetwork, self.experts[index])

    def gate_logits(self, batch: SampleBatch, max_layers: int | None = None) -> Tensor:
        """Return the logits of the experts (B, E); excluded experts have the lowest representable value.

        Args:
            batch: inputs (B, N, C, H, W) per modality.
            max_layers: experts with more layers are excluded. DynMM itself bounds only the mean cost; with this limit
                it is our strict variant.

        Raises:
            InputError: all experts are larger.
        """
        fits = torch.tensor([max_layers is None or k <= max_layers for k in self.layers])
        if not bool(fits.any()):
            raise InputError("max_layers", max_layers, f"at least {min(self.layers)}, the smallest expert's")
        logits: Tensor = self.gate(self.encoder.perceive(batch))
        fits = fits.to(logits.device).expand_as(logits)
        usable = fits & self._has_input(batch)
        # Not -inf: a softmax over -inf alone is NaN.
        lowest = torch.finfo(logits.dtype).min / 2
        return logits.masked_fill(~torch.where(usable.any(dim=1, keepdim=True), usable, fits), lowest)

    def choose(self, batch: SampleBatch, max_layers: int | None = None) -> Tensor:
        """Return the index of each sample's expert (B,)."""
        return self.gate_logits(batch, max_layers).argmax(dim=1)

    def forward(self, batch: SampleBatch, max_layers: int | None = None) -> NetworkOutput:
        """Run each sample through its own expert only."""
        return self._run_chosen(batch, self.choose(batch, max_layers))

    def routed(self, batch: SampleBatch, max_layers: int | None = None) -> Routed:
        """See `LearnedBaseline`."""
        choice = self.choose(batch, max_layers)
        configs = [self.expert(i).config for i in range(len(self.experts))]
        counts = torch.tensor([[c.depths.get(m, 0) for m in self.config.modalities] for c in configs])
        fixed = torch.tensor([task_flops(c) for c in configs])
        bill = FrameBill(self.config, gate=(self.config.qoi.dim, GATE_HIDDEN, len(configs)))
        picked = choice.cpu()
        ran = counts[picked] * available(batch, self.config)
        return Routed(self._run_chosen(batch, choice), ran, bill(batch, ran, fixed[picked]))

    def forward_train(self, batch: SampleBatch, generator: torch.Generator | None = None,
                      ) -> tuple[NetworkOutput, Tensor]:
        """Run all experts and mix their outputs with the weights of the gate, differentiable in both.

        Args:
            batch: inputs (B, N, C, H, W) per modality.
            generator: generator of the gate's noise; used by MNS.

        Returns:
            Mixture, and weights (B, E): exactly 0 and 1 in value, with the gradient of a softmax.
        """
        weights = self.weights(self.gate_logits(batch), generator)
        outputs = [run_whole(self.expert(i), batch) for i in range(len(self.experts))]
        return mixture(weights, outputs), weights

    def weights(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Convert gate logits (B, E) to one-hot weights (B, E) with gradients."""
        raise NotImplementedError

    def _has_input(self, batch: SampleBatch) -> Tensor:
        size = len(next(iter(batch.present.values())))
        here = {m: batch.present[m].any(dim=1) for m in batch.present}
        nothing = torch.zeros(size, dtype=torch.bool, device=next(iter(here.values())).device)
        return torch.stack([torch.stack([here.get(m, nothing) for m in self.expert(i).config.modalities]).any(dim=0)
                            for i in range(len(self.experts))], dim=1)

    def _run_chosen(self, batch: SampleBatch, choice: Tensor) -> NetworkOutput:
        parts, rows = [], []
        for index in sorted(set(choice.tolist())):
            row = (choice == index).nonzero().squeeze(1)
            parts.append(run_whole(self.expert(index), batch, row))
            rows.append(row)
        return gather(parts, rows)


class Mns(ExpertSelection):
    """Modality Network Selection, the paper's baseline: Gumbel softmax at temperature 5, task loss only."""

    def weights(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the one-hot vector of the largest noisy logit, with the gradient of its softmax."""
        noise = torch.empty_like(logits).exponential_(generator=generator)
        noise = -noise.clamp_min(torch.finfo(logits.dtype).tiny).log()
        return straight_through((logits + noise) / MNS_TAU)


class DynMM(ExpertSelection):
    """Modality-level DynMM (Xue and Marculescu 2023, Equation 1): a gate without noise, and a price on cost.

    Args:
        config: see `ExpertSelection`.
        experts: see `ExpertSelection`.
        price: lambda, loss per run of the first expert.
        tau: temperature of the softmax.
    """

    def __init__(self, config: ModelConfig, experts: Sequence[Counts], price: float, tau: float = 1.0) -> None:
        super().__init__(config, experts)
        if not (math.isfinite(price) and price >= 0):
            raise InputError("price", price, "a number of at least 0")
        if not tau > 0:
            raise InputError("tau", tau, "a number above 0")
        self.price, self.tau = price, tau

    def weights(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the one-hot vector of the largest logit, with the gradient of the softmax."""
        return straight_through(logits / self.tau)

    def resource_loss(self, weights: Tensor) -> Tensor:
        """Return lambda times the mean cost of the weighted experts, relative to the first; add it to the task loss."""
        relative = torch.tensor(self.costs, dtype=weights.dtype, device=weights.device) / self.costs[0]
        return self.price * (weights @ relative).mean()


def _backbone_gflops(config: ModelConfig) -> float:
    """Return the cost of backbones and adapters with all sensor nodes; the rest is the same for each expert."""
    table = flop_costs(config)
    return table.amount(sum(c.backbone(c.depth, c.nodes) for c in table.modalities.values()))
