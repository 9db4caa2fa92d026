# SPDX-License-Identifier: Apache-2.0
"""Requirements of every stage: seeds, resumption, and an error for a loss that is not finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from admn_ros.config import ModelConfig
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.datasets.source import Spread
from admn_ros.errors import AdmnError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality, MultimodalSample
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import Samples
from admn_ros.training.loop import TrainingProgress, fit
from admn_ros.training.stage import Stage
from admn_ros.training.stages.autoencoder import Autoencoder, AutoencoderConfig
from admn_ros.training.stages.calibration import Calibrate, CalibrateConfig
from admn_ros.training.stages.controller import Controller, ControllerConfig
from admn_ros.training.stages.finetune import Finetune, FinetuneConfig
from admn_ros.training.stages.value import Value, ValueConfig
from helpers import evidence
from helpers.runs import metrics_of

pytestmark = pytest.mark.slow

LEVELS = dict.fromkeys((Modality.RGB, Modality.DEPTH, Modality.AUDIO), (0.0, 0.5, 1.0))
Make = Callable[[AdmnNetwork, OptimizerConfig], Stage]
# Each with the figure that says which of its epochs is best.
STAGES: dict[str, tuple[Make, str]] = {
    "finetune": (lambda n, o: Finetune(n, FinetuneConfig(optimizer=o)), "val/full/error_m"),
    "autoencoder": (lambda n, o: Autoencoder(n, AutoencoderConfig(optimizer=o, channels=8)), "val/picture_rgb"),
    "controller": (lambda n, o: Controller(n, ControllerConfig(optimizer=o, budgets=(5,))), "val/corruption_rgb"),
    "categories": (lambda n, o: Controller(n, ControllerConfig(
        optimizer=o, mode="universal", budgets=(2, 6), corruption="categories", corruption_levels=LEVELS,
        corruption_epochs=0)), "val/category_depth/accuracy"),
    "calibration": (lambda n, o: Calibrate(n, CalibrateConfig(optimizer=o, seen_height_m=(0.0, 1.0), sets=4)),
                    "val/inside_90"),
    "value": (lambda n, o: Value(n, ValueConfig(optimizer=o, sets=4)), "val/budget_1/error_m"),
}


class InterruptError(Exception):
    """Stands in for a power failure."""


class Overflowing(Samples):
    """The first sample has infinite inputs."""

    def sample(self, epoch: int, index: int) -> MultimodalSample:
        good = super().sample(epoch, index)
        return good if index else replace(good, inputs={m: x + torch.inf for m, x in good.inputs.items()})


class Runs:
    """Short runs of one stage on six samples."""

    def __init__(self, model: ModelConfig, dataset: Path, name: str) -> None:
        make, figure = STAGES[name]
        self.make, self.model = make, evidence.described(model) if name == "calibration" else model
        self.optimizer = OptimizerConfig(learning_rate=3e-3, batch=4, epochs=3, seed=5, keep="best", best_of=figure)
        self.preset = corruption_preset("room-all", modalities=tuple(model.modalities))
        self.samples = Samples(Spread(ShardDataset(dataset, "train"), 6), model, self.preset, seed=2, draws=1,
                               cache_mb=64)

    def run(self, folder: Path, *, seed: int = 5, stop: int | None = None, resume: bool = False) -> dict[str, Tensor]:
        """Return the final weights; `stop`: epoch that is interrupted in its second step."""
        def progress(report: TrainingProgress) -> None:
            if (report.epoch, report.step, report.metrics) == (stop, 1, None):
                raise InterruptError

        network = AdmnNetwork(self.model)
        initialize(network, 0)
        optimizer = self.optimizer.model_copy(update={"seed": seed})
        stage = self.make(network, optimizer)
        fit(stage, self.samples, self.samples, optimizer, folder, resume=resume, on_progress=progress)
        return stage.module.state_dict()


@pytest.fixture(params=STAGES)
def runs(request: pytest.FixtureRequest, dataset: Path, model: ModelConfig) -> Runs:
    return Runs(model, dataset, request.param)


def test_seed_and_resume(runs: Runs, tmp_path: Path) -> None:
    whole = runs.run(tmp_path / "whole")
    with pytest.raises(InterruptError):
        runs.run(tmp_path / "parts", stop=1)
    torch.rand(3)
    resumed = runs.run(tmp_path / "parts", resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    best = "checkpoint-00003/best.safetensors"
    assert (tmp_path / "parts" / best).read_bytes() == (tmp_path / "whole" / best).read_bytes()
    assert metrics_of(tmp_path / "parts") == metrics_of(tmp_path / "whole")
    other = runs.run(tmp_path / "other", seed=6)
    assert not all(torch.equal(whole[name], other[name]) for name in whole)


def test_loss_that_is_not_finite_stops_the_run(runs: Runs, dataset: Path, tmp_path: Path) -> None:
    runs.samples = Overflowing(Spread(ShardDataset(dataset, "train"), 6), runs.model, runs.preset)
    with pytest.raises(AdmnError, match=r"epoch 1, step [12]: the (loss|gradient)"):
        runs.run(tmp_path)
    assert not list(tmp_path.glob("checkpoint-*"))
