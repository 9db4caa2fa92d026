# SPDX-License-Identifier: Apache-2.0
"""Training of the AdaMML-style policy: network only, then policy and network, then network under the fixed policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from admn_ros.baselines.adamml import AdaMML
from admn_ros.config import NotNegative, Positive, Strict
from admn_ros.training.config import LossConfig, OptimizerConfig, Whole
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import task_losses
from admn_ros.training.rivals.experts import FROM_SCRATCH
from admn_ros.training.scores import baseline_scores
from admn_ros.training.stage import Stage, Step


class AdaMMLConfig(Strict):
    """Training of `AdaMML`.

    Attributes:
        optimizer, loss: settings of the training.
        price: loss of a frame with all modalities on; each modality has its fraction by cost.
        warm_up_epochs: first epochs, with random switches; only the network is trained.
        finetune_epochs: last epochs, with the switches of inference and without price; the policy is fixed.
        tau, tau_decay: temperature of the switches after the warm-up, and its factor per epoch.
    """

    optimizer: OptimizerConfig = FROM_SCRATCH
    loss: LossConfig = LossConfig()
    price: NotNegative
    warm_up_epochs: Whole = 5
    finetune_epochs: Whole = 10
    tau: Positive = 5.0
    tau_decay: float = Field(default=0.965, gt=0, le=1)

    @model_validator(mode="after")
    def _time_for_the_policy(self) -> AdaMMLConfig:
        if self.warm_up_epochs + self.finetune_epochs >= self.optimizer.epochs:
            raise ValueError(f"warm_up_epochs {self.warm_up_epochs} and finetune_epochs {self.finetune_epochs} must "
                             f"leave an epoch of {self.optimizer.epochs} for the policy")
        return self


class AdaMMLStage(Stage):
    """Training of policy and network. The network starts from its weights, best those of stage 1 or of `Expert`.

    The price is paid for each modality that is on. The original weights it by whether the class is right, and adds a
    penalty where it is wrong; the penalty has no gradient and is omitted.
    """

    name: ClassVar[str] = "adamml"

    def __init__(self, baseline: AdaMML, config: AdaMMLConfig) -> None:
        super().__init__(baseline)
        self.baseline, self.config = baseline, config
        baseline.requires_grad_(True)

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the task loss and, while the policy is trained, `resource`, the price of the active modalities."""
        if step.epoch >= step.epochs - self.config.finetune_epochs:
            return task_losses(self.baseline.run_chosen(batch.samples), batch, self.config.loss)
        if step.epoch < self.config.warm_up_epochs:
            switches = self.baseline.draw_any(batch.samples, step.draws)
            return task_losses(self.baseline.forward_train(batch.samples, switches), batch, self.config.loss)
        tau = self.config.tau * self.config.tau_decay ** (step.epoch - self.config.warm_up_epochs)
        switches = self.baseline.draw(batch.samples, tau, step.noise)
        # One switch per batch gets a gradient, so that a batch takes two runs, not one per combination.
        learned = int(torch.randint(switches.shape[1], (), generator=step.draws))
        output = self.baseline.forward_train(batch.samples, switches, learned)
        losses = task_losses(output, batch, self.config.loss)
        return losses | {"resource": self.config.price * self.baseline.price(switches)}

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return scores and costs with only the chosen modalities run."""
        return baseline_scores(self.baseline, batches)
