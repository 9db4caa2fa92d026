# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from admn_ros.config import ModelConfig
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from helpers import datasets, models


@pytest.fixture(scope="session")
def model() -> ModelConfig:
    return models.room()


@pytest.fixture
def network(model: ModelConfig) -> AdmnNetwork:
    network = AdmnNetwork(model)
    initialize(network, 0)
    return network


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return datasets.write_dataset(tmp_path_factory.mktemp("dataset"),
                                  {"train": [datasets.bright_spots(12, 1)], "val": [datasets.bright_spots(6, 2)]})
