# SPDX-License-Identifier: Apache-2.0
"""Training of one network with all its layers: an expert of MNS or DynMM, or the paper's Naive Scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from admn_ros.config import Strict
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality
from admn_ros.training.config import LossConfig, OptimizerConfig, Rate, Share
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import estimate_losses
from admn_ros.training.scores import SplitScores
from admn_ros.training.stage import Stage, Step, freeze
from admn_ros.training.stages.dropout import draw_present

FROM_SCRATCH = OptimizerConfig(learning_rate=1e-3, schedule="cosine", final=0.01, warm_up_epochs=1, clip_norm=5.0,
                               epochs=30)
"""Optimizer for networks from scratch. Without warm-up they may never leave the mean position."""


class ExpertConfig(Strict):
    """Training of one whole network.

    Attributes:
        optimizer, loss: settings of the training.
        modality_dropout: probability of a modality to be absent from a batch; at least one is present.
        solo: probability of each modality to be the only one of a batch, as in `FinetuneConfig`; modalities that the
            expert lacks are ignored.
    """

    optimizer: OptimizerConfig = FROM_SCRATCH
    loss: LossConfig = LossConfig()
    modality_dropout: Rate = 0.0
    solo: dict[Modality, Share] = Field(default={})


class Expert(Stage):
    """Training of one network with all its layers on the task loss. It starts from the weights of the network.

    The network is `ExpertSelection.expert(i)`, `WholeNetwork.network`, or another one; its controller is not trained.
    """

    name: ClassVar[str] = "expert"

    def __init__(self, network: AdmnNetwork, config: ExpertConfig) -> None:
        super().__init__(network)
        self.network, self.config = network, config
        freeze(network, [network.backbones, network.adapters, network.fusion, network.localization,
                         network.classification])

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the task loss with the modalities drawn for this batch."""
        depths, loss = self.network.config.depths, self.config.loss
        solo = {m: x for m, x in self.config.solo.items() if m in depths} if len(depths) > 1 else {}
        kept = draw_present(solo, self.config.modality_dropout, depths, step.draws)
        return estimate_losses(self.network, batch.samples, {m: range(depths[m]) for m in kept}, batch, loss)

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return scores with all modalities."""
        scores = SplitScores()
        layers = {m: range(d) for m, d in self.network.config.depths.items()}
        for batch in batches:
            scores.add(self.network.estimate(batch.samples, layers), batch)
        return scores.result()
