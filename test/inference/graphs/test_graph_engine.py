# SPDX-License-Identifier: Apache-2.0
"""The engine with recorded segments, on a CPU."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from admn_ros.budget.budget import Budget
from admn_ros.errors import AdmnError, ConfigError
from admn_ros.evaluation.layer_meter import LayerMeter
from admn_ros.inference import runtime
from admn_ros.inference.engine import Engine
from admn_ros.inference.graphs.network import GraphNetwork
from admn_ros.inference.graphs.recorder import DirectRecorder, Replay, Work
from admn_ros.inference.runtime import RuntimeChoice
from admn_ros.sample import MultimodalSample
from helpers.random_frames import CONFIGS, draw, random_network


@pytest.fixture(params=["like-shipped", "nested"])
def engine(request: pytest.FixtureRequest) -> Engine:
    engine = Engine.of(random_network(CONFIGS[request.param]()))
    engine.runtime = GraphNetwork(engine.network, DirectRecorder())
    return engine


def samples(engine: Engine, seed: int, count: int) -> list[MultimodalSample]:
    batch, _ = draw(engine.config, random.Random(seed), count)
    return [MultimodalSample({m: x[i] for m, x in batch.inputs.items()}, {m: x[i] for m, x in batch.present.items()},
                             poses=None if batch.poses is None else batch.poses[i]) for i in range(count)]


@pytest.mark.slow
def test_frames_of_any_budget_are_those_of_the_network_in_two_waits(engine: Engine) -> None:
    reference = Engine.of(engine.network)
    reference.runtime = engine.network
    for number, sample in enumerate(samples(engine, 4, 20)):
        budget, before = Budget(number % 11, "layers"), engine.runtime.frame.waits
        found, expected = engine.infer(sample, budget), reference.infer(sample, budget)
        assert found.allocation.active == expected.allocation.active
        assert found.allocation.nodes == expected.allocation.nodes
        assert engine.runtime.frame.waits - before == (0 if not number % 11 else 2)
        if expected.mean_m is not None:
            np.testing.assert_allclose(found.mean_m, expected.mean_m, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(found.covariance_m2, expected.covariance_m2, rtol=1e-3, atol=1e-8)
            np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)


def test_frames_together_are_those_of_one_by_one(engine: Engine) -> None:
    several, budgets = samples(engine, 5, 4), [Budget(n, "layers") for n in (1, 3, 0, 6)]
    for one, found in zip((engine.infer(s, b) for s, b in zip(several, budgets, strict=True)),
                          engine.infer_many(several, budgets), strict=True):
        assert one.allocation.active == found.allocation.active
        if one.mean_m is not None:
            # A batch rounds in another order, by CPU; a coordinate near 0 has no relative accuracy. 10 micrometres.
            np.testing.assert_allclose(found.mean_m, one.mean_m, rtol=1e-5, atol=1e-5)


def test_the_layers_that_run_are_those_of_the_allocation(engine: Engine) -> None:
    [sample] = samples(engine, 6, 1)
    with LayerMeter(engine.runtime) as meter:
        allocation = engine.infer(sample, Budget(3, "layers")).allocation
    assert {m: ran for m, ran in meter.layers.items() if ran} == {m: k for m, k in allocation.active.items() if k}
    assert meter.latent is not None


@pytest.mark.slow
def test_costs_belong_to_the_recorded_segments(engine: Engine) -> None:
    measured = engine.measure_costs(1)
    assert measured.runtime == "torch graphs"
    engine.costs.use(measured)
    assert not engine.costs_warning
    engine.runtime = engine.network
    assert engine.costs_warning.startswith("costs.yaml was measured with torch graphs, not with torch")


class FullRecorder(DirectRecorder):
    """Has memory for some recordings only."""

    def __init__(self, room: float = 0) -> None:
        super().__init__()
        self.room = room

    def record(self, work: Work, group: object = None) -> Replay:
        """Record, while there is room."""
        self.room -= 1
        if self.room < 0:
            raise RuntimeError("CUDA out of memory")
        return super().record(work, group)


def test_a_network_that_cannot_be_recorded_runs_as_it_is(engine: Engine, monkeypatch: pytest.MonkeyPatch,
                                                         caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(runtime, "CudaRecorder", lambda device: FullRecorder())
    assert runtime.record_graphs(engine.network, torch.device("cuda"), "float32") is engine.network
    assert "no CUDA graphs" in caplog.text and "CUDA out of memory" in caplog.text


def test_frames_run_one_after_another_where_there_is_no_room_for_more(
        engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    several, budgets = samples(engine, 5, 3), [Budget(3, "layers")] * 3
    expected = engine.infer_many(several, budgets)
    recorder = FullRecorder(math.inf)
    engine.runtime = GraphNetwork(engine.network, recorder)
    recorder.room = 5
    for one, found in zip(expected, engine.infer_many(several, budgets), strict=True):
        np.testing.assert_allclose(found.mean_m, one.mean_m, rtol=1e-5)
    assert caplog.text.count("frames of a batch run one after another: CUDA out of memory") == 1


def test_a_closed_engine_has_freed_its_segments(engine: Engine) -> None:
    graphs = engine.runtime
    engine.close()
    with pytest.raises(AttributeError):
        graphs.frame  # noqa: B018


@pytest.mark.parametrize("fields", [{"precision": "int8"}, {"precision": "bfloat16", "engine": "onnxruntime"}])
def test_a_precision_that_does_not_exist_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="precision"):
        RuntimeChoice(**fields)


def test_a_cpu_does_not_have_every_precision() -> None:
    with pytest.raises(AdmnError, match=r"precision: found float16; allowed: float32.* for this model on device cpu"):
        Engine.of(random_network(CONFIGS["nested"]()), RuntimeChoice(precision="float16"))
