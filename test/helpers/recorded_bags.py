# SPDX-License-Identifier: Apache-2.0
"""A narrow model, a made-up dataset and made-up bags of a bright spot, all made in a second."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from admn_ros.config import ModelConfig, parse_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.model.checkpoint import create_random_model
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_writer import BagWriter
from helpers import datasets, models
from helpers.datasets import POSES

START_NS = 1_700_000_000_000_000_000
NOT_TURNED = (0.0, 0.0, 0.0, 1.0)
SENSORS = {node: {"rgb": {"topic": f"/{node}/rgb"}, "depth": {"topic": f"/{node}/depth"},
                  "audio": {"topic": f"/{node}/audio"}} for node in POSES}


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return models.room()


@pytest.fixture(scope="session")
def model(config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "micro"
    create_random_model(config, folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rooms with ten samples each; every third sample has no car."""
    return datasets.write_dataset(tmp_path_factory.mktemp("data") / "room",
                                  {"test_time": [datasets.noise(10, seed) for seed in range(6)]})


@pytest.fixture(scope="session")
def make_plan(dataset: Path, model: Path) -> Callable[..., EvaluationPlan]:
    def plan(**changes: object) -> EvaluationPlan:
        whole = {"sources": [str(dataset)], "model": str(model), "corruptions": ["clean", "room-all"],
                 "budgets": [2, None]}
        return parse_config(EvaluationPlan, {**whole, **changes}, "plan")

    return plan


@pytest.fixture(scope="session")
def deployment() -> DeploymentConfig:
    return parse_config(DeploymentConfig, {"sensors": SENSORS, "budget": {"limit": 4}}, "deployment")


@pytest.fixture(scope="session")
def make_bag_plan(model: Path, deployment: DeploymentConfig) -> Callable[..., EvaluationPlan]:
    def plan(*bags: Path, changes: dict[str, object] | None = None, **bag: object) -> EvaluationPlan:
        whole = {"sources": [str(b) for b in bags], "kind": "bag", "model": str(model), "budgets": [5],
                 "bag": {"deployment": deployment.model_dump(mode="json"), **bag}}
        return parse_config(EvaluationPlan, {**whole, **(changes or {})}, "plan")

    return plan


def where(t_s: float) -> tuple[float, float]:
    """Where the target of the bags is."""
    return math.cos(2 * t_s), math.sin(2 * t_s)


def make_bag(path: Path, *, storage: str = "mcap", ticks: int = 24, truth: str | None = "map", tf: bool = False,
              offset_s: float = 0.0, shuffle: bool = False, extras: bool = False, compress: bool = False) -> Path:
    """A bag of `ticks` at 15 Hz.

    truth: frame of the poses on /ground_truth/pose, or None for none; tf: also a frame `car` in TF, below `mocap`.
    offset_s: of the truth's stamps. shuffle: header stamps of neighbours change places. extras: budgets, temperatures.
    """
    rng = np.random.default_rng(1)
    stamps = [START_NS + round(k / 15 * 1e9) for k in range(ticks)]
    told = [stamps[k ^ 1] if shuffle and (k ^ 1) < ticks else stamps[k] for k in range(ticks)]
    with BagWriter(path, storage, compress=compress) as bag:
        if tf:
            shift = make.Transform("map", "mocap", (1.0, 0.0, 0.0), NOT_TURNED)
            bag.write("/tf_static", make.TF, make.static_transforms([shift], START_NS), START_NS)
        for k, (stamp, said) in enumerate(zip(stamps, told, strict=True)):
            for node in POSES:
                rgb = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                depth = rng.uniform(0.5, 6, (24, 24)).astype(np.float32)
                sound = rng.normal(0, 0.1, (1066, 2)).astype(np.float32)
                bag.write(f"/{node}/rgb", make.IMAGE, make.rgb_image(rgb, said, node), stamp + 3_000_000)
                bag.write(f"/{node}/depth", make.IMAGE, make.depth_image(depth, said, node), stamp + 4_000_000)
                bag.write(f"/{node}/audio", make.AUDIO_FRAME, make.audio_frame(sound, 16000, said, node),
                          stamp + 5_000_000)
            _write_truth(bag, stamp, truth, tf, offset_s)
            if extras and k % 6 == 0:
                bag.write("/admn/budget", make.COMPUTE_BUDGET,
                          make.compute_budget(2 + k // 6, "layers", stamp, source="robot"), stamp)
                bag.write("/temperature", make.TEMPERATURE, make.temperature(60.0 + k, stamp, "soc"), stamp)
    return path


def _write_truth(bag: BagWriter, stamp: int, truth: str | None, tf: bool, offset_s: float) -> None:
    x, y = where((stamp - START_NS) * 1e-9)
    said = stamp + round(offset_s * 1e9)
    if truth is not None:
        bag.write("/ground_truth/pose", make.POSE, make.pose_stamped((x, y, 0.1), NOT_TURNED, said, truth), stamp)
    if tf:
        car = make.Transform("mocap", "car", (x - 1.0, y, 0.1), NOT_TURNED)
        bag.write("/tf", make.TF, make.static_transforms([car], said), stamp)


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bag(tmp_path_factory.mktemp("bags") / "drive", tf=True, extras=True)


@pytest.fixture(scope="session")
def write_bag() -> Callable[..., Path]:
    return make_bag


@pytest.fixture(scope="session")
def place() -> Callable[[float], tuple[float, float]]:
    return where


@pytest.fixture(scope="session")
def evaluated(dataset: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of the dataset with its report, made by the command."""
    from admn_ros.cli import main

    folder = tmp_path_factory.mktemp("evaluated") / "room"
    assert main(["evaluate", str(dataset), "--model", str(model), "--out", str(folder), "--budgets", "2", "5", "inf",
                 "--corruption", "clean", "room-all", "--policy", "allocate", "naive", "--limit", "30"]) == 0
    return folder


@pytest.fixture(scope="session")
def evaluated_bag(bag: Path, make_bag_plan: Callable[..., EvaluationPlan],
                  tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of a bag with temperatures and a budget that drops, and its report."""
    from admn_ros.evaluation.report.context import gather_context
    from admn_ros.evaluation.report.make import make_report
    from admn_ros.evaluation.run import evaluate

    folder = tmp_path_factory.mktemp("evaluated") / "drive"
    trace = folder.with_name("trace <b>.csv")
    trace.write_text("time_s,limit\n0,9\n0.5,3\n1,6\n", encoding="utf-8")
    plan = make_bag_plan(bag, changes={"corruptions": ["clean", "room-all"]}, trace=str(trace), hold_s=0.3)
    evaluate(plan, folder)
    gather_context(plan, folder)
    make_report(folder)
    return folder
