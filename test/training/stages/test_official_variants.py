# SPDX-License-Identifier: Apache-2.0
"""What the official code does otherwise than the paper, and looks that are no squares."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch

from admn_ros.config import ModelConfig
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.errors import ConfigError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality, SampleBatch
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.training.config import DataConfig, OptimizerConfig
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.seeding import generator
from admn_ros.training.stage import Step
from admn_ros.training.stages.autoencoder import Autoencoder, AutoencoderConfig
from admn_ros.training.stages.controller import Controller, ControllerConfig
from admn_ros.training.stages.finetune import FinetuneConfig
from admn_ros.training.stages.value import ValueConfig
from helpers import models


def test_the_codes_gumbel_noise_changes_fewer_choices(network: AdmnNetwork, dataset: Path, model: ModelConfig) -> None:
    preset = corruption_preset("room-all", modalities=tuple(model.modalities))
    batch = next(Samples(ShardDataset(dataset, "train"), model, preset, seed=2).batches(0, 12, shuffle=False))

    def changed(variant: Literal["paper", "code"]) -> int:
        stage = Controller(network, ControllerConfig(budgets=(5,), variant=variant))
        output = stage.run_controller(batch, 5)
        choices = [torch.cat(list(stage.select_layers(output, batch, 5, Step(3, 10, generator(0, 1), generator(
            0, 2, number))).values()), dim=1).detach() for number in range(8)]
        return sum(int((choice != choices[0]).any(dim=1).sum()) for choice in choices)

    with torch.no_grad():  # scores that differ by more than a tenth of the noise
        network.qoi.mlp_layers[2].bias.copy_(torch.arange(9) / 3)
    assert changed("code") < changed("paper") / 3


def test_the_code_draws_otherwise_for_controllers(dataset: Path, model: ModelConfig) -> None:
    data = DataConfig(folder=str(dataset), corruption="gdtm-gaussian", variant="code")

    def severities(stage: FinetuneConfig | ControllerConfig) -> set[float]:
        train, _ = stage.open_samples(data, model)
        batch = next(train.batches(0, 12, shuffle=False))
        return set(batch.severity[Modality.RGB].tolist())

    levels = {0.0, *torch.tensor([1 / 3, 2 / 3, 1.0]).tolist()}
    assert severities(ControllerConfig(budgets=(4,))) <= levels
    assert not severities(FinetuneConfig()) & levels


def clip_batch(config: ModelConfig) -> LabeledBatch:
    draw = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(4, 3, *c.input.shape, generator=draw) for m, c in config.modalities.items()}
    present = {m: torch.ones(4, 3, dtype=torch.bool) for m in inputs}
    return LabeledBatch(SampleBatch(inputs, present), torch.zeros(4, 3), torch.zeros(4, dtype=torch.bool),
                        torch.zeros(4, dtype=torch.long), {})


def test_the_autoencoder_restores_what_the_controller_reads() -> None:
    network = AdmnNetwork(models.clip())
    initialize(network, 0)
    stage = Autoencoder(network, AutoencoderConfig(optimizer=OptimizerConfig(seed=1), channels=4))
    batch = clip_batch(network.config)
    shapes = {name: tuple(decoder(torch.zeros(1, 16)).shape) for name, decoder in stage.decoders.items()}
    assert shapes == {"rgb": (1, 2, 3, 32, 32), "audio": (1, 2, 1, 36, 48)}
    before = stage.losses(batch, Step(0, 1, generator(0, 1), generator(0, 2)))
    other = LabeledBatch(SampleBatch({m: torch.cat([x[:, :2], 9 * x[:, 2:]], dim=1) for m, x in
                                      batch.samples.inputs.items()}, batch.samples.present),
                         batch.position_m, batch.located, batch.label, {})
    after = stage.losses(other, Step(0, 1, generator(0, 1), generator(0, 2)))
    assert {k: v.item() for k, v in before.items()} == {k: v.item() for k, v in after.items()}


def test_values_need_a_controller_that_reads_every_input() -> None:
    with pytest.raises(ConfigError, match=r"qoi\.observed 2"):
        ValueConfig().make(AdmnNetwork(models.clip()))
