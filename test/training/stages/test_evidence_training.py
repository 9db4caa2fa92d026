# SPDX-License-Identifier: Apache-2.0
"""Stage 1 with the evidence loss, and with sensor dropout."""

from __future__ import annotations

import pytest
import torch

from admn_ros.config import ModelConfig, NodePose
from admn_ros.errors import ConfigError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import SampleBatch
from admn_ros.training.config import LossConfig
from admn_ros.training.data import LabeledBatch
from admn_ros.training.stage import Step
from admn_ros.training.stages.dropout import drop_sensors
from admn_ros.training.stages.finetune import Finetune, FinetuneConfig

EVERY = FinetuneConfig(layerdrop=0.0, full_backbone_dropout=0.0, modality_dropout=0.0,
                       loss=LossConfig(distance_per_cm=0.0, classification=0.0, evidence=1.0))


@pytest.fixture
def network(model: ModelConfig) -> AdmnNetwork:
    poses = {name: NodePose(x_m=2.0 * k - 1, y_m=-1.5, yaw_rad=1.5) for k, name in enumerate(model.sensor_nodes)}
    place = model.localization.model_copy(update={"kind": "evidence"})
    made = AdmnNetwork(model.model_copy(update={"localization": place, "node_poses": poses}))
    initialize(made, 1)
    return made.eval()


def batch_of(network: AdmnNetwork, size: int = 4) -> LabeledBatch:
    draws, config = torch.Generator().manual_seed(0), network.config
    nodes = len(config.sensor_nodes)
    inputs = {m: torch.randn(size, nodes, *c.input.shape, generator=draws) for m, c in config.modalities.items()}
    present = {m: torch.ones(size, nodes, dtype=torch.bool) for m in inputs}
    position_m = torch.cat([torch.rand(size, 2, generator=draws) * 2 - 1, torch.zeros(size, 1)], dim=1)
    nothing = {m: torch.full((size,), torch.nan) for m in inputs}
    located = torch.arange(size) > 0
    return LabeledBatch(SampleBatch(inputs, present), position_m, located, torch.zeros(size).long(), nothing)


def step() -> Step:
    return Step(0, 1, torch.Generator().manual_seed(2), torch.Generator())


def test_every_input_learns_from_every_sample(network: AdmnNetwork) -> None:
    stage = Finetune(network, EVERY)
    losses = stage.losses(batch_of(network), step())
    assert set(losses) == {"nll", "evidence"}
    losses["evidence"].backward()
    for modality in network.config.modalities:
        assert network.backbone(modality).blocks[0].mlp.fc1.weight.grad.abs().sum() > 0


def test_sample_without_position_has_no_gradient(network: AdmnNetwork) -> None:
    stage, batch = Finetune(network, EVERY), batch_of(network)
    before = stage.losses(batch, step())["evidence"]
    batch.position_m[0] = 1e6
    assert torch.equal(stage.losses(batch, step())["evidence"], before)


def test_it_learns_a_tiny_batch(network: AdmnNetwork) -> None:
    stage, batch = Finetune(network, EVERY), batch_of(network)
    optimizer = torch.optim.Adam(stage.trainable().values(), 3e-3)
    first = last = 0.0
    for number in range(60):
        loss = sum(stage.losses(batch, step()).values(), torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = first if number else loss.item(), loss.item()
    assert last < first - 2.0


def test_sensor_dropout_rate() -> None:
    present = {m: torch.ones(2000, 3, dtype=torch.bool) for m in ("a", "b")}
    present["b"][:, 1] = False
    samples = SampleBatch({m: torch.zeros(1) for m in present}, present)  # type: ignore[dict-item]
    kept = drop_sensors(samples, 0.3, torch.Generator().manual_seed(0)).present
    assert not kept["b"][:, 1].any()  # type: ignore[index]
    share = torch.cat([kept["a"], kept["b"][:, ::2]], dim=1).float()  # type: ignore[index]
    assert share.mean(dim=0).tolist() == pytest.approx([0.7] * 5, abs=0.04)
    assert torch.corrcoef(share.T).fill_diagonal_(0).abs().max() < 0.08
    assert drop_sensors(samples, 0.0, torch.Generator()) is samples


def test_a_pooled_head_has_no_evidence(model: ModelConfig) -> None:
    with pytest.raises(ConfigError, match="evidence"):
        Finetune(AdmnNetwork(model), EVERY)
