# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from admn_ros.config import (
    BackboneConfig,
    DepthInput,
    FusionConfig,
    LocalizationConfig,
    ModalityConfig,
    ModelConfig,
    QoiConfig,
    RadarInput,
)
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality, SampleBatch


@pytest.fixture(scope="session")
def config():
    """Two sensor nodes, rectangular inputs, unequal depths, three axes."""
    return ModelConfig(
        name="micro", trained=False, sensor_nodes=("left", "right"), classes=("a", "b"),
        modalities={
            Modality.DEPTH: ModalityConfig(
                input=DepthInput(height=32, width=48, channels=1),
                backbone=BackboneConfig(dim=16, depth=4, heads=2, patch=(16, 8)), adapter_hidden=20),
            Modality.RADAR: ModalityConfig(
                input=RadarInput(height=64, width=16, channels=2),
                backbone=BackboneConfig(dim=24, depth=3, heads=3, mlp_ratio=2.5), adapter_hidden=12),
        },
        fusion=FusionConfig(dim=12, depth=2, heads=2), qoi=QoiConfig(size=32, dim=16, depth=1, heads=2),
        localization=LocalizationConfig(min_m=(-1.0, 0.0, 2.0), max_m=(1.0, 5.0, 2.5), std_floor_m=0.05))


@pytest.fixture(scope="session")
def network(config):
    network = AdmnNetwork(config)
    initialize(network, 0)
    return network.eval()


@pytest.fixture
def batch(config):
    """Three samples with all inputs present."""
    generator = torch.Generator().manual_seed(4)
    return SampleBatch(
        {m: torch.randn(3, 2, *c.input.shape, generator=generator) for m, c in config.modalities.items()},
        {m: torch.ones(3, 2, dtype=torch.bool) for m in config.modalities})
