# SPDX-License-Identifier: Apache-2.0
"""AdaMML-style policy (Panda et al. 2021): each modality of a sample is on or off."""

from __future__ import annotations

import torch
from torch import Tensor

from admn_ros.baselines.gates import (
    GATE_HIDDEN,
    DepthChoice,
    make_gate,
    make_gate_encoder,
    mixture,
    without_budget_token,
)
from admn_ros.baselines.learned_baseline import (
    FrameBill,
    LearnedBaseline,
    Routed,
    available,
    run_counts,
    without_controller,
)
from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.model.costs import flop_costs
from admn_ros.model.flops import task_flops
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.sample import SampleBatch


class AdaMML(LearnedBaseline):
    """A policy that switches whole modalities; a modality that is off does not run.

    As in the original: one switch per modality, Gumbel noise with a falling temperature in training, and a price on
    each modality by its cost. Different from the original: the policy has the inputs of ADMN's controller and decides
    per frame (no LSTM over the segments of a video), the networks share our fusion, and at least one modality is on.

    Args:
        config: model that it is compared with; a modality that is on runs all its layers.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = without_budget_token(config)
        self.network = without_controller(AdmnNetwork(self.config))
        self.depths = DepthChoice([(0, d) for d in config.depths.values()])
        self.encoder = make_gate_encoder(config)
        self.policy = make_gate(config, len(config.modalities))
        table = flop_costs(self.config).modalities.values()
        price = torch.tensor([float(c.backbone(c.depth, c.nodes)) for c in table])
        self.shares = (price / price.sum()).tolist()
        """Fraction of each modality in the cost of all backbones."""

    def switch_logits(self, batch: SampleBatch) -> Tensor:
        """Return the logit of on against off for each modality, (B, M)."""
        logits: Tensor = self.policy(self.encoder.perceive(batch))
        return logits

    def choose(self, batch: SampleBatch, max_layers: int | None = None) -> Tensor:
        """Choose the layers of each modality (B, M): all or none.

        Raises:
            InputError: the limit is below the depth of the smallest modality.
        """
        least = min(self.config.depths.values())
        if max_layers is not None and max_layers < least:
            raise InputError("max_layers", max_layers, f"at least {least}, all layers of one modality")
        logits = self.switch_logits(batch)
        scores = [torch.stack([torch.zeros_like(x), x], dim=1) for x in logits.unbind(dim=1)]
        return self.depths.best(scores, available(batch, self.config), max_layers)

    def routed(self, batch: SampleBatch, max_layers: int | None = None) -> Routed:
        """See `LearnedBaseline`."""
        counts = self.choose(batch, max_layers)
        bill = FrameBill(self.config, gate=(self.config.qoi.dim, GATE_HIDDEN, len(self.config.modalities)))
        return Routed(run_counts(self.network, batch, counts), counts, bill(batch, counts, task_flops(self.config)))

    def draw(self, batch: SampleBatch, tau: float, noise: torch.Generator) -> Tensor:
        """Sample switches (B, M) with Gumbel noise: 0 or 1 in value, with the gradient of the relaxed sample.

        Where all available modalities would be off, the one with the largest noisy logit is on.

        Args:
            batch: inputs (B, N, C, H, W) per modality.
            tau: temperature above 0; a smaller one makes the gradient harder.
            noise: generator on the device of the policy.
        """
        logits = self.switch_logits(batch)
        # The difference of two Gumbel variables is logistic.
        uniform = torch.rand(logits.shape, generator=noise, device=logits.device).clamp(1e-6, 1 - 1e-6)
        noisy = logits + uniform.logit()
        soft = torch.sigmoid(noisy / tau)
        return self._at_least_one(noisy.detach(), batch) + (soft - soft.detach())

    def draw_any(self, batch: SampleBatch, draws: torch.Generator) -> Tensor:
        """Sample switches (B, M) that are on with probability 1/2, at least one available one on; no gradient."""
        size = len(next(iter(batch.present.values())))
        coin = torch.rand(size, len(self.config.modalities), generator=draws) - 0.5
        return self._at_least_one(coin.to(self.network.poses.device), batch)

    def forward_train(self, batch: SampleBatch, switches: Tensor, learned: int | None = None) -> NetworkOutput:
        """Run with the switches (B, M) of each sample.

        Args:
            batch: inputs (B, N, C, H, W) per modality.
            switches: 0 or 1.
            learned: index of a modality whose switch gets a gradient: the batch runs with and without it, and the
                switch weights the two outputs. The value is that of the given switches.
        """
        if learned is None:
            return self._run(batch, switches)
        hot = torch.zeros_like(switches)
        hot[:, learned] = 1.0
        with_, without = (switches.detach() * (1 - hot) + hot * on for on in (1.0, 0.0))
        weight = torch.stack([switches[:, learned], 1 - switches[:, learned]], dim=1)
        return mixture(weight, [self._run(batch, with_), self._run(batch, without)])

    def price(self, switches: Tensor) -> Tensor:
        """Return the mean fraction of the backbones' cost that is switched on, a scalar."""
        return (switches @ torch.tensor(self.shares, dtype=switches.dtype, device=switches.device)).mean()

    def run_chosen(self, batch: SampleBatch) -> NetworkOutput:
        """Run as `routed`, with gradients to the network and none to the policy."""
        with torch.no_grad():
            counts = self.choose(batch)
        return self._run(batch, (counts > 0).float().to(self.network.poses.device))

    def _run(self, batch: SampleBatch, switches: Tensor) -> NetworkOutput:
        masks = {m: switches[:, i:i + 1].detach().expand(-1, d)
                 for i, (m, d) in enumerate(self.config.depths.items()) if m in batch.inputs}
        return self.network.forward_train(batch, masks)

    def _at_least_one(self, scores: Tensor, batch: SampleBatch) -> Tensor:
        """Return 1 where a score is above 0, and at the best available modality."""
        here = available(batch, self.config).to(scores.device)
        best = scores.masked_fill(~here, -torch.inf).argmax(dim=1, keepdim=True)
        return (scores > 0).to(scores.dtype).scatter(1, best, 1.0) * here
