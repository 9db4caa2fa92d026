# SPDX-License-Identifier: Apache-2.0
"""A few steps of every training stage, on random inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from admn_ros.config import ModelConfig
from admn_ros.datasets.source import LabeledReadings
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality, SensorKey, Target
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import Samples
from admn_ros.training.loop import fit
from admn_ros.training.processes import Processes
from admn_ros.training.run_folder import Row
from admn_ros.training.stage import StageConfig
from admn_ros.training.stages.autoencoder import AutoencoderConfig
from admn_ros.training.stages.calibration import CalibrateConfig
from admn_ros.training.stages.controller import ControllerConfig
from admn_ros.training.stages.finetune import FinetuneConfig
from admn_ros.training.stages.pretrain import MaskedDecoderConfig, PretrainConfig
from admn_ros.training.stages.supervised import SupervisedConfig
from admn_ros.training.stages.value import ValueConfig

Precision = Literal["float32", "bfloat16", "float16"]
STAGES: dict[str, StageConfig] = {
    "pretrain": PretrainConfig(decoder=MaskedDecoderConfig(dim=32, depth=1, heads=2)),
    "supervised": SupervisedConfig(modality=Modality.RGB, classes=64),
    "finetune": FinetuneConfig(), "autoencoder": AutoencoderConfig(channels=8),
    # Without warm-up of its corruption output: both parts of the loss are active from the first step on.
    "controller": ControllerConfig(budgets=(5,), corruption_epochs=0), "value": ValueConfig(),
    "calibration": CalibrateConfig(seen_height_m=(0.0, 1.0))}
"""Every stage of `admn_ros.training.settings`, by name. Calibration needs localization of kind evidence."""


class RandomSource:
    """Samples with normally distributed inputs, positions within the model's limits, and random severities.

    Args:
        model: model that they are for.
        count: number of samples.
    """

    def __init__(self, model: ModelConfig, count: int) -> None:
        self._model, self._count = model, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> LabeledReadings:
        """Return a sample; it depends on its number alone."""
        rng, model = np.random.default_rng(index), self._model
        place = model.localization
        position = (*rng.uniform(place.min_m, place.max_m), 0.0)[:3]
        target = Target((position[0], position[1], position[2]), int(rng.integers(len(model.classes))),
                        {m: float(rng.uniform()) for m in model.modalities})
        tensors = {SensorKey(node, m): rng.standard_normal(c.input.shape, np.float32)
                   for m, c in model.modalities.items() for node in model.sensor_nodes}
        return LabeledReadings({}, target, tensors=tensors)


def train_briefly(stage: str, model: ModelConfig, folder: Path, *, device: str = "cpu",
                  precision: Precision = "float32", batch: int = 4, steps: int = 2) -> Row:
    """Train a stage from random weights for two short epochs.

    Args:
        stage: key of `STAGES`.
        model: model to train.
        folder: folder of the run.
        device: `cpu` or `cuda`.
        precision: floating-point precision.
        batch: samples per step.
        steps: steps of an epoch.

    Returns:
        Metrics of the second epoch, in which nothing happens for the first time.

    Raises:
        AdmnError: a loss is not finite.
    """
    network = AdmnNetwork(model)
    initialize(network, 0)
    samples = Samples(RandomSource(model, batch * steps), model, draws=1, cache_mb=1024)
    optimizer = OptimizerConfig(learning_rate=1e-4, batch=batch, epochs=2, precision=precision)
    return fit(STAGES[stage].make(network), samples, samples, optimizer, folder,
               processes=Processes(device=torch.device(device)))[-1]
