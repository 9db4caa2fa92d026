# SPDX-License-Identifier: Apache-2.0
"""Training of one network with all its layers: an expert of MNS or DynMM, or the paper's Naive Scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from admn_ros.config import Strict
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality
from admn_ros.training.config import LossConfig, OptimizerConfig, Rate
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import Figures, task_losses
from admn_ros.training.stage import Stage, Step, freeze

FROM_SCRATCH = OptimizerConfig(learning_rate=1e-3, schedule="cosine", final=0.01, warm_up_epochs=1, clip_norm=5.0,
                               epochs=30)
"""Without warm-up a network from scratch may stay at the mean position."""


class ExpertConfig(Strict):
    """Training of one whole network.

    modality_dropout: probability that a modality of a batch is absent; never all of them are.
    """

    optimizer: OptimizerConfig = FROM_SCRATCH
    loss: LossConfig = LossConfig()
    modality_dropout: Rate = 0.0


class Expert(Stage):
    """One network, all its layers, task loss. It begins from the weights it has: `initialize` them, or load some.

    The network is `ExpertSelection.expert(i)`, `WholeNetwork.network`, or any other; its controller is not touched.
    """

    name: ClassVar[str] = "expert"

    def __init__(self, network: AdmnNetwork, config: ExpertConfig) -> None:
        super().__init__(network)
        self.network, self.config = network, config
        freeze(network, [network.backbones, network.adapters, network.fusion, network.localization,
                         network.classification])

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Task loss with the modalities drawn for this batch."""
        depths = self.network.config.depths
        kept: list[Modality] = []
        while not kept:
            chance = torch.rand(len(depths), generator=step.draws).tolist()
            kept = [m for m, x in zip(depths, chance, strict=True) if x >= self.config.modality_dropout]
        output = self.network.estimate(batch.samples, {m: range(depths[m]) for m in kept})
        return task_losses(output, batch, self.config.loss)

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Figures with all modalities."""
        figures = Figures()
        layers = {m: range(d) for m, d in self.network.config.depths.items()}
        for batch in batches:
            figures.add(self.network.estimate(batch.samples, layers), batch)
        return figures.result()
