# SPDX-License-Identifier: Apache-2.0
"""Stage 2: the controller learns to allocate on the frozen network (Section 3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import LayerCosts
from admn_ros.config import Count, Levels, ModelConfig, NotNegative, Positive
from admn_ros.errors import ConfigError
from admn_ros.model.allocation import Assessment, allocate
from admn_ros.model.checkpoint import initialize
from admn_ros.model.costs import layer_costs
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.qoi import ControllerOutput
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import Modality
from admn_ros.training.config import DataConfig, LossConfig, OptimizerConfig, Whole
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.losses import corruption_losses, task_losses
from admn_ros.training.scores import SplitScores
from admn_ros.training.seeding import CATEGORIES, CONTROLLER, derive
from admn_ros.training.sources import open_samples
from admn_ros.training.stage import Stage, StageConfig, Step, freeze
from admn_ros.training.stages.categories import category_accuracy, category_losses, grade_network
from admn_ros.training.stages.layer_sampling import Masks, Selection, affordable, select

Mode = Literal["supervised", "autoencoder", "task", "universal"]
GUMBEL_NOISE = {"paper": 1.0, "code": 0.1}
"""Scale of the Gumbel noise: 1 is the standard distribution, as in the paper; the official code has a tenth."""


class ControllerConfig(StageConfig):
    """Stage 2, the controller on the frozen network (Section 3.4.2).

    Attributes:
        loss: weights of the task loss.
        mode: supervised: task and corruption loss; task: task loss; autoencoder: task loss, with the perceptual part of
            an autoencoder run frozen; universal: as supervised, with a budget drawn from `budgets` for each batch
            (Section A.1).
        budgets: layers of all modalities together, first layers included; one, except in mode universal.
        corruption: regression: |predicted - severity|. categories: cross-entropy over classes of severity, for
            corruption that is known by kind or grade only.
        corruption_levels: ascending severities of the classes of each modality; the class of a sample is the nearest.
        corruption_weight: weight of each modality's corruption loss; 1 if not given.
        corruption_epochs: first epochs with the corruption loss only.
        fresh: start from new controller weights, drawn with the seed, instead of the model's. From some initial weights
            the corruption loss of a modality never decreases; another seed helps.
        selection: relaxation of the choice of layers, see `admn_ros.training.stages.layer_sampling`.
        tau: temperature of the relaxation.
        variant: noise of selection gumbel. paper: standard Gumbel noise; code: a tenth of it, as in the official code.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, schedule="linear", final=0.01, epochs=10)
    loss: LossConfig = LossConfig()
    mode: Mode = "supervised"
    budgets: tuple[Count, ...] = Field(min_length=1)
    corruption: Literal["regression", "categories"] = "regression"
    corruption_levels: dict[Modality, Levels] = Field(default={})
    corruption_weight: dict[Modality, NotNegative] = Field(default={})
    corruption_epochs: Whole = 1
    fresh: bool = False
    selection: Selection = "gumbel"
    tau: Positive = 1.0
    variant: Literal["paper", "code"] = "paper"

    @model_validator(mode="after")
    def _one_budget(self) -> ControllerConfig:
        if self.mode != "universal" and len(self.budgets) != 1:
            raise ValueError(f"mode {self.mode} takes one budget, not {len(self.budgets)}; universal takes several")
        return self

    @model_validator(mode="after")
    def _levels(self) -> ControllerConfig:
        if bool(self.corruption_levels) != (self.corruption == "categories"):
            raise ValueError("corruption_levels are required for corruption categories, and not allowed for regression")
        if self.corruption_levels and not self.supervised:
            raise ValueError(f"mode {self.mode} has no corruption loss; categories require supervised or universal")
        return self

    @model_validator(mode="after")
    def _perceives(self) -> ControllerConfig:
        if self.fresh and self.mode == "autoencoder":
            raise ValueError("fresh conflicts with mode autoencoder; it discards what the autoencoder learned")
        if self.variant == "code" and self.selection != "gumbel":
            raise ValueError(f"variant code conflicts with selection {self.selection}; it scales the noise of gumbel")
        return self

    @property
    def supervised(self) -> bool:
        """Whether corruption labels are used."""
        return self.mode in ("supervised", "universal")

    def open_samples(self, data: DataConfig, model: ModelConfig) -> tuple[Samples, Samples]:
        """Open the samples as `StageConfig.open_samples`; variant code draws as the official code for controllers."""
        return open_samples(data, model, self.optimizer.seed, controller=True)

    def make(self, network: AdmnNetwork) -> Controller:
        """Set up the stage on a network, in place."""
        return Controller(network, self)


