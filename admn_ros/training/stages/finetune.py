# SPDX-License-Identifier: Apache-2.0
"""Stage 1: LayerDrop finetuning of backbones, fusion and heads (Section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from torch import Tensor, nn

from admn_ros.baselines.allocations import NaiveAllocation
from admn_ros.budget.budget import Budget
from admn_ros.errors import ConfigError
from admn_ros.model.costs import layer_costs
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality
from admn_ros.training.config import FinetuneConfig, StageName
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import Figures, constant_error_m, estimate_losses
from admn_ros.training.stage import Stage, Step, freeze
from admn_ros.training.stages.layer_plans import draw_plan, drop_sensors


class Finetune(Stage):
    """LayerDrop finetuning. The controller is not touched.

    One plan per batch, so that dropped layers are skipped and cost nothing.
    """

    name: ClassVar[StageName] = "finetune"

    def __init__(self, network: AdmnNetwork, config: FinetuneConfig) -> None:
        """Choose what is trained.

        Raises:
            ConfigError: `trainable_blocks` or `budgets` do not fit the model.
        """
        super().__init__(network)
        if config.loss.evidence and network.config.localization.kind != "evidence":
            raise ConfigError("finetune.loss.evidence", config.loss.evidence,
                              f"0 with localization of kind {network.config.localization.kind}")
        self.network, self.config = network, config
        self.depths = network.config.depths
        for modality in config.solo:
            if modality not in self.depths:
                raise ConfigError("finetune.solo", modality, ", ".join(map(str, self.depths)))
        total = network.config.layers_total
        for budget in config.budgets:
            if budget > total:
                raise ConfigError("finetune.budgets", budget, f"1 to {total} layers")
        self.plans: dict[str, Mapping[Modality, tuple[int, ...]]] = {
            "full": {m: tuple(range(d)) for m, d in self.depths.items()}}
        table, everywhere = layer_costs(network.config), dict.fromkeys(self.depths, network.nodes)
        self.plans |= {f"naive_{b}": NaiveAllocation()({}, {}, everywhere, table, Budget(b, "layers")).active
                       for b in config.budgets}
        freeze(network, [network.adapters, network.fusion, network.localization, network.classification,
                         *self._trained_blocks()])

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Task loss with the layers drawn for this batch."""
        plan = draw_plan(self.config, self.depths, step.epoch, step.draws)
        samples = drop_sensors(batch.samples, self.config.sensor_dropout, step.noise)
        return estimate_losses(self.network, samples, plan, batch, self.config.loss)

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Figures at full depth (`full/...`) and of the naive allocation of each budget (`naive_8/...`).

        `constant/error_m` is the error of the split's mean position, for comparison.
        """
        figures = {name: Figures() for name in self.plans}
        axes = len(self.network.config.localization.min_m)
        targets = []
        for batch in batches:
            targets.append((batch.position_m[:, :axes].cpu(), batch.located.cpu()))
            for name, plan in self.plans.items():
                figures[name].add(self.network.estimate(batch.samples, plan), batch)
        result = {f"{name}/{key}": value for name, f in figures.items() for key, value in f.result().items()}
        constant = constant_error_m(targets)
        return result if constant is None else {**result, "constant/error_m": constant}

    def _trained_blocks(self) -> list[nn.Module]:
        blocks = self.config.trainable_blocks
        if blocks == "all":
            return [self.network.backbones]
        if set(blocks) != set(self.depths):
            raise ConfigError("finetune.trainable_blocks", ", ".join(map(str, blocks)),
                              f"all of {', '.join(map(str, self.depths))}")
        parts: list[nn.Module] = []
        for modality, count in blocks.items():
            depth = self.depths[modality]
            if count > depth:
                raise ConfigError(f"finetune.trainable_blocks.{modality}", count, f"0 to {depth}")
            parts += list(self.network.backbone(modality).blocks)[depth - count:]
        return parts
