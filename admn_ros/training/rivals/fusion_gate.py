# SPDX-License-Identifier: Apache-2.0
"""Training of fusion-level DynMM: random exits, then gate and network together, then hard choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

from pydantic import model_validator
from torch import Tensor

from admn_ros.baselines.fusion_dynmm import FusionDynMM
from admn_ros.config import NotNegative
from admn_ros.model.costs import flop_costs, layer_costs
from admn_ros.training.config import LossConfig
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import task_losses
from admn_ros.training.rivals.phases import Phase, PhasedConfig
from admn_ros.training.scores import baseline_scores
from admn_ros.training.stage import Stage, Step


class FusionGateConfig(PhasedConfig):
    """Training of `FusionDynMM`. The price is the loss per unit of mean cost above the budget.

    Attributes:
        loss: task loss.
        budget, unit: mean cost of a frame's backbones without loss, main modality included, all sensor nodes present.
    """

    loss: LossConfig = LossConfig()
    budget: NotNegative = 0.0
    unit: Literal["layers", "gflops"] = "layers"

    @model_validator(mode="after")
    def _time_for_the_gate(self) -> FusionGateConfig:
        if self.random_epochs + self.hard_epochs >= self.optimizer.epochs:
            raise ValueError(f"random_epochs {self.random_epochs} and hard_epochs {self.hard_epochs} must leave an "
                             f"epoch of {self.optimizer.epochs} for the gate")
        return self


class FusionGate(Stage):
    """Training of gate and network. The network starts from its weights, best those of stage 1 or of `Expert`.

    Between the random and the hard epochs the loss is the task loss plus price * max(0, expected cost - budget), with
    soft exits as in the released code: the gradient of a hard choice does not reach a modality that is left out.
    """

    name: ClassVar[str] = "fusion_gate"

    def __init__(self, baseline: FusionDynMM, config: FusionGateConfig) -> None:
        super().__init__(baseline)
        self.baseline, self.config = baseline, config
        baseline.requires_grad_(True)
        self.table = (layer_costs if config.unit == "layers" else flop_costs)(baseline.config)

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the task loss and, while the gate is trained, `resource`, the price of cost above the budget."""
        phase = self.config.phase(step)
        if phase is Phase.HARD:
            return task_losses(self.baseline.run_chosen(batch.samples), batch, self.config.loss)
        if phase is Phase.RANDOM:
            weights = self.baseline.random_weights(batch.samples, step.draws)
            return task_losses(self.baseline.forward_train(batch.samples, weights), batch, self.config.loss)
        weights = self.baseline.soft_weights(batch.samples, self.config.tau_at(step))
        losses = task_losses(self.baseline.forward_train(batch.samples, weights), batch, self.config.loss)
        cost = self.baseline.expected_cost(batch.samples, weights, self.table).mean()
        return losses | {"resource": self.config.price * (cost - self.config.budget).clamp_min(0)}

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return scores and costs with only the chosen exits run."""
        return baseline_scores(self.baseline, batches)
