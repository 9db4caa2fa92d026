# SPDX-License-Identifier: Apache-2.0
"""Training steps on a GPU against those on the CPU; `test/benchmark/test_stage_trials.py` has every stage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from admn_ros.config import ModelConfig
from admn_ros.datasets.open import open_dataset
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import Samples
from admn_ros.training.loop import fit
from admn_ros.training.processes import Processes
from admn_ros.training.run_folder import Row
from admn_ros.training.stage import StageConfig
from admn_ros.training.stages.autoencoder import AutoencoderConfig
from admn_ros.training.stages.finetune import FinetuneConfig

pytestmark = pytest.mark.cuda
STAGES = {"finetune": FinetuneConfig(), "autoencoder": AutoencoderConfig(channels=8)}


@pytest.fixture(scope="module")
def samples(dataset: Path, model: ModelConfig) -> Samples:
    preset = corruption_preset("room-all", modalities=tuple(model.modalities))
    return Samples(open_dataset("shards", dataset, "train"), model, preset, draws=1, cache_mb=64)


def train(config: StageConfig, model: ModelConfig, samples: Samples, folder: Path, device: str) -> list[Row]:
    """Train one epoch and return its metrics."""
    network = AdmnNetwork(model)
    initialize(network, 0)
    optimizer = OptimizerConfig(learning_rate=1e-4, batch=6, epochs=1)
    processes = Processes(device=torch.device(device))
    return fit(config.make(network), samples, samples, optimizer, folder, processes=processes)


@pytest.mark.parametrize("stage", STAGES)
def test_float32_gives_the_losses_of_the_cpu(stage: str, model: ModelConfig, samples: Samples, tmp_path: Path) -> None:
    cpu, = train(STAGES[stage], model, samples, tmp_path / "cpu", "cpu")
    gpu, = train(STAGES[stage], model, samples, tmp_path / "gpu", "cuda")
    assert gpu["train/loss"] == pytest.approx(cpu["train/loss"], rel=0.01)
