# SPDX-License-Identifier: Apache-2.0
"""The training loop: bit-identical resumption, and early errors."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from admn_ros.config import ModelConfig
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.datasets.source import Spread
from admn_ros.errors import AdmnError, ConfigError, InputError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.loop import TrainingProgress, fit, learning_rate
from admn_ros.training.stage import Stage, Step
from admn_ros.training.stages.finetune import Finetune, FinetuneConfig
from helpers.disks import full_disk
from helpers.runs import metrics_of

CONFIG = OptimizerConfig(learning_rate=1e-3, schedule="cosine", warm_up_epochs=1, batch=5, epochs=4, seed=7)


class InterruptError(Exception):
    """Stands in for a power failure."""


def samples(dataset: Path, model: ModelConfig) -> Samples:
    preset = corruption_preset("room-all", modalities=tuple(model.modalities))
    return Samples(ShardDataset(dataset, "train"), model, preset, seed=7)


def run(dataset: Path, model: ModelConfig, folder: Path, config: OptimizerConfig = CONFIG, *, resume: bool = False,
        stop: tuple[int, int] | None = None, weights: int = 0,
        seen: list[TrainingProgress] | None = None) -> dict[str, Tensor]:
    """Finetune the micro model; `stop`: epoch and step after which the run is interrupted."""
    network = AdmnNetwork(model)
    initialize(network, weights)

    def progress(report: TrainingProgress) -> None:
        if seen is not None:
            seen.append(report)
        if stop == (report.epoch, report.step) and report.metrics is None:
            raise InterruptError

    stage = Finetune(network, FinetuneConfig(trainable_blocks=dict.fromkeys(model.modalities, 2)))
    fit(stage, samples(dataset, model), samples(dataset, model), config, folder, resume=resume, on_progress=progress)
    return network.state_dict()


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [(0, 1), (3, 2)])
def test_resumed_run_is_bit_identical(dataset: Path, model: ModelConfig, tmp_path: Path,
                                             stop: tuple[int, int]) -> None:
    whole = run(dataset, model, tmp_path / "whole")
    with pytest.raises(InterruptError):
        run(dataset, model, tmp_path / "parts", stop=stop)
    torch.rand(17)  # whatever the process did in between
    assert equal(run(dataset, model, tmp_path / "parts", resume=True), whole)
    assert metrics_of(tmp_path / "parts") == metrics_of(tmp_path / "whole")
    # A run that is done stays as it is.
    assert equal(run(dataset, model, tmp_path / "parts", resume=True), whole)


@pytest.mark.slow
def test_results_depend_on_the_seed_only(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = run(dataset, model, tmp_path / "a")
    torch.manual_seed(2)
    assert equal(first, run(dataset, model, tmp_path / "b"))
    assert not equal(first, run(dataset, model, tmp_path / "c", CONFIG.model_copy(update={"seed": 8})))


def test_metrics_files(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    run(dataset, model, tmp_path, seen=seen)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    with (tmp_path / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4] == [int(row["epoch"]) for row in table]
    assert all(line["samples_per_s"] > 0 for line in lines) and all(r.samples_per_s > 0 for r in seen)
    assert [float(row["samples_per_s"]) for row in table] == [line["samples_per_s"] for line in lines]
    assert [float(row["val/full/error_m"]) for row in table] == [line["val/full/error_m"] for line in lines]
    first = [r for r in seen if r.epoch == 0 and r.metrics is None]
    assert [(r.step, r.steps) for r in first] == [(0, 3), (1, 3), (2, 3)]
    mean = sum(r.losses["nll"] * n for r, n in zip(first, (5, 5, 2), strict=True)) / 12
    assert lines[0]["train/nll"] == pytest.approx(mean)
    assert [p.name for p in tmp_path.glob("checkpoint-*")] == ["checkpoint-00004"]
    assert not list(tmp_path.glob(".partial*"))


def test_dry_run(dataset: Path, model: ModelConfig, network: AdmnNetwork, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    data = samples(dataset, model)
    rows = fit(Finetune(network, FinetuneConfig()), data, data, CONFIG.model_copy(update={"batch": 3}), tmp_path,
               dry_run=True, on_progress=seen.append)
    assert [(r.step, r.steps, r.metrics is None) for r in seen] == [(0, 2, True), (1, 2, True), (1, 2, False)]
    assert len(rows) == 1


def test_resuming_with_another_configuration_is_an_error(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    run(dataset, model, tmp_path)
    with pytest.raises(InputError, match="resume"):
        run(dataset, model, tmp_path)
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate: found 0.01"):
        run(dataset, model, tmp_path, CONFIG.model_copy(update={"learning_rate": 0.01}), resume=True)
    with pytest.raises(ConfigError, match="frozen weights"):
        run(dataset, model, tmp_path, weights=1, resume=True)


def test_error_names_a_broken_checkpoint(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    run(dataset, model, tmp_path)
    for name in ("weights.safetensors", "optimizer.pt", "run.json"):
        file = tmp_path / "checkpoint-00004" / name
        whole = file.read_bytes()
        file.write_bytes(whole[:len(whole) // 2])
        with pytest.raises(InputError, match="checkpoint-00004"):
            run(dataset, model, tmp_path, resume=True)
        file.write_bytes(whole)
    run(dataset, model, tmp_path, resume=True)


class Diverging(Stage):
    """A parabola whose loss or gradient turns NaN in the second epoch's first step."""

    name: ClassVar[str] = "finetune"

    def __init__(self, how: str) -> None:
        super().__init__(torch.nn.Linear(1, 1))
        self.how, self.calls = how, 0

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        self.calls += 1
        good = sum((p.square().sum() for p in self.module.parameters()), torch.zeros(()))
        bad = good
        if step.epoch == 1:
            # The root of nothing is finite, its slope is not.
            bad = good * math.nan if self.how == "loss" else (good * 0).sqrt()
        return {"good": good, "bad": bad}

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        return {}


