# SPDX-License-Identifier: Apache-2.0
"""Supervised finetuning of one backbone: what is trained, and how it is validated."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from admn_ros.config import parse_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.model.checkpoint import create_random_model, load_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality
from admn_ros.training.run import train
from admn_ros.training.settings import TrainConfig
from admn_ros.training.stages.supervised import IMAGES_REMOVED, SOUND_REMOVED, SupervisedConfig, removed_layers
from helpers import models
from helpers.runs import metrics_of

RGB, DEPTH, AUDIO = Modality.RGB, Modality.DEPTH, Modality.AUDIO
FILE = """
data: {source: image_folder, train: train, validation: val}
supervised:
  optimizer: {learning_rate: 3.0e-3, batch: 8, epochs: 4}
  modality: rgb
  classes: 2
  layerdrop: 0.4
  augment: {smallest_crop: 1.0, flip: true}
  copies: {depth: rgb}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 8)):
        for number, name in enumerate(("dark", "light")):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(count // 2):
                image = rng.integers(120 * number, 120 * number + 100, (32, 32, 3)).astype(np.uint8)
                cv2.imwrite(str(folder / f"{i}.png"), image)
    (tmp_path / "train.yaml").write_text(FILE)
    create_random_model(models.images(), tmp_path / "start", 0)
    return tmp_path


def run(place: Path, name: str, *settings: str) -> Path:
    return train(place / "train.yaml", "supervised", place / name, model=place / "start", data=place / "images",
                 device="cpu", settings=settings)


@pytest.mark.slow
def test_a_backbone_learns_to_classify_with_few_layers_too(place: Path) -> None:
    folder = run(place, "run")
    before, after = load_model(place / "start"), load_model(folder)
    assert not after.config.trained, "the estimates of the network were not trained"
    last = metrics_of(place / "run")[-1]
    assert {name for name in last if "removed" in name} == {f"val/removed_{n}/accuracy" for n in range(4)}
    assert float(last["val/removed_0/accuracy"]) == 1 and float(last["val/removed_3/accuracy"]) > 0.5
    changed = {name.split(".")[1] for name, x in after.state_dict().items()
               if name.startswith("backbones.") and not torch.equal(x, before.state_dict()[name])}
    assert changed == {"rgb", "depth"}
    assert all(torch.equal(x, before.state_dict()[name]) for name, x in after.state_dict().items()
               if not name.startswith("backbones."))
    depth, rgb = (after.state_dict()[f"backbones.{m}.blocks.0.mlp.fc1.weight"] for m in ("depth", "rgb"))
    assert torch.equal(depth, rgb)


@pytest.mark.slow
def test_without_layerdrop_every_layer_runs_in_every_step(place: Path) -> None:
    other = [load_model(run(place, name, f"supervised.layerdrop={rate}", "supervised.optimizer.epochs=1")).state_dict()
             for name, rate in (("with", 0.4), ("without", 0.0))]
    assert not torch.equal(other[0]["backbones.rgb.norm.weight"], other[1]["backbones.rgb.norm.weight"])


def test_the_removed_layers_are_those_of_the_tables() -> None:
    assert removed_layers(RGB, 12) == IMAGES_REMOVED and removed_layers(AUDIO, 12) == SOUND_REMOVED
    assert [len(x) for x in IMAGES_REMOVED] == list(range(8)) and [len(x) for x in SOUND_REMOVED] == list(range(11))
    assert removed_layers(RGB, 3) == ((), (1,), (1, 2))


def test_what_does_not_fit_is_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"supervised\.modality.*radar.*rgb, depth"):
        SupervisedConfig(modality=Modality.RADAR, classes=2).make(AdmnNetwork(models.images()))
    with pytest.raises(ConfigError, match=r"supervised\.copies\.depth"):
        SupervisedConfig(modality=RGB, classes=2, copies={DEPTH: AUDIO}).make(AdmnNetwork(models.images()))
    with pytest.raises(InputError, match=r"label.*below supervised\.classes 1"):
        run(place, "run", "supervised.classes=1")
    with pytest.raises(ConfigError, match="uncorrupted"):
        run(place, "run", "data.corruption=gdtm-blur")
    with pytest.raises(ConfigError, match="supervised"):
        parse_config(TrainConfig, {"data": {}, "supervised": {"modality": "rgb"}}, "t.yaml")
