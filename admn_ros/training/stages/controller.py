# SPDX-License-Identifier: Apache-2.0
"""Stage 2: the controller learns to allocate on the frozen network (Section 3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import LayerCosts
from admn_ros.config import ModelConfig
from admn_ros.errors import ConfigError
from admn_ros.model.allocation import allocate
from admn_ros.model.checkpoint import initialize
from admn_ros.model.costs import layer_costs
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality
from admn_ros.training.config import ControllerConfig, StageName
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import Figures, corruption_losses, task_losses
from admn_ros.training.seeding import CATEGORIES, CONTROLLER, derive
from admn_ros.training.stage import Stage, Step, freeze
from admn_ros.training.stages.categories import category_accuracy, category_losses, grade_network
from admn_ros.training.stages.layer_sampling import Masks, affordable, select


class Controller(Stage):
    """Training of the controller; everything else of the network is frozen.

    A model with `qoi.budget_token` sees the budget of each batch (Section A.1); without it one ranking of layers
    serves all budgets. A budget below the number of modalities leaves out those with the worst predicted QoI, as
    the allocator does.
    """

    name: ClassVar[StageName] = "controller"

    def __init__(self, network: AdmnNetwork, config: ControllerConfig) -> None:
        """Choose what is trained.

        Raises:
            ConfigError: budgets or weights do not fit the model.
        """
        levels, modalities = config.corruption_levels, network.config.modalities
        if levels and set(levels) != set(modalities):
            raise ConfigError("controller.corruption_levels", ", ".join(map(str, levels)),
                              f"all of {', '.join(map(str, modalities))}")
        if config.fresh:
            initialize(network.qoi, derive(config.optimizer.seed, CONTROLLER))
        if config.supervised:
            grade_network(network, levels, derive(config.optimizer.seed, CATEGORIES))
        super().__init__(network)
        self.network, self.config = network, config
        total = network.config.layers_total
        for budget in config.budgets:
            if budget > total:
                raise ConfigError("controller.budgets", budget, f"1 to {total} layers")
        for modality in config.corruption_weight:
            if modality not in network.config.modalities:
                raise ConfigError("controller.corruption_weight", modality,
                                  ", ".join(map(str, network.config.modalities)))
        qoi = network.qoi
        freeze(network, [qoi.mlp_layers] if config.mode == "autoencoder" else [qoi])
        if config.mode == "task":
            qoi.mlp_corruption.requires_grad_(False)
        qoi.judged = config.supervised or (config.mode == "autoencoder" and network.config.qoi_trained)
        self.costs = layer_costs(network.config)

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Corruption loss, and after the first `corruption_epochs` the task loss within a budget of layers.

        Raises:
            ConfigError: corruption labels are wanted, and the batch has none.
        """
        # Drawn in every batch: then the budgets do not depend on how long the corruption loss is alone.
        budget = self.config.budgets[int(torch.randint(len(self.config.budgets), (), generator=step.draws))]
        output = self.judge(batch, budget)
        losses: dict[str, Tensor] = {}
        if self.config.supervised:
            losses |= self._corruption(output, batch)
        if self.config.supervised and step.epoch < self.config.corruption_epochs:
            return losses
        masks = self.choose(output, batch, budget, step)
        estimate = self.network.forward_train(batch.samples, masks)
        return losses | task_losses(estimate, batch, self.config.loss)

    def judge(self, batch: LabeledBatch, budget: int) -> ControllerOutput:
        """What the controller says of a batch within a budget of layers."""
        return self.network.controller(batch.samples, shares(batch, self.network.config, budget))

    def choose(self, output: ControllerOutput, batch: LabeledBatch, budget: int, step: Step) -> Masks:
        """Masks (B, depth) per modality of a budget, with gradients to the controller."""
        available = affordable(output, batch.available(), budget)
        logits = {m: x.float() for m, x in output.logits.items()}
        return select(self.config.selection, logits, available, budget, self._tau(step), step.noise)

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Figures of each budget as the engine would allocate it (`budget_8/...`), with the mean layers per
        modality, and the mean |predicted - severity| and accuracy of categories per modality, also over the budgets.
        """
        figures = {b: Figures() for b in self.config.budgets}
        layers = {(b, m): 0.0 for b in self.config.budgets for m in self.network.config.modalities}
        corruption: dict[str, float] = {}
        count = 0
        for batch in batches:
            for budget in self.config.budgets:
                output = self.judge(batch, budget)
                masks = allocated(output, batch, self.costs, budget)
                figures[budget].add(self.network.forward_train(batch.samples, masks), batch)
                for modality, mask in masks.items():
                    layers[budget, modality] += float(mask.sum())
                judged = corruption_losses(output.corruption, batch, {})
                judged |= category_accuracy(self.network, output.e_corr, batch)
                for name, value in judged.items():
                    share = float(value) * len(batch) / len(self.config.budgets)
                    corruption[name] = corruption.get(name, 0.0) + share
            count += len(batch)
        result = {f"budget_{b}/{key}": value for b, f in figures.items() for key, value in f.result().items()}
        result |= {f"budget_{b}/layers_{m}": total / count for (b, m), total in layers.items()}
        return result | {name: total / count for name, total in corruption.items()}

    def _corruption(self, output: ControllerOutput, batch: LabeledBatch) -> dict[str, Tensor]:
        if not any(bool(s.isfinite().any()) for s in batch.severity.values()):
            raise ConfigError("controller.mode", f"{self.config.mode} with samples that have no corruption labels",
                              "task or autoencoder, or a data.corruption preset")
        if self.config.corruption_levels:
            return category_losses(self.network, output.e_corr, batch, self.config.corruption_weight)
        return corruption_losses(output.corruption, batch, self.config.corruption_weight)

    def _tau(self, step: Step) -> float:
        if self.config.tau_final is None or step.epochs < 2:
            return self.config.tau
        return float(self.config.tau * (self.config.tau_final / self.config.tau) ** (step.epoch / (step.epochs - 1)))


def shares(batch: LabeledBatch, model: ModelConfig, layers: int) -> Tensor:
    """`admn_ros.model.qoi.budget_share` of a budget of layers for each sample, (B,)."""
    held = torch.stack([depth * batch.available()[m].float() for m, depth in model.depths.items()]).sum(dim=0)
    return (layers / held.clamp_min(1)).clamp(max=1.0)


def allocated(output: ControllerOutput, batch: LabeledBatch, costs: LayerCosts, budget: int) -> Masks:
    """Masks (B, depth) per modality of what the allocator gives each sample within a budget of layers."""
    limit = Budget(budget, "layers")
    present = {m: batch.samples.present[m].sum(dim=1).tolist() for m in output.logits}
    scores = {m: x.float().tolist() for m, x in output.logits.items()}
    quality = {m: q.tolist() for m, q in output.qoi.items()}
    masks = {m: torch.zeros_like(x, dtype=torch.float32, device="cpu") for m, x in output.logits.items()}
    for i in range(len(batch)):
        def row(table: Mapping[Modality, list[float]], i: int = i) -> dict[Modality, float]:
            return {m: values[i] for m, values in table.items()}

        allocation = allocate({m: s[i] for m, s in scores.items()}, row(quality),
                              {m: n[i] for m, n in present.items()}, costs, limit)
        for modality, active in allocation.active.items():
            masks[modality][i, list(active)] = 1.0
    return {m: mask.to(output.e_corr.device) for m, mask in masks.items()}
