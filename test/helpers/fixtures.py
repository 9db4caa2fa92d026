# SPDX-License-Identifier: Apache-2.0
"""Fixtures of every test: a micro model, dataset and recording, plans that evaluate them, and finished evaluations.

Their files are made once for all test processes; a test that changes one works on a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from admn_ros.config import ModelConfig, parse_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.model.checkpoint import create_random_model
from helpers import datasets, models
from helpers.bags import SENSORS, make_bag, where
from helpers.once import made_once


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return models.room()


@pytest.fixture(scope="session")
def model(config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "models/micro", lambda folder: create_random_model(config, folder, seed=0))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rooms with ten samples each. Every third sample has no car."""
    return made_once(tmp_path_factory, "data/room", lambda folder: datasets.write_dataset(
        folder, {"test_time": [datasets.noise(10, seed) for seed in range(6)]}))


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


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "bags/drive", lambda path: make_bag(path, tf=True, extras=True))


@pytest.fixture(scope="session")
def write_bag() -> Callable[..., Path]:
    return make_bag


@pytest.fixture(scope="session")
def place() -> Callable[[float], tuple[float, float]]:
    return where


@pytest.fixture(scope="session")
def evaluated(dataset: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished evaluation of the dataset and its report, by `admn evaluate`."""
    from admn_ros.cli import main

    def make(folder: Path) -> None:
        assert main(["evaluate", str(dataset), "--model", str(model), "--out", str(folder), "--budgets", "2", "5",
                     "inf", "--corruption", "clean", "room-all", "--policy", "allocate", "naive", "--limit", "30"]) == 0

    return made_once(tmp_path_factory, "evaluated/room", make)


@pytest.fixture(scope="session")
def evaluated_bag(bag: Path, make_bag_plan: Callable[..., EvaluationPlan],
                  tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished evaluation of a bag with temperatures and a budget trace, and its report."""
    from admn_ros.evaluation.report.context import gather_context
    from admn_ros.evaluation.report.make import make_report
    from admn_ros.evaluation.run import evaluate

    def make(folder: Path) -> None:
        trace = folder.with_name("trace <b>.csv")
        trace.write_text("time_s,limit\n0,9\n0.5,3\n1,6\n", encoding="utf-8")
        plan = make_bag_plan(bag, changes={"corruptions": ["clean", "room-all"]}, trace=str(trace), hold_s=0.3)
        evaluate(plan, folder)
        gather_context(plan, folder)
        make_report(folder)

    return made_once(tmp_path_factory, "evaluated/drive", make)
