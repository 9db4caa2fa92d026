# SPDX-License-Identifier: Apache-2.0
"""Training files (`config/train/*.yaml`), and values that override those of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from admn_ros.config import Depth, Strict, load_config, parse_config, parse_yaml
from admn_ros.errors import ConfigError
from admn_ros.files import parse_json
from admn_ros.sample import Modality
from admn_ros.training.config import DataConfig
from admn_ros.training.stage import StageConfig
from admn_ros.training.stages.autoencoder import AutoencoderConfig
from admn_ros.training.stages.calibration import CalibrateConfig
from admn_ros.training.stages.controller import ControllerConfig
from admn_ros.training.stages.finetune import FinetuneConfig
from admn_ros.training.stages.pretrain import PretrainConfig
from admn_ros.training.stages.supervised import SupervisedConfig
from admn_ros.training.stages.value import ValueConfig


class TrainConfig(Strict):
    """A training file. It may describe several stages; a run takes one of them.

    Attributes:
        model: preset of `admn_ros.model.presets` to start from, with random weights, in a run without a model folder.
        depths: number of layers of a backbone, per modality: in place of the preset's, or as many of the first layers
            of the model folder's.
        preprocessing: official: images and depth of the preset are stretched to [0, 1] frame by frame, as the official
            code does for GDTM (`stretch` of the inputs); null leaves them as they are. A model folder has its own.
        data: samples.
        pretrain: stage 0.
        supervised: stage 0, supervised finetuning of a pretrained backbone.
        finetune: stage 1.
        autoencoder: unsupervised initialization of the controller.
        controller: stage 2.
        value: stage 3, the value of each input.
        calibration: stage 4, the calibration of covariances and class probabilities.
        half_weights: store the weights of the model folder with 16 bits. For the last stage: the next one would start
            from rounded weights.
    """

    model: str | None = None
    depths: dict[Modality, Depth] = Field(default={})
    preprocessing: Literal["official"] | None = None
    data: DataConfig
    pretrain: PretrainConfig | None = None
    supervised: SupervisedConfig | None = None
    finetune: FinetuneConfig | None = None
    autoencoder: AutoencoderConfig | None = None
    controller: ControllerConfig | None = None
    value: ValueConfig | None = None
    calibration: CalibrateConfig | None = None
    half_weights: bool = False

    @model_validator(mode="after")
    def _a_stage(self) -> TrainConfig:
        if not self.stages:
            raise ValueError(f"at least one of {', '.join(STAGES)}")
        return self

    @property
    def stages(self) -> dict[str, StageConfig]:
        """Stages that the file describes, by name."""
        return {name: part for name, part in self if isinstance(part, StageConfig)}

    def stage(self, name: str) -> StageConfig:
        """Return the configuration of a stage.

        Raises:
            ConfigError: the file does not describe the stage.
        """
        if name not in self.stages:
            raise ConfigError("stage", name, f"{', '.join(self.stages)}; the training file describes no other")
        return self.stages[name]


STAGES = tuple(name for name, field in TrainConfig.model_fields.items()
               if any(isinstance(kind, type) and issubclass(kind, StageConfig) for kind in get_args(field.annotation)))
"""Names of all stages, in the order in which they are trained."""


def read_settings(file: str | Path, stage: str, settings: Sequence[str] = (), *, data: str | Path | None = None,
                  budget: int | None = None, seed: int | None = None, precision: str | None = None) -> TrainConfig:
    """Read a training file and override values, which are checked as if they were in the file.

    Args:
        file: training file.
        stage: stage that will run.
        settings: overrides of the form `key.path=value`, the value in YAML; later ones override earlier ones.
        data: override of `data.folder`.
        budget: override of the controller's `budgets`, in layers.
        seed: override of the stage's `optimizer.seed`.
        precision: override of the stage's `optimizer.precision`.

    Raises:
        ConfigError: the file is malformed or does not describe the stage, or a setting does not fit.
    """
    config = load_config(TrainConfig, file)
    config.stage(stage)
    raw = config.model_dump(mode="json")
    if data is not None:
        raw["data"]["folder"] = str(data)
    if seed is not None:
        raw[stage]["optimizer"]["seed"] = seed
    if precision is not None:
        raw[stage]["optimizer"]["precision"] = precision
    if budget is not None:
        if stage != "controller":
            raise ConfigError.conflict("budget", f"stage {stage}", "only a controller is trained for a budget")
        raw[stage]["budgets"] = [budget]
    for setting in settings:
        _override(raw, setting)
    return parse_config(TrainConfig, raw, str(file))


def _override(raw: dict[str, Any], setting: str) -> None:
    """Apply one `key.path=value` to nested mappings, in place; missing mappings are created."""
    path, equals, value = setting.partition("=")
    *parents, last = path.split(".")
    if not equals or not last:
        raise ConfigError("set", setting, "key.path=value, such as finetune.optimizer.epochs=5")
    place = raw
    for key in parents:
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
        if not isinstance(place, dict):
            raise ConfigError("set", setting, f"a path through mappings; {key} is not a mapping")
    place[last] = _value(value, setting)


def _value(text: str, setting: str) -> object:
    try:
        return parse_json(text)  # JSON reads 1e-3 as a number, YAML does not
    except ValueError:
        return parse_yaml(text, f"set {setting}", "a value in YAML")
