# SPDX-License-Identifier: Apache-2.0
"""Stage 3: the controller learns what each input is worth, on the frozen network. Not from the paper.

Each batch runs the backbones once, and fuses many random sets of inputs. The value head predicts the position error and
the rate of right classes of each set. This is plain regression: no sampling of layers, and no gradient through the
network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from admn_ros.config import Count, ModelConfig, Objective
from admn_ros.errors import ConfigError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.costs import layer_costs
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.value.head import ValueHead
from admn_ros.sample import Modality
from admn_ros.training.config import OptimizerConfig, Share
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import distances_m, masked_mean
from admn_ros.training.scores import SplitScores
from admn_ros.training.seeding import VALUE, derive
from admn_ros.training.stage import Stage, StageConfig, Step, freeze
from admn_ros.training.stages.controller import allocated
from admn_ros.training.stages.random_inputs import random_depths, random_sets


class ValueConfig(StageConfig):
    """Stage 3, the prediction of each input's value.

    Attributes:
        hidden: width of the hidden layers of the value head.
        sets: number of random sets of inputs per sample and step.
        whole_modalities: share of the sets that have a modality at all sensor nodes or at none.
        one_layer: share of the batches with one layer of each modality; the others have random depths.
        budgets: layers of all modalities together, for the metrics of the validation split.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=3e-3, schedule="cosine", final=0.01, warm_up_epochs=1,
                                                 weight_decay=0.02, epochs=8)
    hidden: Count = 96
    sets: Count = 16
    whole_modalities: Share = 0.7
    one_layer: Share = 0.5
    budgets: tuple[Count, ...] = (1, 2, 3, 4)

    def make(self, network: AdmnNetwork) -> Value:
        """Set up the stage on a network, in place."""
        return Value(network, self)


class Value(Stage):
    """Training of the value head; nothing else of the network changes.

    Raises:
        ConfigError: the controller does not read every input.
    """

    name: ClassVar[str] = "value"

    def __init__(self, network: AdmnNetwork, config: ValueConfig) -> None:
        if network.config.qoi.observed is not None:
            raise ConfigError.conflict("value", f"qoi.observed {network.config.qoi.observed} of the model",
                                       "the controller must read every input whose value it predicts")
        qoi = network.config.qoi.model_copy(update={"value_hidden": config.hidden})
        network.config = ModelConfig.model_validate(network.config.model_copy(update={"qoi": qoi}))
        self.head = ValueHead(qoi.dim, network.config.depths, config.hidden).to(network.poses.device)
        initialize(self.head, derive(config.optimizer.seed, VALUE))
        network.qoi.value = self.head
        super().__init__(network)
        self.network, self.config = network, config
        freeze(network, [self.head])
        self.costs = layer_costs(network.config)

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the negative log-likelihoods of the position errors and of right and wrong classes of all sets."""
        with torch.no_grad():
            tokens, present = self.network.qoi.look(batch.samples)
            depths = random_depths(self.network, self.config.one_layer, step.draws)
            used, errors_m, right = self._outcomes(batch, depths, step.draws)
        value = self.head(tokens, present)
        expected_m, logit = self.head.expected(value, used, depths)
        some = used.any(dim=(2, 3))
        # An exponential distribution of the error: its likelihood is highest where the mean error is predicted.
        error = expected_m.log() + errors_m / expected_m
        classes = F.binary_cross_entropy_with_logits(logit, right, reduction="none")
        return {"error": masked_mean(error, some & batch.located[:, None]),
                "class": masked_mean(classes, some & (batch.label >= 0)[:, None])}

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return the metrics of the allocation by value at each budget: `budget_2/...` at 2 layers."""
        scores = {b: SplitScores() for b in self.config.budgets}
        for batch in batches:
            output = self.network.controller(batch.samples)
            assert output.value is not None
            values = output.value.of_depths(Objective())
            for budget in self.config.budgets:
                masks = allocated(output, batch, self.costs, budget, values)
                scores[budget].add(self.network.forward_train(batch.samples, masks), batch)
        return {f"budget_{b}/{key}": value for b, s in scores.items() for key, value in s.result().items()}

    def _outcomes(self, batch: LabeledBatch, depths: Mapping[Modality, int],
                  draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Run random sets of inputs.

        Returns:
            Inputs that ran (B, S, M, N) bool; position errors (B, S) in metres; whether the class was right (B, S).
        """
        scores = self._scores(batch, depths)
        tokens, present = self.network.embed(batch.samples, {m: top_masks(scores[m], k) for m, k in depths.items()})
        used, errors_m, right = [], [], []
        for keep in random_sets(self.network, len(batch), self.config.sets, self.config.whole_modalities, draws):
            chosen = present & keep.to(present.device).flatten(1)
            estimate, _ = self.network.fuse(tokens, chosen, batch.samples.poses)
            used.append(chosen.view(len(batch), len(depths), self.network.nodes))
            errors_m.append(distances_m(estimate, batch))
            right.append((estimate.class_logits.argmax(dim=1) == batch.label).float())
        return torch.stack(used, dim=1), torch.stack(errors_m, dim=1), torch.stack(right, dim=1)

    def _scores(self, batch: LabeledBatch, depths: Mapping[Modality, int]) -> Mapping[Modality, Tensor]:
        """Return the layer scores (B, depth) per modality. A first layer needs none."""
        if max(depths.values()) > 1:
            return self.network.controller(batch.samples).logits
        return {m: batch.position_m.new_zeros(len(batch), depth) for m, depth in self.network.config.depths.items()}


def top_masks(scores: Tensor, count: int) -> Tensor:
    """Return masks (B, depth) of the first layer and the `count` - 1 others of highest score."""
    order = scores.float().clone()
    order[:, 0] = torch.inf
    return torch.zeros_like(order).scatter(1, order.topk(count, dim=1).indices, 1.0)
