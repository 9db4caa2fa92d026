# SPDX-License-Identifier: Apache-2.0
"""The best epoch, patience, and TensorBoard events."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog
from torch import Tensor

from admn_ros.config import ModelConfig
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.errors import ConfigError
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.loop import TrainingProgress, fit
from admn_ros.training.model_selection import kept_epoch, out_of_patience
from admn_ros.training.stage import Stage, Step

BEST = OptimizerConfig(batch=12, epochs=6, keep="best", best_of="val/error_m", learning_rate=0.1)


class InterruptError(Exception):
    """Stands in for a power failure."""


class Scripted(Stage):
    """One weight that decreases by the learning rate in every epoch, and given metrics."""

    name: ClassVar[str] = "finetune"

    def __init__(self, errors: list[float]) -> None:
        super().__init__(torch.nn.Linear(1, 1, bias=False))
        torch.nn.init.zeros_(self.weight)
        self.errors = errors

    @property
    def weight(self) -> Tensor:
        return next(iter(self.module.parameters()))

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        return {"weight": self.weight.sum()}

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        epoch = round(-self.weight.item() / 0.1)
        return {"error_m": self.errors[epoch - 1], "accuracy": -self.errors[epoch - 1]}


@pytest.fixture
def samples(dataset: Path, model: ModelConfig) -> Samples:
    return Samples(ShardDataset(dataset, "train"), model, cache_mb=64)


def run(samples: Samples, folder: Path, errors: list[float], config: OptimizerConfig = BEST, *,
        resume: bool = False, stop: int | None = None) -> tuple[float, int]:
    """Return the final weight in units of the decrease per epoch, and the epochs."""
    def progress(report: TrainingProgress) -> None:
        if stop is not None and report.epoch == stop and report.metrics is None:
            raise InterruptError

    stage = Scripted(errors)
    rows = fit(stage, samples, samples, config, folder, resume=resume, on_progress=progress)
    return -stage.weight.item() / 0.1, len(rows)


def test_best_weights_are_kept_in_a_resumed_run(samples: Samples, tmp_path: Path) -> None:
    errors = [5.0, 3.0, 4.0, 3.0, 6.0, 7.0]
    assert run(samples, tmp_path / "a", errors) == (pytest.approx(2), 6)
    assert run(samples, tmp_path / "a", errors, resume=True) == (pytest.approx(2), 6)
    with pytest.raises(InterruptError):
        run(samples, tmp_path / "b", errors, stop=4)
    assert run(samples, tmp_path / "b", errors, resume=True) == (pytest.approx(2), 6)
    last = OptimizerConfig.model_validate({**BEST.model_dump(), "keep": "last"})
    assert run(samples, tmp_path / "c", errors, last) == (pytest.approx(6), 6)
    high = OptimizerConfig.model_validate({**BEST.model_dump(), "best_of": "val/accuracy"})
    assert run(samples, tmp_path / "d", errors, high) == (pytest.approx(2), 6)


def test_patience(samples: Samples, tmp_path: Path) -> None:
    patient = OptimizerConfig.model_validate({**BEST.model_dump(), "patience": 2})
    errors = [5.0, 3.0, 4.0, float("nan"), 1.0, 1.0]
    assert run(samples, tmp_path / "a", errors, patient) == (pytest.approx(2), 4)
    assert run(samples, tmp_path / "a", errors, patient, resume=True) == (pytest.approx(2), 4)


def test_unknown_metric_is_reported_before_training(samples: Samples, tmp_path: Path) -> None:
    wrong = OptimizerConfig.model_validate({**BEST.model_dump(), "best_of": "val/error_cm"})
    with pytest.raises(ConfigError, match=r"best_of: found val/error_cm; allowed: val/error_m, val/accuracy"):
        run(samples, tmp_path, [1.0] * 6, wrong)
    assert not (tmp_path / "metrics.csv").exists()


@given(st.lists(st.floats(), min_size=1, max_size=12), st.integers(1, 5))
def test_best_epoch_is_the_first_lowest_and_starts_the_patience(values: list[float], patience: int) -> None:
    config = OptimizerConfig.model_validate({**BEST.model_dump(), "patience": patience})
    rows = [{"val/error_m": v} for v in values]
    best = kept_epoch(config, rows)
    finite = [v for v in values if abs(v) < float("inf")]
    if finite:
        assert values[best - 1] == min(finite)
        assert all(not v <= values[best - 1] or abs(v) == float("inf") for v in values[:best - 1])
    else:
        assert best == 1
    assert out_of_patience(config, rows) == (len(rows) - best >= patience)


def test_tensorboard_events_have_the_metrics(samples: Samples, tmp_path: Path) -> None:
    errors = [5.0, 3.0, 4.0, 3.0, 6.0, 7.0]
    with pytest.raises(InterruptError):
        run(samples, tmp_path, errors, stop=4)
    run(samples, tmp_path, errors, resume=True)
    first, second = (list(events(p)) for p in sorted((tmp_path / "tensorboard").iterdir()))
    assert first[0].file_version == second[0].file_version == "brain.Event:2"
    # TensorBoard discards what older files have from this step on.
    assert [e.step for e in second if e.session_log.status == SessionLog.START] == [5]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    written = {(value.tag, event.step): value.simple_value for event in first + second for value in event.summary.value}
    assert written == {(name, row["epoch"]): pytest.approx(value, rel=1e-6)
                       for row in rows for name, value in row.items() if name != "epoch"}


def events(path: Path) -> Iterator[Event]:
    """Yield the records of an event file, with checked checksums: length, checksum, data, checksum."""
    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    data = path.read_bytes()
    while data:
        length, crc = struct.unpack("<QI", data[:12])
        body, (body_crc,) = data[12:12 + length], struct.unpack("<I", data[12 + length:16 + length])
        assert (crc, body_crc) == (masked(data[:8]), masked(body))
        yield Event.FromString(body)
        data = data[16 + length:]