class Controller(Stage):
    """Training of the controller on the frozen network.

    A model with `qoi.budget_token` gets the budget of each batch as input (Section A.1); without it one ranking of
    layers serves all budgets. A budget below the number of modalities drops those with the lowest predicted quality of
    information, as the allocator does.

    Raises:
        ConfigError: budgets, levels or weights do not fit the model.
    """

    name: ClassVar[str] = "controller"

    def __init__(self, network: AdmnNetwork, config: ControllerConfig) -> None:
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
        self.prices = network.config.layer_costs or None
        _check_budgets(config, network.config)
        learned = network.config.qoi.token_budgets
        if learned and config.mode == "universal" and set(config.budgets) != set(learned):
            raise ConfigError("controller.budgets", ", ".join(map(str, config.budgets)),
                              f"{', '.join(map(str, learned))}, the budgets with a learned token (qoi.token_budgets)")
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
        """Return the corruption loss, and after `corruption_epochs` the task loss within a budget of layers.

        Raises:
            ConfigError: the mode requires corruption labels, and the batch has none.
        """
        # Drawn in every batch, so that the budgets do not depend on corruption_epochs.
        budget = self.config.budgets[int(torch.randint(len(self.config.budgets), (), generator=step.draws))]
        output = self.run_controller(batch, budget)
        losses: dict[str, Tensor] = {}
        if self.config.supervised:
            losses |= self._corruption(output, batch)
        if self.config.supervised and step.epoch < self.config.corruption_epochs:
            return losses
        masks = self.select_layers(output, batch, budget, step)
        estimate = self.network.forward_train(batch.samples, masks)
        return losses | task_losses(estimate, batch, self.config.loss)

    def run_controller(self, batch: LabeledBatch, budget: int) -> ControllerOutput:
        """Run the controller on a batch for a budget of layers."""
        return self.network.controller(batch.samples, shares(batch, self.network.config, budget))

    def select_layers(self, output: ControllerOutput, batch: LabeledBatch, budget: int, step: Step) -> Masks:
        """Return masks (B, depth) per modality for a budget, differentiable in the controller."""
        available = affordable(output, batch.available(), budget)
        logits = {m: x.float() for m, x in output.logits.items()}
        masks = select(self.config.selection, logits, available, budget, self.config.tau, step.noise, self.prices,
                       GUMBEL_NOISE[self.config.variant])
        if not self.network.config.nested:
            return masks
        return {m: mask.sort(dim=1, descending=True).values for m, mask in masks.items()}

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return the metrics of the engine's allocation at each budget.

        `budget_8/...`: metrics and mean layers per modality at 8 layers. `corruption_rgb`, `category_rgb/accuracy`:
        mean |predicted - severity| and accuracy of categories per modality, averaged over the budgets.
        """
        scores = {b: SplitScores() for b in self.config.budgets}
        layers = {(b, m): 0.0 for b in self.config.budgets for m in self.network.config.modalities}
        corruption: dict[str, float] = {}
        count = 0
        for batch in batches:
            for budget in self.config.budgets:
                output = self.run_controller(batch, budget)
                masks = allocated(output, batch, self.costs, budget)
                scores[budget].add(self.network.forward_train(batch.samples, masks), batch)
                for modality, mask in masks.items():
                    layers[budget, modality] += float(mask.sum())
                judged = corruption_losses(output.corruption, batch, {})
                judged |= category_accuracy(self.network, output.e_corr, batch)
                for name, value in judged.items():
                    share = float(value) * len(batch) / len(self.config.budgets)
                    corruption[name] = corruption.get(name, 0.0) + share
            count += len(batch)
        result = {f"budget_{b}/{key}": value for b, s in scores.items() for key, value in s.result().items()}
        result |= {f"budget_{b}/layers_{m}": total / count for (b, m), total in layers.items()}
        return result | {name: total / count for name, total in corruption.items()}

    def qoi_trained(self, before: bool) -> bool:
        """Return whether the quality of information is trained: task loss alone makes the corruption output invalid."""
        return self.config.supervised or (before and self.config.mode != "task")

    def _corruption(self, output: ControllerOutput, batch: LabeledBatch) -> dict[str, Tensor]:
        if not any(bool(s.isfinite().any()) for s in batch.severity.values()):
            raise ConfigError("controller.mode", f"{self.config.mode}, and samples without corruption labels",
                              "task or autoencoder, or a data.corruption preset")
        if self.config.corruption_levels:
            return category_losses(self.network, output.e_corr, batch, self.config.corruption_weight)
        return corruption_losses(output.corruption, batch, self.config.corruption_weight)


def _check_budgets(config: ControllerConfig, model: ModelConfig) -> None:
    costs = model.layer_costs
    total = sum(costs.get(m, 1) * depth for m, depth in model.depths.items())
    # With equal costs the budget may be below the first layers: modalities are dropped.
    least = sum(costs.get(m, 1) for m in model.modalities) if costs else 1
    for budget in config.budgets:
        if not least <= budget <= total:
            raise ConfigError("controller.budgets", budget, f"{least} to {total} layers")
    if costs and config.selection != "gumbel":
        raise ConfigError("controller.selection", config.selection, "gumbel, for a model with layer_costs")


def shares(batch: LabeledBatch, model: ModelConfig, layers: int) -> Tensor:
    """Return `admn_ros.model.qoi.budget_share` (B,) of a budget of layers."""
    held = torch.stack([depth * batch.available()[m].float() for m, depth in model.depths.items()]).sum(dim=0)
    return (layers / held.clamp_min(1)).clamp(max=1.0)


def allocated(output: ControllerOutput, batch: LabeledBatch, costs: LayerCosts, budget: int,
              values: Mapping[Modality, Tensor] | None = None) -> Masks:
    """Return masks (B, depth) per modality of the allocator's choice for each sample at a budget of layers.

    Args:
        output: output of the controller.
        batch: samples.
        costs: cost table in layers.
        budget: number of layers.
        values: value (B, N, depth) of each input and depth, to allocate by value; None to allocate by QoI and scores.
    """
    policy = allocate if values is None else allocate_by_value
    worth = {m: x.tolist() for m, x in (values or {}).items()}
    limit = Budget(budget, "layers")
    present = {m: batch.samples.present[m].tolist() for m in output.logits}
    scores = {m: x.float().tolist() for m, x in output.logits.items()}
    quality = {m: q.tolist() for m, q in output.qoi.items()}
    masks = {m: torch.zeros_like(x, dtype=torch.float32, device="cpu") for m, x in output.logits.items()}
    for i in range(len(batch)):
        def row(table: Mapping[Modality, list[float]], i: int = i) -> dict[Modality, float]:
            return {m: values[i] for m, values in table.items()}

        assessment = Assessment({m: s[i] for m, s in scores.items()}, row(quality),
                                {m: v[i] for m, v in worth.items()})
        nodes = {m: [node for node, here in enumerate(rows[i]) if here] for m, rows in present.items()}
        allocation = policy(assessment, nodes, costs, limit)
        for modality, active in allocation.active.items():
            masks[modality][i, list(active)] = 1.0
    return {m: mask.to(output.e_corr.device) for m, mask in masks.items()}
