# SPDX-License-Identifier: Apache-2.0
"""Training files: strict schema, and shipped files that fit their models."""

from __future__ import annotations

from pathlib import Path

import pytest

from admn_ros.config import load_config, parse_config
from admn_ros.errors import ConfigError
from admn_ros.model.presets import preset
from admn_ros.sample import Modality
from admn_ros.training.settings import TrainConfig

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "config" / "train").glob("*.yaml"))
PRETRAINING = [p for p in SHIPPED if p.stem.startswith("pretrain_")]
FILES = [p for p in SHIPPED if p not in PRETRAINING]


GOING_ON = ("room_class", "room_harder", "room_controller", "room_value", "room_calibration")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_shipped_files(path: Path) -> None:
    config = load_config(TrainConfig, path)
    if config.model is None:  # it goes on from a model folder
        assert path.stem in GOING_ON
        return
    model = preset(config.model or "", config.depths)
    assert model.depths == {**preset(config.model or "").depths, **config.depths}
    assert config.finetune is not None
    blocks = config.finetune.trainable_blocks
    if blocks != "all":
        assert set(blocks) == set(model.modalities)
    budgets = config.controller.budgets if config.controller is not None else ()
    assert all(len(model.modalities) <= b <= model.layers_total for b in budgets)


@pytest.mark.parametrize("path", PRETRAINING, ids=lambda p: p.stem)
def test_shipped_pretraining_files(path: Path) -> None:
    config = load_config(TrainConfig, path)
    assert config.pretrain is not None
    assert config.pretrain.layerdrop == 0.2  # Section 3.3.2
    assert [config.pretrain.masked(m) for m in (Modality.RGB, Modality.AUDIO)] == [0.75, 0.8]
    model = preset(config.model or "")
    assert config.pretrain.trained(model)
    assert {p.stem for p in PRETRAINING} == {"pretrain_image", "pretrain_audio", "pretrain_room"}
    if path.stem != "pretrain_room":
        only, = config.pretrain.modalities
        backbone = model.modalities[only].backbone
        assert (backbone.dim, backbone.depth) == (768, 12)
        rate = {"pretrain_image": 1.5e-4, "pretrain_audio": 2e-4}[path.stem]  # for each 256 of the batch
        assert config.pretrain.optimizer.learning_rate == pytest.approx(rate * config.pretrain.optimizer.batch / 256)


@pytest.mark.parametrize(("change", "named"), [
    ({"finetune": {"layerdrop": 1.0}}, "finetune.layerdrop"),
    ({"finetune": {"layer_drop": 0.2}}, "finetune.layer_drop"),
    ({"finetune": {"trainable_blocks": "some"}}, "finetune.trainable_blocks"),
    ({"finetune": {"loss": {"nll": 0, "distance_per_cm": 0, "classification": 0}}}, "finetune.loss"),
    ({"controller": {"budgets": [6, 8]}}, "controller"),
    ({"controller": {"budgets": [8], "selection": "topk"}}, "controller.selection"),
    ({"controller": {"budgets": [8], "selection": "neuralsort", "variant": "code"}}, "variant code conflicts"),
    ({"data": {"windows": "all"}}, "data.windows"),
    ({"data": {"corruption": "fog"}}, "data.corruption"),
    ({"finetune": None}, "t.yaml"),
    ({"finetune": {"draws": "uniform"}}, "finetune.draws"),
    ({"model": "rgbd", "depths": {"rgb": 0}}, "depths.rgb"),
])
def test_errors_name_the_field(change: dict[str, object], named: str) -> None:
    raw = {"data": {"folder": "d"}, "finetune": {}} | change
    with pytest.raises(ConfigError, match=named):
        parse_config(TrainConfig, raw, "t.yaml")


def test_missing_stage() -> None:
    config = parse_config(TrainConfig, {"data": {}, "finetune": {}}, "t.yaml")
    with pytest.raises(ConfigError, match="controller"):
        config.stage("controller")
