# SPDX-License-Identifier: Apache-2.0
"""Training of the gate of MNS and of modality-level DynMM, after the experts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from torch import Tensor

from admn_ros.baselines.experts import DynMM, Mns
from admn_ros.config import Positive, Strict
from admn_ros.training.config import LossConfig, OptimizerConfig
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import task_losses
from admn_ros.training.scores import baseline_scores
from admn_ros.training.stage import Stage, Step, freeze


class GateConfig(Strict):
    """Training of a gate. The price on cost is part of `DynMM` itself.

    Attributes:
        optimizer, loss: settings of the training.
        joint: whether the experts of DynMM are trained together with the gate, as published; those of MNS never are.
        expert_rate: learning rate of the experts relative to that of the gate. A gate from random weights needs a
            larger one than experts that are trained already.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, schedule="linear", final=0.01, epochs=10)
    loss: LossConfig = LossConfig()
    joint: bool = True
    expert_rate: Positive = 1.0


class Gate(Stage):
    """Training of a gate. MNS: experts frozen, task loss. DynMM: task and resource loss, gate and experts
    together or the gate alone.

    In training all experts run on every sample, as in the released code of both.
    """

    name: ClassVar[str] = "gate"

    def __init__(self, baseline: Mns | DynMM, config: GateConfig) -> None:
        super().__init__(baseline)
        self.baseline, self.config = baseline, config
        trained = [baseline.encoder, baseline.gate]
        alone = isinstance(baseline, Mns) or not config.joint
        freeze(baseline, trained if alone else [*trained, *baseline.experts])

    def rate_share(self, name: str) -> float:
        """See `Stage`."""
        return self.config.expert_rate if name.startswith("experts.") else 1.0

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the task loss of the chosen experts and, for DynMM, `resource`, the price of their cost."""
        output, weights = self.baseline.forward_train(batch.samples, step.noise)
        losses = task_losses(output, batch, self.config.loss)
        if isinstance(self.baseline, DynMM):
            losses["resource"] = self.baseline.resource_loss(weights)
        return losses

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return scores and costs with only the chosen expert run."""
        return baseline_scores(self.baseline, batches)