class Overflowing(Diverging):
    """A parabola whose first gradients are infinite."""

    def __init__(self, overflows: int) -> None:
        super().__init__("gradient")
        self.overflows = overflows

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        self.calls += 1
        total = sum((p.square().sum() for p in self.module.parameters()), torch.zeros(()))
        return {"good": total if self.calls > self.overflows else total + (total * 0).sqrt()}


@pytest.mark.parametrize(("how", "error"), [("loss", "epoch 2, step 1: the loss 'bad' is nan"),
                                           ("gradient", "epoch 2, step 1: the gradient of good \\+ bad")])
def test_nan_stops_training(dataset: Path, model: ModelConfig, tmp_path: Path, how: str, error: str) -> None:
    stage = Diverging(how)
    with pytest.raises(AdmnError, match=error):
        fit(stage, samples(dataset, model), None, CONFIG, tmp_path)
    assert stage.calls == 4  # three steps of the first epoch, one of the second
    assert all(p.isfinite().all() for p in stage.module.parameters())
    assert (tmp_path / "checkpoint-00001" / "run.json").is_file()


@pytest.mark.parametrize("overflows", [1, 14])
def test_float16_skips_steps_that_overflow(dataset: Path, model: ModelConfig, tmp_path: Path, overflows: int) -> None:
    stage = Overflowing(overflows)
    before = torch.cat([p.detach().flatten() for p in stage.module.parameters()])
    config = CONFIG.model_copy(update={"precision": "float16", "epochs": 1, "batch": 1})
    fit(stage, samples(dataset, model), None, config, tmp_path)
    after = torch.cat([p.detach().flatten() for p in stage.module.parameters()])
    assert after.isfinite().all()
    assert torch.equal(before, after) == (overflows >= 12)  # an epoch has 12 steps


def test_float16_stops_at_gradients_that_are_never_finite(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"precision": "float16", "batch": 1, "epochs": 2})
    big = Samples(Spread(ShardDataset(dataset, "train"), 12), model, repeats=2)
    with pytest.raises(AdmnError, match=r"epoch 1, step 15: the gradient"):
        fit(Overflowing(100), big, None, config, tmp_path)


def test_unwritable_folder(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stage = Diverging("loss")
    with pytest.raises(InputError, match="writable folder"):
        fit(stage, samples(dataset, model), None, CONFIG, tmp_path / "file" / "run")
    assert not stage.calls  # before any work


def test_a_full_disk_is_noticed_before_any_work(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    stage = Diverging("loss")
    with full_disk(16), pytest.raises(InputError, match="writable folder with space"):
        fit(stage, samples(dataset, model), None, CONFIG, tmp_path / "run")
    assert not stage.calls and not list((tmp_path / "run").iterdir())


def test_full_disk_is_an_input_error_and_keeps_the_last_checkpoint(dataset: Path, model: ModelConfig,
                                                                       tmp_path: Path) -> None:
    def progress(report: TrainingProgress) -> None:
        if report.epoch == 1:
            disk.enter_context(full_disk(8192))  # 8 KiB left for each file

    network = AdmnNetwork(model)
    initialize(network, 0)
    with ExitStack() as disk, pytest.raises(InputError, match="writable folder with space"):
        fit(Finetune(network, FinetuneConfig()), samples(dataset, model), None, CONFIG, tmp_path, on_progress=progress)
    assert [p.name for p in tmp_path.glob("*checkpoint*")] == ["checkpoint-00001"]


def test_schedules() -> None:
    def rates(**settings: object) -> list[float]:
        config = OptimizerConfig.model_validate({"learning_rate": 1.0, "epochs": 4} | settings)
        return [learning_rate(config, s, 2) for s in range(8)]

    assert rates() == [1.0] * 8
    assert rates(schedule="linear") == pytest.approx([1 - s / 8 for s in range(8)])
    assert rates(schedule="linear", final=0.2)[4] == pytest.approx(0.6)
    assert rates(schedule="cosine")[4] == pytest.approx(0.5)
    assert rates(warm_up_epochs=2)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates(warm_up_epochs=1, schedule="cosine")[2] == 1.0
