# SPDX-License-Identifier: Apache-2.0
"""Stage 1 with the evidence loss, and with sensor dropout."""

from __future__ import annotations

import pytest
import torch

from admn_ros.config import ModelConfig
from admn_ros.errors import ConfigError
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import SampleBatch
from admn_ros.training.config import LossConfig
from admn_ros.training.stage import Step
from admn_ros.training.stages.dropout import drop_sensors
from admn_ros.training.stages.finetune import Finetune, FinetuneConfig
from helpers import evidence
from helpers.evidence import batch_of

EVERY = FinetuneConfig(layerdrop=0.0, full_backbone_dropout=0.0, modality_dropout=0.0,
                       loss=LossConfig(distance_per_cm=0.0, classification=0.0, evidence=1.0))


@pytest.fixture
def network(model: ModelConfig) -> AdmnNetwork:
    return evidence.network_of(model)


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
