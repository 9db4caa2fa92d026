# SPDX-License-Identifier: Apache-2.0
"""All stages in sequence, from a training file to a model folder that the engine runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from admn_ros.budget.budget import Budget
from admn_ros.config import ModelConfig
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.errors import ConfigError, InputError, ModelError
from admn_ros.inference.engine import Engine
from admn_ros.model.checkpoint import create_random_model, load_model
from admn_ros.training.run import train


@pytest.fixture
def start(model: ModelConfig, tmp_path: Path) -> Path:
    create_random_model(model, tmp_path / "start", seed=0)
    return tmp_path / "start"


@pytest.fixture
def file(dataset: Path, tmp_path: Path) -> Path:
    optimizer = {"batch": 6, "epochs": 1, "learning_rate": 0.001, "seed": 4}
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump({
        "data": {"folder": str(dataset), "corruption": "room-all"},
        "finetune": {"optimizer": optimizer, "budgets": [4]}, "autoencoder": {"optimizer": optimizer},
        "controller": {"optimizer": {**optimizer, "epochs": 2}, "mode": "autoencoder", "budgets": [4]}}))
    return path


def test_all_stages_in_sequence(file: Path, start: Path, dataset: Path, tmp_path: Path) -> None:
    tuned = train(file, "finetune", tmp_path / "a", model=start, device="cpu")
    seeing = train(file, "autoencoder", tmp_path / "b", model=tuned, device="cpu")
    done = train(file, "controller", tmp_path / "c", model=seeing, device="cpu", budget=5)
    assert [load_model(f).config.trained for f in (start, tuned, seeing, done)] == [False, True, True, True]
    engine = Engine(done, "cpu")
    estimate = engine.infer(ShardDataset(dataset, "val")[0].sample(engine.config), Budget(5, "layers"))
    assert estimate.allocation.layers == 5
    before, after = load_model(tuned).state_dict(), load_model(done).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} == {"qoi"}
    assert {"qoi.mlp_layers.0.weight", "qoi.stems.rgb.layers.0.weight"} <= changed
    assert "budgets: [5]" in (tmp_path / "c" / "train.yaml").read_text()
    card = (done / "README.md").read_text()
    assert "Stage controller, 2 epochs, seed 4" in card
    assert "| val/budget_5/error_m |" in card
    for folder in "abc":
        assert {"metrics.csv", "metrics.jsonl"} <= {p.name for p in (tmp_path / folder).iterdir()}


def test_dry_run_leaves_no_checkpoint_and_no_trained_model(file: Path, start: Path, tmp_path: Path) -> None:
    made = train(file, "finetune", tmp_path / "a", model=start, device="cpu", dry_run=True)
    assert made == tmp_path / "a" / "dry-run" / "model"
    assert not load_model(made).config.trained
    train(file, "finetune", tmp_path / "a", model=start, device="cpu", dry_run=True)
    train(file, "finetune", tmp_path / "a", model=start, device="cpu")  # no run is in the way


def test_model_depends_on_the_seed_only(file: Path, start: Path, tmp_path: Path) -> None:
    first, second, third = (
        load_model(train(file, "finetune", tmp_path / name, model=start, device="cpu", seed=seed)).state_dict()
        for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not all(torch.equal(first[k], third[k]) for k in first)


def test_errors_are_reported_before_training(file: Path, start: Path, tmp_path: Path) -> None:
    cases = [
        (ConfigError, "model", {"stage": "finetune"}),
        (ConfigError, "an earlier stage", {"stage": "controller"}),
        (ModelError, "nowhere", {"stage": "finetune", "model": tmp_path / "nowhere"}),
        (InputError, "elsewhere", {"stage": "finetune", "model": start, "data": tmp_path / "elsewhere"}),
        (ConfigError, "seed", {"stage": "finetune", "model": start, "seed": -1}),
        (ConfigError, "budget", {"stage": "finetune", "model": start, "budget": 4}),
        (ConfigError, "budgets", {"stage": "controller", "model": start, "budget": 99}),
    ]
    for kind, message, arguments in cases:
        with pytest.raises(kind, match=message):
            train(file, output=tmp_path / "run", device="cpu", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_resuming_with_another_file_is_an_error(file: Path, start: Path, tmp_path: Path) -> None:
    train(file, "finetune", tmp_path / "a", model=start, device="cpu")
    with pytest.raises(ConfigError, match=r"finetune\.optimizer\.seed: found 9"):
        train(file, "finetune", tmp_path / "a", model=start, device="cpu", seed=9, resume=True)
