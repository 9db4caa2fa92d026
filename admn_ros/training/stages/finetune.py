# SPDX-License-Identifier: Apache-2.0
"""Stage 1: finetuning of backbones, fusion and heads with random layers (Section 3.3)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from admn_ros.baselines.allocations import NaiveAllocation
from admn_ros.baselines.orders import order_of
from admn_ros.budget.budget import Budget
from admn_ros.config import CalibrationConfig, Count
from admn_ros.errors import ConfigError
from admn_ros.model.allocation import Assessment
from admn_ros.model.costs import layer_costs
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality
from admn_ros.training.config import LossConfig, Rate, Share, Whole
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import constant_error_m, estimate_losses
from admn_ros.training.scores import SplitScores
from admn_ros.training.stage import Stage, StageConfig, Step, freeze
from admn_ros.training.stages.dropout import draw_present, draw_solo, drop_sensors

Layers = dict[Modality, tuple[int, ...]]
"""Layers that run, ascending, per modality; a modality without an entry is absent."""


class FinetuneConfig(StageConfig):
    """Stage 1, finetuning with random layers (Section 3.3.2).

    Attributes:
        loss: weights of the task loss.
        draws: layers of a batch. layerdrop: each layer of each modality is dropped at random, as in the paper; few
            batches then have a small allocation. cost: every number of layers of all modalities together is as
            frequent, of random modalities and always their first layers; the model becomes `nested`. It uses none of
            `layerdrop`, `ramp_epochs`, `keep_first_layer`, `full_backbone_dropout` and `modality_dropout`.
        layerdrop: probability of each layer to be dropped, drawn per batch and modality.
        ramp_epochs: epochs over which the LayerDrop rate rises linearly from 0; 0 for the full rate from the start.
        keep_first_layer: never drop the first layer of a present modality, as the allocator never does (Section A.7).
            False drops it like any other layer (official code), but never all layers.
        full_backbone_dropout: probability of a modality to run its first layer only, the least that the allocator
            grants (Section 3.3.2; "modality dropout" in Table 13).
        modality_dropout: probability of a modality to be absent: the fusion gets no token of it. Not in the paper; the
            allocator drops whole modalities at the smallest budgets, and sensors fail.
        solo: probability of each modality to be the only one of a batch. Not in the paper; a modality that learns
            slowly does not learn beside modalities that already solve the task.
        sensor_dropout: probability of a modality to be absent at a sensor node, drawn per sample. Not in the paper.
        trainable_blocks: number of last layers to train, per backbone; the rest of the backbone is frozen, including
            embedding and norm. "all" trains everything.
        budgets: budgets in layers at which validation also runs the naive allocation.
    """

    from_preset: ClassVar[bool] = True

    loss: LossConfig = LossConfig()
    draws: Literal["layerdrop", "cost"] = "layerdrop"
    layerdrop: Rate = 0.2
    ramp_epochs: Whole = 0
    keep_first_layer: bool = True
    full_backbone_dropout: Share = 0.1
    modality_dropout: Rate = 0.1
    solo: dict[Modality, Share] = Field(default={})
    sensor_dropout: Rate = 0.0
    trainable_blocks: Literal["all"] | dict[Modality, Whole] = "all"
    budgets: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _shares(self) -> FinetuneConfig:
        if sum(self.solo.values()) > 1:
            raise ValueError(f"solo: the sum of the probabilities must be at most 1, not {sum(self.solo.values()):g}")
        return self

    def make(self, network: AdmnNetwork) -> Finetune:
        """Set up the stage on a network, in place."""
        return Finetune(network, self)


class Finetune(Stage):
    """Finetuning with random layers. The controller is not trained.

    The layers are drawn per batch, so that dropped layers are skipped and cost nothing.

    Raises:
        ConfigError: `loss.evidence`, `solo`, `trainable_blocks` or `budgets` do not fit the model.
    """

    name: ClassVar[str] = "finetune"
    trains_estimates: ClassVar[bool] = True

    def __init__(self, network: AdmnNetwork, config: FinetuneConfig) -> None:
        super().__init__(network)
        if config.loss.evidence and network.config.localization.kind != "evidence":
            raise ConfigError("finetune.loss.evidence", config.loss.evidence,
                              f"0 with localization of kind {network.config.localization.kind}")
        nested = network.qoi.nested = config.draws == "cost"
        network.config = network.config.model_copy(update={"nested": nested})
        network.calibrate(CalibrationConfig())  # that of earlier weights means nothing
        self.network, self.config = network, config
        self.depths = network.config.depths
        for modality in config.solo:
            if modality not in self.depths:
                raise ConfigError("finetune.solo", modality, ", ".join(map(str, self.depths)))
        total = network.config.layers_total
        for budget in config.budgets:
            if budget > total:
                raise ConfigError("finetune.budgets", budget, f"1 to {total} layers")
        self.allocations: dict[str, Mapping[Modality, tuple[int, ...]]] = {
            "full": {m: tuple(range(d)) for m, d in self.depths.items()}}
        table, everywhere = layer_costs(network.config), dict.fromkeys(self.depths, network.nodes)
        naive, nothing = NaiveAllocation(order_of(nested)), Assessment()
        self.allocations |= {f"naive_{b}": naive(nothing, everywhere, table, Budget(b, "layers")).active
                             for b in config.budgets}
        freeze(network, [network.adapters, network.fusion, network.localization, network.classification,
                         *self._trained_blocks()])

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the task loss with the layers drawn for this batch."""
        layers = draw_first_layers(self.config.solo, self.depths, step.draws) if self.config.draws == "cost" \
            else draw_layers(self.config, self.depths, step.epoch, step.draws)
        samples = drop_sensors(batch.samples, self.config.sensor_dropout, step.noise)
        return estimate_losses(self.network, samples, layers, batch, self.config.loss)

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return the metrics at full depth (`full/...`) and of the naive allocation of each budget (`naive_8/...`).

        `constant/error_m` is the error of the split's mean position, for comparison.
        """
        scores = {name: SplitScores() for name in self.allocations}
        axes = len(self.network.config.localization.min_m)
        targets = []
        for batch in batches:
            targets.append((batch.position_m[:, :axes].cpu(), batch.located.cpu()))
            for name, layers in self.allocations.items():
                scores[name].add(self.network.estimate(batch.samples, layers), batch)
        result = {f"{name}/{key}": value for name, s in scores.items() for key, value in s.result().items()}
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


def layerdrop_rate(config: FinetuneConfig, epoch: int) -> float:
    """Return the LayerDrop rate of an epoch (from 0): linear from 0, and constant after `ramp_epochs`."""
    return config.layerdrop * min(1.0, epoch / config.ramp_epochs) if config.ramp_epochs else config.layerdrop


def draw_layers(config: FinetuneConfig, depths: Mapping[Modality, int], epoch: int, draws: torch.Generator) -> Layers:
    """Draw the layers of one batch (Section 3.3.2), independently for each modality.

    A modality is absent if another one is `solo` or with probability `modality_dropout`. Otherwise it runs its first
    layer only with probability `full_backbone_dropout`, else each layer unless dropped. A present modality runs at
    least one layer.

    Args:
        config: probabilities.
        depths: number of layers of each modality.
        epoch: current epoch, from 0.
        draws: generator on the CPU.
    """
    present = draw_present(config.solo, config.modality_dropout, depths, draws)
    rate = layerdrop_rate(config, epoch)
    drawn: Layers = {}
    for modality, depth in depths.items():
        # Drawn for absent modalities too, so that one modality's draws do not depend on the others.
        first_only = float(torch.rand((), generator=draws)) < config.full_backbone_dropout
        kept = torch.rand(depth, generator=draws) >= rate
        if config.keep_first_layer:
            kept[0] = True
        layers = tuple(kept.nonzero().flatten().tolist())
        if modality in present:
            drawn[modality] = (0,) if first_only or not layers else layers
    return drawn


def draw_first_layers(solo: Mapping[Modality, float], depths: Mapping[Modality, int], draws: torch.Generator) -> Layers:
    """Draw a number of layers of all modalities together, uniformly, and spread it over random modalities.

    Small allocations are as frequent as large ones. Of a number of layers, first the number of modalities is drawn
    among those that can have it, then the modalities, then their depths; each modality runs its first layers.

    Args:
        solo: probability of each modality to be the only one; its depth is then uniform.
        depths: number of layers of each modality.
        draws: generator on the CPU.
    """
    alone = draw_solo(solo, draws)
    candidates = [m for m in depths if alone in (None, m)]
    order = [candidates[i] for i in torch.randperm(len(candidates), generator=draws).tolist()]
    left = _uniform(1, sum(depths[m] for m in order), draws)
    room = list(itertools.accumulate(depths[m] for m in order))
    count = _uniform(1 + sum(x < left for x in room), min(left, len(order)), draws)
    drawn: Layers = {}
    for i, modality in enumerate(order[:count]):
        others = count - 1 - i
        most = min(depths[modality], left - others)
        drawn[modality] = tuple(range(_uniform(max(1, left - (room[count - 1] - room[i])), most, draws)))
        left -= len(drawn[modality])
    return {m: drawn[m] for m in depths if m in drawn}


def _uniform(low: int, high: int, draws: torch.Generator) -> int:
    """Draw a whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=draws))
