# SPDX-License-Identifier: Apache-2.0
"""The pipeline computes only what a frame uses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from admn_ros.budget.budget import Budget
from admn_ros.config import parse_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.inference.engine import Engine
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.inference.pipeline import Pipeline
from admn_ros.model.allocation import Reason
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality, SensorFrame, SensorKey
from admn_ros.sensing.preprocess import preprocessor
from admn_ros.sensing.preprocess.preprocessor import Preprocessor
from helpers import models

RGB = SensorKey("left", Modality.RGB)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.of(AdmnNetwork(models.images()))


@pytest.fixture
def pipeline(engine: Engine) -> Pipeline:
    deployment = parse_config(DeploymentConfig, {"sensors": {"left": {"rgb": {"topic": "/rgb"}}}}, "test")
    return Pipeline(FrameStream(engine.config, deployment), Preprocessor(engine.config), engine)


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Every reading that is preprocessed from here on."""
    seen, real = [], preprocessor.input_tensor
    monkeypatch.setattr(preprocessor, "input_tensor", lambda data, config: seen.append(data) or real(data, config))
    return seen


def frame(number: int) -> SensorFrame:
    return SensorFrame.of({"left/rgb": np.full((40, 40, 3), number, np.uint8)}, number)


@pytest.mark.parametrize("budget", [Budget(0, "layers"), Budget(0.9, "layers"), Budget(1e-9, "gflops")])
def test_a_frame_below_the_floor_is_not_preprocessed(pipeline, converted, budget):
    estimate = pipeline.process(frame(7), budget)
    assert not converted
    assert estimate.allocation.reason is Reason.BELOW_FLOOR and estimate.allocation.spent == 0.0
    assert estimate.stamp_ns == 7 and estimate.mean_m is None and estimate.scores is None
    assert set(estimate.qoi) == set(pipeline.engine.config.modalities) and all(map(math.isnan, estimate.qoi.values()))
    whole = pipeline.engine.infer(Preprocessor(pipeline.engine.config)(frame(7)), budget)
    assert estimate.allocation == whole.allocation, "as for a frame that was preprocessed"


def test_readings_are_not_prepared_ahead_while_no_frame_uses_them(pipeline, converted):
    def camera(number: int, budget: Budget) -> None:
        made = frame(number)
        pipeline.frames.newest[RGB] = made.readings[RGB].data
        pipeline.preprocess_ahead(RGB, [])
        pipeline.process(made, budget)

    for number in range(50):
        camera(number, Budget(0, "layers"))
    assert len(converted) <= 4, "it notices after a few readings"
    before = len(converted)
    for number in range(50, 60):
        camera(number, Budget(1, "layers"))
    assert len(converted) == before + 10, "each once"
