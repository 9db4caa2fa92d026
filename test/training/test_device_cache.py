# SPDX-License-Identifier: Apache-2.0
"""Samples in the memory of a device: equal to fresh ones, prepared once, and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from admn_ros.config import ModelConfig
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.sample import MultimodalSample
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.device_cache import DeviceCache, device_batches, room_mb

CPU = torch.device("cpu")


class Counted(Samples):
    """Samples that count how many are prepared."""

    prepared = 0

    def sample(self, epoch: int, index: int) -> MultimodalSample:
        self.prepared += 1
        return super().sample(epoch, index)


def samples(dataset: Path, model: ModelConfig, draws: int | None = 1) -> Counted:
    preset = corruption_preset("room-all", modalities=tuple(model.modalities))
    return Counted(ShardDataset(dataset, "train"), model, preset, seed=3, draws=draws, clean_epochs=1)


def tensors(batch: LabeledBatch) -> list[torch.Tensor]:
    groups = (batch.samples.inputs, batch.samples.present, batch.severity)
    poses = [] if batch.samples.poses is None else [batch.samples.poses]
    return [*(x for group in groups for _, x in sorted(group.items())), batch.position_m, batch.located, batch.label,
            *poses]


def epochs(data: Samples, cache: DeviceCache, count: int) -> list[list[LabeledBatch]]:
    return [list(device_batches(data, cache, CPU, epoch, data.parts(epoch, 5, shuffle=True))) for epoch in range(count)]


@pytest.mark.parametrize(("draws", "megabytes", "prepared"), [
    (1, 64, 12 + 12),  # a clean epoch, then one draw three times
    (1, 0, 4 * 12), (None, 64, 4 * 12)])
def test_batches_equal_fresh_ones(dataset: Path, model: ModelConfig, draws: int | None, megabytes: int,
                                  prepared: int) -> None:
    data, fresh = samples(dataset, model, draws), samples(dataset, model, draws)
    for epoch, found in enumerate(epochs(data, DeviceCache(megabytes, data.repeated), 4)):
        expected = list(fresh.batches(epoch, 5, shuffle=True))
        assert len(found) == len(expected) == 3
        for ours, theirs in zip(found, expected, strict=True):
            for a, b in zip(tensors(ours), tensors(theirs), strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert data.prepared == prepared


def test_more_samples_than_there_is_room_for(dataset: Path, model: ModelConfig) -> None:
    data, fresh = samples(dataset, model), samples(dataset, model)
    cache = DeviceCache(64, most=7)
    for epoch, found in enumerate(epochs(data, cache, 3)):
        for ours, theirs in zip(found, fresh.batches(epoch, 5, shuffle=True), strict=True):
            assert torch.equal(ours.label, theirs.label)
    assert sum(cache.has([(draw, i)]) for draw in (-1, 0) for i in range(12)) == 7


def test_a_cpu_has_its_samples_already() -> None:
    assert room_mb(CPU) == 0
