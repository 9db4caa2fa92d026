# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime gives the estimates of PyTorch for every allocation, and computes what was allocated and no more."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from admn_ros.budget.budget import Budget
from admn_ros.config import CalibrationConfig, LocalizationConfig, ModelConfig, NodePose, QoiConfig
from admn_ros.evaluation.layer_meter import LayerMeter
from admn_ros.inference.engine import Engine, blank_sample
from admn_ros.inference.onnx.export import export_model
from admn_ros.inference.runtime import RuntimeChoice
from admn_ros.model.checkpoint import create_random_model, save_model
from admn_ros.sample import Modality, MultimodalSample, SampleBatch
from helpers import models

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # tracing a network takes seconds

ROOT = Path(__file__).resolve().parents[3]
ONNX = RuntimeChoice("onnxruntime")
RELATIVE = 1e-4
"""Largest difference, as a share of the largest value."""
Export = Callable[[ModelConfig], Path]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Return a function that makes a random model and exports it."""
    def make(config: ModelConfig) -> Path:
        folder = tmp_path / "model"
        network = create_random_model(config, folder, seed=3)
        with torch.no_grad():  # a new value head and calibration do nothing, which would hide a difference
            generator = torch.Generator().manual_seed(1)
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        save_model(network, folder)
        export_model(folder, folder)
        return folder
    return make


def whole() -> ModelConfig:
    """Fine and conv stems, points, poses, calibration, values and a budget token: every part that a model can have."""
    base = models.four_modalities().model_dump()
    for m, stem in ((models.RGB, "fine"), (models.DEPTH, "conv"), (models.RADAR, "patch"), (models.AUDIO, "patch")):
        points = {} if m is models.AUDIO else {"points": 3, "point_values": 2}
        base["modalities"][m]["backbone"] |= {"stem": stem, **points}
    pose = NodePose(x_m=0.3, y_m=-1.0, z_m=0.7, yaw_rad=0.4, tilt_rad=0.2)
    return ModelConfig.model_validate(base | {
        "node_poses": {"left": pose, "right": pose.model_copy(update={"x_m": -0.6, "yaw_rad": 2.0})},
        "localization": LocalizationConfig(kind="evidence", min_m=(-2.0, -1.0), max_m=(2.0, 1.0)),
        "calibration": CalibrationConfig(hidden=8, seen_height_m=(0.5, 0.9)),
        "qoi": QoiConfig(size=32, dim=32, depth=1, heads=2, budget_token=True, value_hidden=16)})


def random_batch(config: ModelConfig, size: int, seed: int) -> SampleBatch:
    torch.manual_seed(seed)
    nodes = len(config.sensor_nodes)
    return SampleBatch({m: torch.randn(size, nodes, *c.input.shape) for m, c in config.modalities.items()},
                       {m: torch.rand(size, nodes) > 0.3 for m in config.modalities})


def random_active(config: ModelConfig, rng: random.Random) -> dict[Modality, list[int]]:
    share = rng.random()
    return {m: [k for k in range(depth) if rng.random() < share]
            for m, depth in config.depths.items() if rng.random() < 0.8}


def check_equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=RELATIVE, atol=RELATIVE * float(expected.abs().max()))


def check_equivalence(folder: Path, allocations: int, size: int = 1) -> None:
    """Compare both calls of both runtimes on random inputs, absences, budgets and allocations."""
    reference, engine = Engine(folder, "cpu", 1).network, Engine(folder, "cpu", 1, ONNX)
    config, rng = engine.config, random.Random(5)
    with torch.inference_mode():
        for i in range(allocations):
            batch, share, active = random_batch(config, size, i), torch.rand(size), random_active(config, rng)
            one, other = reference.controller(batch, share), engine.runtime.controller(batch, share)
            for m in config.modalities:
                check_equal(other.logits[m], one.logits[m])
                check_equal(other.corruption[m], one.corruption[m])
            check_equal(other.e_corr, one.e_corr)
            if one.value is not None:
                for m, value in one.value.of_depths(engine.objective).items():
                    check_equal(other.value.of_depths(engine.objective)[m], value)
            for x, y in zip(engine.runtime.estimate(batch, active), reference.estimate(batch, active), strict=True):
                check_equal(x, y)


@pytest.mark.parametrize(("config", "allocations"), [
    pytest.param(whole, 60, id="every part"),
    pytest.param(whole, 500, id="every part, many", marks=pytest.mark.nightly),
    pytest.param(models.rectangular, 20, id="rectangular"),
    pytest.param(models.unequal_depths, 10, id="unequal depths")])
def test_estimates_are_those_of_pytorch(export: Export, config: Callable[[], ModelConfig], allocations: int):
    check_equivalence(export(config()), allocations)


def test_estimates_of_a_batch_are_those_of_pytorch(export: Export):
    check_equivalence(export(whole()), allocations=10, size=3)


def test_estimates_of_the_shipped_model_are_those_of_pytorch(tmp_path: Path):
    export_model(ROOT / "models" / "gdtm", tmp_path / "gdtm")
    check_equivalence(tmp_path / "gdtm", allocations=10)


def test_a_frame_runs_the_layers_that_were_allocated_at_the_nodes_that_are_there(export: Export):
    engine = Engine(export(models.one_node()), "cpu", 1, ONNX)
    blank = blank_sample(engine.config)
    sample = MultimodalSample({m: torch.randn_like(x) for m, x in blank.inputs.items()}, blank.present)
    with LayerMeter(engine.runtime) as meter:
        estimate = engine.infer(sample, Budget(3, "layers", "test"))
    assert meter.layers == {m: tuple(estimate.allocation.active.get(m, ())) for m in engine.config.modalities}
    assert sum(map(len, meter.layers.values())) == 3
    assert {meter.nodes[m] for m, ran in meter.layers.items() if ran} == {1}
    reference = Engine(engine.folder, "cpu", 1).infer(sample, Budget(3, "layers", "test"))
    assert reference.allocation.active == estimate.allocation.active
    assert estimate.mean_m == pytest.approx(reference.mean_m, rel=RELATIVE)


def test_measured_costs_belong_to_their_runtime(export: Export):
    engine = Engine(export(models.one_node()), "cpu", 1, ONNX)
    measured = engine.measure_costs(1)
    assert measured.runtime == "onnxruntime CPUExecutionProvider"
    engine.save_costs(measured)
    assert Engine(engine.folder, "cpu", 1, ONNX).costs_warning == ""
    assert "with onnxruntime CPUExecutionProvider, not with torch" in Engine(engine.folder, "cpu", 1).costs_warning


def test_costs_in_the_cache_belong_to_their_runtime(export: Export):
    engine = Engine(export(models.one_node()), "cpu", 1, ONNX)
    engine.costs.table("milliseconds")  # measures, and stores the result in the cache
    assert Engine(engine.folder, "cpu", 1, ONNX).costs.measured == engine.costs.measured
    assert Engine(engine.folder, "cpu", 1).costs.measured is None
