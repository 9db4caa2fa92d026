# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from admn_ros.config import ModelConfig
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import SampleBatch
from helpers import models


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return models.rectangular()


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
