# SPDX-License-Identifier: Apache-2.0
"""Stage 4: the calibration is fitted to errors, and to nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from admn_ros.config import ModelConfig
from admn_ros.datasets.source import JoinedSource
from admn_ros.errors import ConfigError
from admn_ros.model.network import AdmnNetwork
from admn_ros.training.config import DataConfig
from admn_ros.training.data import CLEAN_DRAW
from admn_ros.training.stage import Step
from admn_ros.training.stages.calibration import Calibrate, CalibrateConfig, HalfCleanSamples
from admn_ros.training.stages.finetune import Finetune, FinetuneConfig
from helpers import evidence
from helpers.evidence import batch_of

HEIGHTS = (0.5, 1.0)


@pytest.fixture
def stage(model: ModelConfig) -> Calibrate:
    return Calibrate(evidence.network_of(model), CalibrateConfig(seen_height_m=HEIGHTS, sets=4))


def step() -> Step:
    return Step(0, 1, torch.Generator().manual_seed(2), torch.Generator())


def test_only_the_calibration_is_trained(stage: Calibrate) -> None:
    assert {name.split(".")[0] for name in stage.trainable()} == {"calibration"}


def test_it_learns_how_large_the_errors_are(stage: Calibrate) -> None:
    batch, weights = batch_of(stage.network, 8), list(stage.trainable().values())
    before = stage.validate([batch])
    optimizer = torch.optim.Adam(weights, lr=0.05)
    for _ in range(60):
        losses = stage.losses(batch, step())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    with torch.no_grad():
        after = stage.losses(batch, step())
    stage.network.calibration.reset()
    with torch.no_grad():
        untrained = stage.losses(batch, step())
    assert after["nll"] < untrained["nll"] and after["class"] < untrained["class"]
    assert set(before) == {"inside_50", "inside_90", "inside_95", "calibration_error"}
    assert 0 <= before["inside_50"] <= before["inside_90"] <= before["inside_95"] <= 1


def test_half_of_the_samples_are_clean(dataset: Path, model: ModelConfig) -> None:
    source = CalibrateConfig(seen_height_m=HEIGHTS).open_samples(
        DataConfig(folder=str(dataset), train="val", corruption="room-all"), model)[0]
    assert isinstance(source, HalfCleanSamples)
    severity = {epoch: [sum(source.sample(epoch, i).target.corruption.values()) for i in range(len(source))]
                for epoch in (0, 1)}
    for epoch, found in severity.items():
        assert all(s == 0 for i, s in enumerate(found) if (epoch + i) % 2 == 0)
        assert any(s > 0 for s in found)
    assert source.draw(2) == CLEAN_DRAW != source.draw(3)


def test_moved_rooms_are_added(dataset: Path, model: ModelConfig) -> None:
    data = DataConfig(folder=str(dataset), train="val")
    alone, both = (CalibrateConfig(seen_height_m=HEIGHTS, moved=moved).open_samples(data, model)
                   for moved in (None, str(dataset)))
    assert [len(s) for s in alone] == [6, 6] and [len(s) for s in both] == [6 + 12, 6]


def test_stage_1_ends_a_calibration_of_earlier_weights(stage: Calibrate) -> None:
    assert stage.network.calibration is not None
    Finetune(stage.network, FinetuneConfig())
    assert stage.network.calibration is None and stage.network.config.calibration.hidden == 0


def test_a_pooled_network_is_refused(model: ModelConfig) -> None:
    with pytest.raises(ConfigError, match=r"localization\.kind.*pooled.*evidence"):
        Calibrate(AdmnNetwork(model), CalibrateConfig(seen_height_m=HEIGHTS))


def test_joined_sources_follow_one_another() -> None:
    joined = JoinedSource([[0, 1], [], [2]])
    assert len(joined) == 3 and list(joined) == [0, 1, 2] and joined[-1] == 2
    with pytest.raises(IndexError):
        joined[3]
