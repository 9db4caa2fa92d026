# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from admn_ros.config import (
    AudioInput,
    BackboneConfig,
    DepthInput,
    FusionConfig,
    ModalityConfig,
    ModelConfig,
    QoiConfig,
    RgbInput,
)
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.recordings import shards
from admn_ros.sample import Modality

torch.set_num_threads(1)
NARROW = BackboneConfig(dim=32, depth=3, heads=2, mlp_ratio=2.0, patch=(8, 8))
SHADES = {"red_car": (200, 40, 40), "green_car": (40, 200, 40), "none": (90, 90, 90)}
POSES = {"node1": {"x_m": 0.0, "y_m": -2.0, "yaw_rad": 1.57}, "node2": {"x_m": 0.0, "y_m": 2.0, "yaw_rad": -1.57}}


@pytest.fixture(scope="session")
def model() -> ModelConfig:
    """Two sensor nodes with RGB, depth and audio; three narrow layers each."""
    return ModelConfig(
        name="micro", trained=False, sensor_nodes=("node1", "node2"), classes=tuple(SHADES),
        modalities={
            Modality.RGB: ModalityConfig(input=RgbInput(height=32, width=32), backbone=NARROW, adapter_hidden=16),
            Modality.DEPTH: ModalityConfig(
                input=DepthInput(height=32, width=32, channels=1), backbone=NARROW, adapter_hidden=16),
            Modality.AUDIO: ModalityConfig(
                input=AudioInput(channels=1, fft=256, hop=128, mels=16, frames=16), backbone=NARROW,
                adapter_hidden=16)},
        fusion=FusionConfig(dim=16, depth=1, heads=2),
        qoi=QoiConfig(size=32, dim=16, depth=1, heads=2, layer_hidden=16, corruption_hidden=16))


@pytest.fixture
def network(model: ModelConfig) -> AdmnNetwork:
    network = AdmnNetwork(model)
    initialize(network, 0)
    return network


def write_split(folder: Path, split: str, count: int, seed: int) -> None:
    """Samples of a bright spot whose place in the picture is the car's; each third one has no car."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % 3
    position = np.column_stack([rng.uniform(-1.5, 1.5, (count, 2)), np.full(count, 0.06)])
    position[label == 2] = np.nan
    rgb = np.full((count, 2, 24, 24, 3), 90, np.uint8)
    depth = np.full((count, 2, 24, 24), 4000, np.uint16)
    audio = rng.normal(0, 300, (count, 2, 2176, 2)).astype(np.int16)
    for i in range(count):
        if label[i] < 2:
            x, y = ((position[i, :2] + 2) * 6).astype(int)
            rgb[i, :, y - 2:y + 3, x - 2:x + 3] = list(SHADES.values())[label[i]]
            depth[i, :, y - 2:y + 3, x - 2:x + 3] = 1500
            audio[i] *= 10
    radar = rng.uniform(0, 3, (count, 2, 8, 8)).astype(np.float16)
    shards.write(folder, split, "shard-00000",
                 {"rgb": rgb, "depth": depth, "radar": radar, "audio": audio, "time": np.arange(count) * 0.5,
                  "position": position, "label": label.astype(np.int64)}, {"node_poses": POSES})


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    shards.begin(folder, {"targets": list(SHADES), "audio_rate_hz": 16000, "sensor_nodes": ["node1", "node2"]})
    write_split(folder, "train", 12, 1)
    write_split(folder, "val", 6, 2)
    shards.finish(folder, {"train": ["shard-00000"], "val": ["shard-00000"]})
    return folder
