# SPDX-License-Identifier: Apache-2.0
"""Values that override those of a file, and `admn train`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from admn_ros.cli import main
from admn_ros.config import ModelConfig
from admn_ros.errors import ConfigError, InputError
from admn_ros.model.checkpoint import create_random_model, load_model
from admn_ros.model.presets import preset
from admn_ros.sample import Modality
from admn_ros.training.settings import STAGES, read_settings


@pytest.fixture
def file(dataset: Path, tmp_path: Path) -> Path:
    path = tmp_path / "t.yaml"
    optimizer = {"batch": 6, "epochs": 2, "learning_rate": 0.001}
    path.write_text(yaml.safe_dump({
        "data": {"folder": str(dataset)}, "finetune": {"optimizer": optimizer},
        "controller": {"optimizer": optimizer, "mode": "task", "budgets": [4]}}))
    return path


def test_stages_are_the_parts_of_a_file_that_train() -> None:
    assert STAGES == ("pretrain", "supervised", "finetune", "autoencoder", "controller", "value", "calibration")


def test_overrides(file: Path) -> None:
    config = read_settings(file, "controller", [
        "controller.optimizer.learning_rate=1e-4", "controller.mode=universal", "controller.budgets=[3, 6]",
        "controller.corruption_weight.rgb=2", "data.corruption=room-all", "data.limit=null", "finetune=null",
        "controller.optimizer.epochs=5", "controller.optimizer.epochs=7"],
        data="elsewhere", seed=9, precision="bfloat16")
    controller = config.controller
    assert controller is not None
    assert (controller.optimizer.learning_rate, controller.optimizer.epochs, controller.optimizer.seed,
            controller.optimizer.precision) == (1e-4, 7, 9, "bfloat16")
    assert (controller.mode, controller.budgets, controller.corruption_weight) == (
        "universal", (3, 6), {Modality.RGB: 2.0})
    assert (config.data.folder, config.data.corruption, config.data.limit) == ("elsewhere", "room-all", None)
    assert config.finetune is None
    assert read_settings(file, "controller", budget=5).controller.budgets == (5,)  # type: ignore[union-attr]


@pytest.mark.parametrize(("setting", "named"), [
    ("finetune.optimizer.epochs=many", r"finetune\.optimizer\.epochs"),
    ("finetune.optimizer.epoch=3", r"finetune\.optimizer\.epoch: found an unknown key"),
    ("finetune.optimizer.epochs", "key.path=value"),
    ("=3", "key.path=value"),
    ("finetune.optimizer.epochs.first=3", "epochs is not a mapping"),
    ("finetune.layerdrop=[", "a value in YAML"),
    ("finetune.optimizer.keep=best", "best_of"),
])
def test_errors_name_the_override(file: Path, setting: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read_settings(file, "finetune", [setting])


def test_depths_in_place_of_the_presets(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump({"model": "gdtm-tiny", "depths": {"rgb": 2}, "data": {"folder": str(dataset)},
                                    "finetune": {"draws": "cost", "optimizer": {"batch": 6, "epochs": 1}}}))
    train = ["train", "finetune", "--config", str(path), "--out", str(tmp_path / "a"), "--device", "cpu"]
    assert main([*train, "--set", "depths.depth=1", "--dry-run"]) == 0
    config = load_model(tmp_path / "a" / "dry-run" / "model").config
    assert list(config.depths.values()) == [2, 1, 12, 12]
    assert config.nested
    with pytest.raises(InputError, match="found radar; allowed: rgb, depth of rgbd"):
        preset("rgbd", {Modality.RADAR: 1})


def test_depths_of_a_model_folder(file: Path, model: ModelConfig, tmp_path: Path,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    create_random_model(model, tmp_path / "start", seed=0)
    train = ["train", "finetune", "--config", str(file), "--out", str(tmp_path / "a"), "--model",
             str(tmp_path / "start"), "--device", "cpu", "--dry-run"]
    shallow = dict.fromkeys(model.depths, 1)
    name = next(iter(shallow))
    assert main([*train, "--set", f"depths={json.dumps(shallow)}"]) == 0
    assert load_model(tmp_path / "a" / "dry-run" / "model").config.depths == shallow
    assert main([*train, "--set", f"depths.{name}=99"]) == 2
    assert f"depths.{name}: found 99; allowed: 1 to {model.depths[name]}" in capsys.readouterr().err


def test_train_command(file: Path, model: ModelConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_random_model(model, tmp_path / "start", seed=0)
    train = ["train", "finetune", "--config", str(file), "--out", str(tmp_path / "a"), "--model",
             str(tmp_path / "start"), "--device", "cpu", "--seed", "3", "--precision", "bfloat16", "--set",
             "finetune.optimizer.keep=best", "--set", "finetune.optimizer.best_of=val/full/accuracy"]
    assert main([*train, "--dry-run"]) == 0
    assert not (tmp_path / "a" / "model").exists()
    capsys.readouterr()
    assert main(train) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(tmp_path / "a" / "model")
    lines = printed.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("train/loss" in line and "val/full/error_m" in line for line in lines)
    card = (tmp_path / "a" / "model" / "README.md").read_text()
    assert "the best by val/full/accuracy" in card
    assert "precision: bfloat16" in (tmp_path / "a" / "train.yaml").read_text()
    # Finetuning does not teach the controller to judge quality.
    config = load_model(tmp_path / "a" / "model").config
    assert (config.trained, config.qoi_trained, config.judges_quality) == (True, False, False)
    assert main(train) == 2
    assert "resume" in capsys.readouterr().err
    assert main([*train, "--resume"]) == 0
    assert main([*train, "--set", "finetune.optimizer.epochs=x"]) == 2
